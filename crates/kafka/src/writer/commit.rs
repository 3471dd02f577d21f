//! The loop of one commit, on the writer's thread: rules 2, 3 and 4.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::{Offset, TopicPartitionList};
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::OutRecord;
use tracing::{info, warn};
use uuid::Uuid;

use super::{Committed, Progress, Shared, Transaction, WriterOptions};
use crate::clock::{boot_ms, instant};
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::lease::{Lease, Ownership};
use crate::log;
use crate::metadata::{self, CommitMetadata};
use crate::session::{Content, Failure, Session, Touched};
use crate::takeover::{Restorer, find};

/// One `init_transactions` call; the loop around it never gives up.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);
/// One question for the stable offsets after an unknown outcome; the loop around it never gives up.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);
/// This many fencings ...
const MAX_FENCINGS: usize = 3;
/// ... within this time mean a second process in our slot.
const FENCING_WINDOW: Duration = Duration::from_secs(60);
/// First and longest pause between two attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// The writer's thread state.
pub(super) struct Committer {
    connection: Connection,
    options: WriterOptions,
    ownership: Ownership,
    shared: Arc<Shared>,
    restorer: Arc<Restorer>,
    session: Option<Session>,
    /// When we were fenced, on the clock that counts suspension.
    fencings: VecDeque<i64>,
}

/// What one attempt of a commit carries.
struct Attempt<'a> {
    nonce: Uuid,
    began: Instant,
    progress: Vec<&'a Progress>,
    records: Vec<&'a OutRecord>,
    /// Index in the transaction of each record.
    indices: Vec<usize>,
}

/// What to do after an attempt.
enum Next {
    Done,
    Again { one_by_one: bool },
    Unwritable { index: usize, error: KafkaError },
}

struct Backoff(Duration);

// === impl Committer ===

impl Committer {
    pub(super) fn new(
        connection: Connection,
        options: WriterOptions,
        ownership: Ownership,
        shared: Arc<Shared>,
        restorer: Arc<Restorer>,
    ) -> Self {
        Self { connection, options, ownership, shared, restorer, session: None, fencings: VecDeque::new() }
    }

    /// Makes sure that there is an initialised session, waiting for the cluster as long as it takes.
    pub(super) fn open(&mut self) -> Result<(), KafkaError> {
        let mut backoff = Backoff::new();
        while self.session.is_none() {
            self.check_closing()?;
            let session = Session::open(
                &self.connection,
                &self.options.transactional_id,
                self.options.transaction_timeout,
                self.options.message_max_bytes,
            )?;
            match session.init(INIT_TIMEOUT) {
                Ok(()) => self.session = Some(session),
                // After a timeout or a failure in a transaction call the producer is replaced, not reused.
                Err(error) => {
                    drop(session);
                    refuse_denied(&error)?;
                    log::call_failed(&error);
                    self.wait(backoff.next());
                }
            }
        }
        Ok(())
    }

    pub(super) fn commit(&mut self, transaction: Transaction) -> Result<Committed, KafkaError> {
        let started = instant();
        let mut backoff = Backoff::new();
        let mut one_by_one = false;
        loop {
            self.open()?;
            let snapshot = self.ownership.snapshot(transaction.progress.iter().map(|progress| &progress.lease));
            let attempt = Attempt::new(&transaction, &snapshot.live);
            if attempt.progress.is_empty() {
                return Ok(finished(&transaction, &snapshot.live, started));
            }
            let Some(group) = snapshot.group else {
                // Between two generations: the next assignment brings the metadata, or takes the leases.
                self.ownership.wait_change(snapshot.version, BACKOFF.1);
                self.check_closing()?;
                continue;
            };
            let offsets = self.offsets(&attempt)?;
            let content = Content {
                offsets: Some((&offsets, &group)),
                records: &attempt.records,
                random: attempt.nonce.as_u64_pair().0,
                one_by_one,
            };
            let session = self.session.as_mut().expect("open() returned Ok, so there is a session");
            let outcome = session.transact(&content);
            match self.decide(outcome, &attempt, &transaction)? {
                Next::Done => {
                    self.count_commit(&attempt, started);
                    return Ok(finished(&transaction, &snapshot.live, started));
                }
                Next::Again { one_by_one: careful } => {
                    one_by_one |= careful;
                    // What is queued is still committed while closing, but nothing is tried for ever.
                    self.check_closing()?;
                    self.ownership.wait_change(snapshot.version, backoff.next());
                }
                Next::Unwritable { index, error } => return Err(unwritable(transaction, index, error)),
            }
        }
    }

