//! Looks for topics that were deleted and created again, and for positions that do not exist.
//!
//! librdkafka goes on reading a recreated topic at the old position, which is silently wrong when the new one is longer.
//! So the topics' ids are compared every few seconds, and at once when a position was refused.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::TopicPartition;
use tracing::warn;
use uuid::Uuid;

use super::{Callbacks, PollerEvent, RevokeDone, SEEK_TIMEOUT, Shared};
use crate::clock::instant;
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::ffi;
use crate::lease::Lease;
use crate::log::{self, Named};

/// How often topic ids are compared.
const PERIOD: Duration = Duration::from_secs(5);
/// Pause between two looks however wrong things look; also how late a close is seen.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a question may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The watch thread of one poller.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    client: BaseConsumer<Named>,
}

// === impl Watcher ===

impl Watcher {
    pub(super) fn new(connection: &Connection, shared: Arc<Shared>) -> Result<Self, KafkaError> {
        let config = connection.plain(&format!("{}-watch", shared.options.client_id));
        let client = BaseConsumer::from_config_and_context(&config, Named::new("watch"))
            .map_err(|error| KafkaError::Client { purpose: "watching topics", reason: error.to_string() })?;
        Ok(Self { shared, client })
    }

    pub(super) fn run(self) {
        while let Some(suspicious) = self.wait() {
            self.client.poll(Duration::ZERO);
            if let Err(error) = self.look(suspicious) {
                log::call_failed(&error);
                *self.shared.suspicious.lock() |= suspicious;
            }
        }
    }

    /// Waits for the next look, and whether something looked wrong. `None`: the poller is closed.
    fn wait(&self) -> Option<bool> {
        let deadline = instant() + PERIOD;
        let soonest = instant() + PAUSE;
        let mut suspicious = self.shared.suspicious.lock();
        loop {
            if self.shared.closing.load(Ordering::Acquire) {
                return None;
            }
            let now = instant();
            if now >= deadline || (*suspicious && now >= soonest) {
                return Some(std::mem::take(&mut *suspicious));
            }
            let until = if *suspicious { soonest } else { deadline };
            // A wake-up that comes just before the wait is made up for by the next one.
            self.shared.watch.wait_for(&mut suspicious, (until - now).min(PAUSE));
        }
    }

    fn look(&self, suspicious: bool) -> Result<(), KafkaError> {
        let begun = self.shared.state.lock().begun();
        let mut topics: Vec<&str> = begun.iter().map(|(lease, _, _)| &*lease.partition.topic).collect();
        topics.sort_unstable();
        topics.dedup();
        if topics.is_empty() {
            return Ok(());
        }
        let ids = ffi::topic_ids(self.client.client().native_client(), &topics, ANSWER_TIMEOUT)
            .map_err(|code| KafkaError::call("describe topics", code))?;
        let changed: HashSet<&str> = begun
            .iter()
            .filter(|(lease, known, _)| ids.get(&*lease.partition.topic).is_some_and(|id| is_other(known, id)))
            .map(|(lease, _, _)| &*lease.partition.topic)
            .collect();
        let of_changed = |(lease, _, _): &&(Lease, Uuid, i64)| changed.contains(&*lease.partition.topic);
        if !changed.is_empty() {
            self.restart(begun.iter().filter(of_changed).map(|(lease, _, _)| lease));
        }
        if suspicious {
            let same = begun.iter().filter(|entry| !of_changed(entry) && ids.contains_key(&*entry.0.partition.topic));
            self.check_positions(same)?;
        }
        Ok(())
    }

    /// The leases' topic is another one now: their epochs end, new ones begin, which find the new topic's id.
    fn restart<'a>(&self, leases: impl Iterator<Item = &'a Lease>) {
        let shared = &self.shared;
        let Some(consumer) = shared.consumer.lock().clone() else { return };
        let _control = shared.control.lock();
        shared.topic_ids.lock().clear();
        let mut state = shared.state.lock();
        let partitions: Vec<TopicPartition> =
            leases.filter(|lease| state.is_live(lease)).map(|lease| lease.partition.clone()).collect();
        let old = state.start_revoke(&partitions);
        if old.is_empty() {
            return;
        }
        warn!(group = shared.options.group, ?partitions, "the topic was deleted and created again: starting over");
        let group = shared.ownership.snapshot(std::iter::empty()).group;
        shared.ownership.remove(&old, false);
        state.end_revoke(&old);
        let (done, _) = RevokeDone::pair();
        state.push(PollerEvent::Revoked { leases: old, lost: true, done });
        let new: Vec<Lease> = partitions.into_iter().map(|partition| shared.new_lease(partition)).collect();
        pause(&consumer, &new);
        shared.ownership.add(&new, group);
        state.assign(&new);
        drop(state);
        shared.events.notify_one();
    }

    /// A position was refused: name the one that does not exist, or set the fetchers to where they should be.
    fn check_positions<'a>(&self, begun: impl Iterator<Item = &'a (Lease, Uuid, i64)>) -> Result<(), KafkaError> {
        let Some(consumer) = self.shared.consumer.lock().clone() else { return Ok(()) };
        for (lease, _, _) in begun {
            let TopicPartition { topic, partition } = &lease.partition;
            let (log_start, log_end) =
                self.client.fetch_watermarks(topic, *partition, ANSWER_TIMEOUT).map_err(|error| {
                    KafkaError::from_rdkafka(format!("log start and end of {}", lease.partition), &error)
                })?;
            let _control = self.shared.control.lock();
            // As it is now: it may have moved on since, then nothing is wrong with it.
            let next = self.shared.state.lock().begun().into_iter().find(|(live, _, _)| live == lease);
            let Some((_, _, offset)) = next else { continue };
            if offset < log_start || offset > log_end {
                let partition = lease.partition.clone();
                self.shared.fail(KafkaError::OffsetOutOfRange { partition, offset, log_start, log_end });
                continue;
            }
            // Records that are read twice are dropped by their offset; a fetcher that had given up starts again.
            if let Err(error) = consumer.seek(topic, *partition, Offset::Offset(offset), SEEK_TIMEOUT) {
                log::call_failed(&KafkaError::from_rdkafka(format!("seek {}", lease.partition), &error));
            }
        }
        Ok(())
    }
}

/// Whether a topic id is known and another one now.
fn is_other(known: &Uuid, now: &Uuid) -> bool {
    !known.is_nil() && !now.is_nil() && known != now && !is_planted(PlantedBug::TopicIdIgnored)
}

fn pause(consumer: &BaseConsumer<Callbacks>, leases: &[Lease]) {
    let mut list = TopicPartitionList::with_capacity(leases.len());
    for lease in leases {
        list.add_partition(&lease.partition.topic, lease.partition.partition);
    }
    if let Err(error) = consumer.pause(&list) {
        log::call_failed(&KafkaError::from_rdkafka("pause", &error));
    }
}
