//! Rule W5: reading what the previous owner left, and getting a dead owner's open transaction out of the way. Blocking.
//!
//! ```text
//! stable committed offsets --ok--> topic ids, log start and end --> Restored
//!        | times out
//!        v
//! whose partitions? --> id in their unstable metadata --> a member of the group? --yes--> it ends it by itself: again
//!        |                                                     | no: dead
//!        |                                                     +--> init with that id (fences it) --> again
//!        | still, beyond any transaction's life
//!        v
//! the last offsets that are settled: Kafka has lost that transaction's markers
//! ```
//!
//! The last step is for a broken promise of Kafka's: a single broker that is stopped while a transaction ends, or killed and
//! started again before its session is over, notes it as complete and skips its markers (its partitions have no leader for a
//! moment, and it takes them for deleted). Its offsets stay pending for ever. Waiting would be for ever too; going on repeats at
//! most that one transaction, and the next one ends the pending one.

mod complete;
pub(crate) mod cuts;
mod fence;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use schemas::record::TopicPartition;
use tracing::error;
use uuid::Uuid;

use crate::clock::boot_ms;
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::ffi::{self, CommittedOffset};
use crate::lease::{Lease, Ownership};
use crate::log::{self, Named};

pub(crate) use self::complete::Found;

/// After this an open transaction is taken to be in the way.
const STABLE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long any other answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// No transaction is open longer than its timeout and the broker's rounds of looking for such (10 s by default, twice for
/// luck); what is pending beyond that has lost its markers.
pub(crate) const LOST_MARGIN: Duration = Duration::from_secs(20);
/// Pause after a failed question.
const PAUSE: Duration = Duration::from_millis(200);

/// Reads the committed state of partitions. Thread safe.
pub(crate) struct Restorer {
    connection: Connection,
    group: String,
    transactional_id: String,
    transaction_timeout: Duration,
    ownership: Ownership,
    closing: Arc<AtomicBool>,
    stable: BaseConsumer<Named>,
    unstable: BaseConsumer<Named>,
    plain: BaseConsumer<Named>,
    /// Questions that found out which offsets are held by an open transaction.
    probes: AtomicU64,
    /// The id each topic had when it was first met. Kafka deletes a group's offsets with a topic, so that of one that was
    /// created anew meanwhile only this tells.
    first_ids: Mutex<HashMap<String, Uuid>>,
    /// Topics that are missing or may not be read, as of the last takeover of a partition of theirs, and which it is.
    left_out: Mutex<BTreeMap<Arc<str>, KafkaError>>,
}

