//! What belongs to committed offsets that were read: the topic's id, the log's ends, and whether the log was cut below them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::TopicPartition;
use tracing::{error, warn};
use uuid::Uuid;

use super::{ANSWER_TIMEOUT, Restorer, find};
use crate::clock::instant;
use crate::error::KafkaError;
use crate::ffi::{self, CommittedOffset, TopicFacts};
use crate::lease::Lease;
use crate::log::{self, Named};
use crate::metadata;
use crate::restore::{LogCut, Restored};

/// Offsets before the one read up to whose records tell whether they are still the ones that were read; markers lie among them.
const LOOK_BACK: i64 = 16;
/// How long reading them may take.
const LOOK_BACK_TIMEOUT: Duration = Duration::from_secs(5);

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

/// Where a log begins and ends.
#[derive(Clone, Copy)]
struct LogEnds {
    start: i64,
    /// High watermark: records of open transactions count.
    end: i64,
    /// Of the last leader that wrote to it.
    leader_epoch: Option<i32>,
}

impl Restorer {
    /// Topic ids and the logs' ends for offsets that were read. A partition that cannot be told of now, as one without a leader, is
    /// left out.
    pub(super) fn complete(&self, leases: &[Lease], offsets: &[CommittedOffset]) -> Result<Vec<Found>, KafkaError> {
        let ids = self.ids_of(leases)?;
        self.note_ids(&ids);
        let there: Vec<&Lease> = leases.iter().filter(|lease| ids.contains_key(&*lease.partition.topic)).collect();
        let partitions: Vec<TopicPartition> = there.iter().map(|lease| lease.partition.clone()).collect();
        let ends = told(log_ends(&self.plain, &partitions)?)?;
        let found = there.into_iter().filter_map(|lease| {
            let ends = ends.get(&lease.partition).copied()?;
            let topic_id = ids.get(&*lease.partition.topic).copied().unwrap_or(Uuid::nil());
            let first_id = self.first_id(&lease.partition.topic, topic_id);
            Some(complete_one(lease, find(offsets, &lease.partition), (first_id, topic_id), ends))
        });
        let mut found = found.collect::<Result<Vec<Found>, KafkaError>>()?;
        self.look_for_cuts(&mut found, &ends)?;
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

    /// A log whose leader has changed since it was read may have lost its end and grown again. The records before the offset that
    /// was read up to tell: one of a newer epoch is not the one that was read. Where they cannot be read now, nothing begins.
    fn look_for_cuts(&self, found: &mut Vec<Found>, ends: &HashMap<TopicPartition, LogEnds>) -> Result<(), KafkaError> {
        let is_suspect = |found: &Found| {
            let last = ends.get(&found.restored.lease.partition)?.leader_epoch?;
            let Restored { recreated, committed, read_up_to, log_start, log_end, .. } = found.restored;
            let is_readable = committed.is_some() && !recreated && log_start < read_up_to && read_up_to <= log_end;
            (is_readable && last > found.leader_epoch?).then_some(())
        };
        let mut suspects: Vec<&mut Found> = found.iter_mut().filter(|found| is_suspect(found).is_some()).collect();
        if suspects.is_empty() {
            return Ok(());
        }
        let failed = |error| KafkaError::from_rdkafka("reading the last records that were done", &error);
        let consumer =
            BaseConsumer::from_config_and_context(&self.connection.tail(false, true, 10), Named::new("takeover"))
                .map_err(failed)?;
        let mut list = TopicPartitionList::with_capacity(suspects.len());
        for Found { restored, .. } in suspects.iter().map(|found| &**found) {
            let TopicPartition { topic, partition } = &restored.lease.partition;
            let from = (restored.read_up_to - LOOK_BACK).max(restored.log_start);
            list.add_partition_offset(topic, *partition, Offset::Offset(from)).map_err(failed)?;
        }
        consumer.assign(&list).map_err(failed)?;
        let deadline = instant() + LOOK_BACK_TIMEOUT;
        let mut open = suspects.len();
        let mut known = vec![false; suspects.len()];
        while open > 0 && instant() <= deadline {
            let (at, seen) = match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let place = TopicPartition::new(message.topic(), message.partition());
                    let at = suspects.iter().position(|found| found.restored.lease.partition == place);
                    (at, Some((message.offset(), ffi::leader_epoch(&message))))
                }
                // Which one it is of does not matter: an end is reached by all, or the time is over.
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(partition))) => {
                    let at = suspects
                        .iter()
                        .zip(&known)
                        .position(|(found, known)| found.restored.lease.partition.partition == partition && !known);
                    (at, None)
                }
                // One broker that is away hides nothing that the others have.
                Some(Err(error)) => {
                    log::call_failed(&failed(error));
                    continue;
                }
                None => continue,
            };
            let Some(at) = at.filter(|at| !known[*at]) else { continue };
            let ended = match seen {
                Some((offset, epoch)) => judge(suspects[at], offset, epoch),
                None => true,
            };
            if ended {
                known[at] = true;
                open -= 1;
            }
        }
        let unknown: Vec<TopicPartition> = suspects
            .iter()
            .zip(known)
            .filter(|(_, known)| !known)
            .map(|(found, _)| found.restored.lease.partition.clone())
            .collect();
        for partition in &unknown {
            let call = format!("reading the last records of {partition} that were done");
            log::call_failed(&KafkaError::call(call, Code::OperationTimedOut));
        }
        found.retain(|found| !unknown.contains(&found.restored.lease.partition));
        Ok(())
    }
}

