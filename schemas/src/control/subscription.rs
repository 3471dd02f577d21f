//! Subscriptions: who receives what, and how.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Sealed;
use crate::event_type::EventTypePattern;
use crate::ids::{ApplicationId, DeliveryId, SubscriptionId};

/// How a request is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SigningScheme {
    /// Standard Webhooks v1.
    Standard,
    /// Hook0 v1.
    Hook0,
    /// Hook0's body-only form.
    Hook0Body,
    /// Standard Webhooks v1a.
    Ed25519,
}

/// What the request body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyForm {
    /// The accepted bytes.
    #[default]
    Raw,
    /// `{"event_id","event_type","api_version","created_at","data"}`, data byte for byte.
    Envelope,
    /// A CloudEvents 1.0 JSON event, structured mode.
    Cloudevents,
}

/// What is delivered in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryOrder {
    /// Nothing: deliveries begin in order and overtake each other.
    #[default]
    None,
    /// Events with the same ordering key: one at a time, and one that fails holds back those behind it until it has ended.
    Key,
}

impl DeliveryOrder {
    /// Whether it is the default.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Where requests go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// HTTP method, upper case.
    pub method: String,
    /// Normalised URL.
    pub url: String,
    /// Custom headers, sealed one by one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Sealed>,
    /// Names of the custom headers whose values are masked in answers, beside those that always are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_headers: Vec<String>,
    /// The authorities that its certificate may come from, PEM; those that every target may have, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<String>,
}

/// How a request shows who sends it, beside its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Auth {
    /// HTTP basic.
    Basic {
        /// User name, without a colon.
        username: String,
        /// Password.
        password: Sealed,
    },
    /// `Authorization: Bearer`.
    Bearer {
        /// Token.
        token: Sealed,
    },
    /// OAuth 2 client credentials.
    Oauth2 {
        /// Where tokens are fetched, normalised.
        token_url: String,
        /// Client id.
        client_id: String,
        /// Client secret.
        client_secret: Sealed,
        /// Scopes asked for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        scopes: Vec<String>,
    },
    /// A client certificate.
    Mtls {
        /// Certificate chain, PEM.
        certificate: String,
        /// Private key, PEM.
        private_key: Sealed,
    },
}

/// One signing secret of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningSecret {
    /// The secret's text, sealed.
    pub sealed: Sealed,
    /// Signs until then, Unix ms; the current one has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<i64>,
}

/// A delivery that somebody has given up: it is cancelled when it comes back, and those that wait for it go on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedDelivery {
    /// Which.
    pub delivery: DeliveryId,
    /// It comes back no later, Unix ms.
    pub until_ms: i64,
}

/// A retry that others wait for and that somebody wants now, and not when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HurriedRetry {
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// When it is due, Unix ms: no other retry of the delivery is meant, and then it comes by itself.
    pub due_ms: i64,
}

/// Who receives what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    /// Id.
    pub subscription_id: SubscriptionId,
    /// Application.
    pub application_id: ApplicationId,
    /// Client-given id, unique in the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Whether it matches events.
    pub is_enabled: bool,
    /// Why the control plane disabled it, if it did (`gone`, `failing`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<String>,
    /// A sentence about that, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_detail: Option<String>,
    /// When it was disabled, by whomever, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_ms: Option<i64>,
    /// Lets deliveries wait instead of sending them.
    #[serde(default)]
    pub is_paused: bool,
    /// Event types and patterns.
    pub event_types: Vec<EventTypePattern>,
    /// Labels an event must all carry; empty matches every event.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The client's own data.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// A CEL expression an event must fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Where requests go.
    pub target: Target,
    /// How requests show who sends them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Signing secrets, current one first.
    pub secrets: Vec<SigningSecret>,
    /// Signature schemes.
    pub signing: Vec<SigningScheme>,
    /// Body form.
    #[serde(default)]
    pub body: BodyForm,
    /// For the envelope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Retry policy as given; the default schedule if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Value>,
    /// Whole attempt, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Requests in flight at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Requests per second at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// What is delivered in order, of the events that are matched from now on.
    #[serde(default, skip_serializing_if = "DeliveryOrder::is_none")]
    pub ordering: DeliveryOrder,
    /// A delivery's whole life, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_ms: Option<u64>,
    /// Failing for so long without a success disables it, ms; the default is the operator's, 0 is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_after_ms: Option<u64>,
    /// Hook0's worker names, kept as given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dedicated_workers: Vec<String>,
    /// Deliveries that held back others with their ordering key and were given up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedDelivery>,
    /// Retries that held back others with their ordering key and are wanted now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hurried: Vec<HurriedRetry>,
    /// Deliveries matched at a smaller control offset are cancelled (set when it is disabled).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_before: Option<i64>,
    /// Unix ms.
    pub created_ms: i64,
    /// Unix ms.
    pub updated_ms: i64,
}

// === impl Subscription ===

impl Subscription {
    /// A new one with the defaults: enabled, signed both ways, the accepted bytes as the body. Without event types, target
    /// and secrets, which its maker gives.
    #[must_use]
    pub fn new(subscription_id: SubscriptionId, application_id: ApplicationId, now_ms: i64) -> Self {
        Self {
            subscription_id,
            application_id,
            uid: None,
            is_enabled: true,
            disabled_reason: None,
            disabled_detail: None,
            disabled_ms: None,
            is_paused: false,
            event_types: Vec::new(),
            labels: BTreeMap::new(),
            description: None,
            metadata: BTreeMap::new(),
            filter: None,
            target: Target::default(),
            auth: None,
            secrets: Vec::new(),
            signing: vec![SigningScheme::Standard, SigningScheme::Hook0],
            body: BodyForm::Raw,
            api_version: None,
            retry: None,
            timeout_ms: None,
            concurrency: None,
            rate_per_second: None,
            ordering: DeliveryOrder::None,
            max_age_ms: None,
            disable_after_ms: None,
            dedicated_workers: Vec::new(),
            skipped: Vec::new(),
            hurried: Vec::new(),
            cancel_before: None,
            created_ms: now_ms,
            updated_ms: now_ms,
        }
    }
}
