//! Whether a log was cut below what was read, and has grown again. Blocking.
//!
//! A log whose leader has changed since it was read may have lost its end. The records before the offset that was read up to tell:
//! one of a newer leader epoch is not the one that was read.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use schemas::record::TopicPartition;

use crate::clock::instant;
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::ffi::{self, Polled};
use crate::log::{self, Named};
use crate::restore::{LogCut, Restored};

/// Offsets before the one read up to whose records tell whether they are still the ones that were read; markers lie among them.
const LOOK_BACK: i64 = 16;
/// How long reading them may take, for all partitions together.
const LOOK_BACK_TIMEOUT: Duration = Duration::from_secs(5);
/// One wait for an event.
const POLL: Duration = Duration::from_millis(100);

/// A partition whose log may have been cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CutSuspect {
    partition: TopicPartition,
    log_start: i64,
    read_up_to: i64,
    /// Leader epoch of the last record that was read.
    read_epoch: i32,
}

/// What was seen so far. Pure.
#[derive(Debug, Default)]
struct CutSearch {
    open: BTreeMap<TopicPartition, CutSuspect>,
    told: HashMap<TopicPartition, Option<LogCut>>,
}

// === impl CutSuspect ===

impl CutSuspect {
    /// Of what was restored: the epoch of the last record that was read, and of the last leader that wrote. None where nothing can
    /// be wrong, or nobody can tell.
    pub(crate) fn of(restored: &Restored, read_epoch: Option<i32>, last_epoch: Option<i32>) -> Option<Self> {
        let Restored { recreated, committed, read_up_to, log_start, log_end, .. } = *restored;
        let is_readable = committed.is_some() && !recreated && log_start < read_up_to && read_up_to <= log_end;
        let read_epoch = read_epoch.filter(|read| is_readable && last_epoch.is_some_and(|last| last > *read))?;
        Some(Self { partition: restored.lease.partition.clone(), log_start, read_up_to, read_epoch })
    }
}

/// Looks at the last records that were read. Whether the log was cut there, of each partition that could be read in time; what
/// could not has its line in the log.
pub(crate) fn find(
    connection: &Connection,
    suspects: Vec<CutSuspect>,
) -> Result<HashMap<TopicPartition, Option<LogCut>>, KafkaError> {
    if suspects.is_empty() {
        return Ok(HashMap::new());
    }
    let failed = |error| KafkaError::from_rdkafka("reading the last records that were done", &error);
    // Only what was committed could be read: an aborted record of a newer leader was passed like a marker.
    let config = connection.tail(true, true, 10);
    let consumer = BaseConsumer::from_config_and_context(&config, Named::new("takeover")).map_err(failed)?;
    let queue = ffi::MessageQueue::of(consumer.client().native_client()).ok_or(KafkaError::Closed)?;
    let mut list = TopicPartitionList::with_capacity(suspects.len());
    for CutSuspect { partition: TopicPartition { topic, partition }, log_start, read_up_to, .. } in &suspects {
        let from = Offset::Offset((read_up_to - LOOK_BACK).max(*log_start));
        list.add_partition_offset(topic, *partition, from).map_err(failed)?;
    }
    consumer.assign(&list).map_err(failed)?;
    let mut search = CutSearch::new(suspects);
    let deadline = instant() + LOOK_BACK_TIMEOUT;
    while !search.open.is_empty() && instant() <= deadline {
        let Some(event) = queue.poll(POLL) else { continue };
        match event.read() {
            Polled::Message(message) => search.record(&message.partition(), message.offset(), message.leader_epoch()),
            Polled::End(partition, position) => search.end(&partition, position),
            // One broker that is away hides nothing that the others have.
            Polled::Failed { code, partition, .. } => {
                let of = partition.map(|(partition, _)| format!(" of {partition}")).unwrap_or_default();
                log::call_failed(&KafkaError::call(format!("reading the last records{of} that were done"), code));
            }
            Polled::Rebalance(..) | Polled::Log(..) | Polled::Other => {}
        }
    }
    drop(queue);
    for partition in search.open.keys() {
        let call = format!("reading the last records of {partition} that were done");
        log::call_failed(&KafkaError::call(call, Code::OperationTimedOut));
    }
    Ok(search.told)
}

// === impl CutSearch ===

impl CutSearch {
    fn new(suspects: Vec<CutSuspect>) -> Self {
        let open = suspects.into_iter().map(|suspect| (suspect.partition.clone(), suspect)).collect();
        Self { open, told: HashMap::new() }
    }

    /// A record near the offset that was read up to.
    fn record(&mut self, partition: &TopicPartition, at: i64, epoch: Option<i32>) {
        let Some(CutSuspect { read_up_to, read_epoch, .. }) = self.open.get(partition) else { return };
        let (read_up_to, read_epoch) = (*read_up_to, *read_epoch);
        let cut = epoch.filter(|found| at < read_up_to && *found > read_epoch);
        if cut.is_none() && at < read_up_to {
            return;
        }
        let cut = cut.map(|found_epoch| LogCut { at, read_epoch, found_epoch });
        self.open.remove(partition);
        self.told.insert(partition.clone(), cut);
    }

    /// Nothing more can be read below this position. Before what was read a transaction may be open, of records that took the place
    /// of those that were lost: once it is over they tell.
    fn end(&mut self, partition: &TopicPartition, position: i64) {
        let is_whole = self.open.get(partition).is_some_and(|suspect| position >= suspect.read_up_to);
        if is_whole {
            self.open.remove(partition);
            self.told.insert(partition.clone(), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspect(topic: &str) -> CutSuspect {
        CutSuspect { partition: TopicPartition::new(topic, 0), log_start: 0, read_up_to: 8, read_epoch: 3 }
    }

    #[test]
    fn a_record_of_a_newer_epoch_below_what_was_read_is_a_cut() {
        let place = TopicPartition::new("events", 0);
        let seen = |records: &[(i64, i32)]| {
            let mut search = CutSearch::new(vec![suspect("events")]);
            records.iter().for_each(|(at, epoch)| search.record(&place, *at, Some(*epoch)));
            search.told.get(&place).copied()
        };
        let cut = LogCut { at: 6, read_epoch: 3, found_epoch: 4 };
        assert_eq!(seen(&[(5, 3), (6, 4), (8, 4)]), Some(Some(cut)));
        assert_eq!(seen(&[(5, 2), (7, 3), (8, 4)]), Some(None), "what follows was written later");
        assert_eq!(seen(&[(5, 3)]), None, "more may come");
    }

    #[test]
    fn the_end_of_one_topic_says_nothing_about_the_same_number_of_another() {
        let (events, source) = (TopicPartition::new("events", 0), TopicPartition::new("source", 0));
        let mut search = CutSearch::new(vec![suspect("events"), suspect("source")]);
        search.end(&source, 7);
        assert!(search.told.is_empty(), "what is open before what was read tells when it is over");
        search.end(&source, 8);
        search.record(&events, 6, Some(4));
        let cut = LogCut { at: 6, read_epoch: 3, found_epoch: 4 };
        assert_eq!(search.told, HashMap::from([(source, None), (events, Some(cut))]));
        assert!(search.open.is_empty());
    }
}
