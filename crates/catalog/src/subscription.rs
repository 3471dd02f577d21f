//! A subscription as the workers use it: the control object, and what an attempt needs prepared once and kept.
//!
//! Opening secrets and parsing the URL wait until the first use: a process may hold a million subscriptions and send for a
//! few. A change of the subscription makes a new one of these, so nothing here is ever stale but the overlap of a rotation,
//! which [`Subscription::signer`] looks at the clock for.

mod prepare;

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use filter::{Filter, FilterError};
use retry::{Preset, Schedule};
use schemas::control::{self, BodyForm, DeliveryOrder, HurriedRetry};
use schemas::event::StringMap;
use schemas::event_type::EventTypePattern;
use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use vault::Vault;

use crate::error::PrepareError;
use crate::index::Indexed;
use crate::packed::{Open, Packed};
use crate::shared::Shared;

use self::prepare::LiveSigner;
pub use self::prepare::Target;

/// The schedule of every subscription that names none.
static STANDARD: LazyLock<Arc<Schedule>> = LazyLock::new(|| Arc::new(Schedule::default()));
static HOOK0: LazyLock<Arc<Schedule>> = LazyLock::new(|| Arc::new(Schedule::preset(Preset::Hook0)));
static QUICK: LazyLock<Arc<Schedule>> = LazyLock::new(|| Arc::new(Schedule::preset(Preset::Quick)));

/// A compiled subscription. What is looked at per event or attempt stands open in it, the rest of its control object is packed.
pub struct Subscription {
    id: SubscriptionId,
    application: ApplicationId,
    offset: i64,
    /// What it adds to the snapshot's digest.
    digest: u64,
    /// Bytes it takes in memory.
    weight: u32,
    updated_ms: i64,
    cancel_before: Option<i64>,
    uid: Option<Box<str>>,
    patterns: Arc<[EventTypePattern]>,
    labels: Labels,
    is_enabled: bool,
    is_paused: bool,
    is_ordered: bool,
    body: BodyForm,
    /// Where it names one.
    schedule: Option<Arc<Schedule>>,
    own: Option<Box<Own>>,
    /// Where it has one; compiled when the first event asks.
    filter: Option<Box<OnceLock<Result<Filter, FilterError>>>>,
    rest: Packed,
    vault: Arc<Vault>,
    target: OnceLock<Box<Result<Target, PrepareError>>>,
    signer: ArcSwapOption<LiveSigner>,
}

/// Names and values, sorted.
type Labels = Box<[(Arc<str>, Arc<str>)]>;

/// What most subscriptions leave to the operator.
#[derive(Default, PartialEq)]
struct Own {
    max_age_ms: Option<u64>,
    timeout_ms: Option<u64>,
    concurrency: Option<u32>,
    rate_per_second: Option<f64>,
    disable_after_ms: Option<u64>,
    api_version: Option<Box<str>>,
    skipped: Box<[DeliveryId]>,
    hurried: Box<[HurriedRetry]>,
}

// === impl Subscription ===

impl Subscription {
    /// Compiles the object that stood at an offset of `control`.
    ///
    /// # Errors
    /// When its retry policy is none this build knows.
    pub fn new(mut object: control::Subscription, offset: i64, vault: Arc<Vault>) -> Result<Self, serde_json::Error> {
        let schedule = object.retry.as_ref().map(compile).transpose()?;
        let own = Own {
            max_age_ms: object.max_age_ms,
            timeout_ms: object.timeout_ms,
            concurrency: object.concurrency,
            rate_per_second: object.rate_per_second,
            disable_after_ms: object.disable_after_ms,
            api_version: object.api_version.as_deref().map(Into::into),
            skipped: object.skipped.iter().map(|skipped| skipped.delivery).collect(),
            hurried: object.hurried.as_slice().into(),
        };
        let labels = std::mem::take(&mut object.labels);
        Ok(Self {
            id: object.subscription_id,
            application: object.application_id,
            offset,
            digest: 0,
            weight: 0,
            updated_ms: object.updated_ms,
            cancel_before: object.cancel_before,
            uid: object.uid.take().map(Into::into),
            patterns: std::mem::take(&mut object.event_types).into(),
            labels: labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            is_enabled: object.is_enabled,
            is_paused: object.is_paused,
            is_ordered: object.ordering == DeliveryOrder::Key,
            body: object.body,
            schedule,
            own: (own != Own::default()).then(|| Box::new(own)),
            filter: object.filter.is_some().then(Box::default),
            rest: Packed::pack(object)?,
            vault,
            target: OnceLock::new(),
            signer: ArcSwapOption::empty(),
        })
    }

    /// What it adds to the snapshot's digest.
    pub(crate) fn with_digest(mut self, digest: u64) -> Self {
        self.digest = digest;
        self
    }

    /// Notes the bytes it takes in memory.
    pub(crate) fn set_weight(&mut self, weight: u32) {
        self.weight = weight;
    }

