//! What belongs to committed offsets that were read: the topic's id, the log's ends, and whether the log was cut below them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::types::RDKafkaErrorCode as Code;
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::TopicPartition;
use tracing::{error, warn};
use uuid::Uuid;

use super::cuts::{self, CutSuspect};
use super::{ANSWER_TIMEOUT, Restorer, find};
use crate::error::KafkaError;
use crate::ffi::{self, CommittedOffset, TopicFacts};
use crate::lease::Lease;
use crate::log;
use crate::metadata;
use crate::offsets::{self, Listed, LogRange};
use crate::restore::Restored;

/// What was found, and what goes into the metadata from now on.
pub(crate) struct Found {
    pub(crate) restored: Restored,
    /// The topic's id now.
    pub(crate) topic_id: Uuid,
    /// The id that stands in the metadata.
    pub(crate) committed_id: Option<Uuid>,
    /// Leader epoch of the last record that was read.
    pub(crate) leader_epoch: Option<i32>,
}

impl Restorer {
    /// Topic ids and the logs' ends for offsets that were read. A partition that cannot be told of now, as one without a leader, is
    /// left out.
    pub(super) fn complete(&self, leases: &[Lease], offsets: &[CommittedOffset]) -> Result<Vec<Found>, KafkaError> {
        let ids = self.ids_of(leases)?;
        self.note_ids(&ids);
        let there: Vec<&Lease> = leases.iter().filter(|lease| ids.contains_key(&*lease.partition.topic)).collect();
        let partitions: Vec<TopicPartition> = there.iter().map(|lease| lease.partition.clone()).collect();
        let ranges = told(offsets::ranges(&self.plain, &partitions)?)?;
        let found = there.into_iter().filter_map(|lease| {
            let range = ranges.get(&lease.partition).copied()?;
            let topic_id = ids.get(&*lease.partition.topic).copied().unwrap_or(Uuid::nil());
            let first_id = self.first_id(&lease.partition.topic, topic_id);
            Some(complete_one(lease, find(offsets, &lease.partition), (first_id, topic_id), range))
        });
        let mut found = found.collect::<Result<Vec<Found>, KafkaError>>()?;
        self.look_for_cuts(&mut found, &ranges)?;
        Ok(found)
    }

    /// The ids of these leases' topics. One that is missing, or may not be described or read, is left out, which says a line of the
    /// log: what the others have is not its to hold up. Who may only describe it, as who may write it, cannot commit in it.
    pub(crate) fn ids_of(&self, leases: &[Lease]) -> Result<HashMap<String, Uuid>, KafkaError> {
        self.plain.poll(Duration::ZERO);
        let mut topics: Vec<&str> = leases.iter().map(|lease| &*lease.partition.topic).collect();
        topics.sort_unstable();
        topics.dedup();
        let mut described = ffi::topic_facts(self.plain.client().native_client(), &topics, ANSWER_TIMEOUT)
            .map_err(|code| KafkaError::call("describe topics", code))?;
        let mut ids = HashMap::with_capacity(topics.len());
        for topic in topics {
            let left_out = match described.remove(topic) {
                Some(Ok(TopicFacts { id, may })) if may.read => {
                    self.note_found(topic);
                    ids.insert(topic.to_owned(), id);
                    continue;
                }
                Some(Ok(_)) => KafkaError::call(format!("read topic {topic}"), Code::TopicAuthorizationFailed),
                Some(Err(code)) => KafkaError::call(format!("describe topic {topic}"), code),
                None => KafkaError::NoTopic { topic: Arc::from(topic) },
            };
            if !left_out.is_denied() && !matches!(left_out, KafkaError::NoTopic { .. }) {
                return Err(left_out);
            }
            self.note_left_out(topic, &left_out);
            error!("{left_out}; its partitions do not begin");
        }
        Ok(ids)
    }

