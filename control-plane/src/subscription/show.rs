//! What a subscription looks like from outside. Required fields are always there: the published clients decode strictly.
//!
//! Whoever may only read sees no secret: the clients' required `secret` is then the nil UUID, which sent back changes nothing.

use std::collections::BTreeMap;

use catalog::sealed;
use schemas::control::{Auth, BodyForm, DeliveryOrder, SigningScheme, Subscription, Target};
use schemas::event_type::EventTypePattern;
use schemas::ids::{ApplicationId, SubscriptionId};
use schemas::secret_header::is_always_secret;
use serde::Serialize;
use serde_json::Value;
use signing::{Scheme, Secret};
use utoipa::ToSchema;
use uuid::Uuid;
use vault::Vault;

use super::keys::{self, Keys};
use crate::api::time;
use crate::custom_headers::MASK;
use crate::problem::{self, Problem};

/// Whether the reader may see secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sees {
    /// An editor.
    Secrets,
    /// A viewer.
    NoSecrets,
}

/// What showing depends on, beside the object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) vault: &'a Vault,
    pub(crate) now_ms: i64,
    pub(crate) sees: Sees,
}

/// A subscription as it is shown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Subscription, example = json!({
    "application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42",
    "subscription_id": "01a20186-21cb-7749-81d0-b27446f73332",
    "is_enabled": true,
    "is_paused": false,
    "event_types": ["invoice.*"],
    "description": null,
    "secret": "62268c7e-5fae-4c86-8a9f-f4c95da3a93b",
    "signing_secret": "whsec_NjIyNjhjN2UtNWZhZS00Yzg2LThhOWYtZjRjOTVkYTNhOTNi",
    "metadata": {},
    "label_key": "environment",
    "label_value": "production",
    "labels": {"environment": "production"},
    "target": {"type": "http", "method": "POST", "url": "https://example.com/webhooks", "headers": {"x-tenant": "a"}},
    "signing": ["standard", "hook0"],
    "body": "raw",
    "dedicated_workers": [],
    "created_at": "2026-11-22T04:31:37.419Z",
    "updated_at": "2026-11-22T04:31:37.419Z",
}))]
pub(crate) struct SubscriptionShown {
    #[schema(value_type = Uuid)]
    application_id: ApplicationId,
    #[schema(value_type = Uuid)]
    subscription_id: SubscriptionId,
    /// The client's own id, unique in the application; stands wherever the id may.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    /// Whether it matches events.
    is_enabled: bool,
    /// Why Hookbus disabled it: `gone` (the endpoint answered 410 or asked for it) or `failing` (longer than `disable_after`).
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_reason: Option<String>,
    /// A sentence about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_detail: Option<String>,
    /// When it was disabled, by whomever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    disabled_at: Option<String>,
    /// Whether its deliveries wait.
    is_paused: bool,
    /// Event types and patterns: `*` is one part, a final `**` one or more.
    #[schema(value_type = Vec<String>)]
    event_types: Vec<EventTypePattern>,
    description: Option<String>,
    /// The signing secret, where it is a UUID; else a UUID that stands for it.
    secret: Uuid,
    /// The same as Standard Webhooks verifiers take it: `whsec_` and base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret: Option<String>,
    /// What ed25519 signatures are verified with: `whpk_` and base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_public_key: Option<String>,
    /// Secrets of before a rotation, which go on signing for a while.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    former_secrets: Vec<FormerSecret>,
    metadata: BTreeMap<String, String>,
    /// The first label's key, `""` if there is none.
    label_key: String,
    /// The first label's value, `""` if there is none.
    label_value: String,
    /// An event must have them all; none match every event.
    labels: BTreeMap<String, String>,
    /// A CEL expression an event must fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<String>,
    target: TargetShown,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<AuthShown>,
    /// How requests are signed.
    #[schema(value_type = Vec<String>)]
    signing: Vec<SigningScheme>,
    /// What the request's body is.
    #[schema(value_type = String)]
    body: BodyForm,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<String>,
    /// A preset's name, a list of delays, or `{"exponential": {...}}`; `standard` where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    retry: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_per_second: Option<f64>,
    /// `key`: of events with the same ordering key one at a time and in order; `none` where it is absent.
    #[serde(skip_serializing_if = "DeliveryOrder::is_none")]
    #[schema(value_type = Option<String>)]
    ordering: DeliveryOrder,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age_ms: Option<u64>,
    /// Failing for so long without a success disables it; 0 is never, absent is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_after_ms: Option<u64>,
    dedicated_workers: Vec<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// Where requests go.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Target)]
pub(crate) struct TargetShown {
    /// `http`.
    r#type: &'static str,
    method: String,
    url: String,
    /// Custom headers; secret values are masked.
    headers: BTreeMap<String, String>,
    /// Which of them are secret, beside those that always are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secret_headers: Vec<String>,
    /// The authorities that its certificate may come from, and no other, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_certificates: Option<String>,
}

/// A secret that signs until its end.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FormerSecret {
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_public_key: Option<String>,
    #[schema(format = DateTime)]
    expires_at: String,
}

