//! Which records Kafka still holds, as far as the beginnings of its partitions tell: asked once for each of them.

use std::collections::HashMap;
use std::time::Duration;

use kafka::Offsets;
use schemas::record::TopicPartition;

use super::DeliveryLog;

/// How long Kafka may take to say where a partition begins; else all of it is taken to be there.
const WITHIN: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(crate) struct HeldRecords {
    offsets: Option<Offsets>,
    starts: HashMap<TopicPartition, i64>,
}

// === impl DeliveryLog ===

impl DeliveryLog {
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
