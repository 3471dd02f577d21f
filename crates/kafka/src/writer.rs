//! The transactional writer: offsets and outputs in one transaction, whose outcome is always known in the end.
//!
//! ```text
//! role --commit()--> queue --> own thread: [ who still owns what? -> begin, offsets, records, commit ] --> Committed
//!                                 ^   |abortable: again        |unknown: new producer, init, compare nonces
//!                                 +---+------------------------+
//! ```
//!
//! The rules it keeps are W1 to W8 of docs/guarantees.md. This file has the handle, `writer/transaction.rs` what is written,
//! `writer/commit.rs` the loop, and the others beside it decide one question each.

mod aside;
mod chunks;
mod commit;
mod fencing;
mod one_try;
mod outcome;
mod sieve;
mod slow;
#[cfg(test)]
mod tests;
mod transaction;
mod tries;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use schemas::planted::{PlantedBug, is_planted};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::KafkaError;
use crate::lease::{Lease, Ownership};
use crate::metadata::{self, ListsClaim, PositionClaim, SliceCursor};
use crate::restore::Restored;
use crate::takeover::{Found, Restorer};
use commit::Committer;
use fencing::Fencings;
use sieve::GroupSize;

pub use chunks::MAX_LEASES;
pub use transaction::{Claimed, Committed, Output, Progress, Refusal, Transaction};
pub use tries::{FailedTry, Tries};

/// Transactions that may wait for the one under way. Callers wait beyond it.
const QUEUE: usize = 64;

/// How the writer behaves.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// Stable per slot, at most 40 characters of `[A-Za-z0-9._-]`.
    pub transactional_id: String,
    /// The consumer group whose offsets the transactions carry.
    pub group: String,
    /// How long a transaction may stay open.
    pub transaction_timeout: Duration,
    /// Largest record of any topic written to.
    pub message_max_bytes: usize,
    /// The topics that are read are other people's: one that is gone, or may not be read any more, is left out of a transaction.
    pub fails_alone: bool,
    /// Where its tries are noted: also while it gets ready, when there is no handle to ask.
    pub tries: Tries,
}

/// Counters of the writer since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriterStats {
    /// Transactions committed.
    pub transactions: u64,
    /// Records written in them.
    pub records: u64,
    /// Output partitions touched, summed over transactions (what a transaction costs the broker).
    pub partitions: u64,
    /// Transactions aborted.
    pub aborted: u64,
    /// Outcomes that were unknown and then settled.
    pub settled: u64,
    /// Questions that takeovers asked to find out whose open transactions are in their way.
    pub probes: u64,
    /// Duration of the last transaction.
    pub last: Duration,
}

/// Handle to the writer's thread. Cheap to clone; the thread ends with the last handle or with [`Writer::close`].
#[derive(Clone)]
pub struct Writer {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    restorer: Arc<Restorer>,
    ownership: Ownership,
}

enum Request {
    Commit(Box<Transaction>, oneshot::Sender<Result<Committed, KafkaError>>),
    Close(oneshot::Sender<()>),
}

/// What handle and thread share.
#[derive(Default)]
struct Shared {
    closing: Arc<AtomicBool>,
    counters: Counters,
    /// What the metadata of live leases say beside their progress.
    known: Mutex<HashMap<Lease, Known>>,
    tries: Tries,
}

/// What a takeover found out for the metadata of its lease.
#[derive(Clone, Copy, Default)]
struct Known {
    /// The topic's id now.
    topic_id: Uuid,
    /// The id that stood in the metadata; the one of now where none did.
    found_id: Uuid,
    /// The claim that stood there.
    found_claim: Option<ListsClaim>,
}

#[derive(Default)]
struct Counters {
    transactions: AtomicU64,
    records: AtomicU64,
    partitions: AtomicU64,
    aborted: AtomicU64,
    settled: AtomicU64,
    last_us: AtomicU64,
}

/// A writer that somebody waits for: without them it is closed.
struct Unstarted(Option<Arc<Shared>>);

// === impl Unstarted ===

impl Unstarted {
    fn started(mut self) {
        self.0 = None;
    }
}

impl Drop for Unstarted {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.closing.store(true, Ordering::Relaxed);
        }
    }
}

// === impl Known ===

impl Known {
    /// The topic's id and the claims that a commit carries.
    fn say(self, claim: Claimed) -> (Uuid, Option<ListsClaim>, Option<PositionClaim>, Option<SliceCursor>) {
        match claim {
            Claimed::Nothing => (self.topic_id, None, None, None),
            Claimed::Lists(claim) => (self.topic_id, Some(claim), None, None),
            Claimed::AsFound => (self.found_id, self.found_claim, None, None),
            Claimed::Position(position) => (self.topic_id, None, Some(position), None),
            Claimed::Slices(cursor, position) => (self.topic_id, None, position, Some(cursor)),
        }
    }
}

