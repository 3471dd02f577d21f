//! Rule 5: reading what the previous owner left, and getting a dead owner's open transaction out of the way. Blocking.
//!
//! ```text
//! stable committed offsets --ok--> topic ids, log start and end --> Restored
//!        | times out
//!        v
//! which partitions? --> id in their unstable metadata --> init with that id (fences it) --> again
//!        | still, beyond any transaction's life
//!        v
//! the last offsets that are settled: Kafka has lost that transaction's markers
//! ```
//!
//! The last step is for a broken promise of Kafka's: a single broker that is stopped while a transaction ends, or killed and
//! started again before its session is over, notes it as complete and skips its markers (its partitions have no leader for a
//! moment, and it takes them for deleted). Its offsets stay pending for ever. Waiting would be for ever too; going on repeats at
//! most that one transaction, and the next one ends the pending one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use schemas::invariants::Invariant;
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::TopicPartition;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::clock::boot_ms;
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::ffi::{self, CommittedOffset};
use crate::lease::{Lease, Ownership};
use crate::log::{self, Named};
use crate::metadata;
use crate::restore::Restored;
use crate::session::Session;

/// After this an open transaction is taken to be in the way.
const STABLE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// The same question for one partition, to find out which ones are in the way.
const PROBE_TIMEOUT: Duration = Duration::from_millis(300);
/// How long any other answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long fencing may take; it waits until the other's markers are written.
const FENCE_TIMEOUT: Duration = Duration::from_secs(10);
/// No transaction is open longer than its timeout and the broker's rounds of looking for such (10 s by default, twice for
/// luck); what is pending beyond that has lost its markers.
pub(crate) const LOST_MARGIN: Duration = Duration::from_secs(20);
/// Pause after a failed question.
const PAUSE: Duration = Duration::from_millis(200);

/// Reads the committed state of partitions. Thread safe.
pub(crate) struct Restorer {
    connection: Connection,
    transactional_id: String,
    transaction_timeout: Duration,
    ownership: Ownership,
    closing: Arc<AtomicBool>,
    stable: BaseConsumer<Named>,
    unstable: BaseConsumer<Named>,
    plain: BaseConsumer<Named>,
}

/// What was found, with the topic's id to write into the metadata from now on.
pub(crate) struct Found {
    pub(crate) restored: Restored,
    pub(crate) topic_id: Uuid,
}

// === impl Restorer ===

impl Restorer {
    pub(crate) fn new(
        connection: &Connection,
        group: &str,
        (transactional_id, transaction_timeout): (&str, Duration),
        ownership: Ownership,
        closing: Arc<AtomicBool>,
    ) -> Result<Self, KafkaError> {
        Ok(Self {
            connection: connection.clone(),
            transactional_id: transactional_id.to_owned(),
            transaction_timeout,
            ownership,
            closing,
            stable: client(&connection.committed(group, true), "stable offsets")?,
            unstable: client(&connection.committed(group, false), "unstable offsets")?,
            plain: client(&connection.plain("hookbus-takeover"), "log ends")?,
        })
    }

    /// The stable committed offsets, once. `Err` with a timeout: a transaction is open on one of them, or the cluster is
    /// away.
    pub(crate) fn stable_offsets(
        &self,
        leases: &[&Lease],
        timeout: Duration,
    ) -> Result<Vec<CommittedOffset>, KafkaError> {
        committed(&self.stable, leases, timeout, "stable committed offsets")
    }

