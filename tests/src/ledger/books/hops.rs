//! Deliveries on their way: on `deliveries`, and in delay topics.

use schemas::delivery::{Delivery, Hop, MadeBy};
use schemas::identity::EventIdentity;
use schemas::ids::{DeliveryId, Generation, SubscriptionId};
use schemas::record::Record;

use crate::endpoint::seen::body_hash;

/// A record of the deliveries topic.
#[derive(Clone, Debug)]
pub struct Hopped {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The event.
    pub identity: EventIdentity,
    /// For whom.
    pub subscription: SubscriptionId,
    /// What made it.
    pub generation: Generation,
    /// A backfill made it: the fan-out did not match it.
    pub is_backfilled: bool,
    /// Attempt and due time.
    pub hop: Hop,
    /// [`body_hash`] of its payload.
    pub payload: u64,
    /// When the broker wrote it, Unix ms.
    pub written_ms: i64,
}

/// A record of a delay topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierWrite {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Attempt and due time.
    pub hop: Hop,
    /// When the broker wrote it, Unix ms.
    pub written_ms: i64,
}

// === impl Hopped ===

impl Hopped {
    /// Reads a record of the deliveries topic.
    ///
    /// # Errors
    /// It is none.
    pub fn of(record: &Record) -> anyhow::Result<Self> {
        let delivery = Delivery::decode(record)?;
        Ok(Self {
            delivery: delivery.id,
            identity: EventIdentity {
                application: delivery.application,
                source: delivery.event_source().to_owned(),
                id: delivery.event_id().to_owned(),
            },
            subscription: delivery.subscription,
            generation: delivery.generation,
            is_backfilled: delivery.made_by() == Some(MadeBy::Backfill.as_str()),
            hop: delivery.hop,
            payload: body_hash(&delivery.payload),
            written_ms: record.timestamp_ms,
        })
    }

    /// Whether the fan-out wrote it.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.hop == Hop::first()
    }
}

// === impl TierWrite ===

impl TierWrite {
    /// Reads a record of a delay topic.
    ///
    /// # Errors
    /// It is no delivery.
    pub fn of(record: &Record) -> anyhow::Result<Self> {
        let delivery = Delivery::decode(record)?;
        Ok(Self { delivery: delivery.id, hop: delivery.hop, written_ms: record.timestamp_ms })
    }
}
