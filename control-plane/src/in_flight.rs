//! The bytes that requests in flight hold: all of them together so many, and those of one organization with all of its tokens a
//! share of that. A body is counted while it is read and as what it becomes when it is parsed, and given back when its request is
//! answered and no write of it waits any more.
//!
//! Each replica counts for itself.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use schemas::ids::OrganizationId;
use schemas::problem::{Code, ProblemId};

use crate::problem::Problem;

/// An organization may hold one part of so many.
const SHARES: usize = 4;
/// A value of JSON as it is held, with the room that lists grow by.
const VALUE: usize = 64;
/// A name in an object, with its place and its text's own.
const NAME: usize = 160;
/// An object that holds something: its places are made by the dozen.
const OBJECT: usize = 640;

/// What is held. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct InFlightBytes(Arc<InFlightInner>);

#[derive(Debug)]
struct InFlightInner {
    most: usize,
    held: Mutex<HeldBytes>,
}

#[derive(Debug, Default)]
struct HeldBytes {
    all: usize,
    /// Those who hold something.
    organizations: HashMap<OrganizationId, usize>,
}

/// What one request holds: nothing, until it is known who asks and its body comes.
#[derive(Debug, Default)]
pub(crate) struct RequestBytes(Mutex<Option<RequestHold>>);

#[derive(Debug)]
struct RequestHold {
    of: InFlightBytes,
    /// `None`: the operator, who has no share but all.
    organization: Option<OrganizationId>,
    bytes: usize,
    /// Of the body, as it came.
    read: usize,
}

// === impl InFlightBytes ===

impl InFlightBytes {
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(InFlightInner { most, held: Mutex::default() }))
    }

    /// Takes so many more for a request that holds `own` already, or none.
    fn take(&self, organization: Option<OrganizationId>, own: usize, bytes: usize) -> Result<(), Problem> {
        let most = self.0.most;
        let share = if organization.is_some() { most / SHARES } else { most };
        if own.saturating_add(bytes) > share {
            let detail = "the body holds more values than one request may: send it in parts";
            return Err(Problem::new(ProblemId::Validation, detail).with_status(413).with_code(Code::BodyTooLarge));
        }
        let mut held = self.0.held.lock();
        let of_one = organization.and_then(|id| held.organizations.get(&id)).copied().unwrap_or(0);
        if of_one.saturating_add(bytes) > share {
            let detail = "the requests of this organization that are not answered yet hold as many bytes as they may: wait for their \
                          answers before sending more";
            return Err(Problem::new(ProblemId::RateLimited, detail).with_retry_after(1));
        }
        if held.all.saturating_add(bytes) > most {
            let problem = Problem::new(ProblemId::ServiceUnavailable, "too many bytes of other requests are in flight");
            return Err(problem.with_code(Code::Overloaded).with_retry_after(1));
        }
        held.all += bytes;
        if let Some(organization) = organization {
            *held.organizations.entry(organization).or_default() += bytes;
        }
        Ok(())
    }

    fn give_back(&self, organization: Option<OrganizationId>, bytes: usize) {
        let mut held = self.0.held.lock();
        held.all = held.all.saturating_sub(bytes);
        let Some(organization) = organization else { return };
        let Some(of_one) = held.organizations.get_mut(&organization) else { return };
        *of_one = of_one.saturating_sub(bytes);
        if *of_one == 0 {
            held.organizations.remove(&organization);
        }
    }
}

// === impl RequestBytes ===

impl RequestBytes {
    /// From here on it is known whose they are.
    pub(crate) fn begin(&self, of: &InFlightBytes, organization: Option<OrganizationId>) {
        self.0.lock().get_or_insert_with(|| RequestHold { of: of.clone(), organization, bytes: 0, read: 0 });
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
        hold.of.take(hold.organization, hold.bytes, bytes)?;
        hold.bytes += bytes;
        Ok(())
    }
}

// === impl RequestHold ===

impl Drop for RequestHold {
    fn drop(&mut self) {
        self.of.give_back(self.organization, self.bytes);
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
    use uuid::Uuid;

    use super::*;

    fn begun(of: &InFlightBytes, organization: Option<u128>) -> RequestBytes {
        let bytes = RequestBytes::default();
        bytes.begin(of, organization.map(|it| OrganizationId(Uuid::from_u128(it))));
        bytes
    }

    #[test]
    fn an_organization_holds_its_share_and_all_hold_no_more_than_may_be() {
        let of = InFlightBytes::new(400);
        let first = begun(&of, Some(1));
        first.read(60).unwrap();
        assert_eq!(first.read(41).unwrap_err().status, 413, "too much by itself");
        let second = begun(&of, Some(1));
        let refused = second.read(41).unwrap_err();
        assert_eq!((refused.status, refused.id, refused.retry_after_s), (429, "RateLimited", Some(1)));
        second.read(40).unwrap();
        let others: Vec<_> = (2..=4).map(|it| begun(&of, Some(it))).collect();
        for other in &others {
            other.read(100).unwrap();
        }
        let refused = begun(&of, Some(5)).read(1).unwrap_err();
        assert_eq!((refused.status, refused.code, refused.retry_after_s), (503, Some(Code::Overloaded), Some(1)));
        assert_eq!(begun(&of, None).read(1).unwrap_err().status, 503);
        drop(others);
        begun(&of, None).read(300).unwrap();
        assert_eq!((first.body(), second.body()), (60, 40), "what was refused does not count");
        drop((first, second));
        let held = of.0.held.lock();
        assert_eq!((held.all, held.organizations.len()), (0, 0), "who holds nothing is not kept");
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
