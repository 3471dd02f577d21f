//! Signs one attempt. Keys are prepared once per subscription, so an attempt pays for its HMACs and little else.

use std::fmt;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::ed25519::Ed25519Key;
use crate::error::SigningError;
use crate::scheme::{Hook0Form, Scheme, Schemes};
use crate::secret::Secret;
use crate::{Body, message};

/// Base64 of a SHA-256 tag, in characters.
const TAG_BASE64: usize = 44;
/// Base64 of an ed25519 signature, in characters.
const ED25519_BASE64: usize = 88;
/// Hex of a SHA-256 tag, in characters.
const TAG_HEX: usize = 64;

/// Signs the attempts of one subscription.
///
/// `ring` does not overwrite its prepared keys on drop; the texts they came from are overwritten by [`Secret`].
pub struct Signer {
    schemes: Schemes,
    /// Of every live secret, newest first. Empty if the scheme is off.
    standard: Vec<hmac::Key>,
    /// Of the oldest live secret.
    hook0: hmac::Key,
    /// Empty if the scheme is off.
    ed25519: Vec<Ed25519Key>,
}

impl Signer {
    /// A signer of the live secrets, newest first. There is more than one only while a rotation overlaps: then every one of them
    /// signs in `webhook-signature`, and the oldest alone in `X-Hook0-Signature`, which has room for one.
    ///
    /// # Errors
    /// No secret, or `ed25519` without a key.
    pub fn new(secrets: &[Secret], ed25519: Vec<Ed25519Key>, schemes: Schemes) -> Result<Self, SigningError> {
        let oldest = secrets.last().ok_or(SigningError::NoSecret)?;
        if schemes.contains(Scheme::Ed25519) && ed25519.is_empty() {
            return Err(SigningError::NoEd25519Key);
        }
        let standard = if schemes.contains(Scheme::Standard) { secrets } else { &[] };
        Ok(Self {
            schemes,
            standard: standard.iter().map(|secret| hmac_key(secret.standard_key())).collect(),
            hook0: hmac_key(oldest.hook0_key()),
            ed25519: if schemes.contains(Scheme::Ed25519) { ed25519 } else { Vec::new() },
        })
    }

    /// The schemes that are on.
    #[must_use]
    pub const fn schemes(&self) -> Schemes {
        self.schemes
    }

    /// The value of `webhook-signature`, or `None` where neither `standard` nor `ed25519` is on. `timestamp` is the value of
    /// `webhook-timestamp`, in unix seconds.
    #[must_use]
    pub fn standard(&self, id: &str, timestamp: i64, body: Body<'_>) -> Option<String> {
        if self.standard.is_empty() && self.ed25519.is_empty() {
            return None;
        }
        let time = Timestamp::new(timestamp);
        let size = self.standard.len() * (4 + TAG_BASE64) + self.ed25519.len() * (5 + ED25519_BASE64);
        let mut value = String::with_capacity(size);
        for key in &self.standard {
            let tag = message::standard(key, id, time.as_str(), body);
            push_entry(&mut value, "v1,", tag.as_ref());
        }
        if !self.ed25519.is_empty() {
            let signed = message::standard_bytes(id, time.as_str(), body);
            for key in &self.ed25519 {
                push_entry(&mut value, "v1a,", key.sign(&signed).as_ref());
            }
        }
        Some(value)
    }

    /// The value of `X-Hook0-Signature` in the form that is on, or `None` where neither is. `headers` as in [`Signer::hook0_v1`].
    #[must_use]
    pub fn hook0(&self, timestamp: i64, headers: &[(&str, &str)], body: Body<'_>) -> Option<String> {
        match self.schemes.hook0()? {
            Hook0Form::Full => Some(self.hook0_v1(timestamp, headers, body)),
            Hook0Form::Body => Some(self.hook0_body(body)),
        }
    }

    /// `t=<unix s>,h=<names>,v1=<hex>`: timestamp, headers and body. Names are lower-case and sorted, each once.
    #[must_use]
    pub fn hook0_v1(&self, timestamp: i64, headers: &[(&str, &str)], body: Body<'_>) -> String {
        debug_assert!(headers.is_sorted_by(|left, right| left.0 < right.0), "names are sorted and unique");
        debug_assert!(
            headers.iter().all(|(name, _)| !name.bytes().any(|byte| byte.is_ascii_uppercase())),
            "names are lower-case"
        );
        let time = Timestamp::new(timestamp);
        let tag = message::hook0_v1(&self.hook0, time.as_str(), headers.iter().copied(), body);
        let names: usize = headers.iter().map(|(name, _)| name.len() + 1).sum();
        let mut value = String::with_capacity(time.as_str().len() + names + TAG_HEX + 9);
        value.push_str("t=");
        value.push_str(time.as_str());
        value.push_str(",h=");
        for (index, (name, _)) in headers.iter().enumerate() {
            if index > 0 {
                value.push(' ');
            }
            value.push_str(name);
        }
        value.push_str(",v1=");
        push_hex(&mut value, &tag);
        value
    }

    /// `t=<unix s>,v0=<hex>`: the older form, over timestamp and body. Never sent by a delivery, there for old verifiers' tests.
    #[must_use]
    pub fn hook0_v0(&self, timestamp: i64, body: Body<'_>) -> String {
        let time = Timestamp::new(timestamp);
        let tag = message::hook0_v0(&self.hook0, time.as_str(), body);
        let mut value = String::with_capacity(time.as_str().len() + TAG_HEX + 6);
        value.push_str("t=");
        value.push_str(time.as_str());
        value.push_str(",v0=");
        push_hex(&mut value, &tag);
        value
    }

    /// `sha256=<hex>`: the body alone. A replayed request verifies for ever, because no timestamp is signed.
    #[must_use]
    pub fn hook0_body(&self, body: Body<'_>) -> String {
        let tag = message::body_only(&self.hook0, body);
        let mut value = String::with_capacity(TAG_HEX + 7);
        value.push_str("sha256=");
        push_hex(&mut value, &tag);
        value
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("schemes", &self.schemes)
            .field("live_secrets", &self.standard.len())
            .field("ed25519", &self.ed25519)
            .finish_non_exhaustive()
    }
}

/// A prepared key: both SHA-256 blocks of its padding are hashed here, once.
pub(crate) fn hmac_key(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

fn push_entry(value: &mut String, prefix: &str, signature: &[u8]) {
    if !value.is_empty() {
        value.push(' ');
    }
    value.push_str(prefix);
    STANDARD.encode_string(signature, value);
}

fn push_hex(value: &mut String, tag: &hmac::Tag) {
    let mut digits = [0_u8; TAG_HEX];
    hex::encode_to_slice(tag, &mut digits).expect("an HMAC-SHA256 tag has 32 bytes, so 64 digits");
    value.push_str(std::str::from_utf8(&digits).expect("hex digits are ASCII"));
}

/// Unix seconds as text, on the stack: it is hashed and printed several times per attempt.
struct Timestamp {
    digits: [u8; 20],
    length: usize,
}

impl Timestamp {
    fn new(seconds: i64) -> Self {
        let mut text = Self { digits: [0; 20], length: 0 };
        write!(text, "{seconds}").expect("an i64 has at most 20 characters");
        text
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[..self.length]).expect("only whole strings were written")
    }
}

impl Write for Timestamp {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let target = self.digits.get_mut(self.length..end).ok_or(fmt::Error)?;
        target.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}
