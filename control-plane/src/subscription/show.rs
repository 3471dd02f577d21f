//! What a subscription looks like from outside. Required fields are always there: the published clients decode strictly.

use catalog::sealed;
use schemas::control::{BodyForm, ControlKey, SigningScheme, Subscription};
use serde_json::{Map, Value, json};
use signing::{Ed25519Key, Scheme, Secret};
use vault::Vault;

use crate::api::time;
use crate::custom_headers::{MASK, is_secret};
use crate::problem::{self, Problem};

/// The opened secrets of a subscription.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Shared secrets, the current one first.
    pub(super) secrets: Vec<Secret>,
    /// `whpk_` of the ed25519 pair, if there is one.
    pub(super) public: Option<String>,
    /// Where the pair stands among the object's secrets.
    pair_at: Option<usize>,
}

impl Keys {
    pub(super) fn open(object: &Subscription, vault: &Vault) -> Result<Self, Problem> {
        let context = context(object);
        let unreadable = |error: signing::SigningError| problem::internal("a stored secret cannot be read", &error);
        let mut keys = Self::default();
        for (at, secret) in object.secrets.iter().enumerate() {
            let text = sealed::open_text(vault, &context, &secret.sealed).map_err(|error| problem::vault(&error))?;
            if text.starts_with("whsk_") {
                keys.public = Some(Ed25519Key::parse(&text).map_err(unreadable)?.public().to_string());
                keys.pair_at = Some(at);
            } else {
                keys.secrets.push(Secret::parse(&text).map_err(unreadable)?);
            }
        }
        Ok(keys)
    }

    /// Where key pairs stand among the object's secrets.
    pub(super) fn pairs(&self) -> impl Iterator<Item = usize> {
        self.pair_at.into_iter()
    }
}

/// The JSON of an answer.
pub(crate) fn show(object: &Subscription, vault: &Vault) -> Result<Value, Problem> {
    let keys = Keys::open(object, vault)?;
    let first = object.labels.first_key_value();
    let mut shown = json!({
        "application_id": object.application_id,
        "subscription_id": object.subscription_id,
        "is_enabled": object.is_enabled,
        "is_paused": object.is_paused,
        "event_types": object.event_types,
        "description": object.description,
        "secret": keys.secrets.first().map(Secret::display_uuid),
        "signing_secret": keys.secrets.first().map(|secret| secret.signing_secret().to_string()),
        "metadata": object.metadata,
        "label_key": first.map_or("", |(key, _)| key),
        "label_value": first.map_or("", |(_, value)| value),
        "labels": object.labels,
        "target": target(object, vault)?,
        "created_at": time(object.created_ms),
        "updated_at": time(object.updated_ms),
        "dedicated_workers": object.dedicated_workers,
        "signing": object.signing,
        "body": match object.body { BodyForm::Raw => "raw", BodyForm::Envelope => "envelope" },
    });
    let optional = [
        ("uid", json!(object.uid)),
        ("disabled_reason", json!(object.disabled_reason)),
        ("signing_public_key", json!(keys.public.filter(|_| object.signing.contains(&SigningScheme::Ed25519)))),
        ("api_version", json!(object.api_version)),
        ("retry", json!(object.retry)),
        ("timeout_ms", json!(object.timeout_ms)),
        ("concurrency", json!(object.concurrency)),
        ("rate_per_second", json!(object.rate_per_second)),
        ("max_age_ms", json!(object.max_age_ms)),
    ];
    for (name, value) in optional {
        if !value.is_null() {
            shown[name] = value;
        }
    }
    Ok(shown)
}

fn target(object: &Subscription, vault: &Vault) -> Result<Value, Problem> {
    let context = context(object);
    let mut headers = Map::new();
    for (name, value) in &object.target.headers {
        let shown = if is_secret(name) {
            MASK.to_owned()
        } else {
            sealed::open_text(vault, &context, value).map_err(|error| problem::vault(&error))?.to_string()
        };
        headers.insert(name.clone(), Value::String(shown));
    }
    Ok(json!({ "type": "http", "method": object.target.method, "url": object.target.url, "headers": headers }))
}

fn context(object: &Subscription) -> String {
    ControlKey::Subscription(object.application_id, object.subscription_id).to_string()
}

pub(super) fn scheme(scheme: Scheme) -> SigningScheme {
    match scheme {
        Scheme::Standard => SigningScheme::Standard,
        Scheme::Hook0 => SigningScheme::Hook0,
        Scheme::Hook0Body => SigningScheme::Hook0Body,
        Scheme::Ed25519 => SigningScheme::Ed25519,
    }
}
