//! What an entry of the outbox does to the lists of its partition, when its batch is cut.

use schemas::ids::SubscriptionId;
use schemas::invariants::Invariant;
use schemas::lanes::{HeldKey, SupersededRetry};
use schemas::ordering::OrderingKey;

use super::open::OpenBook;
use crate::engine::ListedRecord;
use crate::flaws::{self, Flaw};
use crate::lanes::condition::LaneCondition;
use crate::lists::Age;

/// What an entry of the outbox does to the lists of its partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LaneNote {
    /// Nothing: a record of the window has an outcome.
    Done,
    /// Nothing: a record of the window left without a request.
    Left,
    /// Nothing: what it was to do can never be written.
    Undone,
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
    /// A delivery of this subscription failed and its retry is written, for which its ordering key waits from now on. True: it was listed.
    Held(SubscriptionId, bool, HeldKey),
    /// The same where the retry can never be written: nothing comes back, and the key waits for nothing.
    Unheld(SubscriptionId, bool, OrderingKey),
    /// This ordering key of the subscription waits for nothing any more.
    Freed(SubscriptionId, OrderingKey),
    /// The retry that a key of this subscription waits for goes now: another one is written, and the former is to be dropped.
    Hurried(SubscriptionId, HeldKey, SupersededRetry),
    /// A retry of this subscription in whose place another one went is dropped, or not waited for any longer.
    Superseded(SubscriptionId, SupersededPlace, SupersededRetry),
    /// Nothing is known of this subscription's lane beside its lists any more.
    Forgotten(SubscriptionId),
    /// The next portion of what a takeover has to correct.
    Correct,
    /// The next portion of what is written once more.
    Checkpoint,
}

/// Where a retry stood that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SupersededPlace {
    /// In the window.
    Window,
    /// In a list.
    List,
    /// It has not come in all the time that it may take.
    Nowhere,
}

// === impl LaneNote ===

impl LaneNote {
    /// A delivery had a request, which has ended; its key waits for its retry, if one is `held`.
    pub(crate) fn sent(id: SubscriptionId, is_listed: bool, held: Option<HeldKey>) -> Self {
        match held {
            Some(held) => Self::Held(id, is_listed, held),
            None if is_listed => Self::Settled(id),
            None => Self::Done,
        }
    }

    /// A delivery left without a request; it is dropped, if it was `superseded`.
    pub(crate) fn unsent(id: SubscriptionId, is_listed: bool, superseded: Option<SupersededRetry>) -> Self {
        match superseded {
            Some(retry) if is_listed => Self::Superseded(id, SupersededPlace::List, retry),
            Some(retry) => Self::Superseded(id, SupersededPlace::Window, retry),
            None if is_listed => Self::LeftList(id),
            None => Self::Left,
        }
    }

    /// Whether its record had a request: whoever takes over before it is committed sends it again.
    pub(crate) const fn was_sent(&self) -> bool {
        matches!(self, Self::Done | Self::Settled(_) | Self::Held(..) | Self::Unheld(..))
    }

    /// Whether its record was read back, and left without a request.
    pub(crate) const fn left_list(&self) -> bool {
        matches!(self, Self::LeftList(_) | Self::Superseded(_, SupersededPlace::List, _))
    }
}

// === impl OpenBook ===

impl OpenBook {
    pub(super) fn apply(&mut self, note: &LaneNote, (offset, timestamp_ms): (i64, i64)) {
        match *note {
            LaneNote::Done | LaneNote::Left | LaneNote::Undone => {}
            LaneNote::Listed(_) if flaws::has(Flaw::CompletedWithoutEntry) => {}
            LaneNote::Listed(ListedRecord { subscription, role, deadline_ms, reviewed_of, awaited_by, .. }) => {
                let age = Age { oldest_ms: timestamp_ms, dead_ms: deadline_ms };
                if !self.book.list(subscription, role, offset, age) {
                    tracing::error!(lease = %self.lease, offset, "a delivery was listed twice");
                }
                self.book.set_reviewed(subscription, reviewed_of);
                if let Some(key) = awaited_by {
                    self.book.list_awaited(subscription, key, offset);
                }
            }
            LaneNote::Settled(subscription) | LaneNote::LeftList(subscription) => {
                self.settle(subscription, (offset, timestamp_ms));
            }
            LaneNote::SetAside(subscription, reviewed_of) => {
                self.book.set_aside(subscription);
                self.book.set_reviewed(subscription, reviewed_of);
            }
            LaneNote::Condition(subscription, condition) => self.book.set_condition(subscription, condition),
            LaneNote::Held(subscription, is_listed, ref held) => {
                if is_listed {
                    self.settle(subscription, (offset, timestamp_ms));
                }
                self.book.hold(subscription, held.clone());
            }
            LaneNote::Unheld(subscription, is_listed, key) => {
                if is_listed {
                    self.settle(subscription, (offset, timestamp_ms));
                }
                self.book.free(subscription, key);
            }
            LaneNote::Freed(subscription, key) => self.book.free(subscription, key),
            LaneNote::Hurried(subscription, ref held, superseded) => {
                self.book.hold(subscription, held.clone());
                self.book.supersede(subscription, superseded);
            }
            LaneNote::Superseded(subscription, place, retry) => {
                if place == SupersededPlace::List {
                    self.settle(subscription, (offset, timestamp_ms));
                }
                self.book.forget_superseded(subscription, retry);
            }
            LaneNote::Forgotten(subscription) => self.book.forget(subscription),
            LaneNote::Correct => self.correct(),
            LaneNote::Checkpoint => self.book.rewrite(),
        }
    }

    fn settle(&mut self, subscription: SubscriptionId, (offset, timestamp_ms): (i64, i64)) {
        if !self.book.settle(subscription, offset, timestamp_ms) {
            Invariant::OneTerminalState.violated();
            tracing::error!(lease = %self.lease, offset, "an outcome of a delivery that was not listed");
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