/// How a request shows who sends it. Secrets are masked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = Auth)]
pub(crate) enum AuthShown {
    Basic { username: String, password: &'static str },
    Bearer { token: &'static str },
    Oauth2 { token_url: String, client_id: String, client_secret: &'static str, scopes: Vec<String> },
    Mtls { certificate: String, private_key: &'static str },
}

/// The answer.
pub(crate) fn show(object: &Subscription, view: View<'_>) -> Result<SubscriptionShown, Problem> {
    let keys = Keys::open(object, view.vault)?;
    let secret = keys.secret().filter(|_| view.sees == Sees::Secrets);
    let public = keys.pair().filter(|_| object.signing.contains(&SigningScheme::Ed25519));
    let first = object.labels.first_key_value();
    Ok(SubscriptionShown {
        application_id: object.application_id,
        subscription_id: object.subscription_id,
        uid: object.uid.clone(),
        is_enabled: object.is_enabled,
        disabled_reason: object.disabled_reason.clone(),
        disabled_detail: object.disabled_detail.clone(),
        disabled_at: object.disabled_ms.map(time),
        is_paused: object.is_paused,
        event_types: object.event_types.clone(),
        description: object.description.clone(),
        secret: secret.map_or_else(Uuid::nil, Secret::display_uuid),
        signing_secret: secret.map(|secret| secret.signing_secret().to_string()),
        signing_public_key: public.map(|pair| pair.public().to_string()),
        former_secrets: former(&keys, view),
        metadata: object.metadata.clone(),
        label_key: first.map_or_else(String::new, |(key, _)| key.clone()),
        label_value: first.map_or_else(String::new, |(_, value)| value.clone()),
        labels: object.labels.clone(),
        filter: object.filter.clone(),
        target: target(&object.target, &keys::context(object), view.vault)?,
        auth: object.auth.as_ref().map(AuthShown::of),
        signing: object.signing.clone(),
        body: object.body,
        api_version: object.api_version.clone(),
        retry: object.retry.clone(),
        timeout_ms: object.timeout_ms,
        concurrency: object.concurrency,
        rate_per_second: object.rate_per_second,
        ordering: object.ordering,
        max_age_ms: object.max_age_ms,
        disable_after_ms: object.disable_after_ms,
        dedicated_workers: object.dedicated_workers.clone(),
        created_at: time(object.created_ms),
        updated_at: time(object.updated_ms),
    })
}

/// Those that have an end and have not reached it.
fn former(keys: &Keys, view: View<'_>) -> Vec<FormerSecret> {
    let end = |expires_ms: Option<i64>| expires_ms.filter(|end_ms| *end_ms > view.now_ms).map(time);
    let secrets = keys.secrets.iter().filter_map(|held| {
        let shown = (view.sees == Sees::Secrets).then(|| held.key.signing_secret().to_string());
        let expires_at = end(held.stored.expires_ms)?;
        Some(FormerSecret { signing_secret: shown, signing_public_key: None, expires_at })
    });
    let pairs = keys.pairs.iter().filter_map(|held| {
        let expires_at = end(held.stored.expires_ms)?;
        let public = Some(held.key.public().to_string());
        Some(FormerSecret { signing_secret: None, signing_public_key: public, expires_at })
    });
    secrets.chain(pairs).collect()
}

fn target(target: &Target, context: &str, vault: &Vault) -> Result<TargetShown, Problem> {
    let mut headers = BTreeMap::new();
    for (name, value) in &target.headers {
        let shown = if is_always_secret(name) || target.secret_headers.contains(name) {
            MASK.to_owned()
        } else {
            sealed::open_text(vault, context, value).map_err(|error| problem::vault(&error))?.to_string()
        };
        headers.insert(name.clone(), shown);
    }
    Ok(TargetShown {
        r#type: "http",
        method: target.method.clone(),
        url: target.url.clone(),
        headers,
        secret_headers: target.secret_headers.clone(),
        ca_certificates: target.ca_certificates.clone(),
    })
}

// === impl AuthShown ===

impl AuthShown {
    fn of(auth: &Auth) -> Self {
        match auth {
            Auth::Basic { username, password: _ } => Self::Basic { username: username.clone(), password: MASK },
            Auth::Bearer { token: _ } => Self::Bearer { token: MASK },
            Auth::Oauth2 { token_url, client_id, client_secret: _, scopes } => Self::Oauth2 {
                token_url: token_url.clone(),
                client_id: client_id.clone(),
                client_secret: MASK,
                scopes: scopes.clone(),
            },
            Auth::Mtls { certificate, private_key: _ } => {
                Self::Mtls { certificate: certificate.clone(), private_key: MASK }
            }
        }
    }
}

pub(super) fn scheme(scheme: Scheme) -> SigningScheme {
    match scheme {
        Scheme::Standard => SigningScheme::Standard,
        Scheme::Hook0 => SigningScheme::Hook0,
        Scheme::Hook0Body => SigningScheme::Hook0Body,
        Scheme::Ed25519 => SigningScheme::Ed25519,
    }
}
