//! The keys as they stand in configuration: `id:base64,id:base64`, the current one first.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::random;

/// Bytes of every key.
pub const KEY_BYTES: usize = 32;

/// Bytes of a key id: it stands in every envelope.
pub const MAX_KEY_ID_BYTES: usize = 32;

/// Standard alphabet; padding may be missing, because configuration tools strip it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One encryption key with its id. Overwritten on drop; `Debug` shows the id only.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionKey {
    id: String,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

// === impl EncryptionKey ===

impl EncryptionKey {
    /// A key with its id. The id is checked by [`crate::Vault::new`].
    #[must_use]
    pub fn new(id: impl Into<String>, bytes: [u8; KEY_BYTES]) -> Self {
        Self { id: id.into(), bytes: Zeroizing::new(bytes) }
    }

    /// The id that stands in envelopes.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionKey({}, redacted)", self.id)
    }
}

/// The keys of a configuration value: `id:base64`, separated by commas or white space, the current one first.
///
/// # Errors
/// An entry of another form, a key that is not 32 bytes or all zeros, an empty list. [`crate::Vault::new`] checks the ids.
pub fn parse_keys(text: &str) -> Result<Vec<EncryptionKey>, VaultError> {
    let keys = text
        .split(|separator: char| separator == ',' || separator.is_whitespace())
        .filter(|entry| !entry.is_empty())
        .enumerate()
        .map(|(index, entry)| {
            let position = index + 1;
            let (id, encoded) = entry.split_once(':').ok_or(VaultError::KeyForm { position })?;
            check_id(id, position)?;
            Ok(EncryptionKey { id: id.to_owned(), bytes: decode(id, encoded)? })
        })
        .collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() { Err(VaultError::NoKeys) } else { Ok(keys) }
}

/// The lookup key of a configuration value: base64 of 32 bytes.
///
/// # Errors
/// Not base64, another length, or all zeros.
pub fn parse_lookup_key(text: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
    decode("lookup", text.trim())
}

/// A new random key as base64, for an operator's configuration.
///
/// # Errors
/// The system's random source failed.
pub fn generate_key() -> Result<Zeroizing<String>, VaultError> {
    let bytes: Zeroizing<[u8; KEY_BYTES]> = random::bytes()?;
    Ok(Zeroizing::new(STANDARD.encode(*bytes)))
}

/// Ids stand in JSON and in `id:base64` lists: nothing in them may need quoting.
pub(crate) fn check_id(id: &str, position: usize) -> Result<(), VaultError> {
    let fits = (1..=MAX_KEY_ID_BYTES).contains(&id.len());
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if fits && plain { Ok(()) } else { Err(VaultError::KeyId { position }) }
}

fn decode(key: &str, encoded: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
    let decoded = BASE64
        .decode(encoded)
        .map(Zeroizing::new)
        // The decoder's error quotes a byte of the key.
        .map_err(|_quotes_the_key| VaultError::KeyNotBase64 { key: key.to_owned() })?;
    if decoded.len() != KEY_BYTES {
        return Err(VaultError::KeyLength { key: key.to_owned(), actual: decoded.len() });
    }
    if decoded.iter().all(|byte| *byte == 0) {
        return Err(VaultError::KeyZero { key: key.to_owned() });
    }
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    bytes.copy_from_slice(&decoded);
    Ok(bytes)
}
