//! `Idempotency-Key`: a `POST` that is sent again with the same key has the answer of the first, and does nothing more.
//!
//! ```text
//! header --auth--> KeyedRequest (who, path, key) --body--> with a hash of the body --Store--> decided over the snapshot:
//!     no answer is kept --> the rule decides; its changes and the answer are one transaction
//!     one is kept, of the same request --> that answer, nothing is written
//!     one is kept, of another request --> 409
//! ```
//!
//! A repeat that comes while the first is under way waits for its turn in the line of writes, like any other write, and then finds
//! the answer. Only what took effect is kept: a refusal changed nothing, and is decided anew. How long and how much is kept:
//! `store/answers.rs`.

use std::fmt;
use std::sync::{Arc, OnceLock};

use http::request::Parts;
use http::{HeaderName, Method};
use schemas::ids::AnswerId;
use schemas::problem::{Code, ProblemId};
use uuid::Uuid;
use vault::Vault;

use crate::problem::Problem;

/// The header.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Characters of a key.
const MAX_KEY: usize = 255;

/// A request that may be sent again.
pub(crate) struct KeyedRequest {
    /// Who asks, the path, and the key: what a repeat has in common with it.
    scope: String,
    query: String,
    /// SHA-256 of the body, once it is read. Unset: the route reads none.
    body: OnceLock<[u8; 32]>,
}

// === impl KeyedRequest ===

impl KeyedRequest {
    /// `None`: no key was sent, or the method needs none.
    pub(crate) fn read(parts: &Parts, actor: &str) -> Result<Option<Arc<Self>>, Problem> {
        if parts.method != Method::POST {
            return Ok(None);
        }
        let mut given = parts.headers.get_all(&IDEMPOTENCY_KEY).iter();
        let Some(value) = given.next() else { return Ok(None) };
        let message = format!("must be one key of 1 to {MAX_KEY} printable ASCII characters");
        let malformed = || Problem::field(IDEMPOTENCY_KEY.as_str(), Code::InvalidField, message);
        let fits =
            |bytes: &[u8]| (1..=MAX_KEY).contains(&bytes.len()) && bytes.iter().all(|it| (b' '..=b'~').contains(it));
        if given.next().is_some() || !fits(value.as_bytes()) {
            return Err(malformed());
        }
        let key = String::from_utf8_lossy(value.as_bytes());
        // No actor and no path has a space, so no two of them run together.
        let scope = format!("idempotency key of {actor} {} {key}", parts.uri.path());
        let query = parts.uri.query().unwrap_or_default().to_owned();
        Ok(Some(Arc::new(Self { scope, query, body: OnceLock::new() })))
    }

    /// The body has come.
    pub(crate) fn has_body(&self, bytes: &[u8]) {
        // A request has one body, which is read once.
        self.body.get_or_init(|| vault::sha256(bytes));
    }

    /// What the answer is kept under, and what a repeat must have in common with it. Keyed hashes: neither tells what was sent.
    /// `part`: one of the writes of a batch, which has a place of its own for every body.
    pub(crate) fn hashes(&self, vault: &Vault, part: Option<usize>) -> (AnswerId, String) {
        let mut whole = self.query.clone().into_bytes();
        whole.push(0);
        whole.extend(self.body.get().into_iter().flatten());
        let request = vault.lookup(&format!("idempotent request {}", hex(&vault::sha256(&whole)))).to_string();
        let scope = match part {
            None => self.scope.clone(),
            Some(part) => format!("{} part {part} of {request}", self.scope),
        };
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *vault.lookup(&scope).as_bytes();
        let id = Uuid::from_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]);
        (AnswerId(id), request)
    }
}

impl fmt::Debug for KeyedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A path may hold a token.
        f.debug_struct("KeyedRequest").finish_non_exhaustive()
    }
}

/// The key has an answer, and it is another request's.
pub(crate) fn reused() -> Problem {
    let detail = "this `Idempotency-Key` was sent with another body or query: take a new key for a new request";
    Problem::new(ProblemId::Validation, detail).with_status(409).with_code(Code::IdempotencyKeyReused)
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}

#[cfg(test)]
mod tests {
    use http::Request;
    use vault::EncryptionKey;

    use super::*;

    fn keyed(actor: &str, uri: &str, keys: &[&[u8]]) -> Result<Option<Arc<KeyedRequest>>, Problem> {
        let mut request = Request::builder().method(Method::POST).uri(uri);
        for key in keys {
            request = request.header(IDEMPOTENCY_KEY, *key);
        }
        KeyedRequest::read(&request.body(()).unwrap().into_parts().0, actor)
    }

    #[test]
    fn a_key_is_one_of_1_to_255_printable_characters() {
        assert!(keyed("admin", "/a", &[]).unwrap().is_none());
        for good in ["k", "a key with spaces", &"k".repeat(255), "~!\"{}"] {
            assert!(keyed("admin", "/a", &[good.as_bytes()]).unwrap().is_some(), "{good}");
        }
        let long = "k".repeat(256);
        for bad in [&[b"".as_slice()][..], &[long.as_bytes()], &["schlüssel".as_bytes()], &[b"a\tb"], &[b"a", b"a"]] {
            let problem = keyed("admin", "/a", bad).unwrap_err();
            assert_eq!((problem.status, problem.code), (422, Some(Code::InvalidField)), "{bad:?}");
        }
    }

    #[test]
    fn who_asks_the_path_and_the_key_make_the_place_and_the_rest_the_request() {
        let vault = Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap();
        let hashes = |actor: &str, uri: &str, key: &str, body: &[u8], part| {
            let keyed = keyed(actor, uri, &[key.as_bytes()]).unwrap().unwrap();
            keyed.has_body(body);
            keyed.hashes(&vault, part)
        };
        let (place, request) = hashes("admin", "/a?x=1", "k", b"{}", None);
        assert_eq!(hashes("admin", "/a?x=1", "k", b"{}", None), (place, request.clone()));
        for other in [
            hashes("service_token/1", "/a?x=1", "k", b"{}", None),
            hashes("admin", "/b?x=1", "k", b"{}", None),
            hashes("admin", "/a?x=1", "l", b"{}", None),
        ] {
            assert_ne!(other.0, place);
        }
        for other in [hashes("admin", "/a?x=2", "k", b"{}", None), hashes("admin", "/a?x=1", "k", b"{ }", None)] {
            assert_eq!(other.0, place);
            assert_ne!(other.1, request);
        }
        let parts = [Some(0), Some(1)].map(|part| hashes("admin", "/a?x=1", "k", b"{}", part).0);
        assert!(parts[0] != parts[1] && !parts.contains(&place));
        assert_ne!(hashes("admin", "/a?x=1", "k", b"{ }", Some(0)).0, parts[0], "another batch is not mistaken for it");
    }
}
