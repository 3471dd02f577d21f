//! Checks what arrived, as a receiver does. Comparisons take constant time, and each scheme has its own function: a receiver that
//! expects a timestamp never falls back to a form without one.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::ed25519::Ed25519PublicKey;
use crate::error::SigningError;
use crate::secret::Secret;
use crate::signer::hmac_key;
use crate::{Body, message};

/// How far a timestamp may lie from now, either way, unless said otherwise: five minutes, as Standard Webhooks recommends.
pub const DEFAULT_TOLERANCE_S: i64 = 300;

/// More entries than this in one `webhook-signature` are not looked at: each one costs a check.
const MAX_ENTRIES: usize = 32;

/// Checks requests signed with one secret.
pub struct Verifier {
    standard: hmac::Key,
    hook0: hmac::Key,
    tolerance_s: i64,
}

/// The three headers of Standard Webhooks, as they arrived.
#[derive(Debug, Clone, Copy)]
pub struct StandardHeaders<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`.
    pub timestamp: &'a str,
    /// `webhook-signature`.
    pub signature: &'a str,
}

/// `X-Hook0-Signature`, taken apart.
#[derive(Default)]
struct Hook0Parts<'a> {
    t: Option<&'a str>,
    h: Option<&'a str>,
    v0: Option<&'a str>,
    v1: Option<&'a str>,
}

// === impl Verifier ===

impl Verifier {
    /// A verifier for one secret, with [`DEFAULT_TOLERANCE_S`].
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self {
            standard: hmac_key(secret.standard_key()),
            hook0: hmac_key(secret.hook0_key()),
            tolerance_s: DEFAULT_TOLERANCE_S,
        }
    }

    /// Accepts timestamps up to this many seconds from now, either way.
    #[must_use]
    pub const fn with_tolerance_s(mut self, tolerance_s: i64) -> Self {
        self.tolerance_s = tolerance_s;
        self
    }

    /// Standard Webhooks `v1`: one of the entries must be this secret's. `now` is in unix seconds.
    ///
    /// # Errors
    /// A timestamp outside the tolerance, or no entry that matches.
    pub fn standard(&self, headers: &StandardHeaders<'_>, body: Body<'_>, now: i64) -> Result<(), SigningError> {
        check_time(headers.timestamp, now, self.tolerance_s)?;
        let tag = message::standard(&self.standard, headers.id, headers.timestamp, body);
        any_entry(headers.signature, "v1", |signature| same(&self.standard, &tag, signature))
    }

    /// Hook0 `v1`: timestamp, the headers it names, body. `header` finds a request header by its lower-case name.
    ///
    /// # Errors
    /// A malformed value, a timestamp outside the tolerance, a signed header that is missing, or no match.
    pub fn hook0_v1<'a>(
        &self,
        signature: &str,
        header: impl Fn(&str) -> Option<&'a str>,
        body: Body<'_>,
        now: i64,
    ) -> Result<(), SigningError> {
        let parts = Hook0Parts::parse(signature)?;
        let (t, names, digits) = match (parts.t, parts.h, parts.v1) {
            (Some(t), Some(h), Some(v1)) => (t, h, v1),
            (None, ..) => return Err(malformed("`t` is missing")),
            (_, None, _) => return Err(malformed("`h` is missing")),
            (.., None) => return Err(malformed("`v1` is missing")),
        };
        check_time(t, now, self.tolerance_s)?;
        let mut pairs = Vec::new();
        for name in names.split(' ').filter(|name| !name.is_empty()) {
            let value = header(name).ok_or_else(|| SigningError::HeaderMissing { name: name.to_owned() })?;
            pairs.push((name, value));
        }
        let tag = message::hook0_v1(&self.hook0, t, pairs.iter().copied(), body);
        check_hex(&self.hook0, &tag, digits)
    }

    /// Hook0 `v0`: timestamp and body.
    ///
    /// # Errors
    /// A malformed value, a timestamp outside the tolerance, or no match.
    pub fn hook0_v0(&self, signature: &str, body: Body<'_>, now: i64) -> Result<(), SigningError> {
        let parts = Hook0Parts::parse(signature)?;
        let t = parts.t.ok_or(malformed("`t` is missing"))?;
        let digits = parts.v0.ok_or(malformed("`v0` is missing"))?;
        check_time(t, now, self.tolerance_s)?;
        check_hex(&self.hook0, &message::hook0_v0(&self.hook0, t, body), digits)
    }

    /// `sha256=<hex>` over the body alone; there is no timestamp to check.
    ///
    /// # Errors
    /// A malformed value, or no match.
    pub fn hook0_body(&self, signature: &str, body: Body<'_>) -> Result<(), SigningError> {
        let digits = signature.strip_prefix("sha256=").ok_or(malformed("it does not begin with `sha256=`"))?;
        check_hex(&self.hook0, &message::body_only(&self.hook0, body), digits)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("tolerance_s", &self.tolerance_s).finish_non_exhaustive()
    }
}

// === impl Ed25519PublicKey ===

impl Ed25519PublicKey {
    /// Standard Webhooks `v1a`: one of the entries must be this key's. Times are in unix seconds.
    ///
    /// # Errors
    /// A timestamp outside the tolerance, or no entry that matches.
    pub fn verify(
        &self,
        headers: &StandardHeaders<'_>,
        body: Body<'_>,
        now: i64,
        tolerance_s: i64,
    ) -> Result<(), SigningError> {
        check_time(headers.timestamp, now, tolerance_s)?;
        let signed = message::standard_bytes(headers.id, headers.timestamp, body);
        any_entry(headers.signature, "v1a", |signature| self.accepts(&signed, signature))
    }
}

// === impl Hook0Parts ===

impl<'a> Hook0Parts<'a> {
    /// Unknown parts are ignored, for forms to come; a known one twice is refused, because readers would differ on which counts.
    fn parse(signature: &'a str) -> Result<Self, SigningError> {
        let mut parts = Self::default();
        for part in signature.split(',') {
            let (name, value) = part.split_once('=').ok_or(malformed("a part has no `=`"))?;
            let slot = match name.trim() {
                "t" => &mut parts.t,
                "h" => &mut parts.h,
                "v0" => &mut parts.v0,
                "v1" => &mut parts.v1,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(malformed("a part stands there twice"));
            }
        }
        Ok(parts)
    }
}

const fn malformed(reason: &'static str) -> SigningError {
    SigningError::SignatureMalformed { reason }
}

/// Some entry `<version>,<base64>` satisfies the check.
fn any_entry(signature: &str, version: &str, accepts: impl Fn(&[u8]) -> bool) -> Result<(), SigningError> {
    let matches = signature
        .split(' ')
        .take(MAX_ENTRIES)
        .filter_map(|entry| entry.split_once(','))
        .filter(|(entry_version, _)| *entry_version == version)
        .filter_map(|(_, encoded)| STANDARD.decode(encoded).ok())
        .any(|bytes| accepts(&bytes));
    if matches { Ok(()) } else { Err(SigningError::NoMatch) }
}

fn check_hex(key: &hmac::Key, tag: &hmac::Tag, digits: &str) -> Result<(), SigningError> {
    let bytes = hex::decode(digits).map_err(|_position| malformed("the signature is not hex"))?;
    if same(key, tag, &bytes) { Ok(()) } else { Err(SigningError::NoMatch) }
}

/// Equal in constant time. `ring` compares a tag with a message only, so both sides are hashed once more and the tags of these
/// are compared: equal exactly if the inputs are, and nothing is learnt from how long it takes.
fn same(key: &hmac::Key, tag: &hmac::Tag, signature: &[u8]) -> bool {
    let expected = hmac::sign(key, signature);
    hmac::verify(key, tag.as_ref(), expected.as_ref()).is_ok()
}

/// Digits only: `+5` or ` 5` would sign another message than the one a strict reader sees.
fn check_time(timestamp: &str, now: i64, tolerance_s: i64) -> Result<(), SigningError> {
    if timestamp.is_empty() || !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SigningError::TimestampMalformed);
    }
    let time: i64 =
        timestamp.parse().map_err(|_too_many_digits: std::num::ParseIntError| SigningError::TimestampMalformed)?;
    let age_s = now.saturating_sub(time);
    if age_s > tolerance_s {
        return Err(SigningError::TimestampTooOld { age_s, tolerance_s });
    }
    let ahead_s = time.saturating_sub(now);
    if ahead_s > tolerance_s {
        return Err(SigningError::TimestampTooNew { ahead_s, tolerance_s });
    }
    Ok(())
}
