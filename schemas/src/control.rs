//! The catalog's changelog on `control`: one JSON object per key `type/scope/id`, a tombstone when it is gone.
//!
//! Secrets are sealed (AES-256-GCM, key id beside) by whoever writes; this module only gives them a place. Every record
//! carries `hookbus-version` (its [`shape`]), `hookbus-write-id`, `hookbus-write-size` and `hookbus-actor` as headers, tombstones too, and
//! `hookbus-transaction-id` where several writes share a transaction.

mod answer;
mod application;
mod cancelled_job;
mod organization;
pub mod schema_registry;
mod sealed;
pub mod shape;
pub mod source;
mod source_options;
mod subscription;

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event_type::EventTypeName;
use crate::ids::{
    AnswerId, ApplicationId, JobId, OrganizationId, SchemaRegistryId, SecretId, ServiceTokenId, SourceId,
    SubscriptionId,
};

pub use answer::{KEPT_MS, KeptAnswer};
pub use application::{Application, ApplicationSecret, EventType, RetiredApplication, UnknownEventTypes};
pub use cancelled_job::{CANCELLED_MS, CancelledJob, MAX_CANCELLED_JOBS};
pub use organization::{Limits, Organization, ServiceToken, TokenRole};
pub use schema_registry::{RegistryAuth, SchemaRegistry};
pub use source::{SourceFormat, SourceStart, TopicSource};
pub use source_options::{
    AvroOptions, AvroUnions, BinaryOptions, DebeziumOptions, JsonOptions, JsonSchemaOptions, LogicalTypes,
    ProtobufFieldNames, ProtobufInt64, ProtobufOptions, SourceOptions, ValueFrame,
};
pub use subscription::{
    Auth, BodyForm, DeliveryOrder, HurriedRetry, SigningScheme, SigningSecret, SkippedDelivery, Subscription, Target,
};

/// The key of a control record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ControlKey {
    /// `organization/-/id`
    Organization(OrganizationId),
    /// `service_token/organization/id`
    ServiceToken(OrganizationId, ServiceTokenId),
    /// `application/organization/id`
    Application(OrganizationId, ApplicationId),
    /// `application_secret/application/id`
    ApplicationSecret(ApplicationId, SecretId),
    /// `retired/application/id`
    RetiredApplication(ApplicationId),
    /// `event_type/application/name`
    EventType(ApplicationId, EventTypeName),
    /// `subscription/application/id`
    Subscription(ApplicationId, SubscriptionId),
    /// `source/organization/id`
    Source(OrganizationId, SourceId),
    /// `schema_registry/-/id`
    SchemaRegistry(SchemaRegistryId),
    /// `answer/organization/id`, `answer/-/id` of the operator
    KeptAnswer(Option<OrganizationId>, AnswerId),
    /// `cancelled_job/application/job`
    CancelledJob(ApplicationId, JobId),
}