    /// Rule 4 and the abortable rest.
    fn decide(
        &mut self,
        outcome: Result<Touched, Failure>,
        attempt: &Attempt<'_>,
        transaction: &Transaction,
    ) -> Result<Next, KafkaError> {
        let counters = &self.shared.counters;
        match outcome {
            Ok(touched) => {
                add(&counters.partitions, touched.partitions);
                Ok(Next::Done)
            }
            Err(Failure::Aborted { error, unwritable, ambiguous }) => {
                add(&counters.aborted, 1);
                refuse_denied(&error)?;
                if let Some(index) = unwritable {
                    return Ok(Next::Unwritable { index: attempt.indices[index], error });
                }
                self.note_aborted(&error);
                Ok(Next::Again { one_by_one: ambiguous })
            }
            Err(Failure::Unknown { error, fenced, committing }) => {
                warn!(%error, fenced, committing, records = transaction.outputs.len(), "the outcome of a transaction is unknown; settling it");
                refuse_denied(&error)?;
                self.session = None;
                if fenced {
                    self.note_fencing(attempt.began)?;
                }
                self.open()?;
                let committed = self.settle(attempt)?;
                add(&self.shared.counters.settled, 1);
                info!(committed, "the outcome of the transaction is known");
                Ok(if committed { Next::Done } else { Next::Again { one_by_one: false } })
            }
        }
    }

    /// Whether the attempt had committed: its nonce stands in the committed offsets. The new session's `init` has settled
    /// the transaction before. A partition that went to somebody else meanwhile may carry their metadata, so one nonce of
    /// ours on any partition is enough.
    fn settle(&self, attempt: &Attempt<'_>) -> Result<bool, KafkaError> {
        if is_planted(PlantedBug::NoNonceComparison) {
            return Ok(false);
        }
        let leases: Vec<&Lease> = attempt.progress.iter().map(|progress| &progress.lease).collect();
        let mut backoff = Backoff::new();
        let mut held_since = None;
        loop {
            self.check_closing()?;
            match self.restorer.stable_offsets(&leases, SETTLE_TIMEOUT) {
                Ok(offsets) => {
                    return Ok(leases.iter().any(|lease| {
                        find(&offsets, &lease.partition)
                            .and_then(|found| metadata::decode(found.offset?, &found.metadata))
                            .is_some_and(|metadata| metadata.nonce == attempt.nonce)
                    }));
                }
                Err(error) => {
                    refuse_denied(&error)?;
                    log::call_failed(&error);
                    if !self.restorer.answers(&leases) {
                        held_since = None;
                    } else if self.restorer.is_lost(&mut held_since) {
                        // Ours, and Kafka lost its markers: what is written now ends it.
                        return Ok(false);
                    }
                    // Somebody else's open transaction on a partition that moved on must not hold the others for ever.
                    let live = self.ownership.snapshot(leases.iter().copied());
                    if !live.live.contains(&true) {
                        return Ok(false);
                    }
                    self.ownership.wait_change(live.version, backoff.next());
                }
            }
        }
    }

    /// The offsets with their metadata.
    fn offsets(&self, attempt: &Attempt<'_>) -> Result<TopicPartitionList, KafkaError> {
        let ids = self.shared.topic_ids.lock();
        let mut list = TopicPartitionList::with_capacity(attempt.progress.len());
        for progress in &attempt.progress {
            let partition = &progress.lease.partition;
            let (text, cut) = metadata::encode(
                progress.committed,
                &CommitMetadata {
                    nonce: attempt.nonce,
                    transactional_id: self.options.transactional_id.clone(),
                    topic_id: ids.get(&progress.lease).copied().unwrap_or(Uuid::nil()),
                    read_up_to: progress.read_up_to,
                    not_done: progress.not_done.clone(),
                },
            );
            if cut {
                warn!(%partition, not_done = progress.not_done.len(), "the commit metadata has no room for everything that is done");
            }
            let mut element = list.add_partition(&partition.topic, partition.partition);
            element.set_offset(Offset::Offset(progress.committed)).map_err(|error| KafkaError::Invalid {
                what: "offset to commit",
                reason: format!("{} of {partition}: {error}", progress.committed),
            })?;
            // Once per element: a second call would leak.
            element.set_metadata(&text);
        }
        Ok(list)
    }

