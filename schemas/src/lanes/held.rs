//! Ordering keys that wait for a retry, and retries that nobody waits for any more.

use serde::{Deserialize, Serialize};

use crate::ids::DeliveryId;
use crate::ordering::OrderingKey;

/// What is dropped when it comes back is remembered for so long after it could have been sent: nothing waits for it meanwhile.
const REMEMBERED_MS: i64 = 30 * 86_400_000;

/// An ordering key that waits for one of its deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldKey {
    /// Which key.
    pub key: OrderingKey,
    /// The delivery that has failed and is on its way back.
    pub delivery: DeliveryId,
    /// Offset on `control` that it was matched at: whether it was cancelled follows from that.
    pub matched_at: i64,
    /// Nothing comes back later, Unix ms.
    pub until_ms: i64,
    /// What comes back. None: a release wrote it that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<PendingRetry>,
}

/// A retry that was written and is on its way. Where a key is held for it, it is surely there: both are written in one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRetry {
    /// Offset on `deliveries` of the record whose attempt has failed: its payload can be read there.
    pub record: i64,
    /// Number of the attempt to make next.
    pub attempt: u32,
    /// When that is due, Unix ms.
    pub due_ms: i64,
}

/// A retry that is on its way though another one went in its place: it is dropped when it is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupersededRetry {
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// Number of its attempt.
    pub attempt: u32,
    /// When it is due, Unix ms.
    pub due_ms: i64,
    /// It need not be remembered for longer, Unix ms.
    pub until_ms: i64,
}

// === impl HeldKey ===

impl HeldKey {
    /// This key with another retry in the place of the one that it waits for, and that one. `None`: it does not say what that is.
    #[must_use]
    pub fn hurried(&self, due_ms: i64) -> Option<(Self, SupersededRetry)> {
        let retry = self.retry?;
        let superseded = SupersededRetry {
            delivery: self.delivery,
            attempt: retry.attempt,
            due_ms: retry.due_ms,
            until_ms: self.until_ms.saturating_add(REMEMBERED_MS),
        };
        Some((Self { retry: Some(PendingRetry { due_ms, ..retry }), ..*self }, superseded))
    }
}

// === impl SupersededRetry ===

impl SupersededRetry {
    /// Whether it is this attempt of this delivery.
    #[must_use]
    pub fn is(&self, delivery: DeliveryId, attempt: u32, due_ms: i64) -> bool {
        (self.delivery, self.attempt, self.due_ms) == (delivery, attempt, due_ms)
    }
}
