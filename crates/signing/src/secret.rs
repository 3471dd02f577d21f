//! A subscription's shared secret: three forms a client may give it in, and the keys that follow from each.
//!
//! | text | Standard Webhooks key | Hook0 key |
//! |---|---|---|
//! | a lower-case hyphenated UUID | its 36 text bytes | its 36 text bytes |
//! | `whsec_<base64>` | the decoded bytes (24 to 64) | the text's bytes |
//! | anything else | the text's bytes | the text's bytes |
//!
//! Published Hook0 clients decode a secret as a UUID, so there is always one to show: [`Secret::display_uuid`]. A UUID in another
//! spelling (upper case, braces) is "anything else": it is used exactly as given, and would not survive being shown as a UUID.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::SigningError;

/// The longest text of a secret, in bytes: far above any real one, far below what would hurt a control record.
pub const MAX_TEXT_BYTES: usize = 512;

/// The namespace of the UUIDs shown in place of secrets that are none. Never changes: clients compare what they saw.
pub const SECRET_NAMESPACE: Uuid = Uuid::from_u128(0x6c1f_9d7e_52b3_4a08_9e4d_0b7a_35c8_f261);

/// What Standard Webhooks allows for a `whsec_` key, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

const PREFIX: &str = "whsec_";

/// Standard alphabet; padding may be missing, as in some clients' texts.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A shared secret. Its memory is overwritten on drop and `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: Zeroizing<String>,
    form: Form,
}

#[derive(Clone, PartialEq, Eq)]
enum Form {
    Uuid(Uuid),
    Whsec(Zeroizing<Vec<u8>>),
    Text,
}

// === impl Secret ===

impl Secret {
    /// A secret from the text a client gave.
    ///
    /// # Errors
    /// Empty, over [`MAX_TEXT_BYTES`], control characters, a `whsec_` that does not hold 24 to 64 bytes of base64, or an ed25519
    /// key in the place of a secret.
    pub fn parse(text: &str) -> Result<Self, SigningError> {
        if text.is_empty() {
            return Err(SigningError::SecretEmpty);
        }
        if text.len() > MAX_TEXT_BYTES {
            return Err(SigningError::SecretTooLong { max: MAX_TEXT_BYTES, actual: text.len() });
        }
        if let Some((position, _)) = text.char_indices().find(|(_, character)| character.is_control()) {
            return Err(SigningError::SecretControlCharacter { position });
        }
        for prefix in ["whsk_", "whpk_"] {
            if text.starts_with(prefix) {
                return Err(SigningError::SecretIsEd25519Key { prefix });
            }
        }
        Ok(Self { text: Zeroizing::new(text.to_owned()), form: Form::of(text)? })
    }

    /// A new secret: a random UUID (version 4), the form every published client understands.
    ///
    /// # Errors
    /// The system's random source failed.
    pub fn generate() -> Result<Self, SigningError> {
        let mut bytes = Zeroizing::new([0_u8; 16]);
        SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|ring::error::Unspecified| SigningError::Random)?;
        let uuid = uuid::Builder::from_random_bytes(*bytes).into_uuid();
        Ok(Self { text: Zeroizing::new(uuid.to_string()), form: Form::Uuid(uuid) })
    }

    /// The text as it was given. For sealing it and for showing it to its owner, never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What a Standard Webhooks verifier is given: the text itself if it is a `whsec_`, else `whsec_` and the base64 of the key.
    #[must_use]
    pub fn signing_secret(&self) -> Zeroizing<String> {
        match &self.form {
            Form::Whsec(_) => self.text.clone(),
            Form::Uuid(_) | Form::Text => Zeroizing::new(format!("{PREFIX}{}", STANDARD.encode(self.text.as_bytes()))),
        }
    }

    /// What is shown where clients expect a UUID: the secret itself if it is one, else the UUIDv5 of its text (not a secret, and
    /// of no use for verifying).
    #[must_use]
    pub fn display_uuid(&self) -> Uuid {
        match &self.form {
            Form::Uuid(uuid) => *uuid,
            Form::Whsec(_) | Form::Text => Uuid::new_v5(&SECRET_NAMESPACE, self.text.as_bytes()),
        }
    }

    /// Whether [`Secret::display_uuid`] is the secret itself.
    #[must_use]
    pub const fn is_uuid(&self) -> bool {
        matches!(self.form, Form::Uuid(_))
    }

    /// The HMAC key of Standard Webhooks.
    pub(crate) fn standard_key(&self) -> &[u8] {
        match &self.form {
            Form::Whsec(key) => key,
            Form::Uuid(_) | Form::Text => self.text.as_bytes(),
        }
    }

    /// The HMAC key of both Hook0 forms.
    pub(crate) fn hook0_key(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

impl std::str::FromStr for Secret {
    type Err = SigningError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

// === impl Form ===

impl Form {
    fn of(text: &str) -> Result<Self, SigningError> {
        if let Some(encoded) = text.strip_prefix(PREFIX) {
            let key = BASE64
                .decode(encoded)
                .map(Zeroizing::new)
                // The decoder's error quotes a byte of the secret.
                .map_err(|_quotes_the_secret| SigningError::SecretNotBase64)?;
            if !KEY_BYTES.contains(&key.len()) {
                return Err(SigningError::SecretKeyLength { actual: key.len() });
            }
            return Ok(Self::Whsec(key));
        }
        match Uuid::try_parse(text) {
            Ok(uuid) if uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text => Ok(Self::Uuid(uuid)),
            Ok(_) | Err(_) => Ok(Self::Text),
        }
    }
}
