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

/// The shortest text of a secret of the third form, in bytes: anything less can be guessed.
pub const MIN_TEXT_BYTES: usize = 8;

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
    /// A new secret from the text a client gives: as [`Secret::parse`], but strict about what is nearly always a mistake.
    ///
    /// Blanks around it are no part of it. A `whsec_` without its padding gets it, so that what is shown is what every verifier
    /// takes. What looks like a `whsec_` and is none is refused: as free text it would sign with bytes that no verifier uses.
    ///
    /// # Errors
    /// As [`Secret::parse`], a near miss of `whsec_`, or a free text of less than [`MIN_TEXT_BYTES`].
    pub fn given(text: &str) -> Result<Self, SigningError> {
        let text = text.trim();
        if let Some(hint) = near_miss(text) {
            return Err(SigningError::SecretNearMiss { hint });
        }
        let mut secret = Self::parse(text)?;
        match &secret.form {
            Form::Whsec(_) => secret.text = secret.signing_secret(),
            Form::Text if text.len() < MIN_TEXT_BYTES => {
                return Err(SigningError::SecretTooShort { min: MIN_TEXT_BYTES, actual: text.len() });
            }
            Form::Uuid(_) | Form::Text => {}
        }
        Ok(secret)
    }

    /// A secret from a stored or configured text, exactly as it is.
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

    /// What a Standard Webhooks verifier is given: `whsec_` and the base64 of the key, with its padding.
    #[must_use]
    pub fn signing_secret(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", STANDARD.encode(self.standard_key())))
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

/// What is wrong with a text that was surely meant to be a `whsec_`.
fn near_miss(text: &str) -> Option<&'static str> {
    let lower = Zeroizing::new(text.to_ascii_lowercase());
    if text.starts_with(PREFIX) {
        let encoded = text.get(PREFIX.len()..).unwrap_or_default();
        return encoded
            .contains(['-', '_'])
            .then_some("what follows `whsec_` is base64 of the URL-safe alphabet; write `+` for `-` and `/` for `_`");
    }
    if lower.starts_with("v1,whsec_") {
        return Some("it begins with `v1,`; leave that out, a secret begins with `whsec_`");
    }
    if lower.starts_with(PREFIX) {
        return Some("the prefix is written in lower case, `whsec_`");
    }
    lower.contains("whsec").then_some("a secret of Standard Webhooks begins with `whsec_`, and base64 follows")
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