    /// Where a log was cut, and has grown again. What cannot be looked at now does not begin now.
    fn look_for_cuts(
        &self,
        found: &mut Vec<Found>,
        ranges: &HashMap<TopicPartition, LogRange>,
    ) -> Result<(), KafkaError> {
        let suspect = |Found { restored, leader_epoch, .. }: &Found| {
            let last_epoch = ranges.get(&restored.lease.partition)?.leader_epoch;
            CutSuspect::of(restored, *leader_epoch, last_epoch)
        };
        let suspects: Vec<Option<CutSuspect>> = found.iter().map(suspect).collect();
        let cuts = cuts::find(&self.connection, suspects.iter().flatten().cloned().collect())?;
        let mut suspects = suspects.into_iter();
        found.retain_mut(|Found { restored, .. }| {
            let Some(_suspect) = suspects.next().flatten() else { return true };
            let told = cuts.get(&restored.lease.partition).copied();
            restored.cut = told.flatten();
            told.is_some()
        });
        Ok(())
    }
}

/// The ranges that were told. What waiting may cure is said and left out.
fn told(ranges: Listed<LogRange>) -> Result<HashMap<TopicPartition, LogRange>, KafkaError> {
    let known = |(partition, range): (TopicPartition, Result<LogRange, KafkaError>)| match range {
        Ok(range) => Some(Ok((partition, range))),
        Err(error) if error.is_retriable() => {
            log::call_failed(&error);
            None
        }
        Err(error) => Some(Err(error)),
    };
    ranges.into_iter().filter_map(known).collect()
}

/// `ids`: the topic's id when it was first met, and now.
fn complete_one(
    lease: &Lease,
    offset: Option<&CommittedOffset>,
    ids: (Uuid, Uuid),
    range: LogRange,
) -> Result<Found, KafkaError> {
    let (first_id, topic_id) = ids;
    let LogRange { start: log_start, end: log_end, .. } = range;
    let committed = offset.and_then(|found| found.offset);
    let metadata = committed.and_then(|at| metadata::decode(at, &offset?.metadata));
    if let Some(version) = offset.and_then(|found| metadata::other_version(&found.metadata)) {
        warn!(
            partition = %lease.partition, committed, version,
            "the commit metadata are of another release, whose version this one does not read: what was done above the \
             committed offset is done again"
        );
    }
    let recreated = metadata
        .as_ref()
        .is_some_and(|metadata| !metadata.topic_id.is_nil() && !topic_id.is_nil() && metadata.topic_id != topic_id)
        || (committed.is_none() && first_id != topic_id);
    let recreated = recreated && !is_planted(PlantedBug::TopicIdIgnored);
    if recreated {
        warn!(partition = %lease.partition, committed, log_start, "the topic was deleted and created again: reading its beginning");
    }
    let lists = metadata.as_ref().and_then(|metadata| metadata.lists);
    let position = metadata.as_ref().and_then(|metadata| metadata.position.clone()).filter(|_| !recreated);
    let slices = metadata.as_ref().and_then(|metadata| metadata.slices).filter(|_| !recreated);
    let committed_id = metadata.as_ref().map(|metadata| metadata.topic_id).filter(|id| !id.is_nil());
    let (committed, read_up_to, not_done) = match (committed, metadata) {
        (_, _) if recreated => (Some(log_start), log_start, Vec::new()),
        (Some(at), Some(metadata)) => (Some(at), metadata.read_up_to, metadata.not_done),
        (Some(at), None) => (Some(at), at, Vec::new()),
        (None, _) => (None, log_start, Vec::new()),
    };
    let leader_epoch = offset.filter(|_| !recreated).and_then(|found| found.leader_epoch);
    let lease = lease.clone();
    let cut = None;
    let restored = Restored {
        lease,
        committed,
        read_up_to,
        not_done,
        lists,
        position,
        slices,
        topic_id,
        log_start,
        log_end,
        recreated,
        cut,
    };
    Ok(Found { restored, topic_id, committed_id, leader_epoch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_without_a_leader_is_left_out_and_takes_no_other_with_it() {
        let at = |number| TopicPartition::new("events", number);
        let there = LogRange { start: 3, end: 9, leader_epoch: Some(2) };
        let away = || KafkaError::without_leader("list offsets of events/1");
        let found = told(Listed::from([(at(0), Ok(there)), (at(1), Err(away()))])).unwrap();
        assert_eq!(found, HashMap::from([(at(0), there)]));
        let alone = told(Listed::from([(at(1), Err(away()))])).unwrap();
        assert!(alone.is_empty(), "where none has a leader each waits, and the role is ready");
        let denied = KafkaError::call("list offsets of events/1", Code::TopicAuthorizationFailed);
        assert!(told(Listed::from([(at(1), Err(denied))])).is_err_and(|error| error.is_denied()));
    }
}
