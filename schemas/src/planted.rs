//! Planted bugs: proof that the test suite can fail. A product binary has none of them.
//!
//! Only with the cargo feature `planted-bugs`, which the testkit turns on, can a process have one: its main reads
//! [`VARIABLE`] and calls [`plant`] before anything else runs. Without the feature [`is_planted`] is a constant and every branch
//! on it is gone from the binary.

use std::str::FromStr;
#[cfg(feature = "planted-bugs")]
use std::sync::OnceLock;

/// The environment variable that names the bug of a process, in tests only.
pub const VARIABLE: &str = "HOOKBUS_PLANTED_BUG";

/// Whether bugs can be planted in this binary at all.
pub const CAN_PLANT: bool = cfg!(feature = "planted-bugs");

/// A bug to plant, by the promise that it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// The delivery worker commits a delivery as done before it sends it.
    CommitBeforeSend,
    /// The delivery worker forgets what is unresolved when a partition is revoked, and commits past it.
    DropOnRevoke,
    /// The writer takes every unknown outcome for "not committed" and produces again.
    NoNonceComparison,
    /// The writer produces outputs of a lease that is over, as long as another lease of the transaction lives.
    OutputsOfOldLease,
    /// The writer commits offsets of a lease that is over, with the newest metadata of the group.
    OffsetsOfOldLease,
    /// A new owner does not put its transactional id where a successor looks for it.
    ForgottenClaim,
    /// A topic that was deleted and created again is taken for the one that was read before.
    TopicIdIgnored,
    /// The poller hands out records without regard to the role's credit.
    CreditIgnored,
    /// The fan-out restores `seen` only up to the last stable offset it happens to see at once.
    StaleSeenEnd,
    /// The fan-out matches without asking for the end of `control`.
    ReadIndexSkipped,
    /// The fan-out begins an event that is written in part anew when it takes its partition over.
    ForgottenCursor,
    /// A batch keeps the bytes of what was taken out of it, until it is full and empty at once.
    BytesKept,
    /// The retry scheduler promotes, and the delivery worker sends, before the due time.
    BeforeDue,
}

/// All of them with the names they have in [`VARIABLE`].
const NAMES: [(PlantedBug, &str); 13] = [
    (PlantedBug::CommitBeforeSend, "commit-before-send"),
    (PlantedBug::DropOnRevoke, "drop-on-revoke"),
    (PlantedBug::NoNonceComparison, "no-nonce-comparison"),
    (PlantedBug::OutputsOfOldLease, "outputs-of-old-lease"),
    (PlantedBug::OffsetsOfOldLease, "offsets-of-old-lease"),
    (PlantedBug::ForgottenClaim, "forgotten-claim"),
    (PlantedBug::TopicIdIgnored, "topic-id-ignored"),
    (PlantedBug::CreditIgnored, "credit-ignored"),
    (PlantedBug::StaleSeenEnd, "stale-seen-end"),
    (PlantedBug::ReadIndexSkipped, "read-index-skipped"),
    (PlantedBug::ForgottenCursor, "forgotten-cursor"),
    (PlantedBug::BytesKept, "bytes-kept"),
    (PlantedBug::BeforeDue, "before-due"),
];

/// The bug of this process.
#[cfg(feature = "planted-bugs")]
static PLANTED: OnceLock<PlantedBug> = OnceLock::new();

/// Whether this process has this bug.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn is_planted(bug: PlantedBug) -> bool {
    PLANTED.get() == Some(&bug)
}

/// Whether this process has this bug: without the feature no process has one.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn is_planted(_bug: PlantedBug) -> bool {
    false
}

/// Plants a bug in this process, once.
///
/// # Errors
/// This binary cannot, or the process has another bug already.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: PlantedBug) -> Result<(), String> {
    let planted = *PLANTED.get_or_init(|| bug);
    if planted == bug { Ok(()) } else { Err(format!("this process has the planted bug `{}` already", planted.name())) }
}

/// Plants a bug in this process: without the feature that cannot be done.
///
/// # Errors
/// Always.
#[cfg(not(feature = "planted-bugs"))]
pub fn plant(bug: PlantedBug) -> Result<(), String> {
    Err(format!("this binary cannot plant `{}`: it was built without the feature `planted-bugs`", bug.name()))
}

// === impl PlantedBug ===

impl PlantedBug {
    /// Its name in [`VARIABLE`].
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(bug, _)| *bug == self).map_or("", |(_, name)| name)
    }
}

impl FromStr for PlantedBug {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(bug, _)| *bug).ok_or_else(|| format!("no planted bug is called `{text}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_is_found_by_its_name() {
        for (bug, name) in NAMES {
            assert_eq!((name.parse(), bug.name()), (Ok(bug), name));
        }
        assert!("".parse::<PlantedBug>().is_err());
        assert!(!is_planted(PlantedBug::BeforeDue), "nothing is planted where nobody planted");
    }
}