/// Looks at one record near the offset that was read up to. True: no more needs to be seen.
fn judge(found: &mut Found, offset: i64, epoch: Option<i32>) -> bool {
    let restored = &mut found.restored;
    if offset >= restored.read_up_to {
        return true;
    }
    let (Some(found_epoch), Some(read_epoch)) = (epoch, found.leader_epoch) else { return false };
    if found_epoch <= read_epoch {
        return false;
    }
    restored.cut = Some(LogCut { at: offset, read_epoch, found_epoch });
    true
}

/// Asks for the ends of all logs at once: of each, or why they are not told.
fn log_ends(
    client: &BaseConsumer<Named>,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, Result<LogEnds, KafkaError>>, KafkaError> {
    let failed = |error| KafkaError::from_rdkafka("log starts and ends", &error);
    // "The offset for a time" with the two special times is ListOffsets for the log's first and last offset.
    let ask = |time| {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&partition.topic, partition.partition).set_offset(time).map_err(failed)?;
        }
        let listed = client.offsets_for_times(list, ANSWER_TIMEOUT);
        if listed.is_err() {
            // A leader it asked may be gone.
            ffi::refresh(client.client().native_client());
        }
        listed.map_err(failed)
    };
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (first, last) = (ask(Offset::Beginning)?, ask(Offset::End)?);
    let epochs = ffi::leader_epochs(&last);
    let ends = last.elements().into_iter().zip(epochs).map(|(element, leader_epoch)| {
        let place = TopicPartition::new(element.topic(), element.partition());
        let first = first.find_partition(element.topic(), element.partition());
        let ends = ends_of(&place, first.as_ref(), &element).map(|(start, end)| LogEnds { start, end, leader_epoch });
        (place, ends)
    });
    Ok(ends.collect())
}

/// The first and the last offset of one log.
fn ends_of(
    place: &TopicPartition,
    first: Option<&TopicPartitionListElem<'_>>,
    last: &TopicPartitionListElem<'_>,
) -> Result<(i64, i64), KafkaError> {
    let not_told = |code| KafkaError::call(format!("log start and end of {place}"), code);
    last.error().map_err(|error| KafkaError::from_rdkafka(format!("log end of {place}"), &error))?;
    let first = first.ok_or_else(|| not_told(Code::Fail))?;
    first.error().map_err(|error| KafkaError::from_rdkafka(format!("log start of {place}"), &error))?;
    let (Offset::Offset(start), Offset::Offset(end)) = (first.offset(), last.offset()) else {
        return Err(not_told(Code::OffsetNotAvailable));
    };
    Ok((start, end))
}

/// The ends that were told. What waiting may cure is said and left out.
fn told(
    ends: BTreeMap<TopicPartition, Result<LogEnds, KafkaError>>,
) -> Result<HashMap<TopicPartition, LogEnds>, KafkaError> {
    let mut told = HashMap::with_capacity(ends.len());
    for (partition, ends) in ends {
        match ends {
            Ok(ends) => {
                told.insert(partition, ends);
            }
            Err(error) if error.is_retriable() => log::call_failed(&error),
            Err(error) => return Err(error),
        }
    }
    Ok(told)
}

/// `ids`: the topic's id when it was first met, and now.
fn complete_one(
    lease: &Lease,
    offset: Option<&CommittedOffset>,
    ids: (Uuid, Uuid),
    ends: LogEnds,
) -> Result<Found, KafkaError> {
    let (first_id, topic_id) = ids;
    let LogEnds { start: log_start, end: log_end, .. } = ends;
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
    let position = metadata.as_ref().and_then(|metadata| metadata.position).filter(|_| !recreated);
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
        let there = LogEnds { start: 3, end: 9, leader_epoch: Some(2) };
        let away = || KafkaError::without_leader("log end of events/1");
        let found = told(BTreeMap::from([(at(0), Ok(there)), (at(1), Err(away()))])).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), [&at(0)]);
        let denied = KafkaError::call("log end of events/1", Code::TopicAuthorizationFailed);
        assert!(told(BTreeMap::from([(at(1), Err(denied))])).is_err_and(|error| error.is_denied()));
    }
}
