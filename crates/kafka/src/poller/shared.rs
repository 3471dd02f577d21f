//! What the threads of a poller and its handles share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use schemas::record::TopicPartition;
use tokio::sync::Notify;
use uuid::Uuid;

use super::callbacks::Callbacks;
use super::repair::{CREATED_AGAIN, Repair};
use super::state::{Limits, State};
use super::watch::Suspicion;
use super::{PollerEvent, PollerOptions};
use crate::clock::{boot_ms, instant};
use crate::error::KafkaError;
use crate::ffi;
use crate::lease::{Epoch, Lease, Ownership};

/// How long one seek may take.
pub(super) const SEEK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a topic's id may be remembered when several partitions of it begin.
const TOPIC_ID_FRESH: Duration = Duration::from_secs(2);

/// What the poll thread, the watch thread and the handles share.
pub(super) struct Shared {
    pub(super) options: PollerOptions,
    pub(super) state: Mutex<State>,
    /// Wakes the reader of the events.
    pub(super) events: Notify,
    /// Wakes the poll thread when a lease became hungry.
    pub(super) wake: Condvar,
    /// Held around every pause, resume and seek, so that librdkafka's state is what [`State`] says. Taken before `state`.
    pub(super) control: Mutex<()>,
    pub(super) consumer: Mutex<Option<Arc<BaseConsumer<Callbacks>>>>,
    pub(super) ownership: Ownership,
    pub(super) beat: Arc<AtomicI64>,
    next_epoch: AtomicU64,
    pub(super) closing: AtomicBool,
    /// The topics that are to be read, if others than now.
    pub(super) wanted: Mutex<Option<Vec<String>>>,
    /// What the poll thread is asked to do to its fetchers.
    pub(super) repairs: Mutex<Vec<Repair>>,
    /// What looked as if a topic or a log had changed: to be looked at now.
    pub(super) suspicion: Mutex<Suspicion>,
    /// Wakes the watch thread.
    pub(super) watch: Condvar,
    pub(super) topic_ids: Mutex<HashMap<Arc<str>, (Uuid, Instant)>>,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(options: PollerOptions) -> Self {
        let PollerOptions { live_records, live_bytes, budget_bytes, .. } = options;
        let ownership = options.ownership.clone();
        Self {
            options,
            state: Mutex::new(State::new(Limits { live_records, live_bytes, budget_bytes })),
            events: Notify::new(),
            wake: Condvar::new(),
            control: Mutex::new(()),
            consumer: Mutex::new(None),
            ownership,
            beat: Arc::new(AtomicI64::new(boot_ms())),
            next_epoch: AtomicU64::new(1),
            closing: AtomicBool::new(false),
            wanted: Mutex::new(None),
            repairs: Mutex::new(Vec::new()),
            suspicion: Mutex::new(Suspicion::default()),
            watch: Condvar::new(),
            topic_ids: Mutex::new(HashMap::new()),
        }
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake.notify_all();
        self.watch.notify_all();
    }

    pub(super) fn new_lease(&self, partition: TopicPartition) -> Lease {
        Lease { partition, epoch: Epoch(self.next_epoch.fetch_add(1, Ordering::Relaxed)) }
    }

    pub(super) fn beat(&self) {
        self.beat.store(boot_ms(), Ordering::Relaxed);
    }

    pub(super) fn emit(&self, event: PollerEvent) {
        self.state.lock().push(event);
        self.events.notify_one();
    }

    /// Tells the role a fatal error, once.
    pub(super) fn fail(&self, error: KafkaError) {
        if self.state.lock().fail(error) {
            self.events.notify_one();
        }
    }

    /// A topic may not be read. librdkafka goes on trying by itself; the role ends only if it has nothing else to read, and where
    /// topics fail alone, not even then. True: it ends.
    pub(super) fn deny(&self, topic: Option<Arc<str>>, error: &KafkaError) -> bool {
        if self.options.fails_alone
            && let Some(topic) = &topic
        {
            self.restart_topic(topic);
        }
        let is_last = self.state.lock().deny(topic, &self.options.topics) && !self.options.fails_alone;
        if is_last {
            self.fail(error.clone());
        } else {
            crate::log::call_failed(error);
        }
        is_last
    }

    /// One try of [`super::Poller::begin`].
    pub(super) fn try_begin(
        &self,
        consumer: &BaseConsumer<Callbacks>,
        lease: &Lease,
        offset: i64,
    ) -> Result<(), KafkaError> {
        let TopicPartition { topic, partition } = &lease.partition;
        let topic_id = self.topic_id(consumer, topic)?;
        let control = self.control.lock();
        if !self.state.lock().is_live(lease) {
            return Err(KafkaError::NotOwned { partition: lease.partition.clone() });
        }
        if self.ownership.is_of_other_topic(lease, topic_id) {
            // The offset is the former topic's, and so is all that its takeover has found: a new lease finds the new one's.
            drop(control);
            self.ask(Repair::Restart { leases: vec![lease.clone()], reason: CREATED_AGAIN });
            return Err(KafkaError::NotOwned { partition: lease.partition.clone() });
        }
        consumer
            .seek(topic, *partition, Offset::Offset(offset), SEEK_TIMEOUT)
            .map_err(|error| KafkaError::from_rdkafka(format!("seek {} to {offset}", lease.partition), &error))?;
        self.state.lock().begin(lease, offset, topic_id);
        self.reconcile(consumer, lease, control);
        Ok(())
    }

    /// Asks the poll thread for a repair.
    pub(super) fn ask(&self, repair: Repair) {
        self.repairs.lock().push(repair);
        self.wake.notify_all();
    }

    /// Makes librdkafka pause or fetch the partition as the state wants it. The caller holds `control`.
    pub(super) fn reconcile(&self, consumer: &BaseConsumer<Callbacks>, lease: &Lease, _control: MutexGuard<'_, ()>) {
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
