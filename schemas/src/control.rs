//! The catalog's changelog on `control`: one JSON object per key `type/scope/id`, a tombstone when it is gone.
//!
//! Secrets are sealed (AES-256-GCM, key id beside) by whoever writes; this module only gives them a place. Every record
//! carries `hookbus-version`, `hookbus-write-id` and `hookbus-actor` as headers, tombstones too.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::event_type::{EventTypeName, EventTypePattern};
use crate::ids::{ApplicationId, OrganizationId, SecretId, SubscriptionId};

/// Current version of the shapes here.
pub const VERSION: u8 = 1;

/// The key of a control record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ControlKey {
    /// `organization/-/id`
    Organization(OrganizationId),
    /// `application/organization/id`
    Application(OrganizationId, ApplicationId),
    /// `application_secret/application/id`
    ApplicationSecret(ApplicationId, SecretId),
    /// `event_type/application/name`
    EventType(ApplicationId, EventTypeName),
    /// `subscription/application/id`
    Subscription(ApplicationId, SubscriptionId),
}

/// An object of the catalog.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlObject {
    /// A tenant.
    Organization(Organization),
    /// A scope of events.
    Application(Application),
    /// A token of an application.
    ApplicationSecret(ApplicationSecret),
    /// A declared event type.
    EventType(EventType),
    /// Who receives what.
    Subscription(Box<Subscription>),
}

/// AES-256-GCM ciphertext, all parts base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Id of the key it was sealed with.
    pub kid: String,
    /// Nonce, 12 bytes.
    pub nonce: String,
    /// Ciphertext and tag.
    pub ct: String,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// Id.
    pub organization_id: OrganizationId,
    /// Name.
    pub name: String,
    /// Unix ms.
    pub created_ms: i64,
    /// Client-given id, unique in the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// What happens to records whose event type is not declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownEventTypes {
    /// To `rejected`.
    Reject,
    /// Delivered to subscriptions whose pattern fits.
    #[default]
    Accept,
    /// Declared on sight.
    Declare,
}

/// A scope of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Id.
    pub application_id: ApplicationId,
    /// Owner.
    pub organization_id: OrganizationId,
    /// Name.
    pub name: String,
    /// Unix ms.
    pub created_ms: i64,
    /// Client-given id, unique in the organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// For events that come through a topic.
    #[serde(default)]
    pub unknown_event_types: UnknownEventTypes,
}

/// A token of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationSecret {
    /// Id of this object.
    pub secret_id: SecretId,
    /// Application it opens.
    pub application_id: ApplicationId,
    /// Name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Keyed hash of the token, lower-case hex.
    pub lookup: String,
    /// The token, sealed: editors may list it.
    pub token: Sealed,
    /// Unix ms.
    pub created_ms: i64,
}

/// A declared event type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventType {
    /// Application.
    pub application_id: ApplicationId,
    /// Name.
    pub name: EventTypeName,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Unix ms.
    pub created_ms: i64,
}

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
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// HTTP method, upper case.
    pub method: String,
    /// Normalised URL.
    pub url: String,
    /// Custom headers, sealed one by one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Sealed>,
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
    /// Parks deliveries instead of sending them.
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
    /// Where requests go.
    pub target: Target,
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
    /// A delivery's whole life, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_ms: Option<u64>,
    /// Hook0's worker names, kept as given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dedicated_workers: Vec<String>,
    /// Deliveries matched at a smaller control offset are cancelled (set when it is disabled).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_before: Option<i64>,
    /// Unix ms.
    pub created_ms: i64,
    /// Unix ms.
    pub updated_ms: i64,
}

// === impl Sealed ===

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(key {})", self.kid)
    }
}

// === impl ControlKey ===

impl fmt::Display for ControlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organization(id) => write!(f, "organization/-/{id}"),
            Self::Application(organization, id) => write!(f, "application/{organization}/{id}"),
            Self::ApplicationSecret(application, id) => write!(f, "application_secret/{application}/{id}"),
            Self::EventType(application, name) => write!(f, "event_type/{application}/{name}"),
            Self::Subscription(application, id) => write!(f, "subscription/{application}/{id}"),
        }
    }
}

