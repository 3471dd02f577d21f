//! Consuming as a member of a group: partitions come and go as leases, records flow within credit.
//!
//! ```text
//!                 +------------- poll thread -------------+
//! Kafka --------> | poll -> copy once -> buffer per lease | --> events --> role
//!                 | rebalance: Assigned / Revoked (waits) |                 |
//!                 +---------------------------------------+ <-- release ----+   (credit back)
//! ```
//!
//! Assigned partitions stand still until [`Poller::begin`]: the role restores its state off the poll thread first. What
//! exceeds a lease's credit is buffered here; a partition is paused in librdkafka only when its neighbours are hungry and
//! a lot of it is buffered, because pausing throws its prefetch away.
//!
//! # Memory
//! A poller's records take at most [`PollerOptions::budget_bytes`] (handed out and buffered, keys, values and headers) plus
//! one record per partition, however many partitions there are. Beside them librdkafka prefetches at most 32 MiB
//! (`queued.max.messages.kbytes`) plus, per broker, one answer under way of at most 7 MiB (`fetch.max.bytes`, or one record
//! that is larger), compressed or not. So 256 MiB and a cluster of three brokers make 309 MiB at most, plus one record of
//! `max.message.bytes` per partition.

mod callbacks;
mod events;
mod measure;
mod repair;
mod shared;
mod state;
mod subscription;
mod thread;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::clock::instant;
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::lease::{Lease, Ownership};
use callbacks::Callbacks;
pub use events::{PollerEvent, PollerEvents, RevokeDone};
pub use measure::{Heartbeat, LeaseLag, Membership};
use repair::Repair;
use shared::Shared;

/// Between two seeks: an assignment that is still being served refuses one for a moment.
const SEEK_PAUSE: Duration = Duration::from_millis(20);
/// A partition that refuses for so long has no fetcher (its topic was gone for a while): it is assigned anew.
const REVIVE_AFTER: Duration = Duration::from_secs(1);
/// Between two tries to begin in a topic that may not be read.
const DENIED_PAUSE: Duration = Duration::from_secs(1);

/// How the poller behaves.
#[derive(Clone, Debug)]
pub struct PollerOptions {
    /// Consumer group.
    pub group: String,
    /// Topics; an entry that starts with `^` is a pattern, as librdkafka's.
    pub topics: Vec<String>,
    /// Name of the client in the broker's logs and metrics.
    pub client_id: String,
    /// Records of one partition handed out and not released.
    pub live_records: usize,
    /// Their bytes; one record may exceed it. A partition's share of the budget is a limit too.
    pub live_bytes: usize,
    /// Bytes of all partitions together: handed out and not released, and buffered beyond that. Every partition may exceed
    /// it by one record.
    pub budget_bytes: usize,
    /// How long a revoke waits for what is in flight.
    pub handover_wait: Duration,
    /// After which silence the group gives our partitions to others.
    pub session_timeout: Duration,
    /// Of those who write what is read: a transaction that is open for much longer has lost its end.
    pub transaction_timeout: Duration,
    /// The topics are other people's: one that is gone, may not be read or was cut starts over by itself, and ends no poller.
    pub fails_alone: bool,
    /// What is ours: the poller writes it, and a writer that was started before it reads it.
    pub ownership: Ownership,
}

/// Handle of a poller. Cheap to clone.
#[derive(Clone)]
pub struct Poller(Arc<Shared>);

// === impl PollerOptions ===

impl PollerOptions {
    /// The defaults for a group and its topics.
    #[must_use]
    pub fn new(group: impl Into<String>, topics: Vec<String>, client_id: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            topics,
            client_id: client_id.into(),
            live_records: 1_000,
            live_bytes: 16 * 1024 * 1024,
            budget_bytes: 256 * 1024 * 1024,
            handover_wait: Duration::from_secs(3),
            session_timeout: Duration::from_secs(8),
            transaction_timeout: Duration::from_secs(10),
            fails_alone: false,
            ownership: Ownership::default(),
        }
    }
}

// === impl Poller ===

impl Poller {
    /// Joins the group and starts the threads. Without topics it joins with the first [`Poller::subscribe`].
    ///
    /// # Errors
    /// Properties librdkafka refuses, a bad pattern.
    pub fn start(connection: &Connection, options: PollerOptions) -> Result<(Self, PollerEvents), KafkaError> {
        let config = connection.consumer(&options.client_id, &options.group, options.session_timeout);
        let shared = Arc::new(Shared::new(options));
        let client = |reason: String| KafkaError::Client { purpose: "consuming", reason };
        let consumer = BaseConsumer::from_config_and_context(&config, Callbacks::new(&shared))
            .map_err(|error| client(error.to_string()))?;
        subscription::subscribe(&consumer, &shared.options.topics)?;
        let consumer = Arc::new(consumer);
        *shared.consumer.lock() = Some(Arc::clone(&consumer));
        let (poll, watch) = (Arc::clone(&shared), Arc::clone(&shared));
        std::thread::Builder::new()
            .name("kafka-poll".into())
            .spawn(move || thread::run(&poll, consumer))
            .map_err(|error| client(error.to_string()))?;
        let watcher = watch::Watcher::new(connection, watch)?;
        std::thread::Builder::new()
            .name("kafka-watch".into())
            .spawn(move || watcher.run())
            .map_err(|error| client(error.to_string()))?;
        Ok((Self(Arc::clone(&shared)), PollerEvents::new(shared)))
    }

