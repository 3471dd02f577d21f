//! The key pair of Standard Webhooks' `v1a`: `whsk_` holds the private seed and the public key, `whpk_` the public key.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::error::SigningError;
use crate::secret::BASE64;

const PRIVATE_PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";
const SEED_BYTES: usize = 32;
const PUBLIC_BYTES: usize = 32;

/// A private key that signs `v1a`. `Debug` shows its public half only.
pub struct Ed25519Key {
    pair: Ed25519KeyPair,
    text: Zeroizing<String>,
}

/// A public key that verifies `v1a`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ed25519PublicKey([u8; PUBLIC_BYTES]);

// === impl Ed25519Key ===

impl Ed25519Key {
    /// A key from its `whsk_` text: 64 bytes, the seed and the public key.
    ///
    /// # Errors
    /// Another prefix, no base64, another length, or halves that do not belong together.
    pub fn parse(text: &str) -> Result<Self, SigningError> {
        let bytes = Zeroizing::new(decode(text, PRIVATE_PREFIX, SEED_BYTES + PUBLIC_BYTES)?);
        let (seed, public) = bytes.split_at(SEED_BYTES);
        let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public)
            .map_err(|ring::error::KeyRejected { .. }| SigningError::KeyMismatch)?;
        Ok(Self { pair, text: Zeroizing::new(text.to_owned()) })
    }

    /// A new random key.
    ///
    /// # Errors
    /// The system's random source failed.
    pub fn generate() -> Result<Self, SigningError> {
        let mut bytes = Zeroizing::new([0_u8; SEED_BYTES + PUBLIC_BYTES]);
        let (seed, public) = bytes.split_at_mut(SEED_BYTES);
        SystemRandom::new().fill(seed).map_err(|ring::error::Unspecified| SigningError::Random)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_rejected| SigningError::KeyMismatch)?;
        public.copy_from_slice(pair.public_key().as_ref());
        let text = Zeroizing::new(format!("{PRIVATE_PREFIX}{}", STANDARD.encode(*bytes)));
        Ok(Self { pair, text })
    }

    /// The `whsk_` text. For sealing it, never for a log or an answer.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The public half; its `Display` is the `whpk_` text.
    #[must_use]
    pub fn public(&self) -> Ed25519PublicKey {
        let mut bytes = [0; PUBLIC_BYTES];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        Ed25519PublicKey(bytes)
    }

    /// The 64 bytes of a signature.
    pub(crate) fn sign(&self, message: &[u8]) -> ring::signature::Signature {
        self.pair.sign(message)
    }
}

impl fmt::Debug for Ed25519Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ed25519Key(public {}, private redacted)", self.public())
    }
}

// === impl Ed25519PublicKey ===

impl Ed25519PublicKey {
    /// A key from its `whpk_` text.
    ///
    /// # Errors
    /// Another prefix, no base64, or another length than 32 bytes.
    pub fn parse(text: &str) -> Result<Self, SigningError> {
        let bytes = decode(text, PUBLIC_PREFIX, PUBLIC_BYTES)?;
        let mut key = [0; PUBLIC_BYTES];
        key.copy_from_slice(&bytes);
        Ok(Self(key))
    }

    /// Whether the signature is this key's over the message.
    pub(crate) fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for Ed25519PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Ed25519PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The bytes after a prefix. The caller wraps private ones.
fn decode(text: &str, prefix: &'static str, expected: usize) -> Result<Vec<u8>, SigningError> {
    let encoded = text.strip_prefix(prefix).ok_or(SigningError::KeyPrefix { expected: prefix })?;
    let bytes = BASE64.decode(encoded).map_err(|_quotes_the_key| SigningError::KeyNotBase64 { prefix })?;
    if bytes.len() == expected {
        return Ok(bytes);
    }
    let actual = bytes.len();
    drop(Zeroizing::new(bytes));
    Err(SigningError::KeyLength { prefix, expected, actual })
}
