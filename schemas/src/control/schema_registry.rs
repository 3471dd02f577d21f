//! Schema registries: where the schemas of records are asked for. They are the instance's, as brokers are: the operator names them, and
//! sources of any organization refer to them.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Sealed;
use crate::ids::SchemaRegistryId;

/// URLs of one registry: its replicas.
pub const MAX_REGISTRY_URLS: usize = 8;
/// Bytes of one URL.
pub const MAX_REGISTRY_URL: usize = 2_048;
/// Bytes of the certificates that are trusted, PEM.
pub const MAX_REGISTRY_CA: usize = 65_536;
/// How long one request to a registry may take where nothing is said, ms.
pub const REGISTRY_TIMEOUT_MS: u64 = 5_000;
/// Shortest and longest time that a request may be given, ms.
pub const REGISTRY_TIMEOUTS_MS: std::ops::RangeInclusive<u64> = 100..=60_000;
/// Registries of an instance.
pub const MAX_REGISTRIES: usize = 1_000;

/// How a registry is shown who asks. No authentication is none of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RegistryAuth {
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
}

/// A schema registry that speaks Confluent's API.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaRegistry {
    /// Id.
    pub schema_registry_id: SchemaRegistryId,
    /// Name.
    pub name: String,
    /// Client-given id, unique in the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Where it is, normalised, without a user and without a slash at the end: tried in turn. At least one, at most
    /// [`MAX_REGISTRY_URLS`].
    pub urls: Vec<String>,
    /// How it is shown who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<RegistryAuth>,
    /// Certificates that are trusted in place of the system's, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// How long one request may take, ms.
    #[serde(default = "registry_timeout_ms")]
    pub timeout_ms: u64,
    /// Unix ms.
    pub created_ms: i64,
    /// Unix ms; absent while it is as it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_ms: Option<i64>,
}

fn registry_timeout_ms() -> u64 {
    REGISTRY_TIMEOUT_MS
}

// === impl RegistryAuth ===

impl RegistryAuth {
    /// Its secret.
    #[must_use]
    pub fn sealed(&self) -> &Sealed {
        match self {
            Self::Basic { password: sealed, .. } | Self::Bearer { token: sealed } => sealed,
        }
    }

    /// Its secret, to be replaced.
    pub fn sealed_mut(&mut self) -> &mut Sealed {
        match self {
            Self::Basic { password: sealed, .. } | Self::Bearer { token: sealed } => sealed,
        }
    }
}

// === impl SchemaRegistry ===

impl SchemaRegistry {
    /// A new one with the defaults: no authentication, the system's certificates. Its maker gives the URLs.
    #[must_use]
    pub fn new(schema_registry_id: SchemaRegistryId, name: impl Into<String>, now_ms: i64) -> Self {
        Self {
            schema_registry_id,
            name: name.into(),
            uid: None,
            urls: Vec::new(),
            auth: None,
            ca_pem: None,
            timeout_ms: REGISTRY_TIMEOUT_MS,
            created_ms: now_ms,
            updated_ms: None,
        }
    }

    /// Whether this is its id or its uid.
    #[must_use]
    pub fn is_called(&self, id_or_uid: &str) -> bool {
        match Uuid::parse_str(id_or_uid) {
            Ok(id) => self.schema_registry_id.0 == id,
            Err(_no_id) => self.uid.as_deref() == Some(id_or_uid),
        }
    }
}

impl fmt::Debug for SchemaRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaRegistry")
            .field("schema_registry_id", &self.schema_registry_id)
            .field("name", &self.name)
            .field("uid", &self.uid)
            .field("urls", &self.urls)
            .field("auth", &self.auth)
            .field("timeout_ms", &self.timeout_ms)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{ControlKey, ControlObject};

    #[test]
    fn what_is_left_out_has_its_default() {
        let id = "00000000-0000-0000-0000-00000000000a";
        let text = format!(r#"{{"schema_registry_id":"{id}","name":"main","urls":["http://r:8081"],"created_ms":7}}"#);
        let key = ControlKey::parse(&format!("schema_registry/-/{id}")).unwrap();
        let ControlObject::SchemaRegistry(read) = ControlObject::decode(&key, text.as_bytes()).unwrap() else {
            panic!("a registry")
        };
        let new = SchemaRegistry::new(read.schema_registry_id, "main", 7);
        assert_eq!(*read, SchemaRegistry { urls: vec!["http://r:8081".to_owned()], ..new });
        assert_eq!(read.timeout_ms, REGISTRY_TIMEOUT_MS);
    }

    #[test]
    fn a_registry_is_called_by_its_id_or_its_uid() {
        let id = SchemaRegistryId(Uuid::from_u128(10));
        let registry = SchemaRegistry { uid: Some("main".into()), ..SchemaRegistry::new(id, "Main", 0) };
        assert!(registry.is_called("main") && registry.is_called(&id.to_string()));
        assert!(!registry.is_called("Main") && !registry.is_called(&Uuid::from_u128(11).to_string()));
    }
}
