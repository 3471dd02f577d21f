//! Planted bugs, behind a test-only switch: proof that the test suite can fail.
//!
//! The binary reads `HOOKBUS_TEST_CANARY`; every role says so loudly at its start. Never set it elsewhere than in a test.

use std::str::FromStr;

/// A bug to plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// The delivery worker commits a delivery as done before it sends it.
    CommitBeforeSend,
    /// The delivery worker forgets what is unresolved when a partition is revoked, and commits past it.
    DropOnRevoke,
    /// The writer takes every unknown outcome for "not committed" and produces again.
    NoNonceComparison,
    /// The fan-out restores `seen` only up to the last stable offset it happens to see at once.
    StaleSeenEnd,
}

impl FromStr for Canary {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "commit-before-send" => Ok(Self::CommitBeforeSend),
            "drop-on-revoke" => Ok(Self::DropOnRevoke),
            "no-nonce-comparison" => Ok(Self::NoNonceComparison),
            "stale-seen-end" => Ok(Self::StaleSeenEnd),
            other => Err(format!("no canary is called `{other}`")),
        }
    }
}
