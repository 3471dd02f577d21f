//! Which records Kafka still holds, as far as the beginnings of its partitions tell.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use delivery_log::{Coordinates, Fact};
use kafka::Offsets;
use schemas::delivery::{Origin, key};
use schemas::murmur2::partition_for;
use schemas::record::TopicPartition;

use super::DeliveryLog;

/// How long Kafka may take to say where a partition begins; else all of it is taken to be there.
const WITHIN: Duration = Duration::from_secs(2);

/// Which records Kafka still holds, asked once for each of its partitions.
#[derive(Debug)]
pub(crate) struct HeldRecords {
    offsets: Option<Offsets>,
    starts: HashMap<TopicPartition, i64>,
}

/// What of the deliveries that died can still be read, as Kafka said a moment ago.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeldLetters {
    /// Where the partitions of `deliveries` begin. Empty before it is known.
    pub(crate) deliveries: BTreeMap<i32, i64>,
    /// By partition of `dead-letters`: where it begins, and when the record there was written, Unix ms: none is held that is older.
    pub(crate) letters: BTreeMap<i32, (i64, i64)>,
    /// How many partitions `dead-letters` has. None: there is no such topic, or it is not known yet.
    pub(crate) partitions: Option<i32>,
}

// === impl DeliveryLog ===

impl DeliveryLog {
    /// Whether Kafka says that there is no such partition, or that it is not ours to read.
    pub(crate) async fn is_gone(&self, at: &Origin) -> bool {
        let Some(offsets) = self.0.offsets.read().clone() else { return false };
        match tokio::time::timeout(WITHIN, offsets.partitions(&at.topic)).await {
            Ok(Ok(count)) => count.is_none_or(|count| at.partition >= count),
            Ok(Err(error)) => error.is_denied(),
            Err(_late) => false,
        }
    }

    /// Which records Kafka still holds.
    pub(crate) fn held(&self) -> HeldRecords {
        HeldRecords { offsets: self.0.offsets.read().clone(), starts: HashMap::new() }
    }
}

// === impl HeldRecords ===

impl HeldRecords {
    /// Whether a record that stood there is still there; a topic that was created anew is not told apart.
    pub(crate) async fn has(&mut self, topic: &str, partition: i32, offset: i64) -> bool {
        let at = TopicPartition::new(topic, partition);
        if let Some(start) = self.starts.get(&at) {
            return offset >= *start;
        }
        let Some(offsets) = &self.offsets else { return true };
        let asked = tokio::time::timeout(WITHIN, offsets.start_of(&at)).await;
        let start = asked.ok().and_then(Result::ok).unwrap_or(0);
        self.starts.insert(at, start);
        offset >= start
    }
}

// === impl HeldLetters ===

impl HeldLetters {
    /// Whether Kafka holds neither the delivery of a dead letter nor the dead letter itself.
    pub(crate) fn is_expired(&self, dead: &Fact) -> bool {
        let is_gone = |at: Coordinates| self.deliveries.get(&at.partition).is_some_and(|from| at.offset < *from);
        !self.deliveries.is_empty() && dead.record.is_none_or(is_gone) && !self.has_letter(dead)
    }

    /// Whether the dead letter itself may be held: that its partition begins earlier says so.
    pub(crate) fn has_letter(&self, dead: &Fact) -> bool {
        let (Some(count), Some(subscription)) = (self.partitions, dead.subscription) else { return false };
        let partition = partition_for(&key(subscription), count);
        self.letters.get(&partition).is_none_or(|(_, from_ms)| dead.stored_ms >= *from_ms)
    }
}

#[cfg(test)]
mod tests {
    use delivery_log::FactKind;
    use schemas::ids::{ApplicationId, SubscriptionId};
    use uuid::Uuid;

    use super::*;
    use crate::log::made;

    fn dead(record: Option<(i32, i64)>) -> Fact {
        let record = record.map(|(partition, offset)| Coordinates { partition, offset });
        let subscription = Some(SubscriptionId(Uuid::from_u128(5)));
        let fact = made::fact(ApplicationId(Uuid::from_u128(1)), FactKind::DeadLettered);
        Fact { record, subscription, stored_ms: 1_000, ..fact }
    }

    #[test]
    fn what_kafka_does_not_hold_any_more_is_expired() {
        let held = HeldLetters { deliveries: BTreeMap::from([(0, 10), (1, 0)]), ..HeldLetters::default() };
        let is_expired = |at| held.is_expired(&dead(at));
        assert!(is_expired(Some((0, 9))) && is_expired(None));
        assert!(!is_expired(Some((0, 10))) && !is_expired(Some((1, 0))) && !is_expired(Some((2, 0))));
        assert!(!HeldLetters::default().is_expired(&dead(Some((0, 9)))), "nothing is known yet");
    }

    #[test]
    fn a_dead_letter_that_is_held_itself_is_not_expired_though_its_delivery_is_gone() {
        let gone = dead(Some((0, 9)));
        let held = |from_ms: Option<i64>| HeldLetters {
            deliveries: BTreeMap::from([(0, 10)]),
            letters: from_ms.map(|ms| (0, (7, ms))).into_iter().collect(),
            partitions: Some(1),
        };
        assert!(!held(Some(1_000)).is_expired(&gone) && !held(None).is_expired(&gone));
        assert!(held(Some(1_001)).is_expired(&gone), "its partition begins later");
    }
}
