//! A subscription as the workers use it: the control object, and what an attempt needs prepared once and kept.
//!
//! Opening secrets and parsing the URL wait until the first use: a process may hold a million subscriptions and send for a
//! few. A change of the subscription makes a new one of these, so nothing here is ever stale but the overlap of a rotation,
//! which [`Subscription::signer`] looks at the clock for.

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use retry::{Preset, Schedule};
use schemas::control::{self, BodyForm, ControlKey, SigningScheme};
use schemas::event::StringMap;
use schemas::event_type::EventTypePattern;
use schemas::ids::{ApplicationId, SubscriptionId};
use signing::{Ed25519Key, Scheme, Schemes, Secret, Signer};
use url::Url;
use vault::Vault;
use zeroize::Zeroizing;

use crate::error::PrepareError;
use crate::index::Indexed;
use crate::sealed::open_text;

/// The schedule of every subscription that names none.
static STANDARD: LazyLock<Arc<Schedule>> = LazyLock::new(|| Arc::new(Schedule::default()));
static HOOK0: LazyLock<Arc<Schedule>> = LazyLock::new(|| Arc::new(Schedule::preset(Preset::Hook0)));
static QUICK: LazyLock<Arc<Schedule>> = LazyLock::new(|| Arc::new(Schedule::preset(Preset::Quick)));

/// A compiled subscription.
pub struct Subscription {
    object: control::Subscription,
    offset: i64,
    schedule: Arc<Schedule>,
    vault: Arc<Vault>,
    target: OnceLock<Box<Result<Target, PrepareError>>>,
    signer: ArcSwapOption<LiveSigner>,
}

/// Where requests go, ready to be used. `Debug` shows no header value.
pub struct Target {
    /// HTTP method, upper case.
    pub method: String,
    /// Parsed once; what is connected to is exactly what was checked.
    pub url: Url,
    /// Custom headers, opened: lower-case names, sorted.
    pub headers: Vec<(String, Zeroizing<String>)>,
}

struct LiveSigner {
    signer: Arc<Signer>,
    /// When one of its secrets expires, Unix ms.
    until_ms: i64,
}

// === impl Subscription ===

impl Subscription {
    /// Compiles the object that stood at an offset of `control`.
    ///
    /// # Errors
    /// When its retry policy is none this build knows.
    pub fn new(object: control::Subscription, offset: i64, vault: Arc<Vault>) -> Result<Self, serde_json::Error> {
        let schedule = compile(object.retry.as_ref())?;
        Ok(Self { object, offset, schedule, vault, target: OnceLock::new(), signer: ArcSwapOption::empty() })
    }

    /// The control object.
    #[must_use]
    pub fn object(&self) -> &control::Subscription {
        &self.object
    }

