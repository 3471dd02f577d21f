//! Event types and the patterns subscriptions use for them.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A declared event type: 2 to 6 dot-separated parts, each `[A-Za-z0-9_-]{1,50}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventTypeName(String);

/// What a subscription listens to: an event type whose parts may be `*` (one part) and whose last may be `**` (one or more).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventTypePattern(String);

/// Why a name or pattern was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EventTypeError {
    /// Too few or too many parts.
    #[error("event type `{name}` has {parts} dot-separated parts, it needs 2 to 6")]
    Parts {
        /// What was given.
        name: String,
        /// How many parts it has.
        parts: usize,
    },
    /// A part with other characters or length.
    #[error("part `{part}` of event type `{name}` is not 1 to 50 of the characters A-Z a-z 0-9 _ -")]
    Part {
        /// What was given.
        name: String,
        /// The part at fault.
        part: String,
    },
    /// `**` elsewhere than at the end.
    #[error("`**` stands only at the end of an event type pattern, not in `{0}`")]
    DoubleStar(String),
}

/// Whether a record that came through a topic may carry this type: 1 to 200 visible ASCII characters.
#[must_use]
pub fn is_visible_type(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn check_part(name: &str, part: &str) -> Result<(), EventTypeError> {
    let fits = (1..=50).contains(&part.len())
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if fits { Ok(()) } else { Err(EventTypeError::Part { name: name.to_owned(), part: part.to_owned() }) }
}

// === impl EventTypeName ===

impl EventTypeName {
    /// Checks and keeps a name.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn parse(name: &str) -> Result<Self, EventTypeError> {
        let parts = name.split('.').count();
        if !(2..=6).contains(&parts) {
            return Err(EventTypeError::Parts { name: name.to_owned(), parts });
        }
        for part in name.split('.') {
            check_part(name, part)?;
        }
        Ok(Self(name.to_owned()))
    }

    /// Hook0's three names: service, resource type (`""` in a two-part type, else what is between), verb.
    #[must_use]
    pub fn hook0_parts(&self) -> (&str, &str, &str) {
        let (service, rest) = self.0.split_once('.').expect("a parsed name has at least two parts");
        rest.rsplit_once('.').map_or((service, "", rest), |(middle, verb)| (service, middle, verb))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for EventTypeName {
    type Error = EventTypeError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::parse(&name)
    }
}

impl From<EventTypeName> for String {
    fn from(name: EventTypeName) -> Self {
        name.0
    }
}

// === impl EventTypePattern ===

impl EventTypePattern {
    /// Checks and keeps a pattern. A plain event type is a pattern too.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn parse(pattern: &str) -> Result<Self, EventTypeError> {
        let parts: Vec<&str> = pattern.split('.').collect();
        let open_ended = parts.last() == Some(&"**");
        if parts.len() > 6 || (parts.len() < 2 && !open_ended) {
            return Err(EventTypeError::Parts { name: pattern.to_owned(), parts: parts.len() });
        }
        for (at, part) in parts.iter().enumerate() {
            match *part {
                "*" => {}
                "**" if at + 1 == parts.len() => {}
                "**" => return Err(EventTypeError::DoubleStar(pattern.to_owned())),
                part => check_part(pattern, part)?,
            }
        }
        Ok(Self(pattern.to_owned()))
    }

    /// Whether it is a plain event type.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.split('.').any(|part| part == "*" || part == "**")
    }

    /// Whether an event type fits. The reference the match index is tested against.
    #[must_use]
    pub fn matches(&self, event_type: &str) -> bool {
        let mut parts = event_type.split('.');
        for pattern in self.0.split('.') {
            match (pattern, parts.next()) {
                ("**", Some(_)) => return true,
                ("*", Some(_)) => {}
                (pattern, Some(part)) if pattern == part => {}
                (_, Some(_) | None) => return false,
            }
        }
        parts.next().is_none()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventTypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for EventTypePattern {
    type Error = EventTypeError;

    fn try_from(pattern: String) -> Result<Self, Self::Error> {
        Self::parse(&pattern)
    }
}

impl From<EventTypePattern> for String {
    fn from(pattern: EventTypePattern) -> Self {
        pattern.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_two_to_six_plain_parts() {
        for good in ["invoice.paid", "billing.invoice.paid", "order.shipped.v2", "a.b.c.d.e.f"] {
            assert!(EventTypeName::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", "invoice", "a..b", "a.b.c.d.e.f.g", "a.b c", "a.*", "a.\u{e9}", &format!("a.{}", "x".repeat(51))]
        {
            assert!(EventTypeName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hook0_sees_three_parts() {
        let parts = |name: &str| {
            let name = EventTypeName::parse(name).unwrap();
            let (service, middle, verb) = name.hook0_parts();
            (service.to_owned(), middle.to_owned(), verb.to_owned())
        };
        assert_eq!(parts("invoice.paid"), ("invoice".into(), String::new(), "paid".into()));
        assert_eq!(parts("a.b.c.d"), ("a".into(), "b.c".into(), "d".into()));
    }

    #[test]
    fn stars_match_one_part_and_double_stars_the_rest() {
        let fits = |pattern: &str, name: &str| EventTypePattern::parse(pattern).unwrap().matches(name);
        assert!(fits("invoice.*", "invoice.paid"));
        assert!(!fits("invoice.*", "invoice.paid.v2"));
        assert!(!fits("invoice.*", "invoice"));
        assert!(fits("invoice.**", "invoice.paid.v2"));
        assert!(!fits("invoice.**", "invoice"));
        assert!(fits("**", "invoice.paid"));
        assert!(fits("*.paid", "invoice.paid"));
        assert!(!fits("*.paid", "order.shipped"));
        assert_eq!(EventTypePattern::parse("a.**.b"), Err(EventTypeError::DoubleStar("a.**.b".into())));
        assert!(EventTypePattern::parse("*").is_err());
    }
}
