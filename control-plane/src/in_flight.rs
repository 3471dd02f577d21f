//! The bytes that requests in flight hold: a body is counted while it is read and as what it becomes when it is parsed, and given back
//! when its request is answered and no write of it waits any more. Whose they are, and how many each may hold, is the budget's
//! ([`BodyBudget`]).

use chassis::body_budget::{BodyBudget, BodyRefusal, BodyShare};
use parking_lot::Mutex;
use schemas::ids::OrganizationId;
use schemas::problem::{Code, ProblemId};

use crate::problem::Problem;

/// A value of JSON as it is held, with the room that lists grow by.
const VALUE: usize = 64;
/// A name in an object, with its place and its text's own.
const NAME: usize = 160;
/// An object that holds something: its places are made by the dozen.
const OBJECT: usize = 640;

/// What one request holds: nothing, until it is known who asks and its body comes.
#[derive(Debug, Default)]
pub(crate) struct RequestBytes(Mutex<Option<RequestHold>>);

#[derive(Debug)]
struct RequestHold {
    share: BodyShare,
    /// Of the body, as it came.
    read: usize,
}

// === impl RequestBytes ===

impl RequestBytes {
    /// From here on it is known whose they are.
    pub(crate) fn begin(&self, of: &BodyBudget, organization: Option<OrganizationId>) {
        self.0.lock().get_or_insert_with(|| {
            let mut share = of.share();
            share.belong(organization);
            RequestHold { share, read: 0 }
        });
    }

    /// A piece of the body has come.
    ///
    /// # Errors
    /// A 429 where the organization holds as much as it may, a 503 where all do, a 413 where it is too much by itself.
    pub(crate) fn read(&self, bytes: usize) -> Result<(), Problem> {
        self.hold(bytes)?;
        if let Some(hold) = &mut *self.0.lock() {
            hold.read += bytes;
        }
        Ok(())
    }

    /// The body is about to be parsed.
    ///
    /// # Errors
    /// As of [`RequestBytes::read`].
    pub(crate) fn parse(&self, json: &[u8]) -> Result<(), Problem> {
        self.hold(parsed(json))
    }

    /// Bytes of the body, as it came.
    pub(crate) fn body(&self) -> usize {
        self.0.lock().as_ref().map_or(0, |hold| hold.read)
    }

    fn hold(&self, bytes: usize) -> Result<(), Problem> {
        let mut slot = self.0.lock();
        // What no token stands behind is held by nobody and is not read: its routes take no body.
        let Some(hold) = &mut *slot else { return Ok(()) };
        hold.share.grow(bytes).map_err(no_room)
    }
}

/// A body that may not hold more.
fn no_room(refusal: BodyRefusal) -> Problem {
    match refusal {
        BodyRefusal::TooLarge { .. } => {
            let detail = "the body holds more values than one request may: send it in parts";
            Problem::new(ProblemId::Validation, detail).with_status(413).with_code(Code::BodyTooLarge)
        }
        BodyRefusal::Organization => {
            let detail = "the requests of this organization that are not answered yet hold as many bytes as they may: wait for their \
                          answers before sending more";
            Problem::new(ProblemId::RateLimited, detail).with_retry_after(1)
        }
        BodyRefusal::Others => {
            let problem = Problem::new(ProblemId::ServiceUnavailable, "too many bytes of other requests are in flight");
            problem.with_code(Code::Overloaded).with_retry_after(1)
        }
    }
}

/// What a text of JSON takes at most when it is parsed, by its marks: a value of four bytes may take several hundred.
pub(crate) fn parsed(json: &[u8]) -> usize {
    let (mut bytes, mut in_text, mut escaped) = (VALUE + json.len(), false, false);
    for &byte in json {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'{') => bytes += OBJECT + VALUE,
            (false, b'[' | b',') => bytes += VALUE,
            (false, b':') => bytes += NAME,
            _other => {}
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use chassis::metrics::IntGauge;
    use uuid::Uuid;

    use super::*;

    fn begun(of: &BodyBudget, organization: Option<u128>) -> RequestBytes {
        let bytes = RequestBytes::default();
        bytes.begin(of, organization.map(|it| OrganizationId(Uuid::from_u128(it))));
        bytes
    }

    #[test]
    fn who_holds_too_much_is_told_what_cures_it() {
        let shown = IntGauge::new("bytes", "Bytes.").unwrap();
        let of = BodyBudget::new(400, shown.clone());
        let first = begun(&of, Some(1));
        first.read(160).unwrap();
        assert_eq!(first.read(241).unwrap_err().status, 413, "too much by itself");
        let second = begun(&of, Some(1));
        let refused = second.read(41).unwrap_err();
        assert_eq!((refused.status, refused.id, refused.retry_after_s), (429, "RateLimited", Some(1)));
        second.read(40).unwrap();
        begun(&of, Some(2)).read(200).unwrap();
        let operator = begun(&of, None);
        operator.read(200).unwrap();
        let refused = begun(&of, Some(2)).read(1).unwrap_err();
        assert_eq!((refused.status, refused.code, refused.retry_after_s), (503, Some(Code::Overloaded), Some(1)));
        assert_eq!((first.body(), second.body()), (160, 40), "what was refused does not count");
        drop((first, second, operator));
        assert_eq!(shown.get(), 0);
    }

    #[test]
    fn a_body_is_counted_by_its_values_and_not_by_what_its_texts_say() {
        assert_eq!(parsed(b"7"), VALUE + 1);
        assert_eq!(parsed(b"[1,2]"), 3 * VALUE + 5);
        let object = br#"{"a":1}"#;
        assert_eq!(parsed(object), 2 * VALUE + NAME + OBJECT + object.len());
        let text = br#""a{[,:\"{[\\""#;
        assert_eq!(parsed(text), VALUE + text.len());
        assert_eq!(parsed(br#"["\\",{}]"#), 4 * VALUE + OBJECT + 9);
    }
}
