//! Tenants, what they may use, and their tokens.

use serde::{Deserialize, Serialize};

use super::Sealed;
use crate::ids::{OrganizationId, ServiceTokenId};

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// Id.
    pub organization_id: OrganizationId,
    /// Name.
    pub name: String,
    /// Unix ms.
    pub created_ms: i64,
    /// Unix ms; absent while it is as it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_ms: Option<i64>,
    /// Client-given id, unique in the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// What it may use: `applications` and `events_*` of the whole organization, the others of each of its applications.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// The plan that these limits were taken from, if they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Topics, and prefixes that end in `*`, that sources which its own tokens make may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_topics: Vec<String>,
}

/// How much of each may be there; absent is the instance's default, and that is unlimited unless configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Applications of an organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applications: Option<u32>,
    /// Subscriptions of an application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<u32>,
    /// Event types of an application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_types: Option<u32>,
    /// Events accepted per UTC day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_per_day: Option<u32>,
    /// Events accepted per second, with a burst of one second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u32>,
}

/// What a token may do; each may do what the one before it may, but an `ingest` token reads nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenRole {
    /// Send events, nothing else.
    Ingest,
    /// Read; a viewer sends no events.
    Viewer,
    /// Read, change and send.
    #[default]
    Editor,
}

/// A token of an organization: opens all its applications.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceToken {
    /// Id of this object.
    pub token_id: ServiceTokenId,
    /// Organization it opens.
    pub organization_id: OrganizationId,
    /// Name.
    pub name: String,
    /// What it may do.
    #[serde(default)]
    pub role: TokenRole,
    /// Keyed hash of the token, lower-case hex.
    pub lookup: String,
    /// The token, sealed.
    pub token: Sealed,
    /// Unix ms.
    pub created_ms: i64,
    /// It opens nothing from then on, Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<i64>,
}

// === impl Organization ===

impl Organization {
    /// A new one without limits.
    #[must_use]
    pub fn new(organization_id: OrganizationId, name: impl Into<String>, now_ms: i64) -> Self {
        let name = name.into();
        Self {
            organization_id,
            name,
            created_ms: now_ms,
            updated_ms: None,
            uid: None,
            limits: Limits::default(),
            plan: None,
            source_topics: Vec::new(),
        }
    }
}

// === impl Limits ===

impl Limits {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

// === impl TokenRole ===

impl TokenRole {
    /// Its word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Viewer => "viewer",
            Self::Editor => "editor",
        }
    }

    /// Whether it may send events.
    #[must_use]
    pub const fn may_send(self) -> bool {
        matches!(self, Self::Ingest | Self::Editor)
    }
}
