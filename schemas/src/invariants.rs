//! The ten invariants, numbered once.
//!
//! The ledger of the tests checks all of them. A role in production sees only its own records, and counts what these show: a due time that was not waited for (5), an offset above what is not done (6), a lane above its cap
//! (7), records that were lost (10).

use std::sync::atomic::{AtomicU64, Ordering};

/// What must always hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// 1. An accepted event reaches one terminal state per matching subscription and generation, or is on its way.
    OneTerminalState = 1,
    /// 2. Nothing is delivered that was not accepted.
    OnlyAccepted = 2,
    /// 3. One identity fans out once inside the dedup window.
    FansOutOnce = 3,
    /// 4. A delivery id is a pure function of (event identity, subscription, generation).
    PureDeliveryId = 4,
    /// 5. No attempt before its due time; a committed hop is never repeated.
    NeverEarly = 5,
    /// 6. A committed offset is never above a record that is neither resolved nor, in the same or an earlier transaction, listed.
    CommitBelowUnresolved = 6,
    /// 7. Requests in flight never exceed the subscription's cap, nor requests per second its rate.
    LaneCap = 7,
    /// 8. Bytes delivered are the bytes accepted.
    SameBytes = 8,
    /// 9. Memory is bounded by configuration.
    BoundedMemory = 9,
    /// 10. What Kafka cannot take now blocks; what it can never take is rejected. Neither is lost.
    NeverLost = 10,
}

/// All of them, in order.
pub const ALL: [Invariant; 10] = [
    Invariant::OneTerminalState,
    Invariant::OnlyAccepted,
    Invariant::FansOutOnce,
    Invariant::PureDeliveryId,
    Invariant::NeverEarly,
    Invariant::CommitBelowUnresolved,
    Invariant::LaneCap,
    Invariant::SameBytes,
    Invariant::BoundedMemory,
    Invariant::NeverLost,
];

static VIOLATIONS: [AtomicU64; 10] = [const { AtomicU64::new(0) }; 10];

impl Invariant {
    /// Its number, 1 to 10.
    #[must_use]
    pub fn number(self) -> usize {
        self as usize
    }

    /// What it says, in one line.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::OneTerminalState => {
                "an accepted event reaches exactly one terminal state per matching subscription and generation"
            }
            Self::OnlyAccepted => "nothing is delivered that was not accepted",
            Self::FansOutOnce => "one identity fans out once inside the dedup window",
            Self::PureDeliveryId => "a delivery id is a pure function of event identity, subscription and generation",
            Self::NeverEarly => "no attempt before its due time, no committed hop repeated",
            Self::CommitBelowUnresolved => {
                "a committed offset is never above a record that is neither resolved nor listed"
            }
            Self::LaneCap => "requests in flight and per second stay within the subscription's cap and rate",
            Self::SameBytes => "bytes delivered are the bytes accepted",
            Self::BoundedMemory => "memory is bounded by configuration",
            Self::NeverLost => "what Kafka cannot take blocks or is rejected, never lost",
        }
    }

    /// Counts a violation seen in production. The caller logs it with its coordinates.
    pub fn violated(self) {
        VIOLATIONS[self.number() - 1].fetch_add(1, Ordering::Relaxed);
    }

    /// Violations seen by this process so far.
    #[must_use]
    pub fn violations(self) -> u64 {
        VIOLATIONS[self.number() - 1].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_order() {
        for (at, invariant) in ALL.into_iter().enumerate() {
            assert_eq!(invariant.number(), at + 1);
        }
        let before = Invariant::LaneCap.violations();
        Invariant::LaneCap.violated();
        assert_eq!(Invariant::LaneCap.violations(), before + 1);
    }
}
