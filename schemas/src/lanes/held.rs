//! Ordering keys that wait for a retry, and retries that nobody waits for any more.

use serde::{Deserialize, Serialize};

use crate::delivery::LastAttempt;
use crate::ids::DeliveryId;
use crate::ordering::OrderingKey;

/// What is dropped when it comes back is remembered for so long after it could have been sent: nothing waits for it meanwhile.
const REMEMBERED_MS: i64 = 30 * 86_400_000;
/// Of how the last attempt ended, bytes: it stands in the lane's record, which is written with each outcome, once for each of its keys.
const ERROR_BYTES: usize = 100;

/// An ordering key that waits for one of its deliveries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Offset on `deliveries` of what came back, where it waits in a list: where that is lost nothing comes back any more. None: it is
    /// not back, in no list, or a release wrote it that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_at: Option<i64>,
}

/// A retry that was written and is on its way. Where a key is held for it, it is surely there: both are written in one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRetry {
    /// Offset on `deliveries` of the record whose attempt has failed: its payload can be read there.
    pub record: i64,
    /// Number of the attempt to make next.
    pub attempt: u32,
    /// When that is due, Unix ms.
    pub due_ms: i64,
    /// What it carries of its endpoint: since when that has been failing, Unix ms. None: it does not, or a release wrote it that does
    /// not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since_ms: Option<i64>,
    /// The status that the last attempt was answered with, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_status: Option<u16>,
    /// The beginning of how it ended, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<Box<str>>,
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
        let retry = self.retry.as_ref()?;
        let superseded = SupersededRetry {
            delivery: self.delivery,
            attempt: retry.attempt,
            due_ms: retry.due_ms,
            until_ms: self.until_ms.saturating_add(REMEMBERED_MS),
        };
        Some((self.due(due_ms), superseded))
    }

    /// This key as it was before [`HeldKey::hurried`]: it waits for that retry.
    #[must_use]
    pub fn unhurried(&self, superseded: &SupersededRetry) -> Self {
        self.due(superseded.due_ms)
    }

    /// The same, where what comes back is due then.
    fn due(&self, due_ms: i64) -> Self {
        let retry = self.retry.clone().map(|retry| PendingRetry { due_ms, ..retry });
        Self { retry, listed_at: None, ..self.clone() }
    }
}

// === impl PendingRetry ===

impl PendingRetry {
    /// A retry of which no more is known.
    #[must_use]
    pub fn new(record: i64, attempt: u32, due_ms: i64) -> Self {
        Self { record, attempt, due_ms, failing_since_ms: None, last_status: None, last_error: None }
    }

    /// The same, with how the last attempt ended; of its words the beginning.
    #[must_use]
    pub fn after(self, last: LastAttempt<'_>) -> Self {
        let error = last.error.get(..last.error.floor_char_boundary(ERROR_BYTES)).unwrap_or_default();
        Self { last_status: last.status, last_error: Some(error.into()), ..self }
    }

    /// How the last attempt ended, where that is known.
    #[must_use]
    pub fn last(&self) -> Option<LastAttempt<'_>> {
        let error = self.last_error.as_deref()?;
        Some(LastAttempt { status: self.last_status, error })
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
