//! The keyed hash under which a token is found. Without the lookup key nobody can tell which token a hash belongs to, and equal
//! tokens have equal hashes for ever, whatever happens to the encryption keys.

use std::fmt;
use std::str::FromStr;

use ring::{hkdf, hmac};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::VaultError;
use crate::keys::KEY_BYTES;

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;

/// Separates this use of the lookup key from any later one. Never changes: every stored hash depends on it.
const SALT: &[u8] = b"hookbus vault";
const INFO: &[u8] = b"token lookup v1";

/// HMAC-SHA256 of a token. Shown as 64 lower-case hex digits, in JSON too. It is no secret, but names one, so `Debug` shows its
/// first 8 digits only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupHash([u8; HASH_BYTES]);

/// The HMAC key of lookups, derived from the configured one with HKDF-SHA256.
pub(crate) fn derive(lookup_key: &[u8; KEY_BYTES]) -> hmac::Key {
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(lookup_key);
    let derived =
        secret.expand(&[INFO], hmac::HMAC_SHA256).expect("HKDF-SHA256 gives up to 8,160 bytes, 32 are asked for");
    hmac::Key::from(derived)
}

// === impl LookupHash ===

impl LookupHash {
    pub(crate) fn of(key: &hmac::Key, token: &str) -> Self {
        let tag = hmac::sign(key, token.as_bytes());
        let mut bytes = [0; HASH_BYTES];
        bytes.copy_from_slice(tag.as_ref());
        Self(bytes)
    }

    /// The bytes, for compact tables.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }
}

impl fmt::Display for LookupHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for LookupHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "LookupHash({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

impl FromStr for LookupHash {
    type Err = VaultError;

    /// Lower case only: a hash is part of a record's key, so it has one spelling.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; HASH_BYTES];
        let upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if !upper => Ok(Self(bytes)),
            Ok(()) | Err(_) => Err(VaultError::LookupHashForm),
        }
    }
}

impl Serialize for LookupHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LookupHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
