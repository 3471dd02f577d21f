//! What a lifecycle record reports: a word of a closed list, which a reader finds without decoding the record.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::VERSION;

/// What a lifecycle record reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The fan-out accepted an event; `matched` says how many subscriptions fit (also 0).
    Matched,
    /// An identity that was seen inside the dedup window; nothing fires.
    Repeat,
    /// A record that could not be used; it is in `rejected`.
    Rejected,
    /// A filter failed at run time: no match.
    FilterFailed,
    /// An attempt failed and will be repeated at `due_ms`.
    Attempted,
    /// First park of a delivery: it waits without an attempt. No build writes it any more.
    Parked,
    /// Terminal: an attempt succeeded.
    Delivered,
    /// Terminal: it is in `dead-letters`.
    DeadLettered,
    /// Terminal: the subscription was disabled or deleted.
    Cancelled,
    /// Terminal: the one attempt that was asked for failed, and no other follows.
    TriedOnce,
    /// An endpoint said 410 or asked to be disabled; the control plane acts on it.
    EndpointGone,
    /// An endpoint has been failing for longer than its subscription's `disable_after`; the control plane acts on it.
    Failing,
    /// An endpoint took a delivery again after every attempt had failed for some minutes; the control plane tells of it.
    Recovered,
    /// An event came with a type that its application wants declared on sight; the control plane acts on it.
    Undeclared,
    /// What the attempts of a subscription have in common, as its delivery worker uses it.
    Target,
    /// A dead letter was sent once more, as a delivery of another generation.
    Redriven,
    /// Somebody decided that a dead letter is not sent again.
    Discarded,
    /// Somebody had an event's content removed from the delivery log.
    Erased,
    /// A kind, or a version of the record, that this build does not know: a newer one wrote it.
    Unknown,
}

/// Every kind but [`Kind::Unknown`].
const ALL: [Kind; 18] = [
    Kind::Matched,
    Kind::Repeat,
    Kind::Rejected,
    Kind::FilterFailed,
    Kind::Attempted,
    Kind::Parked,
    Kind::Delivered,
    Kind::DeadLettered,
    Kind::Cancelled,
    Kind::TriedOnce,
    Kind::EndpointGone,
    Kind::Failing,
    Kind::Recovered,
    Kind::Undeclared,
    Kind::Target,
    Kind::Redriven,
    Kind::Discarded,
    Kind::Erased,
];

/// Longest word that is looked for.
const MAX_WORD: usize = 32;

// === impl Kind ===

impl Kind {
    /// The kind of a record value by its first bytes: `v` and `kind` stand first, in this order, in every version. A reader of
    /// few kinds looks here and decodes nothing else. `None`: this is no lifecycle record.
    #[must_use]
    pub fn peek(value: &[u8]) -> Option<Self> {
        let rest = value.strip_prefix(b"{\"v\":")?;
        let (version, rest) = rest.split_at(rest.iter().position(|byte| !byte.is_ascii_digit())?);
        let version: u32 = std::str::from_utf8(version).ok()?.parse().ok()?;
        let rest = rest.strip_prefix(b",\"kind\":\"")?;
        let word = &rest[..rest.iter().take(MAX_WORD + 1).position(|byte| *byte == b'"')?];
        Some(if version > u32::from(VERSION) { Self::Unknown } else { Self::of(word) })
    }

    fn of(word: &[u8]) -> Self {
        ALL.into_iter().find(|kind| kind.as_str().as_bytes() == word).unwrap_or(Self::Unknown)
    }

    /// Whether the delivery ends with it.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Delivered | Self::DeadLettered | Self::Cancelled | Self::TriedOnce)
    }

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Repeat => "repeat",
            Self::Rejected => "rejected",
            Self::FilterFailed => "filter_failed",
            Self::Attempted => "attempted",
            Self::Parked => "parked",
            Self::Delivered => "delivered",
            Self::DeadLettered => "dead_lettered",
            Self::Cancelled => "cancelled",
            Self::TriedOnce => "tried_once",
            Self::EndpointGone => "endpoint_gone",
            Self::Failing => "failing",
            Self::Recovered => "recovered",
            Self::Undeclared => "undeclared",
            Self::Target => "target",
            Self::Redriven => "redriven",
            Self::Discarded => "discarded",
            Self::Erased => "erased",
            Self::Unknown => "unknown",
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer).map(|word| Self::of(word.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lifecycle;
    use super::*;

    #[test]
    fn every_kind_is_seen_in_the_first_bytes_of_its_record() {
        for kind in ALL {
            let value = Lifecycle::new(kind, 1_790_000_000_000).encode().unwrap();
            assert_eq!(Kind::peek(&value), Some(kind), "{}", kind.as_str());
            assert_eq!(Lifecycle::decode(&value).unwrap().kind, kind);
        }
        assert!(ALL.iter().all(|kind| kind.as_str().len() <= MAX_WORD));
    }

    #[test]
    fn what_a_newer_build_wrote_is_unknown_whatever_else_it_holds() {
        let word = br#"{"v":2,"kind":"teleported","at_ms":5,"origin":7,"attempt":"first"}"#;
        let version = br#"{"v":3,"kind":"delivered","at_ms":5,"exchange":[1,2]}"#;
        for value in [&word[..], &version[..]] {
            assert_eq!(Kind::peek(value), Some(Kind::Unknown));
            let record = Lifecycle::decode(value).unwrap();
            assert_eq!((record.kind, record.at_ms), (Kind::Unknown, 5));
            assert!(!record.kind.is_terminal());
        }
    }

    #[test]
    fn what_is_no_lifecycle_record_has_no_kind() {
        let long = format!(r#"{{"v":2,"kind":"{}""#, "x".repeat(100));
        for value in ["", "{", r#"{"v":"#, r#"{"v":2"#, r#"{"kind":"matched","v":2}"#, r#"{"v":2,"kind":"mat"#, &long] {
            assert_eq!(Kind::peek(value.as_bytes()), None, "{value}");
        }
    }
}
