//! What a client may give (`read`), and how it changes the object.

mod caps;
mod read;
mod receiver;
mod target;

use schemas::control::{BodyForm, DeliveryOrder, SigningScheme, Subscription};
use schemas::event::StringMap;
use schemas::event_type::EventTypePattern;
use schemas::ids::{ApplicationId, SubscriptionId};
use schemas::problem::Code;
use serde_json::Value;
use signing::{Ed25519Key, Secret, SigningError};
use uuid::Uuid;
use vault::Vault;

#[cfg(test)]
pub(super) use self::read::FIELDS;
pub(super) use self::read::{DISABLE_AFTER_MS, MAX_AGE_MS};
pub(super) use self::target::METHODS;
use self::target::TargetInput;
use crate::custom_headers::MASK;
use crate::problem::{self, Problem};
use crate::subscription::auth::AuthInput;
use crate::subscription::keys::{self, Keys, OpenedKey};

/// A request's fields, checked. `None`: not given, keeps its value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Input {
    pub(crate) application_id: Option<String>,
    pub(crate) subscription_id: Option<SubscriptionId>,
    is_enabled: Option<bool>,
    is_paused: Option<bool>,
    event_types: Option<Vec<EventTypePattern>>,
    description: Option<Option<String>>,
    metadata: Option<StringMap>,
    labels: Option<StringMap>,
    target: Option<TargetInput>,
    dedicated_workers: Option<Vec<String>>,
    uid: Option<Option<String>>,
    secret: Option<String>,
    signing_secret: Option<String>,
    signing_private_key: Option<String>,
    filter: Option<Option<String>>,
    retry: Option<Option<Value>>,
    timeout_ms: Option<Option<u64>>,
    concurrency: Option<Option<u64>>,
    rate_per_second: Option<Option<f64>>,
    ordering: Option<DeliveryOrder>,
    signing: Option<Vec<SigningScheme>>,
    body: Option<BodyForm>,
    api_version: Option<Option<String>>,
    auth: Option<Option<AuthInput>>,
    disable_after_ms: Option<Option<u64>>,
    max_age_ms: Option<Option<u64>>,
}

/// What the snapshot and the moment say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) application: ApplicationId,
    /// For a new one.
    pub(crate) id: SubscriptionId,
    pub(crate) former: Option<&'a Subscription>,
    /// The listed end of `control`.
    pub(crate) end: i64,
    pub(crate) now_ms: i64,
    pub(crate) vault: &'a Vault,
}

// === impl Input ===

impl Input {
    /// The new object: what is given over what was there.
    pub(crate) fn apply(&self, facts: Facts<'_>) -> Result<Subscription, Problem> {
        let mut object = match facts.former {
            Some(former) => former.clone(),
            None => self.fresh(facts)?,
        };
        if self.subscription_id.is_some_and(|id| id != object.subscription_id) {
            return Err(Problem::field("subscription_id", Code::InvalidField, "cannot be changed"));
        }
        if let Some(former) = facts.former {
            receiver::check(self, former)?;
        }
        self.apply_plain(&mut object)?;
        caps::check(&object, facts.former)?;
        self.apply_enabled(&mut object, facts);
        let context = keys::context(&object);
        if let Some(target) = &self.target {
            object.target = target.seal(facts, &context)?;
        }
        self.apply_auth(&mut object, facts, &context)?;
        self.apply_secrets(&mut object, facts, &context)?;
        if facts.former != Some(&object) {
            object.updated_ms = facts.now_ms;
            // Those whose overlap is over sign nothing any more: any change is an occasion to forget them.
            object.secrets.retain(|secret| secret.expires_ms.is_none_or(|end_ms| end_ms > facts.now_ms));
        }
        Ok(object)
    }

    /// With the fields of a patch that were merged with the former ones.
    pub(super) fn with_merged(self, merged: Self) -> Self {
        Self {
            auth: merged.auth.or(self.auth),
            labels: merged.labels.or(self.labels),
            metadata: merged.metadata.or(self.metadata),
            retry: merged.retry.or(self.retry),
            target: merged.target.or(self.target),
            ..self
        }
    }

    fn fresh(&self, facts: Facts<'_>) -> Result<Subscription, Problem> {
        let required = |field: &str| Problem::field(field, Code::InvalidField, "is required");
        if self.target.is_none() {
            return Err(required("target"));
        }
        let mut object = Subscription::new(facts.id, facts.application, facts.now_ms);
        object.event_types = self.event_types.clone().ok_or_else(|| required("event_types"))?;
        if self.subscription_id.is_some() {
            // An id that was there before: what was queued for its former owner is not the new one's.
            object.cancel_before = Some(facts.end);
        }
        if self.is_enabled == Some(false) {
            object.disabled_ms = Some(facts.now_ms);
        }
        Ok(object)
    }

