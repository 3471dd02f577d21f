//! Seals and opens: AES-256-GCM with a fresh random 96-bit nonce per envelope and the context as associated data. Random nonces
//! are safe for 2^32 envelopes per key, far beyond what `control` ever holds.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::keys::{EncryptionKey, KEY_BYTES, check_id};
use crate::lookup::{self, LookupHash};
use crate::random;

/// Seals with the current key, opens with any configured one, and hashes tokens.
///
/// `ring` does not overwrite its prepared keys on drop; a vault lives as long as its process.
pub struct Vault {
    /// Never empty; the first one seals.
    keys: Vec<Prepared>,
    lookup: hmac::Key,
}

struct Prepared {
    id: String,
    key: LessSafeKey,
}

/// An envelope: a compact JSON object `{"kid","nonce","ct"}` of texts, the last two in base64. Safe to store, useless without its
/// key. `Debug` shows the key's id and the size only.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// The id of the key that sealed it.
    pub kid: String,
    /// 12 bytes that no other envelope of the key has.
    #[serde(serialize_with = "to_base64", deserialize_with = "nonce_from_base64")]
    pub nonce: [u8; NONCE_LEN],
    /// Ciphertext and, in its last 16 bytes, the tag.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub ct: Vec<u8>,
}

// === impl Vault ===

impl Vault {
    /// A vault whose first key seals. `lookup_key` is independent of them and never rotated.
    ///
    /// # Errors
    /// No key, a bad id, an id that is used twice, or a key of zeros.
    pub fn new(keys: &[EncryptionKey], lookup_key: &[u8; KEY_BYTES]) -> Result<Self, VaultError> {
        if keys.is_empty() {
            return Err(VaultError::NoKeys);
        }
        if *lookup_key == [0; KEY_BYTES] {
            let key = "lookup".to_owned();
            return Err(VaultError::KeyZero { key });
        }
        let mut prepared: Vec<Prepared> = Vec::with_capacity(keys.len());
        for (index, key) in keys.iter().enumerate() {
            check_id(key.id(), index + 1)?;
            if *key.bytes() == [0; KEY_BYTES] {
                let key = key.id().to_owned();
                return Err(VaultError::KeyZero { key });
            }
            if prepared.iter().any(|other| other.id == key.id()) {
                let kid = key.id().to_owned();
                return Err(VaultError::KeyTwice { kid });
            }
            prepared.push(Prepared::new(key));
        }
        Ok(Self { keys: prepared, lookup: lookup::derive(lookup_key) })
    }

    /// Encrypts with the current key. `context` is the control key of the record the envelope will stand in; only it opens it.
    ///
    /// # Errors
    /// The system's random source failed, or more than 64 GiB.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Sealed, VaultError> {
        let current = self.current();
        let nonce: [u8; NONCE_LEN] = *random::bytes()?;
        // The capacity for the tag is there from the start: growing would leave a copy of the plain text behind.
        let mut ct = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
        ct.extend_from_slice(plain);
        let sealed =
            current.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut ct);
        if sealed.is_err() {
            drop(Zeroizing::new(ct));
            return Err(VaultError::TooLong { actual: plain.len() });
        }
        Ok(Sealed { kid: current.id.clone(), nonce, ct })
    }

    /// Decrypts what was sealed under the same context.
    ///
    /// # Errors
    /// A key that is not configured, or an envelope that is damaged or from elsewhere. Both name the key and the context.
    pub fn open(&self, context: &str, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let prepared = self
            .keys
            .iter()
            .find(|key| key.id == sealed.kid)
            .ok_or_else(|| VaultError::UnknownKey { kid: sealed.kid.clone(), context: context.to_owned() })?;
        let mut buffer = Zeroizing::new(sealed.ct.clone());
        let nonce = Nonce::assume_unique_for_key(sealed.nonce);
        let length =
            prepared.key.open_in_place(nonce, Aad::from(context), &mut buffer).map(|plain| plain.len()).map_err(
                |ring::error::Unspecified| VaultError::DoesNotOpen {
                    kid: sealed.kid.clone(),
                    context: context.to_owned(),
                },
            )?;
        buffer.truncate(length);
        Ok(buffer)
    }

    /// [`Vault::open`] for what is text.
    ///
    /// # Errors
    /// As [`Vault::open`], and bytes that are not UTF-8.
    pub fn open_text(&self, context: &str, sealed: &Sealed) -> Result<Zeroizing<String>, VaultError> {
        let bytes = self.open(context, sealed)?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_position| VaultError::NotText { context: context.to_owned() })?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Whether an envelope is sealed with the current key. If not, it is to be sealed again before its key is removed.
    #[must_use]
    pub fn is_current(&self, sealed: &Sealed) -> bool {
        sealed.kid == self.current().id
    }

    /// The ids of its keys, the current one first.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn current_id(&self) -> &str {
        &self.current().id
    }

    /// The hash under which a token is stored and found.
    #[must_use]
    pub fn lookup(&self, token: &str) -> LookupHash {
        LookupHash::of(&self.lookup, token)
    }

    fn current(&self) -> &Prepared {
        self.keys.first().expect("`new` refuses an empty list")
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.keys.iter().map(|key| key.id.as_str()).collect();
        write!(f, "Vault(keys {ids:?}, redacted)")
    }
}

// === impl Sealed ===

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(key {}, {} bytes)", self.kid, self.ct.len())
    }
}

// === impl Prepared ===

impl Prepared {
    fn new(key: &EncryptionKey) -> Self {
        let unbound = UnboundKey::new(&AES_256_GCM, key.bytes()).expect("AES-256 takes 32 bytes");
        Self { id: key.id().to_owned(), key: LessSafeKey::new(unbound) }
    }
}

// === the JSON form ===

fn to_base64<S: Serializer>(bytes: &impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(de::Error::custom)
}

fn nonce_from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; NONCE_LEN], D::Error> {
    from_base64(deserializer)?.try_into().map_err(|bytes: Vec<u8>| de::Error::invalid_length(bytes.len(), &"12 bytes"))
}