    /// The lease's state is restored: read from this offset on. Blocks until the cluster lets it; not for a runtime thread.
    ///
    /// # Errors
    /// [`KafkaError::NotOwned`]: revoked meanwhile, nothing to do. [`KafkaError::Closed`]: so is everything. Otherwise
    /// something that waiting does not cure, or where topics fail alone, that the topic is gone or may not be read.
    pub fn begin(&self, lease: &Lease, offset: i64) -> Result<(), KafkaError> {
        let mut revive = instant() + REVIVE_AFTER;
        loop {
            let consumer = self.consumer()?;
            let failed = match self.0.try_begin(&consumer, lease, offset) {
                Ok(()) => return Ok(()),
                Err(KafkaError::NotOwned { partition }) => return Err(KafkaError::NotOwned { partition }),
                Err(error) => error,
            };
            drop(consumer);
            let mut pause = SEEK_PAUSE;
            if self.0.options.fails_alone && (failed.is_denied() || matches!(failed, KafkaError::NoTopic { .. })) {
                return Err(failed);
            }
            if failed.is_denied() {
                // The other topics of the role are read on.
                if self.0.deny(Some(Arc::clone(&lease.partition.topic)), &failed) {
                    return Err(failed);
                }
                pause = DENIED_PAUSE;
            } else {
                crate::log::call_failed(&failed);
            }
            if instant() >= revive {
                self.0.ask(Repair::Revive { lease: lease.clone(), offset, unassigned: false });
                revive = instant() + REVIVE_AFTER;
            }
            let version = self.0.ownership.snapshot(std::iter::empty()).version;
            self.0.ownership.wait_change(version, pause);
        }
    }

    /// A takeover has left out the partitions of this topic, because it may not be read: as if reading it had been refused. The role
    /// ends only if it has nothing else to read.
    pub fn deny(&self, topic: &Arc<str>) {
        let error = KafkaError::call(format!("reading {topic}"), Code::TopicAuthorizationFailed);
        self.0.deny(Some(Arc::clone(topic)), &error);
    }

    /// Credit back: the role no longer holds these ([`schemas::record::Record::size`] bytes each). Hands out what waited.
    pub fn release(&self, lease: &Lease, records: usize, bytes: usize) {
        let (published, wake, flow) = {
            let mut state = self.0.state.lock();
            let published = state.release(lease, records, bytes);
            (published, state.should_wake(lease), state.wants_change(lease))
        };
        if published {
            self.0.events.notify_one();
        }
        if wake {
            self.0.wake.notify_all();
        }
        if flow {
            self.reconcile(lease);
        }
    }

    /// For long waits only: throws the partition's prefetch away. What waits in the poller stays.
    pub fn pause(&self, lease: &Lease) {
        self.0.state.lock().set_paused(lease, true);
        self.reconcile(lease);
    }

    /// Records continue after the last one handed out.
    pub fn resume(&self, lease: &Lease) {
        if self.0.state.lock().set_paused(lease, false) {
            self.0.events.notify_one();
        }
        self.0.wake.notify_all();
        self.reconcile(lease);
    }

    /// No more records: a drain begins. Rebalances are still served.
    pub fn stop_intake(&self) {
        let leases = {
            let mut state = self.0.state.lock();
            state.stopped = true;
            state.leases()
        };
        for lease in leases {
            self.reconcile(&lease);
        }
    }

    /// What is ours; shared with the writer.
    #[must_use]
    pub fn ownership(&self) -> Ownership {
        self.0.ownership.clone()
    }

    /// Leaves the group: a last [`PollerEvent::Revoked`] is emitted, then [`PollerEvents::next`] returns `None`.
    pub fn close(&self) {
        self.0.close();
    }

    fn consumer(&self) -> Result<Arc<BaseConsumer<Callbacks>>, KafkaError> {
        self.0.consumer.lock().clone().ok_or(KafkaError::Closed)
    }

    fn reconcile(&self, lease: &Lease) {
        if let Ok(consumer) = self.consumer() {
            let control = self.0.control.lock();
            self.0.reconcile(&consumer, lease, control);
        }
    }
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller").field("options", &self.0.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
