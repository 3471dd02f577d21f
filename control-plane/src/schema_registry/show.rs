//! What schema registries look like from outside.

use std::time::Duration;

use schemas::control::{RegistryAuth, SchemaRegistry};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::time;
use crate::custom_headers::MASK;

/// A schema registry.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SchemaRegistry, example = json!({
    "schema_registry_id": "0193b2f1-5d1e-7c31-9a55-0e4b5c6d7e90",
    "name": "main",
    "urls": ["https://registry.internal:8081"],
    "auth": { "type": "basic", "username": "hookbus", "password": "********" },
    "timeout_ms": 5000,
    "created_at": "2026-11-22T10:30:00Z",
}))]
pub(crate) struct SchemaRegistryShown {
    schema_registry_id: Uuid,
    name: String,
    /// The client's own id, unique in the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    /// Tried in turn.
    urls: Vec<String>,
    /// How it is shown who asks; absent where nothing is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<RegistryAuthShown>,
    /// Certificates that are trusted in place of the system's, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_pem: Option<String>,
    timeout_ms: u64,
    #[schema(format = DateTime)]
    created_at: String,
    /// Absent while it is as it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    updated_at: Option<String>,
}

/// Authentication as it is shown: secrets masked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = RegistryAuth)]
enum RegistryAuthShown {
    Basic { username: String, password: &'static str },
    Bearer { token: &'static str },
}

/// Whether a registry answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SchemaRegistryCheck, example = json!({ "reachable": true, "subjects": 12, "latency_ms": 9 }))]
pub(crate) struct RegistryCheckShown {
    pub(crate) reachable: bool,
    /// Its subjects; absent where it did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subjects: Option<usize>,
    /// How long it took, all URLs that were asked together.
    pub(crate) latency_ms: u64,
    /// Why it cannot be used: each URL that was asked, and what it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

// === impl RegistryCheckShown ===

impl RegistryCheckShown {
    pub(crate) fn failed(error: impl Into<String>, latency: Duration) -> Self {
        Self { reachable: false, subjects: None, latency_ms: ms(latency), error: Some(error.into()) }
    }

    pub(crate) fn reached(subjects: usize, latency: Duration) -> Self {
        Self { reachable: true, subjects: Some(subjects), latency_ms: ms(latency), error: None }
    }
}

fn ms(latency: Duration) -> u64 {
    u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)
}

// === impl SchemaRegistryShown ===

impl SchemaRegistryShown {
    pub(crate) fn of(registry: &SchemaRegistry) -> Self {
        Self {
            schema_registry_id: registry.schema_registry_id.0,
            name: registry.name.clone(),
            uid: registry.uid.clone(),
            urls: registry.urls.clone(),
            auth: registry.auth.as_ref().map(RegistryAuthShown::of),
            ca_pem: registry.ca_pem.clone(),
            timeout_ms: registry.timeout_ms,
            created_at: time(registry.created_ms),
            updated_at: registry.updated_ms.map(time),
        }
    }
}

// === impl RegistryAuthShown ===

impl RegistryAuthShown {
    fn of(auth: &RegistryAuth) -> Self {
        match auth {
            RegistryAuth::Basic { username, password: _ } => Self::Basic { username: username.clone(), password: MASK },
            RegistryAuth::Bearer { token: _ } => Self::Bearer { token: MASK },
        }
    }
}
