//! What the cluster says of topics: which there are, and where they begin and end now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka::{KafkaError, Offsets};
use schemas::control::SourceStart;
use schemas::record::TopicPartition;
use tracing::warn;
use uuid::Uuid;

use crate::config::Deps;
use crate::error::Error;
use crate::problem::{Problem, unavailable};

/// What one request may ask takes no longer.
const PATIENCE: Duration = Duration::from_secs(8);

/// Who is asked about topics.
#[derive(Debug)]
pub(crate) enum ClusterTopics {
    /// The cluster. Ends are where the first open transaction begins: what such a one holds is written once it is committed.
    Kafka(Offsets),
    /// Those of a test.
    #[cfg(test)]
    Memory(parking_lot::Mutex<MemoryCluster>),
}

/// The topics of a test, and how often somebody asked which there are.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct MemoryCluster {
    pub(crate) topics: BTreeMap<String, MemoryTopic>,
    pub(crate) looks: usize,
}

/// A topic of a test: per partition its first and its next offset, and who may read it.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(crate) struct MemoryTopic {
    pub(crate) id: Uuid,
    pub(crate) ranges: Vec<(i64, i64)>,
    pub(crate) is_denied: bool,
}

/// The topics there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeenTopics {
    /// With their numbers of partitions.
    pub(crate) there: BTreeMap<String, usize>,
    /// Those that were named and are not there, each with whether that is for want of permission.
    pub(crate) missing: BTreeMap<String, bool>,
}

/// Where a topic's partitions begin and end, and the first offset that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicEdges {
    pub(crate) id: Uuid,
    /// First offset, wanted offset, next offset; the index is the partition.
    pub(crate) offsets: Vec<(i64, i64, i64)>,
}

// === impl ClusterTopics ===

impl ClusterTopics {
    pub(crate) fn start(deps: &Deps) -> Result<Self, Error> {
        let failed = |source| Error::Kafka { purpose: "looking at topics of sources", source };
        Ok(Self::Kafka(Offsets::start_committed(&deps.connection).map_err(failed)?))
    }

    /// Which topics there are.
    ///
    /// # Errors
    /// A 503: the cluster does not answer.
    pub(crate) async fn look(&self, named: Vec<String>) -> Result<SeenTopics, Problem> {
        match self {
            Self::Kafka(offsets) => {
                let found = in_time(offsets.topics(named)).await?.map_err(|error| failed(&error))?;
                let there = found.there.into_iter().map(|(name, partitions)| (name.to_string(), partitions));
                let missing = found.missing.into_iter().map(|(name, why)| {
                    let is_denied = why.is_denied();
                    let is_told = is_denied || matches!(why, KafkaError::NoTopic { .. });
                    if is_told { Ok((name.to_string(), is_denied)) } else { Err(failed(&why)) }
                });
                Ok(SeenTopics { there: there.collect(), missing: missing.collect::<Result<_, _>>()? })
            }
            #[cfg(test)]
            Self::Memory(cluster) => {
                let mut cluster = cluster.lock();
                cluster.looks += 1;
                let topics = &cluster.topics;
                let seen = topics.iter().filter(|(_, it)| !it.is_denied);
                let there = seen.map(|(name, it)| (name.clone(), it.ranges.len())).collect::<BTreeMap<_, _>>();
                let missing = named.into_iter().filter(|name| !there.contains_key(name));
                let missing =
                    missing.map(|name| (topics.contains_key(&name), name)).map(|(denied, name)| (name, denied));
                Ok(SeenTopics { missing: missing.collect(), there })
            }
        }
    }

    /// Where these topics begin and end, and where `start` is in them. One that was deleted meanwhile is left out.
    ///
    /// # Errors
    /// A 503: the cluster does not answer, or a partition has no leader.
    pub(crate) async fn edges(
        &self,
        topics: BTreeMap<String, usize>,
        start: &SourceStart,
    ) -> Result<BTreeMap<String, TopicEdges>, Problem> {
        match self {
            Self::Kafka(offsets) => in_time(edges(offsets, topics, start)).await?,
            #[cfg(test)]
            Self::Memory(known) => {
                let known = known.lock();
                let edges = topics.into_keys().filter_map(|name| {
                    let topic = known.topics.get(&name)?;
                    let offsets = topic.ranges.iter().map(|(first, next)| match start {
                        SourceStart::Beginning => (*first, *first, *next),
                        SourceStart::TimeMs(_) | SourceStart::End | SourceStart::Offsets(_) => (*first, *next, *next),
                    });
                    Some((name, TopicEdges { id: topic.id, offsets: offsets.collect() }))
                });
                Ok(edges.collect())
            }
        }
    }
}

async fn edges(
    offsets: &Offsets,
    topics: BTreeMap<String, usize>,
    start: &SourceStart,
) -> Result<BTreeMap<String, TopicEdges>, Problem> {
    let mut ids = BTreeMap::new();
    for name in topics.keys() {
        if let Some(id) = offsets.topic_id(name).await.map_err(|error| failed(&error))? {
            ids.insert(name.clone(), id);
        }
    }
    let there = topics.iter().filter(|(name, _)| ids.contains_key(*name));
    let partitions: Vec<TopicPartition> = there.flat_map(|(name, count)| partitions_of(name, *count)).collect();
    let (firsts, nexts) = (offsets.starts_of(partitions.clone()).await, offsets.ends_of(partitions.clone()).await);
    let wanted = match start {
        SourceStart::TimeMs(time_ms) => offsets.at_of(partitions, *time_ms).await,
        SourceStart::Beginning => firsts.clone(),
        SourceStart::End | SourceStart::Offsets(_) => nexts.clone(),
    };
    let mut all = BTreeMap::new();
    for (name, id) in ids {
        let mut of_topic = Vec::new();
        for partition in partitions_of(&name, topics.get(&name).copied().unwrap_or(0)) {
            let told = |of: &BTreeMap<TopicPartition, Result<i64, KafkaError>>| {
                let told = of.get(&partition).cloned().unwrap_or(Err(KafkaError::Closed));
                told.map_err(|error| failed(&error))
            };
            of_topic.push((told(&firsts)?, told(&wanted)?, told(&nexts)?));
        }
        all.insert(name, TopicEdges { id, offsets: of_topic });
    }
    Ok(all)
}

fn partitions_of(topic: &str, count: usize) -> impl Iterator<Item = TopicPartition> + use<> {
    let topic: Arc<str> = Arc::from(topic);
    (0..i32::try_from(count).unwrap_or(i32::MAX)).map(move |it| TopicPartition::new(Arc::clone(&topic), it))
}

async fn in_time<T>(asked: impl Future<Output = T>) -> Result<T, Problem> {
    let late = |_elapsed| unavailable(format!("Kafka did not say within {PATIENCE:?} which topics there are"));
    tokio::time::timeout(PATIENCE, asked).await.map_err(late)
}

fn failed(error: &KafkaError) -> Problem {
    warn!(%error, "kafka does not say where the topics of a source begin and end");
    unavailable(format!("Kafka does not say where the topics begin and end: {error}"))
}