    /// Everything a new owner needs. Waits as long as it takes; leases that end meanwhile are left out.
    pub(crate) fn restore(&self, mut leases: Vec<Lease>) -> Result<Vec<Found>, KafkaError> {
        let mut fenced = HashSet::new();
        let mut held_since = None;
        loop {
            self.keep_live(&mut leases)?;
            if leases.is_empty() {
                return Ok(Vec::new());
            }
            let all: Vec<&Lease> = leases.iter().collect();
            match self.stable_offsets(&all, STABLE_TIMEOUT) {
                Ok(offsets) => match self.complete(&leases, &offsets) {
                    Ok(found) => return Ok(found),
                    Err(error) => self.pause(error)?,
                },
                Err(error) => match self.clear_way(&leases, &mut fenced) {
                    Ok(true) => {}
                    Ok(false) if self.is_lost(&mut held_since) => {
                        let last = committed(&self.unstable, &all, ANSWER_TIMEOUT, "unstable committed offsets");
                        match last.and_then(|offsets| self.complete(&leases, &offsets)) {
                            Ok(found) => return Ok(found),
                            Err(error) => self.pause(error)?,
                        }
                    }
                    Ok(false) => self.pause(error)?,
                    Err(error) => {
                        // The cluster is away: that time is not spent waiting for a transaction.
                        held_since = None;
                        self.pause(error)?;
                    }
                },
            }
        }
    }

    /// Whether offsets have been pending longer than any transaction lives, while Kafka answered.
    pub(crate) fn is_lost(&self, held_since: &mut Option<i64>) -> bool {
        let now = boot_ms();
        let since = *held_since.get_or_insert(now);
        let limit = i64::try_from((self.transaction_timeout + LOST_MARGIN).as_millis()).unwrap_or(i64::MAX);
        if now - since < limit {
            return false;
        }
        Invariant::NeverEarly.violated();
        error!(
            waited_ms = now - since,
            "kafka holds offsets for a transaction that is over: its markers are lost; going on from the last settled \
             offsets, which repeats that transaction"
        );
        true
    }

    /// Whether Kafka answers at all.
    pub(crate) fn answers(&self, leases: &[&Lease]) -> bool {
        committed(&self.unstable, leases, ANSWER_TIMEOUT, "unstable committed offsets").is_ok()
    }

    /// Fences the owners of open transactions that hold these partitions' offsets. False: there was nobody to fence.
    fn clear_way(&self, leases: &[Lease], fenced: &mut HashSet<String>) -> Result<bool, KafkaError> {
        let all: Vec<&Lease> = leases.iter().collect();
        // When this fails too, the cluster is away and nobody is in the way.
        let last = committed(&self.unstable, &all, ANSWER_TIMEOUT, "unstable committed offsets")?;
        let mut ids = HashSet::new();
        for lease in leases {
            if self.stable_offsets(&[lease], PROBE_TIMEOUT).is_ok() {
                continue;
            }
            let id = find(&last, &lease.partition)
                .and_then(|found| metadata::decode(found.offset?, &found.metadata))
                .map(|metadata| metadata.transactional_id)
                .filter(|id| *id != self.transactional_id && metadata::is_valid_transactional_id(id));
            match id {
                Some(id) if !fenced.contains(&id) => {
                    ids.insert(id);
                }
                Some(_) | None => {
                    info!(partition = %lease.partition, "an open transaction holds the committed offset; waiting for its end");
                }
            }
        }
        let mut any = false;
        let mut ids: Vec<String> = ids.into_iter().collect();
        ids.sort();
        for id in ids {
            self.fence(&id)?;
            any = true;
            fenced.insert(id);
        }
        Ok(any)
    }

    /// Initialises a throw-away producer with a dead owner's id, which ends its transaction at once.
    fn fence(&self, id: &str) -> Result<(), KafkaError> {
        warn!(transactional_id = id, "an open transaction of a previous owner holds our offsets; fencing it");
        let session = Session::open(&self.connection, id, self.transaction_timeout, 0)?;
        session.init(FENCE_TIMEOUT)
    }

    /// Topic ids and the logs' ends for offsets that were read.
    fn complete(&self, leases: &[Lease], offsets: &[CommittedOffset]) -> Result<Vec<Found>, KafkaError> {
        self.plain.poll(Duration::ZERO);
        let topics: HashSet<&str> = leases.iter().map(|lease| &*lease.partition.topic).collect();
        let topics: Vec<&str> = topics.into_iter().collect();
        let ids = ffi::topic_ids(self.plain.client().native_client(), &topics, ANSWER_TIMEOUT)
            .map_err(|code| KafkaError::call("describe topics", code))?;
        leases.iter().map(|lease| self.complete_one(lease, find(offsets, &lease.partition), &ids)).collect()
    }