// === impl WriterOptions ===

impl WriterOptions {
    /// The defaults for a slot and a group.
    #[must_use]
    pub fn new(transactional_id: impl Into<String>, group: impl Into<String>) -> Self {
        Self {
            transactional_id: transactional_id.into(),
            group: group.into(),
            transaction_timeout: Duration::from_secs(10),
            message_max_bytes: 1_048_588,
            fails_alone: false,
            tries: Tries::default(),
        }
    }
}

// === impl Writer ===

impl Writer {
    /// Starts the thread and fences a predecessor of this slot (`init_transactions`), waiting for the cluster if needed. The thread
    /// ends soon if nobody waits for it any more.
    ///
    /// # Errors
    /// An unusable transactional id, properties librdkafka refuses, missing authorization.
    pub async fn start(
        connection: &Connection,
        options: WriterOptions,
        ownership: Ownership,
    ) -> Result<Self, KafkaError> {
        if !metadata::is_valid_transactional_id(&options.transactional_id) {
            return Err(KafkaError::Invalid {
                what: "transactional id",
                reason: format!("{:?} is not 1 to 40 characters of [A-Za-z0-9._-]", options.transactional_id),
            });
        }
        let shared = Arc::new(Shared { tries: options.tries.clone(), ..Shared::default() });
        let identity = (options.transactional_id.as_str(), options.transaction_timeout);
        let closing = Arc::clone(&shared.closing);
        let restorer = Arc::new(Restorer::new(connection, &options.group, identity, ownership.clone(), closing)?);
        let (requests, queue) = mpsc::channel(QUEUE);
        let (ready, started) = oneshot::channel();
        let unstarted = Unstarted(Some(Arc::clone(&shared)));
        let committer = Committer {
            connection: connection.clone(),
            options,
            ownership: ownership.clone(),
            shared: Arc::clone(&shared),
            restorer: Arc::clone(&restorer),
            session: None,
            losses: 0,
            fencings: Fencings::default(),
            group_size: GroupSize::default(),
        };
        std::thread::Builder::new()
            .name("kafka-writer".into())
            .spawn(move || run(committer, queue, ready))
            .map_err(|error| KafkaError::Client { purpose: "transactions", reason: error.to_string() })?;
        started.await.map_err(closed)??;
        unstarted.started();
        Ok(Self { requests, shared, restorer, ownership })
    }

    /// Rules W5 and W8: stable committed offsets, fencing of a dead predecessor's open transaction, topic ids, the logs'
    /// ends; then commits our id into each partition's metadata, in portions, and with it where reading begins: what
    /// retention has deleted is counted by [`Restored::lost`] once. Leases whose epoch is over are left out of the answer,
    /// the others keep the order of the question.
    ///
    /// A partition that was never committed stays so (where it starts is the caller's to say): commit its start, without
    /// outputs, before beginning it, so that a successor finds our id. One that may not be begun at all
    /// ([`Restored::start`] is an error) is left as it is.
    ///
    /// # Errors
    /// Only what waiting cannot cure.
    pub async fn take_over(&self, leases: Vec<Lease>) -> Result<Vec<Restored>, KafkaError> {
        let restorer = Arc::clone(&self.restorer);
        let found = tokio::task::spawn_blocking(move || restorer.restore(leases)).await.map_err(closed)??;
        self.remember(&found);
        let mut restored: Vec<Restored> = found.into_iter().map(|found| found.restored).collect();
        let progress: Vec<Progress> = restored.iter().filter_map(claim).collect();
        if !progress.is_empty() && !is_planted(PlantedBug::ForgottenClaim) {
            let committed = self.commit(Transaction { outputs: Vec::new(), progress }).await?;
            restored.retain(|restored| !committed.dropped.contains(&restored.lease));
        }
        Ok(restored)
    }

    /// One transaction: offsets first, outputs, commit. Resolves when its outcome is known. Aborts and unknown outcomes
    /// are settled inside and produced again, less leases that are over. Without outputs it is committed in portions of at
    /// most [`MAX_LEASES`] leases.
    ///
    /// # Errors
    /// Two hand the transaction back, and nothing of it was committed: [`KafkaError::Unwritable`] with every output that Kafka can
    /// never take (replace them and commit again), and [`KafkaError::TooSlow`] if it is too much for the time a transaction
    /// has (make it smaller). Everything else is fatal for the process.
    pub async fn commit(&self, transaction: Transaction) -> Result<Committed, KafkaError> {
        if !transaction.outputs.is_empty() || transaction.progress.len() <= 1 {
            return self.commit_whole(transaction).await;
        }
        let mut all = Committed { dropped: Vec::new(), duration: Duration::ZERO };
        for progress in chunks::portions(transaction.progress) {
            let committed = self.commit_whole(Transaction { outputs: Vec::new(), progress }).await?;
            all.dropped.extend(committed.dropped);
            all.duration += committed.duration;
        }
        Ok(all)
    }

