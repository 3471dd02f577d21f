//! What a client may give (`read`), and how it changes the object.

mod read;

use std::collections::BTreeMap;

use catalog::sealed;
use schemas::control::{BodyForm, ControlKey, Sealed, SigningScheme, SigningSecret, Subscription, Target};
use schemas::event::StringMap;
use schemas::event_type::EventTypePattern;
use schemas::ids::{ApplicationId, SubscriptionId};
use schemas::problem::Code;
use serde_json::Value;
use signing::{Ed25519Key, Secret};
use vault::Vault;

use crate::custom_headers::Given;
use crate::problem::{self, Problem};
use crate::subscription::show;

/// A request's fields, checked. `None`: not given, keeps its value.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) application_id: Option<String>,
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
    retry: Option<Option<Value>>,
    timeout_ms: Option<Option<u64>>,
    concurrency: Option<Option<u64>>,
    rate_per_second: Option<Option<f64>>,
    signing: Option<Vec<SigningScheme>>,
    body: Option<BodyForm>,
    api_version: Option<Option<String>>,
    max_age_ms: Option<Option<u64>>,
}

#[derive(Debug)]
struct TargetInput {
    method: String,
    url: String,
    headers: Option<Vec<(String, Given)>>,
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
        let required = |field: &str| Problem::field(field, Code::InvalidField, "is required");
        let mut object = match facts.former {
            Some(former) => former.clone(),
            None => Subscription {
                event_types: self.event_types.clone().ok_or_else(|| required("event_types"))?,
                ..empty(facts)
            },
        };
        if facts.former.is_none() && self.target.is_none() {
            return Err(required("target"));
        }
        self.apply_plain(&mut object)?;
        self.apply_enabled(&mut object, facts);
        let context = ControlKey::Subscription(object.application_id, object.subscription_id).to_string();
        if let Some(target) = &self.target {
            object.target = target.seal(facts, &context)?;
        }
        self.apply_secrets(&mut object, facts, &context)?;
        if facts.former != Some(&object) {
            object.updated_ms = facts.now_ms;
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
        set(&mut object.retry, self.retry.as_ref());
        set(&mut object.timeout_ms, self.timeout_ms.as_ref());
        set(&mut object.rate_per_second, self.rate_per_second.as_ref());
        set(&mut object.signing, self.signing.as_ref());
        set(&mut object.body, self.body.as_ref());
        set(&mut object.api_version, self.api_version.as_ref());
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
        if object.is_enabled && !enabled && facts.former.is_some() {
            object.cancel_before = Some(facts.end);
        }
        if enabled {
            object.disabled_reason = None;
        }
        object.is_enabled = enabled;
    }

    fn apply_secrets(&self, object: &mut Subscription, facts: Facts<'_>, context: &str) -> Result<(), Problem> {
        let seal = |text: &str| sealed::seal_text(facts.vault, context, text).map_err(|error| problem::vault(&error));
        let signing = |error| problem::internal("a signing secret could not be made", &error as &signing::SigningError);
        let keys = show::Keys::open(object, facts.vault)?;
        let current = keys.secrets.first();
        let wanted = self.wanted_secret(current)?;
        let new = match (wanted, current) {
            (Some(secret), _) => Some(secret),
            (None, None) => Some(Secret::generate().map_err(signing)?),
            (None, Some(_)) => None,
        };
        if let Some(secret) = new {
            // The shared secrets go, the ed25519 key pair stays.
            let kept: Vec<SigningSecret> = keys.pairs().map(|at| object.secrets[at].clone()).collect();
            object.secrets = vec![SigningSecret { sealed: seal(secret.expose())?, expires_ms: None }];
            object.secrets.extend(kept);
        }
        if object.signing.contains(&SigningScheme::Ed25519) && keys.public.is_none() {
            let pair = Ed25519Key::generate().map_err(signing)?;
            object.secrets.push(SigningSecret { sealed: seal(pair.expose())?, expires_ms: None });
        }
        Ok(())
    }

    /// A secret that is given and is not what we show of the stored one.
    fn wanted_secret(&self, current: Option<&Secret>) -> Result<Option<Secret>, Problem> {
        let shown = |text: &str| {
            current.is_some_and(|it| {
                text == it.expose() || text == it.signing_secret().as_str() || text == it.display_uuid().to_string()
            })
        };
        let given = [("secret", &self.secret), ("signing_secret", &self.signing_secret)];
        let new =
            given.into_iter().find_map(|(field, text)| Some((field, text.as_deref().filter(|text| !shown(text))?)));
        let Some((field, text)) = new else { return Ok(None) };
        let wrong = |error: signing::SigningError| Problem::field(field, Code::InvalidField, error.to_string());
        Secret::parse(text).map(Some).map_err(wrong)
    }
}

impl TargetInput {
    fn seal(&self, facts: Facts<'_>, context: &str) -> Result<Target, Problem> {
        let former = facts.former.map(|former| &former.target.headers);
        let headers = match (&self.headers, former) {
            (Some(headers), _) => {
                let mut sealed = BTreeMap::new();
                for (name, given) in headers {
                    sealed.insert(name.clone(), seal_header(name, given, former, facts.vault, context)?);
                }
                sealed
            }
            (None, Some(former)) => former.clone(),
            (None, None) => BTreeMap::new(),
        };
        Ok(Target { method: self.method.clone(), url: self.url.clone(), headers })
    }
}

/// An unchanged value keeps its envelope, so that an unchanged object is seen to be one.
fn seal_header(
    name: &str,
    given: &Given,
    former: Option<&BTreeMap<String, Sealed>>,
    vault: &Vault,
    context: &str,
) -> Result<Sealed, Problem> {
    let stored = former.and_then(|headers| headers.get(name));
    match (given, stored) {
        (Given::Masked, Some(stored)) => Ok(stored.clone()),
        (Given::Masked, None) => {
            let message = format!("`{name}` holds the mask, and no value is stored");
            Err(Problem::field("target.headers", Code::InvalidField, message))
        }
        (Given::Value(value), stored) => {
            if let Some(stored) = stored
                && sealed::open_text(vault, context, stored).is_ok_and(|text| *text == *value)
            {
                return Ok(stored.clone());
            }
            sealed::seal_text(vault, context, value).map_err(|error| problem::vault(&error))
        }
    }
}

fn set<T: Clone>(place: &mut T, given: Option<&T>) {
    if let Some(given) = given {
        place.clone_from(given);
    }
}

fn empty(facts: Facts<'_>) -> Subscription {
    Subscription {
        subscription_id: facts.id,
        application_id: facts.application,
        uid: None,
        is_enabled: true,
        disabled_reason: None,
        is_paused: false,
        event_types: Vec::new(),
        labels: StringMap::new(),
        description: None,
        metadata: StringMap::new(),
        target: Target { method: String::new(), url: String::new(), headers: BTreeMap::new() },
        secrets: Vec::new(),
        signing: vec![SigningScheme::Standard, SigningScheme::Hook0],
        body: BodyForm::Raw,
        api_version: None,
        retry: None,
        timeout_ms: None,
        concurrency: None,
        rate_per_second: None,
        max_age_ms: None,
        dedicated_workers: Vec::new(),
        cancel_before: None,
        created_ms: facts.now_ms,
        updated_ms: facts.now_ms,
    }
}

#[cfg(test)]
mod tests;