    fn complete_one(
        &self,
        lease: &Lease,
        offset: Option<&CommittedOffset>,
        ids: &HashMap<String, Uuid>,
    ) -> Result<Found, KafkaError> {
        let TopicPartition { topic, partition } = &lease.partition;
        let topic_id = *ids.get(&**topic).ok_or_else(|| KafkaError::NoTopic { topic: Arc::clone(topic) })?;
        let (log_start, log_end) = self
            .plain
            .fetch_watermarks(topic, *partition, ANSWER_TIMEOUT)
            .map_err(|error| KafkaError::from_rdkafka(format!("log start and end of {}", lease.partition), &error))?;
        let committed = offset.and_then(|found| found.offset);
        let metadata = committed.and_then(|at| metadata::decode(at, &offset?.metadata));
        let recreated = metadata
            .as_ref()
            .is_some_and(|metadata| !metadata.topic_id.is_nil() && !topic_id.is_nil() && metadata.topic_id != topic_id);
        let recreated = recreated && !is_planted(PlantedBug::TopicIdIgnored);
        if recreated {
            warn!(partition = %lease.partition, committed, log_start, "the topic was deleted and created again: reading its beginning");
        }
        let (committed, read_up_to, not_done) = match (committed, metadata) {
            (Some(_), _) if recreated => (Some(log_start), log_start, Vec::new()),
            (Some(at), Some(metadata)) => (Some(at), metadata.read_up_to, metadata.not_done),
            (Some(at), None) => (Some(at), at, Vec::new()),
            (None, _) => (None, log_start, Vec::new()),
        };
        let lease = lease.clone();
        Ok(Found {
            restored: Restored { lease, committed, read_up_to, not_done, log_start, log_end, recreated },
            topic_id,
        })
    }

    fn keep_live(&self, leases: &mut Vec<Lease>) -> Result<(), KafkaError> {
        if self.closing.load(Ordering::Relaxed) {
            return Err(KafkaError::Closed);
        }
        leases.retain(|lease| self.ownership.is_live(lease));
        Ok(())
    }

    /// Waits a little after a failure, unless waiting cannot help.
    fn pause(&self, error: KafkaError) -> Result<(), KafkaError> {
        if error.is_denied() {
            return Err(error);
        }
        log::call_failed(&error);
        let version = self.ownership.snapshot(std::iter::empty()).version;
        self.ownership.wait_change(version, PAUSE);
        Ok(())
    }
}

fn client(config: &ClientConfig, purpose: &'static str) -> Result<BaseConsumer<Named>, KafkaError> {
    BaseConsumer::from_config_and_context(config, Named::new(purpose))
        .map_err(|error| KafkaError::Client { purpose, reason: error.to_string() })
}

fn committed(
    client: &BaseConsumer<Named>,
    leases: &[&Lease],
    timeout: Duration,
    call: &'static str,
) -> Result<Vec<CommittedOffset>, KafkaError> {
    // Serves the client's log; it has no messages.
    client.poll(Duration::ZERO);
    let mut list = TopicPartitionList::with_capacity(leases.len());
    for lease in leases {
        list.add_partition(&lease.partition.topic, lease.partition.partition)
            .set_offset(Offset::Invalid)
            .map_err(|error| KafkaError::from_rdkafka(call, &error))?;
    }
    let list = client.committed_offsets(list, timeout).map_err(|error| KafkaError::from_rdkafka(call, &error))?;
    ffi::committed(&list).map_err(|code: Code| KafkaError::call(call, code))
}

pub(crate) fn find<'a>(offsets: &'a [CommittedOffset], partition: &TopicPartition) -> Option<&'a CommittedOffset> {
    offsets.iter().find(|found| found.partition == partition.partition && *found.topic == *partition.topic)
}
