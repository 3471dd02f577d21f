//! Consuming as a member of a group: partitions come and go as leases, records flow within credit.
//!
//! ```text
//!                 +------------- poll thread -------------+
//! Kafka --------> | poll -> copy once -> held per lease   | --> events --> role
//!                 | rebalance: Assigned / Revoked (waits) |                 |
//!                 +---------------------------------------+ <-- release ----+   (credit back)
//! ```
//!
//! Assigned partitions stand still until [`Poller::begin`]: the role restores its state off the poll thread first. What
//! exceeds a lease's credit waits here, bounded; a partition is paused in librdkafka only when its neighbours are hungry
//! and it holds a lot, because pausing throws its prefetch away.

mod callbacks;
mod events;
mod state;
mod thread;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use schemas::record::TopicPartition;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::clock::{boot_ms, instant};
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::ffi;
use crate::lease::{Epoch, Lease, Ownership};
use callbacks::Callbacks;
pub use events::{PollerEvent, PollerEvents, RevokeDone};
use state::{Limits, State};

/// One seek, and the pause between two: an assignment that is still being served refuses it for a moment.
const SEEK_TIMEOUT: Duration = Duration::from_secs(2);
/// A partition that refuses for so long has no fetcher (its topic was gone for a while): it is assigned anew.
const REVIVE_AFTER: Duration = Duration::from_secs(1);
const SEEK_PAUSE: Duration = Duration::from_millis(20);
/// How long a topic's id may be remembered when several partitions of it begin.
const TOPIC_ID_FRESH: Duration = Duration::from_secs(2);

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
    /// Their bytes; one record may exceed it.
    pub live_bytes: usize,
    /// How long a revoke waits for what is in flight.
    pub handover_wait: Duration,
    /// After which silence the group gives our partitions to others.
    pub session_timeout: Duration,
}

/// How far one lease is behind.
#[derive(Clone, Debug)]
pub struct LeaseLag {
    /// The lease.
    pub lease: Lease,
    /// The end of the log was reached at `position`, and nothing has come since.
    pub at_end: bool,
    /// Which partition.
    pub partition: TopicPartition,
    /// Offset of the next record to be handed out, as far as known (transaction markers count until a record follows).
    pub position: i64,
    /// End as of the last fetch; negative if not known yet.
    pub high_watermark: i64,
    /// Timestamp of the oldest record that waits in the poller, Unix ms.
    pub oldest_waiting_ms: Option<i64>,
}

/// When the poll thread was last seen. Lock free.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<AtomicI64>);

/// Handle of a poller. Cheap to clone.
#[derive(Clone)]
pub struct Poller(Arc<Shared>);

struct Shared {
    options: PollerOptions,
    state: Mutex<State>,
    /// Wakes the reader of the events.
    events: Notify,
    /// Wakes the poll thread when a lease became hungry.
    wake: Condvar,
    /// Held around every pause, resume and seek, so that librdkafka's state is what [`State`] says. Taken before `state`.
    control: Mutex<()>,
    consumer: Mutex<Option<Arc<BaseConsumer<Callbacks>>>>,
    ownership: Ownership,
    beat: Arc<AtomicI64>,
    next_epoch: AtomicU64,
    closing: AtomicBool,
    /// Something looked as if a topic had changed: look now.
    suspicious: Mutex<bool>,
    /// Wakes the watch thread.
    watch: Condvar,
    topic_ids: Mutex<HashMap<Arc<str>, (Uuid, Instant)>>,
}

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
            handover_wait: Duration::from_secs(3),
            session_timeout: Duration::from_secs(8),
        }
    }
}

// === impl Heartbeat ===

impl Heartbeat {
    /// Milliseconds since the poll thread was last seen, on the clock that counts suspension.
    #[must_use]
    pub fn age_ms(&self) -> i64 {
        boot_ms() - self.0.load(Ordering::Relaxed)
    }
}

// === impl Poller ===

impl Poller {
    /// Joins the group and starts the threads.
    ///
    /// # Errors
    /// Properties librdkafka refuses, a bad pattern.
    pub fn start(connection: &Connection, options: PollerOptions) -> Result<(Self, PollerEvents), KafkaError> {
        let config = connection.consumer(&options.client_id, &options.group, options.session_timeout);
        let shared = Arc::new(Shared::new(options));
        let client = |reason: String| KafkaError::Client { purpose: "consuming", reason };
        let consumer = BaseConsumer::from_config_and_context(&config, Callbacks::new(&shared))
            .map_err(|error| client(error.to_string()))?;
        let topics: Vec<&str> = shared.options.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|error| KafkaError::from_rdkafka("subscribe", &error))?;
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
    /// something that waiting does not cure.
    pub fn begin(&self, lease: &Lease, offset: i64) -> Result<(), KafkaError> {
        let mut revive = instant() + REVIVE_AFTER;
        loop {
            let consumer = self.consumer()?;
            let failed = match self.0.try_begin(&consumer, lease, offset) {
                Ok(()) => return Ok(()),
                Err(KafkaError::NotOwned { partition }) => return Err(KafkaError::NotOwned { partition }),
                Err(error) if error.is_denied() => return Err(error),
                Err(error) => error,
            };
            crate::log::call_failed(&failed);
            if instant() >= revive {
                self.0.revive(&consumer, lease, offset);
                revive = instant() + REVIVE_AFTER;
            }
            drop(consumer);
            let version = self.0.ownership.snapshot(std::iter::empty()).version;
            self.0.ownership.wait_change(version, SEEK_PAUSE);
        }
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

    /// When the poll thread was last seen.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat(Arc::clone(&self.0.beat))
    }

