//! Where the logs end of partitions that stand still: nothing is fetched of them, so no fetch tells how their lag grows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chassis::clock;
use kafka::Offsets;
use schemas::record::TopicPartition;
use schemas::status::{SourcePartitionHealth, SourcePartitionState, SourcesHealth};

/// Between two questions for them.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The ends as Kafka told them last.
#[derive(Debug, Default)]
pub(super) struct StillEnds {
    ends: BTreeMap<TopicPartition, i64>,
    looked: Option<Instant>,
}

// === impl StillEnds ===

impl StillEnds {
    /// Adds to what is told where the logs end of what stands still, and asks for that when it is time. What Kafka does not answer
    /// stays as it was told last.
    pub(super) async fn add_to(&mut self, health: &mut SourcesHealth, offsets: &Offsets) {
        let now = clock::instant();
        let still: BTreeSet<TopicPartition> = still(health).map(|(partition, _)| partition).collect();
        self.ends.retain(|partition, _| still.contains(partition));
        let is_due = self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK_EVERY);
        if !still.is_empty() && is_due {
            self.looked = Some(now);
            let told = offsets.ends_of(still.into_iter().collect()).await;
            self.ends.extend(told.into_iter().filter_map(|(partition, end)| Some((partition, end.ok()?))));
        }
        self.fill(health);
    }

    fn fill(&self, health: &mut SourcesHealth) {
        for (partition, told) in still(health) {
            if let Some(end) = self.ends.get(&partition) {
                told.end = Some(*end);
            }
        }
    }
}

/// What stands still.
fn still(health: &mut SourcesHealth) -> impl Iterator<Item = (TopicPartition, &mut SourcePartitionHealth)> {
    let topics = health.of.values_mut().flat_map(|source| source.topics.iter_mut());
    let all = topics.flat_map(|(topic, of)| {
        of.partitions.iter_mut().map(move |(number, told)| (TopicPartition::new(topic.as_str(), *number), told))
    });
    let is_still = |state| {
        use SourcePartitionState::{Failing, Paused, Waiting};
        matches!(state, Paused | Failing | Waiting)
    };
    all.filter(move |(_, told)| is_still(told.state))
}

#[cfg(test)]
mod tests {
    use schemas::ids::SourceId;
    use schemas::status::{SourceHealth, SourceTopicHealth};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_stands_still_has_the_end_that_was_asked_for_and_what_is_read_its_own() {
        let partition = |state| SourcePartitionHealth {
            state,
            since_ms: 5,
            position_id: None,
            committed: Some(10),
            end: Some(12),
            oldest_ms: None,
            failure: None,
        };
        let states = [SourcePartitionState::Paused, SourcePartitionState::Running, SourcePartitionState::Failing];
        let partitions = (0..).zip(states.map(partition)).collect();
        let topic = SourceTopicHealth { partitions, ..SourceTopicHealth::default() };
        let of = SourceHealth { topics: [("crm".to_owned(), topic)].into(), ..SourceHealth::default() };
        let mut health = SourcesHealth { of: [(SourceId(Uuid::from_u128(1)), of)].into(), is_cut: false };
        let ends = (0..2).map(|number| (TopicPartition::new("crm", number), 40)).collect();
        StillEnds { ends, looked: None }.fill(&mut health);
        let told = &health.of.values().next().unwrap().topics["crm"].partitions;
        assert_eq!([told[&0].end, told[&1].end, told[&2].end], [Some(40), Some(12), Some(12)]);
    }
}
