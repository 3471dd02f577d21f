//! Entity tags: which version of an object a client has seen, and what a request demands of it.
//!
//! A tag is the beginning of the SHA-256 of the stored object, so every replica gives the same one and nothing has to be
//! counted. It stands for what was written; figures that are worked out on reading (consumption, onboarding) are not in it.
//!
//! Preconditions of writes are checked inside the store's decision, over the very snapshot the write builds on: of two writes
//! with the same `If-Match` one wins and the other is a 412, over all replicas.
//!
//! A job's tag stands for what was asked of it, paused and cancelled included, and not for how far it is. Its writes build on what this
//! replica has read of `jobs` up to the end that it had when they came: of two on two replicas in the same moment both may win.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use schemas::problem::{Code, ProblemId};
use serde::Serialize;

use crate::problem::{Problem, internal};

/// Bytes of the digest that make a tag.
const BYTES: usize = 16;

/// A version of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ETag([u8; BYTES]);

/// What `If-Match` and `If-None-Match` demand. Both empty: everything is fine, the last write wins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Preconditions {
    matching: Option<Condition>,
    none_matching: Option<Condition>,
}

#[derive(Clone, Debug)]
enum Condition {
    /// `*`
    Any,
    /// A list of tags, each with whether it is weak, without its quotes.
    Tags(Vec<(bool, String)>),
}

// === impl ETag ===

impl ETag {
    /// The tag of an object as it is stored.
    pub(crate) fn of(object: &impl Serialize) -> Result<Self, Problem> {
        let bytes = serde_json::to_vec(object).map_err(|error| internal("an object could not be encoded", &error))?;
        let digest = vault::sha256(&bytes);
        let mut tag = [0; BYTES];
        tag.copy_from_slice(&digest[..BYTES]);
        Ok(Self(tag))
    }

    /// As it stands in the header, quotes included.
    pub(crate) fn header(self) -> HeaderValue {
        HeaderValue::from_str(&format!("\"{}\"", self.digits())).expect("hex digits are a header value")
    }

    fn digits(self) -> String {
        use std::fmt::Write as _;
        self.0.iter().fold(String::with_capacity(2 * BYTES), |mut digits, byte| {
            write!(digits, "{byte:02x}").expect("writing to a string");
            digits
        })
    }
}

// === impl Preconditions ===

impl Preconditions {
    /// For a write of an object that is there: 412 when it is not the version the client has seen.
    pub(crate) fn check(&self, former: &impl Serialize) -> Result<(), Problem> {
        if self.matching.is_none() && self.none_matching.is_none() {
            return Ok(());
        }
        let digits = ETag::of(former)?.digits();
        let lost = self.matching.as_ref().is_some_and(|condition| !condition.strong(&digits));
        let there = self.none_matching.as_ref().is_some_and(|condition| condition.weak(&digits));
        if lost || there { Err(failed("the object is not the version the request names")) } else { Ok(()) }
    }

    /// For a write that makes an object: 412 when the request insists on one that is there.
    pub(crate) fn check_absent(&self) -> Result<(), Problem> {
        if self.matching.is_some() { Err(failed("there is no such object yet")) } else { Ok(()) }
    }

    /// Whether it is to be one version and no other: a write makes another, so it cannot be repeated as it is.
    pub(crate) fn name_a_version(&self) -> bool {
        self.matching.is_some()
    }

    /// For a read: whether the client has this version already.
    pub(crate) fn knows(&self, tag: ETag) -> bool {
        self.none_matching.as_ref().is_some_and(|condition| condition.weak(&tag.digits()))
    }

    fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self {
            matching: Condition::read(headers, &header::IF_MATCH)?,
            none_matching: Condition::read(headers, &header::IF_NONE_MATCH)?,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Preconditions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::read(&parts.headers)
    }
}

fn failed(detail: &str) -> Problem {
    Problem::new(ProblemId::Validation, detail).with_status(412).with_code(Code::PreconditionFailed)
}

// === impl Condition ===