    async fn commit_whole(&self, transaction: Transaction) -> Result<Committed, KafkaError> {
        let (answer, outcome) = oneshot::channel();
        self.requests.send(Request::Commit(Box::new(transaction), answer)).await.map_err(closed)?;
        outcome.await.map_err(closed)?
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> WriterStats {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriterStats {
            transactions: read(&counters.transactions),
            records: read(&counters.records),
            partitions: read(&counters.partitions),
            aborted: read(&counters.aborted),
            settled: read(&counters.settled),
            probes: self.restorer.probes(),
            last: Duration::from_micros(read(&counters.last_us)),
        }
    }

    /// The last try of a transaction, or of getting ready for one, that ended without it; none yet if there was none.
    #[must_use]
    pub fn failed_try(&self) -> Option<FailedTry> {
        self.shared.tries.last()
    }

    /// Topics of which takeovers have left out the partitions because they may not be read, sorted.
    #[must_use]
    pub fn denied_topics(&self) -> BTreeSet<Arc<str>> {
        self.restorer.denied_topics()
    }

    /// Topics of which takeovers have left out the partitions, and why.
    #[must_use]
    pub fn left_out_topics(&self) -> BTreeMap<Arc<str>, KafkaError> {
        self.restorer.left_out_topics()
    }

    /// Ends the thread after the transactions queued so far. Transactions that only wait for the cluster end with
    /// [`KafkaError::Closed`].
    pub async fn close(&self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        let (answer, closed) = oneshot::channel();
        if self.requests.send(Request::Close(answer)).await.is_ok() {
            // An error means that the thread is gone, which is what was asked for.
            drop(closed.await);
        }
    }

    /// What goes into the partitions' metadata from now on.
    fn remember(&self, found: &[Found]) {
        let mut all = self.shared.known.lock();
        for found in found {
            let Restored { lease, read_up_to, recreated, .. } = &found.restored;
            // Of a lease that is over, what its successor has found stays.
            if !self.ownership.is_live(lease) {
                continue;
            }
            // The epochs of a topic that was created anew begin anew.
            if let Some(leader_epoch) = found.leader_epoch.filter(|_| !recreated) {
                self.ownership.inherit_leader_epoch(lease, *read_up_to, leader_epoch);
            }
            self.ownership.note_topic_id(lease, found.topic_id);
            all.retain(|other, _| other.partition != lease.partition);
            let (topic_id, found_id) = (found.topic_id, found.committed_id.unwrap_or(found.topic_id));
            let known = Known { topic_id, found_id, found_claim: found.restored.lists };
            all.insert(lease.clone(), known);
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// The commit that puts our id where the previous owner's stands, and the offset where reading begins. Nothing is claimed
/// where nothing was committed, or where nothing may be begun. What was said about lists stays until the role has looked at them, and so
/// do which positions the offset belongs to and how far its record is written.
fn claim(restored: &Restored) -> Option<Progress> {
    restored.committed?;
    let start = restored.start().ok()?;
    let (committed, read_up_to, not_done) = restored.window(start).progress();
    let claim = match Claimed::in_order(restored.goes_on(start), restored.position.clone()) {
        Claimed::Nothing => restored.lists.map_or(Claimed::Nothing, |_| Claimed::AsFound),
        claim @ (Claimed::Lists(_) | Claimed::AsFound | Claimed::Position(_) | Claimed::Slices(..)) => claim,
    };
    Some(Progress { lease: restored.lease.clone(), committed, read_up_to, not_done, claim })
}

/// The thread.
fn run(mut committer: Committer, mut queue: mpsc::Receiver<Request>, ready: oneshot::Sender<Result<(), KafkaError>>) {
    let started = committer.open();
    let failed = started.is_err();
    if ready.send(started).is_err() || failed {
        return;
    }
    while let Some(request) = queue.blocking_recv() {
        match request {
            Request::Commit(transaction, answer) => {
                // A caller that went away does not undo what was committed.
                drop(answer.send(committer.commit(*transaction)));
            }
            Request::Close(answer) => {
                drop(committer);
                // Whoever asked may be gone.
                answer.send(()).unwrap_or_default();
                return;
            }
        }
    }
}

/// The thread or the runtime is gone.
fn closed<E>(_: E) -> KafkaError {
    KafkaError::Closed
}
