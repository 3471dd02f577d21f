//! What fan-out workers say of sources on `status`.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::usage::HearsStatus;
use parking_lot::Mutex;
use schemas::ids::SourceId;
use schemas::status::{
    MAX_TOLD_PARTITIONS, SourceFailure, SourcePartitionHealth, SourceTopicHealth, SourcesHealth, Status,
};
use uuid::Uuid;

/// A worker tells at least once a minute; one that was silent for longer than twice that says nothing about now.
const SILENT_MS: i64 = 120_000;
/// Records that are remembered, however many are written: those that came last. A worker has sixteen.
const MAX_RECORDS: usize = 4_096;

/// See the module. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceWords(Arc<Mutex<BTreeMap<String, HeardSources>>>);

#[derive(Debug)]
struct HeardSources {
    at_ms: i64,
    sources: SourcesHealth,
}

/// What all workers say of one source now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceTold {
    /// Some worker says something, of this source or of others.
    pub(crate) is_heard: bool,
    /// Some worker has more partitions than it tells of.
    pub(crate) is_cut: bool,
    pub(crate) records: u64,
    pub(crate) rejected: u64,
    pub(crate) skipped: u64,
    /// By topic and partition.
    pub(crate) partitions: BTreeMap<(String, i32), ToldPartition>,
    /// What is wrong with the source as a whole, and with topics that have no partitions to tell of.
    pub(crate) failures: BTreeMap<Option<String>, SourceFailure>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToldPartition {
    /// When, Unix ms.
    pub(crate) at_ms: i64,
    pub(crate) topic_id: Option<Uuid>,
    pub(crate) health: SourcePartitionHealth,
}

// === impl SourceWords ===

impl SourceWords {
    /// What is said of a source. Where a partition has moved, its former owner may not have said so yet: the newest word counts.
    pub(crate) fn of(&self, source: SourceId, now_ms: i64) -> SourceTold {
        let (records, mut told) = (self.0.lock(), SourceTold::default());
        for record in records.values().filter(|it| now_ms - it.at_ms <= SILENT_MS) {
            told.is_heard = true;
            told.is_cut |= record.sources.is_cut;
            let Some(of) = record.sources.of.get(&source) else { continue };
            told.records = told.records.saturating_add(of.records);
            told.rejected = told.rejected.saturating_add(of.rejected);
            told.skipped = told.skipped.saturating_add(of.skipped);
            told.failures.extend(of.failure.clone().map(|it| (None, it)));
            for (name, topic) in &of.topics {
                told.failures.extend(topic.failure.clone().map(|it| (Some(name.clone()), it)));
                told.hear(record.at_ms, name, topic);
            }
        }
        told
    }
}

impl SourceTold {
    /// What one record says of the partitions of a topic.
    fn hear(&mut self, at_ms: i64, name: &str, topic: &SourceTopicHealth) {
        for (partition, health) in &topic.partitions {
            let new = ToldPartition { at_ms, topic_id: topic.topic_id, health: health.clone() };
            let place = self.partitions.entry((name.to_owned(), *partition)).or_insert_with(|| new.clone());
            if place.at_ms < new.at_ms {
                *place = new;
            }
        }
    }
}

impl HearsStatus for SourceWords {
    fn hears(&self, key: &str, status: Option<&Status>) {
        let mut records = self.0.lock();
        let Some((status, sources)) = status.and_then(|status| Some((status, status.sources.as_ref()?))) else {
            records.remove(key);
            return;
        };
        let mut sources = sources.clone();
        cut(&mut sources);
        records.insert(key.to_owned(), HeardSources { at_ms: status.at_ms, sources });
        if records.len() > MAX_RECORDS
            && let Some(oldest) = records.iter().min_by_key(|(_, told)| told.at_ms).map(|(key, _)| key.clone())
        {
            records.remove(&oldest);
        }
    }
}

/// Whoever may write the topic can write anything.
fn cut(sources: &mut SourcesHealth) {
    let mut left = MAX_TOLD_PARTITIONS;
    for topic in sources.of.values_mut().flat_map(|of| of.topics.values_mut()) {
        sources.is_cut |= topic.partitions.len() > left;
        while topic.partitions.len() > left {
            topic.partitions.pop_last();
        }
        left -= topic.partitions.len();
    }
}

#[cfg(test)]
mod tests {
    use schemas::status::{SourceHealth, SourcePartitionState};

    use super::*;

    const NOW: i64 = 1_790_000_000_000;
    const SOURCE: SourceId = SourceId(Uuid::from_u128(7));

    fn health(committed: i64) -> SourcePartitionHealth {
        SourcePartitionHealth {
            state: SourcePartitionState::Running,
            since_ms: 0,
            position_id: None,
            committed: Some(committed),
            end: Some(100),
            oldest_ms: None,
            failure: None,
        }
    }

    fn status(at_ms: i64, partitions: &[(i32, i64)]) -> Status {
        let partitions = partitions.iter().map(|(partition, committed)| (*partition, health(*committed))).collect();
        let topic = SourceTopicHealth { topic_id: None, failure: None, partitions };
        let source =
            SourceHealth { records: 5, topics: [("crm.a".to_owned(), topic)].into(), ..SourceHealth::default() };
        let sources = SourcesHealth { of: [(SOURCE, source)].into(), is_cut: false };
        Status { sources: Some(sources), ..Status::new("fanout", "x", at_ms) }
    }

    fn committed(words: &SourceWords, partition: i32) -> Option<i64> {
        words.of(SOURCE, NOW).partitions.get(&("crm.a".to_owned(), partition))?.health.committed
    }

    #[test]
    fn the_newest_word_of_a_partition_counts_and_those_that_speak_are_added_up() {
        let words = SourceWords::default();
        assert!(!words.of(SOURCE, NOW).is_heard);
        words.hears("fanout/one/sources-7", Some(&status(NOW - 5_000, &[(0, 10), (1, 20)])));
        words.hears("fanout/other/sources-7", Some(&status(NOW - 1_000, &[(1, 30)])));
        assert_eq!((committed(&words, 0), committed(&words, 1)), (Some(10), Some(30)));
        assert_eq!(words.of(SOURCE, NOW).records, 10);
        words.hears("fanout/other/sources-7", None);
        assert_eq!(committed(&words, 1), Some(20));
        words.hears("fanout/one/sources-7", Some(&status(NOW - SILENT_MS - 1, &[(0, 10)])));
        assert_eq!(words.of(SOURCE, NOW), SourceTold::default(), "nobody has spoken lately");
        // A worker's own record says nothing of sources.
        words.hears("fanout/one", Some(&Status::new("fanout", "one", NOW)));
        assert!(!words.of(SOURCE, NOW).is_heard);
    }

    #[test]
    fn a_record_with_too_many_partitions_is_cut_here() {
        let many: Vec<(i32, i64)> = (0..=i32::try_from(MAX_TOLD_PARTITIONS).unwrap()).map(|it| (it, 1)).collect();
        let words = SourceWords::default();
        words.hears("fanout/one/sources-7", Some(&status(NOW, &many)));
        let told = words.of(SOURCE, NOW);
        assert_eq!((told.partitions.len(), told.is_cut), (MAX_TOLD_PARTITIONS, true));
    }
}