impl ControlKey {
    /// Reads a key. `None` is a type this build does not know (a newer writer) or no key of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let (kind, scope, id) = (parts.next()?, parts.next()?, parts.next()?);
        let uuid = |text: &str| Uuid::parse_str(text).ok();
        match kind {
            "organization" => Some(Self::Organization(uuid(id)?.into())),
            "application" => Some(Self::Application(uuid(scope)?.into(), uuid(id)?.into())),
            "application_secret" => Some(Self::ApplicationSecret(uuid(scope)?.into(), uuid(id)?.into())),
            "event_type" => Some(Self::EventType(uuid(scope)?.into(), EventTypeName::parse(id).ok()?)),
            "subscription" => Some(Self::Subscription(uuid(scope)?.into(), uuid(id)?.into())),
            _unknown => None,
        }
    }
}

// === impl ControlObject ===

impl ControlObject {
    /// The key it is stored under.
    #[must_use]
    pub fn key(&self) -> ControlKey {
        match self {
            Self::Organization(it) => ControlKey::Organization(it.organization_id),
            Self::Application(it) => ControlKey::Application(it.organization_id, it.application_id),
            Self::ApplicationSecret(it) => ControlKey::ApplicationSecret(it.application_id, it.secret_id),
            Self::EventType(it) => ControlKey::EventType(it.application_id, it.name.clone()),
            Self::Subscription(it) => ControlKey::Subscription(it.application_id, it.subscription_id),
        }
    }

    /// Encodes the value.
    ///
    /// # Errors
    /// When a number is not finite (JSON has no word for it).
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Self::Organization(it) => serde_json::to_vec(it),
            Self::Application(it) => serde_json::to_vec(it),
            Self::ApplicationSecret(it) => serde_json::to_vec(it),
            Self::EventType(it) => serde_json::to_vec(it),
            Self::Subscription(it) => serde_json::to_vec(it),
        }
    }

    /// Decodes a value by its key.
    ///
    /// # Errors
    /// When the value is not the shape its key names.
    pub fn decode(key: &ControlKey, value: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(match key {
            ControlKey::Organization(_) => Self::Organization(serde_json::from_slice(value)?),
            ControlKey::Application(..) => Self::Application(serde_json::from_slice(value)?),
            ControlKey::ApplicationSecret(..) => Self::ApplicationSecret(serde_json::from_slice(value)?),
            ControlKey::EventType(..) => Self::EventType(serde_json::from_slice(value)?),
            ControlKey::Subscription(..) => Self::Subscription(serde_json::from_slice(value)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip_and_unknown_ones_are_left_alone() {
        let application = ApplicationId(Uuid::from_u128(1));
        for key in [
            ControlKey::Organization(OrganizationId(Uuid::from_u128(9))),
            ControlKey::EventType(application, EventTypeName::parse("invoice.paid").unwrap()),
            ControlKey::Subscription(application, SubscriptionId(Uuid::from_u128(2))),
        ] {
            assert_eq!(ControlKey::parse(&key.to_string()), Some(key));
        }
        assert_eq!(ControlKey::parse("flux/1/2"), None);
        assert_eq!(ControlKey::parse("organization"), None);
    }

    #[test]
    fn the_golden_subscription_of_version_1_still_decodes() {
        let golden = include_str!("../golden/subscription.v1.json").trim();
        let key =
            ControlKey::parse("subscription/c0ea6ffa-1972-4435-b434-ec9e93d38f42/00000000-0000-0000-0000-000000000002")
                .unwrap();
        let object = ControlObject::decode(&key, golden.as_bytes()).unwrap();
        assert_eq!(object.key(), key);
        assert_eq!(String::from_utf8(object.encode().unwrap()).unwrap(), golden);
    }
}