    /// How far every begun lease is behind; no request is made.
    #[must_use]
    pub fn lag(&self) -> Vec<LeaseLag> {
        let Ok(consumer) = self.consumer() else { return Vec::new() };
        let state = self.0.state.lock();
        let positions = state.positions();
        positions
            .into_iter()
            .filter_map(|(partition, position, oldest_waiting_ms)| {
                let client = consumer.client().native_client();
                let marks = ffi::cached_watermarks(client, &partition.topic, partition.partition);
                let high_watermark = marks.map_or(-1, |(_, high)| high);
                let lease = state.lease(&partition)?;
                Some(LeaseLag { lease, at_end: false, partition, position, high_watermark, oldest_waiting_ms })
            })
            .collect()
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

// === impl Shared ===

impl Shared {
    fn new(options: PollerOptions) -> Self {
        let limits = Limits::new(options.live_records, options.live_bytes);
        Self {
            options,
            state: Mutex::new(State::new(limits)),
            events: Notify::new(),
            wake: Condvar::new(),
            control: Mutex::new(()),
            consumer: Mutex::new(None),
            ownership: Ownership::default(),
            beat: Arc::new(AtomicI64::new(boot_ms())),
            next_epoch: AtomicU64::new(1),
            closing: AtomicBool::new(false),
            suspicious: Mutex::new(false),
            watch: Condvar::new(),
            topic_ids: Mutex::new(HashMap::new()),
        }
    }

    fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake.notify_all();
        self.watch.notify_all();
    }

    fn new_lease(&self, partition: TopicPartition) -> Lease {
        Lease { partition, epoch: Epoch(self.next_epoch.fetch_add(1, Ordering::Relaxed)) }
    }

    fn beat(&self) {
        self.beat.store(boot_ms(), Ordering::Relaxed);
    }

    fn emit(&self, event: PollerEvent) {
        self.state.lock().push(event);
        self.events.notify_one();
    }

    /// Reports a fatal error, once.
    fn fail(&self, error: KafkaError) {
        if self.state.lock().fail(error) {
            self.events.notify_one();
        }
    }

    /// One try of [`Poller::begin`].
    fn try_begin(&self, consumer: &BaseConsumer<Callbacks>, lease: &Lease, offset: i64) -> Result<(), KafkaError> {
        let TopicPartition { topic, partition } = &lease.partition;
        let topic_id = self.topic_id(consumer, topic)?;
        let control = self.control.lock();
        if !self.state.lock().is_live(lease) {
            return Err(KafkaError::NotOwned { partition: lease.partition.clone() });
        }
        consumer
            .seek(topic, *partition, Offset::Offset(offset), SEEK_TIMEOUT)
            .map_err(|error| KafkaError::from_rdkafka(format!("seek {} to {offset}", lease.partition), &error))?;
        self.state.lock().begin(lease, offset, topic_id);
        self.reconcile(consumer, lease, control);
        Ok(())
    }

    /// Assigns a partition of ours again, paused: the fetcher of a topic that was deleted does not come back with it.
    fn revive(&self, consumer: &BaseConsumer<Callbacks>, lease: &Lease, offset: i64) {
        let _control = self.control.lock();
        if !self.state.lock().is_live(lease) {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(1);
        let result = list
            .add_partition_offset(&lease.partition.topic, lease.partition.partition, Offset::Offset(offset))
            .and_then(|()| consumer.incremental_unassign(&list))
            .and_then(|()| consumer.incremental_assign(&list))
            .and_then(|()| consumer.pause(&list));
        if let Err(error) = result {
            crate::log::call_failed(&KafkaError::from_rdkafka(format!("assign {} again", lease.partition), &error));
        }
    }

    /// Makes librdkafka pause or fetch the partition as the state wants it. The caller holds `control`.
    fn reconcile(&self, consumer: &BaseConsumer<Callbacks>, lease: &Lease, _control: parking_lot::MutexGuard<'_, ()>) {
        let Some(flow) = self.state.lock().change(lease) else { return };
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&lease.partition.topic, lease.partition.partition);
        let result = if flow { consumer.resume(&list) } else { consumer.pause(&list) };
        if let Err(error) = result {
            // Only a partition that is not assigned any more cannot be paused or resumed.
            let call = if flow { "resume" } else { "pause" };
            crate::log::call_failed(&KafkaError::from_rdkafka(format!("{call} {}", lease.partition), &error));
        }
    }

    /// The id of a topic, remembered for a moment.
    fn topic_id(&self, consumer: &BaseConsumer<Callbacks>, topic: &Arc<str>) -> Result<Uuid, KafkaError> {
        let now = instant();
        if let Some((id, asked)) = self.topic_ids.lock().get(topic)
            && now - *asked < TOPIC_ID_FRESH
        {
            return Ok(*id);
        }
        let ids = ffi::topic_ids(consumer.client().native_client(), &[topic], SEEK_TIMEOUT)
            .map_err(|code| KafkaError::call(format!("describe topic {topic}"), code))?;
        let id = ids.get(&**topic).copied().ok_or_else(|| KafkaError::NoTopic { topic: Arc::clone(topic) })?;
        self.topic_ids.lock().insert(Arc::clone(topic), (id, now));
        Ok(id)
    }
}
