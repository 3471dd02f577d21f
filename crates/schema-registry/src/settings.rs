//! Where a registry is, and how it is shown who asks.

use std::fmt;
use std::time::Duration;

use schemas::control::{ControlKey, RegistryAuth, SchemaRegistry};
use vault::{Vault, VaultError};
use zeroize::Zeroizing;

/// What a client is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Where it is: tried in turn. A path is kept, `/apis/ccompat/v7`.
    pub urls: Vec<String>,
    /// How it is shown who asks.
    pub credentials: Option<RegistryCredentials>,
    /// Certificates that are trusted in place of the host's and the public ones, PEM.
    pub ca_pem: Option<String>,
    /// How long one request may take.
    pub timeout: Duration,
}

/// What a registry knows who asks by. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum RegistryCredentials {
    /// HTTP basic.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: Zeroizing<String>,
    },
    /// `Authorization: Bearer`.
    Bearer(Zeroizing<String>),
}

// === impl RegistrySettings ===

impl RegistrySettings {
    /// Of a registry as it stands on `control`, its secret opened.
    ///
    /// # Errors
    /// The secret was sealed with a key that is not configured, or is damaged.
    pub fn of(registry: &SchemaRegistry, vault: &Vault) -> Result<Self, VaultError> {
        let context = ControlKey::SchemaRegistry(registry.schema_registry_id).to_string();
        let open = |sealed| catalog::sealed::open_text(vault, &context, sealed);
        let credentials = match &registry.auth {
            None => None,
            Some(RegistryAuth::Basic { username, password }) => {
                Some(RegistryCredentials::Basic { username: username.clone(), password: open(password)? })
            }
            Some(RegistryAuth::Bearer { token }) => Some(RegistryCredentials::Bearer(open(token)?)),
        };
        Ok(Self {
            urls: registry.urls.clone(),
            credentials,
            ca_pem: registry.ca_pem.clone(),
            timeout: Duration::from_millis(registry.timeout_ms),
        })
    }
}

impl fmt::Debug for RegistryCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { username, .. } => f.debug_struct("Basic").field("username", username).finish_non_exhaustive(),
            Self::Bearer(_) => f.write_str("Bearer(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::ids::SchemaRegistryId;
    use uuid::Uuid;
    use vault::EncryptionKey;

    use super::*;

    #[test]
    fn a_secret_is_opened_under_its_registry_and_never_shown() {
        let vault = Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap();
        let id = SchemaRegistryId(Uuid::from_u128(5));
        let context = ControlKey::SchemaRegistry(id).to_string();
        let password = catalog::sealed::seal_text(&vault, &context, "hush").unwrap();
        let mut registry = SchemaRegistry::new(id, "main", 0);
        registry.auth = Some(RegistryAuth::Basic { username: "ann".to_owned(), password });
        let settings = RegistrySettings::of(&registry, &vault).unwrap();
        let expected = RegistryCredentials::Basic { username: "ann".to_owned(), password: "hush".to_owned().into() };
        assert_eq!(settings.credentials, Some(expected));
        assert!(!format!("{settings:?}").contains("hush"));
        registry.schema_registry_id = SchemaRegistryId(Uuid::from_u128(6));
        assert!(RegistrySettings::of(&registry, &vault).is_err(), "it was sealed for another one");
    }
}