    /// Bytes it takes in memory.
    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }

    /// What it adds to the snapshot's digest.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// Lets go of what another subscription has in the same words.
    pub(crate) fn share(&mut self, shared: &mut Shared) {
        self.patterns = shared.patterns(&self.patterns);
        for (name, _) in &mut self.labels {
            *name = shared.name(name);
        }
    }

    /// The control object. It is put together at every call: not for what is done per event or attempt.
    #[must_use]
    pub fn object(&self) -> control::Subscription {
        self.rest.unpack(Open {
            id: self.id,
            application: self.application,
            uid: self.uid(),
            patterns: &self.patterns,
            labels: &self.labels,
        })
    }

    /// The client-given id.
    #[must_use]
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    /// For the envelope.
    #[must_use]
    pub fn api_version(&self) -> Option<&str> {
        self.own.as_ref()?.api_version.as_deref()
    }

    /// When it was changed last, Unix ms.
    #[must_use]
    pub fn updated_ms(&self) -> i64 {
        self.updated_ms
    }

    /// The offset of its record on `control`: changes with every write.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> SubscriptionId {
        self.id
    }

    /// Its id, where it lies.
    pub(crate) fn id_ref(&self) -> &SubscriptionId {
        &self.id
    }

    /// Its application.
    #[must_use]
    pub fn application(&self) -> ApplicationId {
        self.application
    }

    /// Whether an event's type and labels are what it listens to, as the index of all would say.
    #[must_use]
    pub fn listens_to(&self, event_type: &str, labels: &StringMap) -> bool {
        let has = |(name, value): &(Arc<str>, Arc<str>)| labels.get(&**name).is_some_and(|given| **given == **value);
        self.patterns.iter().any(|pattern| pattern.matches(event_type)) && self.labels.iter().all(has)
    }

    /// Whether it matches events.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Whether [`Subscription::filter`] has yet to compile, which takes its time.
    #[must_use]
    pub fn is_filter_uncompiled(&self) -> bool {
        self.filter.as_ref().is_some_and(|compiled| compiled.get().is_none())
    }

    /// Whether an event must be like something beyond its type and labels.
    #[must_use]
    pub fn has_filter(&self) -> bool {
        self.filter.is_some()
    }

    /// What an event must be like beyond its type and labels, compiled at the first call.
    ///
    /// # Errors
    /// A text that this build cannot compile: it was checked when it was written, so a newer build wrote it.
    pub fn filter(&self) -> Option<Result<&Filter, &FilterError>> {
        let compile = || Filter::compile(self.object().filter.as_deref().unwrap_or_default());
        self.filter.as_ref().map(|compiled| compiled.get_or_init(compile).as_ref())
    }

    /// Whether its deliveries wait.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Whether a delivery that was matched at this control offset (of the last record applied then) is cancelled.
    #[must_use]
    pub fn cancels(&self, control_offset: i64) -> bool {
        !self.is_enabled || self.cancel_before.is_some_and(|before| control_offset < before)
    }

    /// Whether somebody has given this delivery up.
    #[must_use]
    pub fn skips(&self, delivery: DeliveryId) -> bool {
        self.own.as_ref().is_some_and(|own| own.skipped.contains(&delivery))
    }

    /// Whether somebody wants this delivery's retry now that is due then.
    #[must_use]
    pub fn hurries(&self, delivery: DeliveryId, due_ms: i64) -> bool {
        self.own.as_ref().is_some_and(|own| own.hurried.contains(&HurriedRetry { delivery, due_ms }))
    }

    /// What the request body is.
    #[must_use]
    pub fn body(&self) -> BodyForm {
        self.body
    }

    /// The retry schedule, where the subscription names one.
    #[must_use]
    pub fn own_schedule(&self) -> Option<&Arc<Schedule>> {
        self.schedule.as_ref()
    }

    /// A delivery's whole life, where the subscription says so or its own schedule does.
    #[must_use]
    pub fn own_max_age(&self) -> Option<Duration> {
        let own = self.own.as_ref().and_then(|own| own.max_age_ms).map(Duration::from_millis);
        own.or_else(|| self.own_schedule().map(|schedule| schedule.max_age()))
    }

    /// The retry schedule: its own, or `standard`.
    #[must_use]
    pub fn schedule(&self) -> &Arc<Schedule> {
        self.schedule.as_ref().unwrap_or_else(|| &*STANDARD)
    }

    /// A delivery's whole life: its own limit or the schedule's.
    #[must_use]
    pub fn max_age(&self) -> Duration {
        self.own_max_age().unwrap_or_else(|| self.schedule().max_age())
    }

    /// Whole attempt, where the subscription says so.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.own.as_ref()?.timeout_ms.map(Duration::from_millis)
    }

    /// Requests in flight at most, where the subscription says so.
    #[must_use]
    pub fn concurrency(&self) -> Option<u32> {
        self.own.as_ref()?.concurrency
    }

    /// Requests per second at most, where the subscription says so.
    #[must_use]
    pub fn rate_per_second(&self) -> Option<f64> {
        self.own.as_ref()?.rate_per_second
    }

    /// Whether events with the same ordering key are delivered one after the other.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.is_ordered
    }

    /// Failing for so long without a success disables it, where the subscription says so; 0 is never.
    #[must_use]
    pub fn disable_after_ms(&self) -> Option<u64> {
        self.own.as_ref()?.disable_after_ms
    }
}

impl Indexed for Subscription {
    fn patterns(&self) -> &[EventTypePattern] {
        &self.patterns
    }

    fn labels(&self) -> &[(Arc<str>, Arc<str>)] {
        &self.labels
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("object", &self.object())
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

fn compile(value: &serde_json::Value) -> Result<Arc<Schedule>, serde_json::Error> {
    use serde::Deserialize;
    let preset = |preset| match preset {
        Preset::Standard => &STANDARD,
        Preset::Hook0 => &HOOK0,
        Preset::Quick => &QUICK,
    };
    if let Some(Ok(name)) = value.as_str().map(str::parse) {
        return Ok(Arc::clone(preset(name)));
    }
    Schedule::deserialize(value).map(Arc::new)
}