impl Condition {
    fn read(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Problem> {
        let mut tags = Vec::new();
        let mut any = false;
        for value in headers.get_all(name) {
            let text = value.to_str().map_err(|_opaque| malformed(name))?.trim();
            if text == "*" {
                any = true;
            } else {
                list(text, &mut tags).ok_or_else(|| malformed(name))?;
            }
        }
        match (any, tags.is_empty()) {
            (true, true) => Ok(Some(Self::Any)),
            (true, false) => Err(malformed(name)),
            // Grammar lets a list be empty; whoever sends one has lost the tag on the way, and is told.
            (false, true) if headers.contains_key(name) => Err(malformed(name)),
            (false, true) => Ok(None),
            (false, false) => Ok(Some(Self::Tags(tags))),
        }
    }

    /// Strong comparison: a weak tag is equal to nothing.
    fn strong(&self, digits: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|(weak, tag)| !weak && tag == digits),
        }
    }

    /// Weak comparison.
    fn weak(&self, digits: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|(_, tag)| tag == digits),
        }
    }
}

/// `"a", W/"b"`; `None` when it is not such a list. A tag's text may hold commas, but no quotes.
fn list(text: &str, tags: &mut Vec<(bool, String)>) -> Option<()> {
    let mut rest = text;
    while !rest.is_empty() {
        let (weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |quoted| (true, quoted));
        let (tag, after) = quoted.strip_prefix('"')?.split_once('"')?;
        if !tag.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        tags.push((weak, tag.to_owned()));
        let after = after.trim_start();
        // Empty elements are allowed by the list rule, anything else between two tags is not.
        rest = after.trim_start_matches([',', ' ', '\t']);
        if !(after.is_empty() || after.starts_with(',')) {
            return None;
        }
    }
    Some(())
}

fn malformed(name: &HeaderName) -> Problem {
    let message = "must be `*` or a list of entity tags in double quotes";
    Problem::field(name.as_str(), Code::InvalidField, message)
}

#[cfg(test)]
mod tests {
    use schemas::control::Organization;
    use schemas::ids::OrganizationId;
    use uuid::Uuid;

    use super::*;

    fn organization(name: &str) -> Organization {
        Organization { name: name.to_owned(), ..Organization::new(OrganizationId(Uuid::nil()), String::new(), 1) }
    }

    fn given(name: HeaderName, value: &str) -> Result<Preconditions, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        Preconditions::read(&headers)
    }

    #[test]
    fn a_write_goes_on_only_over_the_version_it_names() {
        let (one, other) = (organization("one"), organization("other"));
        let tag = ETag::of(&one).unwrap().header();
        let tag = tag.to_str().unwrap();
        assert_eq!(tag.len(), 34);
        for fine in [tag.to_owned(), "*".to_owned(), format!("\"x\" , {tag}"), format!("W/\"x,y\",{tag},")] {
            let preconditions = given(header::IF_MATCH, &fine).unwrap();
            assert!(preconditions.check(&one).is_ok(), "{fine}");
            assert_eq!(preconditions.check_absent().unwrap_err().status, 412);
        }
        let problem = given(header::IF_MATCH, tag).unwrap().check(&other).unwrap_err();
        assert_eq!((problem.status, problem.id, problem.code), (412, "Validation", Some(Code::PreconditionFailed)));
        let weak = given(header::IF_MATCH, &format!("W/{tag}")).unwrap();
        assert_eq!(weak.check(&one).unwrap_err().status, 412, "a weak tag never matches strongly");
        assert_eq!(given(header::IF_NONE_MATCH, "*").unwrap().check(&one).unwrap_err().status, 412);
        assert!(given(header::IF_NONE_MATCH, "*").unwrap().check_absent().is_ok());
        assert!(Preconditions::default().check(&other).is_ok());
    }

    #[test]
    fn a_reader_has_what_it_has() {
        let tag = ETag::of(&organization("one")).unwrap();
        let text = tag.header().to_str().unwrap().to_owned();
        assert!(given(header::IF_NONE_MATCH, &format!("W/{text}")).unwrap().knows(tag));
        assert!(given(header::IF_NONE_MATCH, "*").unwrap().knows(tag));
        assert!(!given(header::IF_NONE_MATCH, "\"other\"").unwrap().knows(tag));
        assert!(!Preconditions::default().knows(tag));
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused() {
        for bad in ["abc", "", "\"a", "\"a\" \"b\"", "w/\"a\"", "\"a\"x", "*, \"a\"", "\"a b\""] {
            assert_eq!(given(header::IF_MATCH, bad).unwrap_err().status, 422, "{bad}");
        }
    }
}
