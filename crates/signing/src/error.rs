//! The one error type of this crate. No message ever contains a secret.

use thiserror::Error;

/// Why a secret, a key or a signature was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SigningError {
    /// The secret's text is empty.
    #[error("a signing secret must not be empty")]
    SecretEmpty,
    /// The secret's text is longer than [`crate::MAX_TEXT_BYTES`].
    #[error("a signing secret has at most {max} bytes, this one has {actual}")]
    SecretTooLong {
        /// The limit in bytes.
        max: usize,
        /// What was given.
        actual: usize,
    },
    /// The secret holds a line break, a tab or another control character: nearly always a mistake of copying.
    #[error("a signing secret must not contain control characters, this one has one at byte {position}")]
    SecretControlCharacter {
        /// Where the first one stands.
        position: usize,
    },
    /// A free text that is too short to be a secret.
    #[error("a signing secret has at least {min} bytes, this one has {actual}")]
    SecretTooShort {
        /// The least, in bytes.
        min: usize,
        /// What was given.
        actual: usize,
    },
    /// A text that looks like a `whsec_` secret and is none.
    #[error("this looks like a `whsec_` secret and is none: {hint}")]
    SecretNearMiss {
        /// What to change.
        hint: &'static str,
    },
    /// A `whsec_` secret that is not base64.
    #[error("what follows `whsec_` must be base64")]
    SecretNotBase64,
    /// A `whsec_` secret whose key has a length that Standard Webhooks does not allow.
    #[error("a `whsec_` secret holds 24 to 64 bytes, this one holds {actual}")]
    SecretKeyLength {
        /// Decoded bytes.
        actual: usize,
    },
    /// An ed25519 key was given where a shared secret belongs.
    #[error("`{prefix}` is an ed25519 key, not a shared secret")]
    SecretIsEd25519Key {
        /// `whsk_` or `whpk_`.
        prefix: &'static str,
    },
    /// A signer was made without any secret.
    #[error("a signer needs at least one secret")]
    NoSecret,
    /// The scheme `ed25519` is on and no key is there.
    #[error("the scheme `ed25519` needs a key")]
    NoEd25519Key,
    /// A key text does not begin as it must.
    #[error("an ed25519 key begins with `{expected}`")]
    KeyPrefix {
        /// `whsk_` or `whpk_`.
        expected: &'static str,
    },
    /// A key text is not base64 after its prefix.
    #[error("what follows `{prefix}` must be base64")]
    KeyNotBase64 {
        /// `whsk_` or `whpk_`.
        prefix: &'static str,
    },
    /// A key text has the wrong number of bytes.
    #[error("a `{prefix}` key holds {expected} bytes, this one holds {actual}")]
    KeyLength {
        /// `whsk_` or `whpk_`.
        prefix: &'static str,
        /// What it must hold.
        expected: usize,
        /// What it holds.
        actual: usize,
    },
    /// The two halves of a `whsk_` key do not belong together.
    #[error("the public half of the `whsk_` key does not belong to its private half")]
    KeyMismatch,
    /// The system has no random bytes.
    #[error("the system's random source failed")]
    Random,
    /// A scheme name that does not exist.
    #[error("unknown signing scheme `{name}` (standard, hook0, hook0_body, ed25519)")]
    UnknownScheme {
        /// What was given, cut to 40 characters.
        name: String,
    },
    /// A list of schemes without an entry.
    #[error("at least one signing scheme is needed")]
    NoScheme,
    /// Both Hook0 forms were asked for, which share one header.
    #[error("`hook0` and `hook0_body` use the same header: choose one")]
    SchemesConflict,
    /// The signature header cannot be read.
    #[error("the signature is malformed: {reason}")]
    SignatureMalformed {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The timestamp is no whole number of unix seconds.
    #[error("the timestamp is not a number of unix seconds")]
    TimestampMalformed,
    /// The timestamp is too old.
    #[error("the timestamp is {age_s} s old, at most {tolerance_s} s are accepted")]
    TimestampTooOld {
        /// Its age.
        age_s: i64,
        /// What is accepted.
        tolerance_s: i64,
    },
    /// The timestamp lies too far in the future.
    #[error("the timestamp is {ahead_s} s in the future, at most {tolerance_s} s are accepted")]
    TimestampTooNew {
        /// How far ahead.
        ahead_s: i64,
        /// What is accepted.
        tolerance_s: i64,
    },
    /// A header that was signed did not arrive.
    #[error("the signed header `{name}` is missing")]
    HeaderMissing {
        /// The header's name.
        name: String,
    },
    /// No signature of this kind matches what arrived.
    #[error("no signature matches")]
    NoMatch,
}
