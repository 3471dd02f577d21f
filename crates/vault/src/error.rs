//! The one error type of this crate. No message ever contains a key, a token or a secret.

use thiserror::Error;

/// Why a key was refused or an envelope did not open.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VaultError {
    /// No encryption key is configured.
    #[error("at least one encryption key is needed")]
    NoKeys,
    /// An entry of the list of keys is not `id:base64`.
    #[error("encryption key number {position} is not written as `id:base64`")]
    KeyForm {
        /// 1-based position in the list.
        position: usize,
    },
    /// A key id is empty, too long, or has characters other than letters, digits, `_`, `-` and `.`.
    #[error("the id of encryption key number {position} must have 1 to 32 letters, digits, `_`, `-` or `.`")]
    KeyId {
        /// 1-based position in the list.
        position: usize,
    },
    /// A key's bytes are not base64.
    #[error("the key `{key}` is not base64")]
    KeyNotBase64 {
        /// The key's id, or `lookup`.
        key: String,
    },
    /// A key has the wrong length.
    #[error("the key `{key}` must have 32 bytes, it has {actual}")]
    KeyLength {
        /// The key's id, or `lookup`.
        key: String,
        /// Its decoded length.
        actual: usize,
    },
    /// A key of zero bytes only: a placeholder that was never replaced.
    #[error("the key `{key}` is all zeros")]
    KeyZero {
        /// The key's id, or `lookup`.
        key: String,
    },
    /// Two keys have the same id.
    #[error("the encryption key id `{kid}` is used twice")]
    KeyTwice {
        /// The id.
        kid: String,
    },
    /// An envelope names a key that is not configured.
    #[error("`{context}` is sealed with the key `{kid}`, which is not configured")]
    UnknownKey {
        /// The id in the envelope.
        kid: String,
        /// What was to be opened.
        context: String,
    },
    /// An envelope is damaged, or it was moved here from another context.
    #[error(
        "the envelope of `{context}` does not open with the key `{kid}`: damaged, moved from elsewhere, or another key of the same id"
    )]
    DoesNotOpen {
        /// The id in the envelope.
        kid: String,
        /// What was to be opened.
        context: String,
    },
    /// An envelope opened to bytes that are not UTF-8 where text was expected.
    #[error("the envelope of `{context}` does not hold text")]
    NotText {
        /// What was opened.
        context: String,
    },
    /// More bytes than one envelope can hold.
    #[error("{actual} bytes are too many for one envelope")]
    TooLong {
        /// What was given.
        actual: usize,
    },
    /// A text is not the hex of a lookup hash.
    #[error("a lookup hash has 64 lower-case hex digits")]
    LookupHashForm,
    /// The system has no random bytes.
    #[error("the system's random source failed")]
    Random,
}