    fn apply_plain(&self, object: &mut Subscription) -> Result<(), Problem> {
        set(&mut object.event_types, self.event_types.as_ref());
        set(&mut object.description, self.description.as_ref());
        set(&mut object.metadata, self.metadata.as_ref());
        set(&mut object.labels, self.labels.as_ref());
        set(&mut object.dedicated_workers, self.dedicated_workers.as_ref());
        set(&mut object.uid, self.uid.as_ref());
        set(&mut object.filter, self.filter.as_ref());
        set(&mut object.retry, self.retry.as_ref());
        set(&mut object.timeout_ms, self.timeout_ms.as_ref());
        set(&mut object.rate_per_second, self.rate_per_second.as_ref());
        set(&mut object.ordering, self.ordering.as_ref());
        set(&mut object.signing, self.signing.as_ref());
        set(&mut object.body, self.body.as_ref());
        set(&mut object.api_version, self.api_version.as_ref());
        set(&mut object.disable_after_ms, self.disable_after_ms.as_ref());
        set(&mut object.max_age_ms, self.max_age_ms.as_ref());
        set(&mut object.is_paused, self.is_paused.as_ref());
        if let Some(concurrency) = self.concurrency {
            let small = |number| {
                u32::try_from(number).map_err(|error| problem::internal("the checked range fits 32 bits", &error))
            };
            object.concurrency = concurrency.map(small).transpose()?;
        }
        Ok(())
    }

    /// Disabling ends what is on its way: everything matched before the end this write was validated against.
    fn apply_enabled(&self, object: &mut Subscription, facts: Facts<'_>) {
        let Some(enabled) = self.is_enabled else { return };
        if enabled {
            object.disabled_reason = None;
            object.disabled_detail = None;
            object.disabled_ms = None;
        } else if object.is_enabled && facts.former.is_some() {
            object.cancel_before = Some(facts.end);
            object.disabled_ms = Some(facts.now_ms);
            // All of them are cancelled by that.
            object.skipped.clear();
            object.hurried.clear();
        }
        object.is_enabled = enabled;
    }

    fn apply_auth(&self, object: &mut Subscription, facts: Facts<'_>, context: &str) -> Result<(), Problem> {
        if let Some(auth) = &self.auth {
            let seal = |input: &AuthInput| input.seal(object.auth.as_ref(), facts.vault, context);
            object.auth = auth.as_ref().map(seal).transpose()?;
        }
        let twice = object.auth.as_ref().is_some_and(AuthInput::sets_header)
            && object.target.headers.contains_key("authorization");
        if twice {
            let message = "the custom header `authorization` and `auth` cannot both be there";
            return Err(Problem::field("auth", Code::InvalidField, message));
        }
        Ok(())
    }

    fn apply_secrets(&self, object: &mut Subscription, facts: Facts<'_>, context: &str) -> Result<(), Problem> {
        let seal = |text: &str| keys::seal(facts.vault, context, text);
        let mut keys = Keys::open(object, facts.vault)?;
        let wanted = self.wanted_secret(keys.secret())?;
        let new = match (wanted, keys.secret()) {
            (Some(secret), _) => Some(secret),
            (None, None) => Some(Secret::generate().map_err(keys::not_made)?),
            (None, Some(_)) => None,
        };
        let pair = match (self.wanted_pair(keys.pair())?, keys.pair()) {
            (Some(pair), _) => Some(pair),
            (None, None) if object.signing.contains(&SigningScheme::Ed25519) => {
                Some(Ed25519Key::generate().map_err(keys::not_made)?)
            }
            (None, _) => None,
        };
        if new.is_none() && pair.is_none() {
            return Ok(());
        }
        // A given secret takes the place of all others at once; a rotation is what lets the former one go on.
        if let Some(secret) = new {
            let sealed = seal(secret.expose())?;
            keys.secrets = vec![OpenedKey::current(secret, sealed)];
        }
        if let Some(pair) = pair {
            let sealed = seal(pair.expose())?;
            keys.pairs = vec![OpenedKey::current(pair, sealed)];
        }
        object.secrets = keys.into_stored();
        Ok(())
    }

    /// A secret that is given and is not what we show of the stored one.
    fn wanted_secret(&self, current: Option<&Secret>) -> Result<Option<Secret>, Problem> {
        let shown = |text: &str| {
            let text = text.trim();
            let hidden = text == MASK || text == Uuid::nil().to_string();
            hidden
                || current.is_some_and(|it| {
                    text == it.expose() || text == it.signing_secret().as_str() || text == it.display_uuid().to_string()
                })
        };
        let given = [("secret", &self.secret), ("signing_secret", &self.signing_secret)];
        let new =
            given.into_iter().find_map(|(field, text)| Some((field, text.as_deref().filter(|text| !shown(text))?)));
        let Some((field, text)) = new else { return Ok(None) };
        let wrong = |error: SigningError| Problem::field(field, Code::InvalidField, error.to_string());
        Secret::given(text).map(Some).map_err(wrong)
    }

    fn wanted_pair(&self, current: Option<&Ed25519Key>) -> Result<Option<Ed25519Key>, Problem> {
        let same = |text: &&str| *text == MASK || current.is_some_and(|it| it.expose() == *text);
        let Some(text) = self.signing_private_key.as_deref().filter(|text| !same(text)) else { return Ok(None) };
        let wrong = |error: SigningError| Problem::field("signing_private_key", Code::InvalidField, error.to_string());
        Ed25519Key::parse(text).map(Some).map_err(wrong)
    }
}

fn set<T: Clone>(place: &mut T, given: Option<&T>) {
    if let Some(given) = given {
        place.clone_from(given);
    }
}

#[cfg(test)]
mod tests;
