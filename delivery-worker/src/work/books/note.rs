//! What an entry of the outbox does to the lists of its partition, when its batch is cut.

use schemas::ids::SubscriptionId;
use schemas::invariants::Invariant;
use schemas::lanes::HeldKey;
use schemas::ordering::OrderingKey;

use super::open::OpenBook;
use crate::engine::ListedRecord;
use crate::flaws::{self, Flaw};
use crate::lanes::condition::LaneCondition;
use crate::lists::Age;

/// What an entry of the outbox does to the lists of its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneNote {
    /// Nothing: a record of the window has an outcome.
    Done,
    /// Nothing: a record of the window left without a request.
    Left,
    /// A record of the window waits in a list from now on.
    Listed(ListedRecord),
    /// A listed delivery of this subscription has an outcome.
    Settled(SubscriptionId),
    /// A listed delivery of this subscription left without a request.
    LeftList(SubscriptionId),
    /// What waits in this subscription's lists is to be swept, as this version of it says; `None`: it is gone.
    SetAside(SubscriptionId, Option<i64>),
    /// This is to be known of this subscription's lane beside its lists.
    Condition(SubscriptionId, LaneCondition),
    /// This ordering key of the subscription waits for a retry from now on, or for none any more.
    Key(SubscriptionId, OrderingKey, Option<HeldKey>),
    /// The next portion of what a takeover has to correct.
    Correct,
    /// The next portion of what is written once more.
    Checkpoint,
}

// === impl LaneNote ===

impl LaneNote {
    /// Whether its record had a request: whoever takes over before it is committed sends it again.
    pub(crate) const fn was_sent(&self) -> bool {
        matches!(self, Self::Done | Self::Settled(_))
    }

    /// Whether its record was read back, and left without a request.
    pub(crate) const fn left_list(&self) -> bool {
        matches!(self, Self::LeftList(_))
    }
}

// === impl OpenBook ===

impl OpenBook {
    pub(super) fn apply(&mut self, note: &LaneNote, (offset, timestamp_ms): (i64, i64)) {
        match *note {
            LaneNote::Done | LaneNote::Left => {}
            LaneNote::Listed(_) if flaws::has(Flaw::CompletedWithoutEntry) => {}
            LaneNote::Listed(ListedRecord { subscription, role, deadline_ms, reviewed_of, .. }) => {
                let age = Age { oldest_ms: timestamp_ms, dead_ms: deadline_ms };
                if !self.book.list(subscription, role, offset, age) {
                    tracing::error!(lease = %self.lease, offset, "a delivery was listed twice");
                }
                self.book.set_reviewed(subscription, reviewed_of);
            }
            LaneNote::Settled(subscription) | LaneNote::LeftList(subscription) => {
                if !self.book.settle(subscription, offset, timestamp_ms) {
                    Invariant::OneTerminalState.violated();
                    tracing::error!(lease = %self.lease, offset, "an outcome of a delivery that was not listed");
                }
            }
            LaneNote::SetAside(subscription, reviewed_of) => {
                self.book.set_aside(subscription);
                self.book.set_reviewed(subscription, reviewed_of);
            }
            LaneNote::Condition(subscription, condition) => self.book.set_condition(subscription, condition),
            LaneNote::Key(subscription, key, held) => self.book.set_held(subscription, key, held),
            LaneNote::Correct => self.correct(),
            LaneNote::Checkpoint => self.book.rewrite(),
        }
    }

    fn correct(&mut self) {
        let lost = self.book.correct();
        if !lost.is_empty() {
            Invariant::NeverLost.violated();
            tracing::error!(
                lease = %self.lease,
                lost = lost.len(),
                first = lost[0],
                "retention deleted deliveries that waited in lists"
            );
        }
    }
}
