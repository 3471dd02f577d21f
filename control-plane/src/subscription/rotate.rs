//! A new signing secret beside the former one, which goes on signing until the overlap ends. Pure but for the random bytes.
//!
//! ```text
//! [current, former until T1]  --rotate(overlap)-->  [new, current until now + overlap, former until min(T1, now + overlap)]
//! ```
//!
//! So after the overlap only the new one signs, whatever rotations came before; an overlap of 0 is for a secret that leaked.

use schemas::control::{SigningScheme, Subscription};
use schemas::problem::Code;
use serde_json::{Map, Value};
use signing::{Ed25519Key, MAX_TEXT_BYTES, Secret, SigningError};

use super::Facts;
use super::keys::{self, Held, Keys};
use crate::body::Fields;
use crate::problem::{Problem, not_found};

/// Unless the request says otherwise.
pub(crate) const DEFAULT_OVERLAP_MS: u64 = 86_400_000;
/// The longest.
pub(crate) const MAX_OVERLAP_MS: u64 = 7 * 86_400_000;
/// Secrets that sign at once, of each sort: every one of them is a signature in every request.
const MAX_LIVE: usize = 5;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    secret: Option<String>,
    signing_private_key: Option<String>,
    overlap_ms: i64,
}

// === impl Rotation ===

impl Rotation {
    /// Reads a request. Without a given secret everything the subscription signs with gets a new one.
    pub(crate) fn read(map: Map<String, Value>) -> Result<Self, Problem> {
        let mut fields = Fields::new(map, "", &["application_id", "secret", "signing_private_key", "overlap_ms"])?;
        fields.text("application_id", 1..=200)?;
        let overlap_ms = fields.number("overlap_ms", 0..=MAX_OVERLAP_MS)?.flatten().unwrap_or(DEFAULT_OVERLAP_MS);
        Ok(Self {
            secret: fields.text("secret", 1..=MAX_TEXT_BYTES)?.flatten(),
            signing_private_key: fields.text("signing_private_key", 1..=MAX_TEXT_BYTES)?.flatten(),
            overlap_ms: i64::try_from(overlap_ms).unwrap_or(i64::MAX),
        })
    }

    /// The object with its new secrets.
    pub(crate) fn apply(&self, facts: Facts<'_>) -> Result<Subscription, Problem> {
        let Some(former) = facts.former else { return Err(not_found("subscription")) };
        let mut keys = Keys::open(former, facts.vault)?;
        let context = keys::context(former);
        let seal = |text: &str| keys::seal(facts.vault, &context, text);
        let is_on = |scheme| former.signing.contains(&scheme);
        let nothing_given = self.secret.is_none() && self.signing_private_key.is_none();
        let shares = former.signing.iter().any(|scheme| *scheme != SigningScheme::Ed25519);
        if self.secret.is_some() || (nothing_given && shares) {
            let new = self.new_secret()?;
            let sealed = seal(new.expose())?;
            self.push("secret", &mut keys.secrets, Held::current(new, sealed), facts.now_ms)?;
        }
        if self.signing_private_key.is_some() || (nothing_given && is_on(SigningScheme::Ed25519)) {
            let new = self.new_pair()?;
            let sealed = seal(new.expose())?;
            self.push("signing_private_key", &mut keys.pairs, Held::current(new, sealed), facts.now_ms)?;
        }
        let mut object = former.clone();
        object.secrets = keys.into_stored();
        object.updated_ms = facts.now_ms;
        Ok(object)
    }

    fn new_secret(&self) -> Result<Secret, Problem> {
        match &self.secret {
            Some(text) => Secret::given(text).map_err(|error| wrong("secret", &error)),
            None => Secret::generate().map_err(keys::not_made),
        }
    }

    fn new_pair(&self) -> Result<Ed25519Key, Problem> {
        match &self.signing_private_key {
            Some(text) => Ed25519Key::parse(text).map_err(|error| wrong("signing_private_key", &error)),
            None => Ed25519Key::generate().map_err(keys::not_made),
        }
    }

    /// Puts the new one in front, gives the others their end and forgets those that have passed it.
    fn push<K: Exposed>(&self, field: &str, list: &mut Vec<Held<K>>, new: Held<K>, now_ms: i64) -> Result<(), Problem> {
        if list.first().is_some_and(|held| held.key.text() == new.key.text()) {
            return Err(Problem::field(field, Code::InvalidField, "is the current one already"));
        }
        for held in list.iter_mut() {
            held.end(now_ms + self.overlap_ms);
        }
        // Rotated back: what was a former one is current again.
        list.retain(|held| held.is_live(now_ms) && held.key.text() != new.key.text());
        if list.len() >= MAX_LIVE {
            let message = format!(
                "{MAX_LIVE} secrets are signing already: wait for the end of an overlap, or end them all with \
                 `overlap_ms` 0"
            );
            return Err(Problem::field("overlap_ms", Code::LimitReached, message));
        }
        list.insert(0, new);
        Ok(())
    }
}

/// A key that has a text.
trait Exposed {
    fn text(&self) -> &str;
}

impl Exposed for Secret {
    fn text(&self) -> &str {
        self.expose()
    }
}

impl Exposed for Ed25519Key {
    fn text(&self) -> &str {
        self.expose()
    }
}

fn wrong(field: &str, error: &SigningError) -> Problem {
    Problem::field(field, Code::InvalidField, error.to_string())
}

#[cfg(test)]
mod tests;
