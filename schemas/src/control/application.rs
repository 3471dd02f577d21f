//! Applications, their secrets and their event types.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Limits, Sealed, TokenRole};
use crate::delivery::Deprecation;
use crate::event_type::EventTypeName;
use crate::ids::{ApplicationId, OrganizationId, SecretId};

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
    /// Unix ms; absent while it is as it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_ms: Option<i64>,
    /// Client-given id, unique in the organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// For events that come through a topic.
    #[serde(default)]
    pub unknown_event_types: UnknownEventTypes,
    /// Its own limits, instead of its organization's defaults (`applications` has no meaning here).
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// Days that the delivery log keeps of it, where that is shorter than the log itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_retention_days: Option<u16>,
    /// How long an event's id counts as a repeat, ms, where that is shorter than the installation's window; 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup_window_ms: Option<u32>,
}

/// An application that was deleted: whoever still names its id means its organization, so nobody else ever has that id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredApplication {
    /// Its id.
    pub application_id: ApplicationId,
    /// The organization it was of.
    pub organization_id: OrganizationId,
    /// When it was deleted, Unix ms.
    pub retired_ms: i64,
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
    /// What it may do.
    #[serde(default)]
    pub role: TokenRole,
    /// Unix ms.
    pub created_ms: i64,
    /// It opens nothing from then on, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<i64>,
}

/// A declared event type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventType {
    /// Application.
    pub application_id: ApplicationId,
    /// Name.
    pub name: EventTypeName,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema that payloads must fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// Should not be used any more; still accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deprecated: bool,
    /// From when on it is deprecated, Unix ms; one that an older build deprecated has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated_ms: Option<i64>,
    /// From when on it may be gone, Unix ms; there where [`Self::deprecated_ms`] is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sunset_ms: Option<i64>,
    /// Unix ms.
    pub created_ms: i64,
    /// Unix ms; absent while it is as it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_ms: Option<i64>,
}

// === impl Application ===

impl Application {
    /// A new one without limits.
    #[must_use]
    pub fn new(
        application_id: ApplicationId,
        organization_id: OrganizationId,
        name: impl Into<String>,
        now_ms: i64,
    ) -> Self {
        Self {
            application_id,
            organization_id,
            name: name.into(),
            created_ms: now_ms,
            updated_ms: None,
            uid: None,
            unknown_event_types: UnknownEventTypes::default(),
            limits: Limits::default(),
            log_retention_days: None,
            dedup_window_ms: None,
        }
    }

    /// Whether this is its id or its uid.
    #[must_use]
    pub fn is_called(&self, id_or_uid: &str) -> bool {
        match Uuid::parse_str(id_or_uid) {
            Ok(id) => self.application_id.0 == id,
            Err(_no_id) => self.uid.as_deref() == Some(id_or_uid),
        }
    }
}

// === impl EventType ===

impl EventType {
    /// A new one without a schema.
    #[must_use]
    pub fn new(application_id: ApplicationId, name: EventTypeName, now_ms: i64) -> Self {
        Self {
            application_id,
            name,
            description: None,
            schema: None,
            deprecated: false,
            deprecated_ms: None,
            sunset_ms: None,
            created_ms: now_ms,
            updated_ms: None,
        }
    }

    /// Whether it is deprecated at a time, Unix ms: it may be announced before.
    #[must_use]
    pub fn is_deprecated(&self, now_ms: i64) -> bool {
        self.deprecated && self.deprecated_ms.is_none_or(|from_ms| from_ms <= now_ms)
    }

    /// What its deliveries say of its deprecation, if it is deprecated and it is known since when.
    #[must_use]
    pub fn deprecation(&self) -> Option<Deprecation> {
        let (deprecated_ms, sunset_ms) = (self.deprecated_ms?, self.sunset_ms?);
        self.deprecated.then_some(Deprecation { deprecated_ms, sunset_ms })
    }
}