    /// The offset of its record on `control`: changes with every write.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> SubscriptionId {
        self.object.subscription_id
    }

    /// Its application.
    #[must_use]
    pub fn application(&self) -> ApplicationId {
        self.object.application_id
    }

    /// Whether it matches events.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.object.is_enabled
    }

    /// Whether its deliveries are parked.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.object.is_paused
    }

    /// Whether a delivery that was matched at this control offset (of the last record applied then) is cancelled.
    #[must_use]
    pub fn cancels(&self, control_offset: i64) -> bool {
        !self.object.is_enabled || self.object.cancel_before.is_some_and(|before| control_offset < before)
    }

    /// What the request body is.
    #[must_use]
    pub fn body(&self) -> BodyForm {
        self.object.body
    }

    /// The retry schedule, where the subscription names one.
    #[must_use]
    pub fn own_schedule(&self) -> Option<&Arc<Schedule>> {
        self.object.retry.as_ref().map(|_| &self.schedule)
    }

    /// A delivery's whole life, where the subscription says so or its own schedule does.
    #[must_use]
    pub fn own_max_age(&self) -> Option<Duration> {
        let own = self.object.max_age_ms.map(Duration::from_millis);
        own.or_else(|| self.own_schedule().map(|schedule| schedule.max_age()))
    }

    /// The retry schedule: its own, or `standard`.
    #[must_use]
    pub fn schedule(&self) -> &Arc<Schedule> {
        &self.schedule
    }

    /// A delivery's whole life: its own limit or the schedule's.
    #[must_use]
    pub fn max_age(&self) -> Duration {
        self.object.max_age_ms.map_or_else(|| self.schedule.max_age(), Duration::from_millis)
    }

    /// Whole attempt, where the subscription says so.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.object.timeout_ms.map(Duration::from_millis)
    }

    /// Requests in flight at most, where the subscription says so.
    #[must_use]
    pub fn concurrency(&self) -> Option<u32> {
        self.object.concurrency
    }

    /// Requests per second at most, where the subscription says so.
    #[must_use]
    pub fn rate_per_second(&self) -> Option<f64> {
        self.object.rate_per_second
    }

    /// Where requests go, prepared at the first call.
    ///
    /// # Errors
    /// The same one at every call: a URL that does not parse, a header that does not open.
    pub fn target(&self) -> Result<&Target, &PrepareError> {
        self.target.get_or_init(|| Box::new(self.prepare_target())).as_ref().as_ref()
    }

    /// What signs an attempt made now: made at the first call, and again when a rotated secret has expired.
    ///
    /// # Errors
    /// A secret that does not open, or none that is live.
    pub fn signer(&self, now_ms: i64) -> Result<Arc<Signer>, PrepareError> {
        if let Some(live) = self.signer.load().as_ref()
            && now_ms < live.until_ms
        {
            return Ok(Arc::clone(&live.signer));
        }
        let live = Arc::new(self.prepare_signer(now_ms)?);
        let signer = Arc::clone(&live.signer);
        self.signer.store(Some(live));
        Ok(signer)
    }

    fn prepare_target(&self) -> Result<Target, PrepareError> {
        let target = &self.object.target;
        let url = Url::parse(&target.url)
            .map_err(|error| PrepareError::Url { subscription: self.id(), reason: error.to_string() })?;
        let context = self.context();
        let open = |(name, sealed): (&String, &control::Sealed)| {
            let value = open_text(&self.vault, &context, sealed).map_err(|source| self.does_not_open(source))?;
            Ok((name.to_ascii_lowercase(), value))
        };
        let mut headers = target.headers.iter().map(open).collect::<Result<Vec<_>, PrepareError>>()?;
        headers.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(Target { method: target.method.clone(), url, headers })
    }

    fn prepare_signer(&self, now_ms: i64) -> Result<LiveSigner, PrepareError> {
        let context = self.context();
        let unsigned = |source| PrepareError::Signing { subscription: self.id(), source };
        let (mut secrets, mut keys, mut until_ms) = (Vec::new(), Vec::new(), i64::MAX);
        for secret in &self.object.secrets {
            let expires_ms = secret.expires_ms.unwrap_or(i64::MAX);
            if expires_ms <= now_ms {
                continue;
            }
            until_ms = until_ms.min(expires_ms);
            let text = open_text(&self.vault, &context, &secret.sealed).map_err(|source| self.does_not_open(source))?;
            // An ed25519 key pair stands among the secrets; its prefix tells it apart.
            if text.starts_with("whsk_") {
                keys.push(Ed25519Key::parse(&text).map_err(unsigned)?);
            } else {
                secrets.push(Secret::parse(&text).map_err(unsigned)?);
            }
        }
        let schemes: Vec<Scheme> = self.object.signing.iter().map(|scheme| scheme_of(*scheme)).collect();
        let schemes = Schemes::new(&schemes).map_err(unsigned)?;
        let signer = Signer::new(&secrets, keys, schemes).map_err(unsigned)?;
        Ok(LiveSigner { signer: Arc::new(signer), until_ms })
    }

    /// The context its envelopes are bound to: its control key.
    fn context(&self) -> String {
        ControlKey::Subscription(self.application(), self.id()).to_string()
    }

    fn does_not_open(&self, source: vault::VaultError) -> PrepareError {
        PrepareError::Sealed { subscription: self.id(), source }
    }
}

impl Indexed for Subscription {
    fn patterns(&self) -> &[EventTypePattern] {
        &self.object.event_types
    }

    fn labels(&self) -> &StringMap {
        &self.object.labels
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("object", &self.object)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Target")
            .field("method", &self.method)
            .field("url", &self.url.as_str())
            .field("headers", &names)
            .finish()
    }
}

fn compile(retry: Option<&serde_json::Value>) -> Result<Arc<Schedule>, serde_json::Error> {
    use serde::Deserialize;
    let preset = |preset| match preset {
        Preset::Standard => &STANDARD,
        Preset::Hook0 => &HOOK0,
        Preset::Quick => &QUICK,
    };
    let Some(value) = retry else { return Ok(Arc::clone(&STANDARD)) };
    if let Some(Ok(name)) = value.as_str().map(str::parse) {
        return Ok(Arc::clone(preset(name)));
    }
    Schedule::deserialize(value).map(Arc::new)
}

fn scheme_of(scheme: SigningScheme) -> Scheme {
    match scheme {
        SigningScheme::Standard => Scheme::Standard,
        SigningScheme::Hook0 => Scheme::Hook0,
        SigningScheme::Hook0Body => Scheme::Hook0Body,
        SigningScheme::Ed25519 => Scheme::Ed25519,
    }
}