/// An object of the catalog.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlObject {
    /// A tenant.
    Organization(Organization),
    /// A token of an organization.
    ServiceToken(ServiceToken),
    /// A scope of events.
    Application(Application),
    /// A token of an application.
    ApplicationSecret(ApplicationSecret),
    /// An application that is no more.
    RetiredApplication(RetiredApplication),
    /// A declared event type.
    EventType(EventType),
    /// Who receives what.
    Subscription(Box<Subscription>),
    /// Topics of others that are read.
    Source(Box<TopicSource>),
    /// Where schemas of records are asked for.
    SchemaRegistry(Box<SchemaRegistry>),
    /// What a request was answered, for a repeat of it.
    KeptAnswer(KeptAnswer),
    /// A job of which nothing more is sent. Whoever does not know it sends what is queued.
    CancelledJob(CancelledJob),
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
            Self::ServiceToken(organization, id) => write!(f, "service_token/{organization}/{id}"),
            Self::Application(organization, id) => write!(f, "application/{organization}/{id}"),
            Self::ApplicationSecret(application, id) => write!(f, "application_secret/{application}/{id}"),
            Self::RetiredApplication(id) => write!(f, "retired/application/{id}"),
            Self::EventType(application, name) => write!(f, "event_type/{application}/{name}"),
            Self::Subscription(application, id) => write!(f, "subscription/{application}/{id}"),
            Self::Source(organization, id) => write!(f, "source/{organization}/{id}"),
            Self::SchemaRegistry(id) => write!(f, "schema_registry/-/{id}"),
            Self::KeptAnswer(Some(organization), id) => write!(f, "answer/{organization}/{id}"),
            Self::KeptAnswer(None, id) => write!(f, "answer/-/{id}"),
            Self::CancelledJob(application, id) => write!(f, "cancelled_job/{application}/{id}"),
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
            "service_token" => Some(Self::ServiceToken(uuid(scope)?.into(), uuid(id)?.into())),
            "application" => Some(Self::Application(uuid(scope)?.into(), uuid(id)?.into())),
            "application_secret" => Some(Self::ApplicationSecret(uuid(scope)?.into(), uuid(id)?.into())),
            "retired" if scope == "application" => Some(Self::RetiredApplication(uuid(id)?.into())),
            "event_type" => Some(Self::EventType(uuid(scope)?.into(), EventTypeName::parse(id).ok()?)),
            "subscription" => Some(Self::Subscription(uuid(scope)?.into(), uuid(id)?.into())),
            "source" => Some(Self::Source(uuid(scope)?.into(), uuid(id)?.into())),
            "schema_registry" if scope == "-" => Some(Self::SchemaRegistry(uuid(id)?.into())),
            "answer" if scope == "-" => Some(Self::KeptAnswer(None, uuid(id)?.into())),
            "answer" => Some(Self::KeptAnswer(Some(uuid(scope)?.into()), uuid(id)?.into())),
            "cancelled_job" => Some(Self::CancelledJob(uuid(scope)?.into(), uuid(id)?.into())),
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
            Self::ServiceToken(it) => ControlKey::ServiceToken(it.organization_id, it.token_id),
            Self::Application(it) => ControlKey::Application(it.organization_id, it.application_id),
            Self::ApplicationSecret(it) => ControlKey::ApplicationSecret(it.application_id, it.secret_id),
            Self::RetiredApplication(it) => ControlKey::RetiredApplication(it.application_id),
            Self::EventType(it) => ControlKey::EventType(it.application_id, it.name.clone()),
            Self::Subscription(it) => ControlKey::Subscription(it.application_id, it.subscription_id),
            Self::Source(it) => ControlKey::Source(it.organization_id, it.source_id),
            Self::SchemaRegistry(it) => ControlKey::SchemaRegistry(it.schema_registry_id),
            Self::KeptAnswer(it) => ControlKey::KeptAnswer(it.organization_id, it.answer_id),
            Self::CancelledJob(it) => ControlKey::CancelledJob(it.application_id, it.job_id),
        }
    }

    /// Encodes the value.
    ///
    /// # Errors
    /// When a number is not finite (JSON has no word for it).
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Self::Organization(it) => serde_json::to_vec(it),
            Self::ServiceToken(it) => serde_json::to_vec(it),
            Self::Application(it) => serde_json::to_vec(it),
            Self::ApplicationSecret(it) => serde_json::to_vec(it),
            Self::RetiredApplication(it) => serde_json::to_vec(it),
            Self::EventType(it) => serde_json::to_vec(it),
            Self::Subscription(it) => serde_json::to_vec(it),
            Self::Source(it) => serde_json::to_vec(it),
            Self::SchemaRegistry(it) => serde_json::to_vec(it),
            Self::KeptAnswer(it) => serde_json::to_vec(it),
            Self::CancelledJob(it) => serde_json::to_vec(it),
        }
    }

    /// Decodes a value by its key.
    ///
    /// # Errors
    /// When the value is not the shape its key names.
    pub fn decode(key: &ControlKey, value: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(match key {
            ControlKey::Organization(_) => Self::Organization(serde_json::from_slice(value)?),
            ControlKey::ServiceToken(..) => Self::ServiceToken(serde_json::from_slice(value)?),
            ControlKey::Application(..) => Self::Application(serde_json::from_slice(value)?),
            ControlKey::ApplicationSecret(..) => Self::ApplicationSecret(serde_json::from_slice(value)?),
            ControlKey::RetiredApplication(_) => Self::RetiredApplication(serde_json::from_slice(value)?),
            ControlKey::EventType(..) => Self::EventType(serde_json::from_slice(value)?),
            ControlKey::Subscription(..) => Self::Subscription(serde_json::from_slice(value)?),
            ControlKey::Source(..) => Self::Source(serde_json::from_slice(value)?),
            ControlKey::SchemaRegistry(_) => Self::SchemaRegistry(serde_json::from_slice(value)?),
            ControlKey::KeptAnswer(..) => Self::KeptAnswer(serde_json::from_slice(value)?),
            ControlKey::CancelledJob(..) => Self::CancelledJob(serde_json::from_slice(value)?),
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
            ControlKey::ServiceToken(OrganizationId(Uuid::from_u128(9)), ServiceTokenId(Uuid::from_u128(8))),
            ControlKey::RetiredApplication(application),
            ControlKey::EventType(application, EventTypeName::parse("invoice.paid").unwrap()),
            ControlKey::Subscription(application, SubscriptionId(Uuid::from_u128(2))),
            ControlKey::Source(OrganizationId(Uuid::from_u128(9)), SourceId(Uuid::from_u128(3))),
            ControlKey::SchemaRegistry(SchemaRegistryId(Uuid::from_u128(4))),
        ] {
            assert_eq!(ControlKey::parse(&key.to_string()), Some(key));
        }
        assert_eq!(ControlKey::parse("flux/1/2"), None);
        assert_eq!(ControlKey::parse("organization"), None);
        assert_eq!(ControlKey::parse(&format!("schema_registry/{application}/{application}")), None);
        assert_eq!(ControlKey::parse(&format!("retired/subscription/{application}")), None);
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