/// Since when offsets have been pending while Kafka answered.
#[derive(Debug, Default)]
pub(crate) struct Pending(Option<i64>);

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
            group: group.to_owned(),
            transactional_id: transactional_id.to_owned(),
            transaction_timeout,
            ownership,
            closing,
            stable: client(&connection.committed(group, true), "stable offsets")?,
            unstable: client(&connection.committed(group, false), "unstable offsets")?,
            plain: client(&connection.plain("hookbus-takeover"), "log ends")?,
            probes: AtomicU64::new(0),
            first_ids: Mutex::new(HashMap::new()),
            left_out: Mutex::default(),
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

    /// Everything a new owner needs. Waits as long as it takes; leases that end meanwhile are left out, and so are those of topics
    /// that do not exist or may not be read, and partitions without a leader, which says a line of the log: they must not keep the
    /// others from beginning.
    pub(crate) fn restore(&self, mut leases: Vec<Lease>) -> Result<Vec<Found>, KafkaError> {
        let mut fenced = HashSet::new();
        let mut pending = Pending::default();
        loop {
            self.keep_live(&mut leases)?;
            if leases.is_empty() {
                return Ok(Vec::new());
            }
            let all: Vec<&Lease> = leases.iter().collect();
            let (error, is_pending) = match self.stable_offsets(&all, STABLE_TIMEOUT) {
                Ok(offsets) => match self.complete(&leases, &offsets) {
                    Ok(found) => return Ok(found),
                    Err(error) => (error, false),
                },
                Err(error) => (error, true),
            };
            // Kafka names no offsets of topics that may not be described.
            if error.is_denied() && self.leave_out_denied(&mut leases)? {
                continue;
            }
            if !is_pending {
                // The offsets are settled, whatever else is wrong.
                pending.forget();
                self.pause(error)?;
                continue;
            }
            let all: Vec<&Lease> = leases.iter().collect();
            match self.clear_way(&leases, &mut fenced) {
                Ok(true) => continue,
                Ok(false) if pending.since(boot_ms()) >= self.longest_pending_ms() => {
                    self.say_lost(&all, pending.since(boot_ms()));
                    let last = committed(&self.unstable, &all, ANSWER_TIMEOUT, "unstable committed offsets");
                    match last.and_then(|offsets| self.complete(&leases, &offsets)) {
                        Ok(found) => return Ok(found),
                        Err(error) => self.pause(error)?,
                    }
                }
                Ok(false) => self.pause(error)?,
                Err(error) => {
                    // The cluster is away: that time is not spent waiting for a transaction.
                    pending.forget();
                    self.pause(error)?;
                }
            }
        }
    }

    /// Beyond this no transaction lives, milliseconds.
    pub(crate) fn longest_pending_ms(&self) -> i64 {
        longest_open_ms(self.transaction_timeout)
    }

    /// Says that Kafka has lost a transaction's markers. No invariant is counted: whether anything is repeated, and in whose eyes,
    /// is not known here.
    pub(crate) fn say_lost(&self, leases: &[&Lease], waited_ms: i64) {
        let partitions: Vec<String> = leases.iter().map(|lease| lease.partition.to_string()).collect();
        error!(
            waited_ms,
            partitions = partitions.join(", "),
            "kafka holds offsets of some of these partitions for a transaction that is over: its markers are lost; going on from the \
             last settled offsets, which repeats that transaction"
        );
    }

    /// Topics that may not be read, as of the last takeover of a partition of theirs.
    pub(crate) fn denied_topics(&self) -> BTreeSet<Arc<str>> {
        let left_out = self.left_out.lock();
        left_out.iter().filter(|(_, why)| why.is_denied()).map(|(topic, _)| Arc::clone(topic)).collect()
    }

    /// Topics that are missing or may not be read, likewise, and why their partitions are left out.
    pub(crate) fn left_out_topics(&self) -> BTreeMap<Arc<str>, KafkaError> {
        self.left_out.lock().clone()
    }

    pub(super) fn note_found(&self, topic: &str) {
        self.left_out.lock().remove(topic);
    }

    pub(super) fn note_left_out(&self, topic: &str, why: &KafkaError) {
        self.left_out.lock().insert(Arc::from(topic), why.clone());
    }

    /// How many questions it took to find out whose open transactions are in the way.
    pub(crate) fn probes(&self) -> u64 {
        self.probes.load(Ordering::Relaxed)
    }

    /// Whether Kafka answers at all.
    pub(crate) fn answers(&self, leases: &[&Lease]) -> bool {
        committed(&self.unstable, leases, ANSWER_TIMEOUT, "unstable committed offsets").is_ok()
    }

    /// The id this topic had when it was first met, which is now if it was not.
    pub(super) fn first_id(&self, topic: &str, now: Uuid) -> Uuid {
        *self.first_ids.lock().get(topic).unwrap_or(&now)
    }

    /// Notes the ids of topics that are met for the first time.
    pub(super) fn note_ids(&self, ids: &HashMap<String, Uuid>) {
        let mut first = self.first_ids.lock();
        for (topic, id) in ids.iter().filter(|(_, id)| !id.is_nil()) {
            first.entry(topic.clone()).or_insert(*id);
        }
    }

    fn keep_live(&self, leases: &mut Vec<Lease>) -> Result<(), KafkaError> {
        if self.closing.load(Ordering::Relaxed) {
            return Err(KafkaError::Closed);
        }
        leases.retain(|lease| self.ownership.is_live(lease));
        Ok(())
    }

    /// Leaves out the leases whose topics may not be described. Whether to ask again: there were such, or nobody could tell for now.
    fn leave_out_denied(&self, leases: &mut Vec<Lease>) -> Result<bool, KafkaError> {
        let ids = match self.ids_of(leases) {
            Ok(ids) => ids,
            Err(error) => return self.pause(error).map(|()| true),
        };
        let before = leases.len();
        leases.retain(|lease| ids.contains_key(&*lease.partition.topic));
        Ok(leases.len() < before)
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

// === impl Pending ===

impl Pending {
    /// For how long they have been, milliseconds; the first question starts the time.
    pub(crate) fn since(&mut self, now_ms: i64) -> i64 {
        now_ms - *self.0.get_or_insert(now_ms)
    }

    /// Kafka did not answer: that time does not count, nor what was before.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}

/// Beyond this no transaction with this timeout lives, milliseconds.
pub(crate) fn longest_open_ms(transaction_timeout: Duration) -> i64 {
    i64::try_from((transaction_timeout + LOST_MARGIN).as_millis()).unwrap_or(i64::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Epoch;

    #[test]
    fn a_cluster_that_cannot_tell_for_now_what_is_denied_ends_no_takeover() {
        // Nobody listens there.
        let connection = Connection::new("127.0.0.1:1", &BTreeMap::new()).unwrap();
        let identity = ("slot", Duration::from_secs(10));
        let restorer = Restorer::new(&connection, "group", identity, Ownership::default(), Arc::default()).unwrap();
        let partition = TopicPartition::new(Arc::from("topic"), 0);
        let mut leases = vec![Lease { partition, epoch: Epoch(1) }];
        assert!(restorer.leave_out_denied(&mut leases).unwrap(), "to be asked again");
        assert_eq!(leases.len(), 1);
    }

    #[test]
    fn only_time_in_which_kafka_answered_counts_as_pending() {
        let mut pending = Pending::default();
        assert_eq!([1_000, 1_500, 9_000].map(|now_ms| pending.since(now_ms)), [0, 500, 8_000]);
        pending.forget();
        assert_eq!([9_500, 9_700].map(|now_ms| pending.since(now_ms)), [0, 200]);
    }
}
