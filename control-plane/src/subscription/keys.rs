//! The signing secrets of a subscription, opened: shared ones and ed25519 pairs, each with its end.

use catalog::sealed;
use schemas::control::{ControlKey, Sealed, SigningSecret, Subscription};
use signing::{Ed25519Key, Secret, SigningError};
use vault::Vault;

use crate::problem::{self, Problem};

/// The opened secrets, the current one of each sort first.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) secrets: Vec<OpenedKey<Secret>>,
    pub(super) pairs: Vec<OpenedKey<Ed25519Key>>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct OpenedKey<K> {
    pub(super) key: K,
    /// As it stands in the object.
    pub(super) stored: SigningSecret,
}

// === impl Keys ===

impl Keys {
    pub(super) fn open(object: &Subscription, vault: &Vault) -> Result<Self, Problem> {
        let context = context(object);
        let unreadable = |error: SigningError| problem::internal("a stored secret cannot be read", &error);
        let mut keys = Self::default();
        for stored in &object.secrets {
            let text = sealed::open_text(vault, &context, &stored.sealed).map_err(|error| problem::vault(&error))?;
            let stored = stored.clone();
            if text.starts_with("whsk_") {
                keys.pairs.push(OpenedKey { key: Ed25519Key::parse(&text).map_err(unreadable)?, stored });
            } else {
                keys.secrets.push(OpenedKey { key: Secret::parse(&text).map_err(unreadable)?, stored });
            }
        }
        Ok(keys)
    }

    /// The secret that signs from now on.
    pub(super) fn secret(&self) -> Option<&Secret> {
        self.secrets.first().map(|held| &held.key)
    }

    /// The pair that signs from now on.
    pub(super) fn pair(&self) -> Option<&Ed25519Key> {
        self.pairs.first().map(|held| &held.key)
    }

    /// As they stand in the object: secrets before pairs, each newest first, which is the order signers keep.
    pub(super) fn into_stored(self) -> Vec<SigningSecret> {
        let secrets = self.secrets.into_iter().map(|held| held.stored);
        secrets.chain(self.pairs.into_iter().map(|held| held.stored)).collect()
    }
}

// === impl OpenedKey ===

impl<K> OpenedKey<K> {
    /// A new one without an end.
    pub(super) fn current(key: K, sealed: Sealed) -> Self {
        Self { key, stored: SigningSecret { sealed, expires_ms: None } }
    }

    /// Whether it still signs.
    pub(super) fn is_live(&self, now_ms: i64) -> bool {
        self.stored.expires_ms.is_none_or(|end_ms| end_ms > now_ms)
    }

    /// It signs until then at the latest.
    pub(super) fn end(&mut self, end_ms: i64) {
        let former = self.stored.expires_ms.unwrap_or(i64::MAX);
        self.stored.expires_ms = Some(former.min(end_ms));
    }
}

/// What the envelopes of a subscription are bound to: its control key.
pub(super) fn context(object: &Subscription) -> String {
    ControlKey::Subscription(object.application_id, object.subscription_id).to_string()
}

/// Seals a text of a subscription.
pub(super) fn seal(vault: &Vault, context: &str, text: &str) -> Result<Sealed, Problem> {
    sealed::seal_text(vault, context, text).map_err(|error| problem::vault(&error))
}

/// 500: the system has no random bytes.
pub(super) fn not_made(error: SigningError) -> Problem {
    problem::internal("a signing secret could not be made", &error)
}