    /// An abort that is tried again.
    fn note_aborted(&mut self, error: &KafkaError) {
        if let KafkaError::Call { code, .. } = error
            && code.is_old_generation()
        {
            info!(%error, "the group is rebalancing; trying the transaction again");
            return;
        }
        log::call_failed(error);
        if let Some(session) = &mut self.session {
            session.forget_partitions();
        }
    }

    /// A transaction that began at `began` was fenced. One that was open for longer than its timeout was ended by the
    /// broker, which looks the same and says nothing about a second process.
    fn note_fencing(&mut self, began: Instant) -> Result<(), KafkaError> {
        if instant() - began >= self.options.transaction_timeout {
            return Ok(());
        }
        let now = boot_ms();
        let window = i64::try_from(FENCING_WINDOW.as_millis()).unwrap_or(i64::MAX);
        self.fencings.retain(|at| now - *at < window);
        self.fencings.push_back(now);
        if self.fencings.len() < MAX_FENCINGS {
            return Ok(());
        }
        Err(KafkaError::SecondProcess {
            transactional_id: self.options.transactional_id.clone(),
            times: self.fencings.len(),
            within_s: FENCING_WINDOW.as_secs(),
        })
    }

    fn count_commit(&self, attempt: &Attempt<'_>, started: Instant) {
        let counters = &self.shared.counters;
        add(&counters.transactions, 1);
        add(&counters.records, attempt.records.len());
        let micros = u64::try_from((instant() - started).as_micros()).unwrap_or(u64::MAX);
        counters.last_us.store(micros, Ordering::Relaxed);
    }

    fn check_closing(&self) -> Result<(), KafkaError> {
        if self.shared.closing.load(Ordering::Relaxed) { Err(KafkaError::Closed) } else { Ok(()) }
    }

    fn wait(&self, time: Duration) {
        let version = self.ownership.snapshot(std::iter::empty()).version;
        self.ownership.wait_change(version, time);
    }
}

// === impl Attempt ===

impl<'a> Attempt<'a> {
    fn new(transaction: &'a Transaction, live: &[bool]) -> Self {
        let is_any_live = live.contains(&true);
        let with_old_offsets = is_any_live && is_planted(PlantedBug::OffsetsOfOldLease);
        let with_old_outputs = with_old_offsets || (is_any_live && is_planted(PlantedBug::OutputsOfOldLease));
        let progress = transaction.progress.iter().zip(live).filter(|(_, live)| **live || with_old_offsets);
        let progress = progress.map(|(progress, _)| progress);
        let outputs = transaction.outputs.iter().enumerate();
        let (indices, records) = outputs
            .filter(|(_, output)| with_old_outputs || live.get(output.lease).copied().unwrap_or(false))
            .map(|(index, output)| (index, &output.record))
            .unzip();
        Self { nonce: Uuid::new_v4(), began: instant(), progress: progress.collect(), records, indices }
    }
}

// === impl Backoff ===

impl Backoff {
    fn new() -> Self {
        Self(BACKOFF.0)
    }

    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(BACKOFF.1);
        now
    }
}

fn finished(transaction: &Transaction, live: &[bool], started: Instant) -> Committed {
    let dropped = transaction.progress.iter().zip(live).filter(|(_, live)| !**live);
    Committed { dropped: dropped.map(|(progress, _)| progress.lease.clone()).collect(), duration: instant() - started }
}

fn unwritable(transaction: Transaction, index: usize, error: KafkaError) -> KafkaError {
    let topic = Arc::clone(&transaction.outputs[index].record.topic);
    let KafkaError::Call { code, reason, .. } = error else { return error };
    KafkaError::Unwritable { index, topic, code, reason, transaction: Box::new(transaction) }
}

/// Waiting does not cure a missing authorization.
fn refuse_denied(error: &KafkaError) -> Result<(), KafkaError> {
    if error.is_denied() { Err(error.clone()) } else { Ok(()) }
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}
