//! What a role does with its records, and what it is told: the part of a stage that differs. Pure: time comes in as an argument.

use std::pin::Pin;
use std::time::{Duration, Instant};

use chassis::clock;
use chassis::status::Facts;
use kafka::{Claimed, Epoch, KafkaError, Lease, Output, Ownership, PositionClaim, ReadingWatch, Restored};
use schemas::record::{OutRecord, Record, TopicPartition};

use crate::error::WorkError;
use crate::outbox::{Batch, Entry, Outbox};
use crate::status::Measured;

/// One moment on the three clocks that decisions need.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Wall clock, Unix ms: what stands in records.
    pub wall_ms: i64,
    /// Milliseconds on the clock that counts suspension: how long nothing happened.
    pub boot_ms: i64,
    /// The monotonic clock: when to wake.
    pub instant: Instant,
}

/// The future that restores the states of leases, see [`Work::restore`].
pub type Restoring<S> = Pin<Box<dyn Future<Output = Result<Vec<(Lease, S)>, WorkError>> + Send>>;

/// When the role wants its next turn if nothing else happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextTurn {
    /// At once, after the other tasks of the process: the role gave way before it was done.
    AtOnce,
    /// After this long.
    After(Duration),
    /// Not before something comes in.
    OnInput,
}

/// The oldest thing that a role could not do yet, for the watchdog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What it waits for: "the end of `control`".
    pub reason: &'static str,
    /// Partition of the record that waits.
    pub partition: TopicPartition,
    /// Offset of the record that waits.
    pub offset: i64,
    /// Since when nothing of its kind has moved, on the clock that counts suspension, ms.
    pub since_boot_ms: i64,
}

/// Why an output of an entry has to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Kafka can never take the output at this index of the entry's outputs.
    Unwritable {
        /// Index among the entry's outputs.
        index: usize,
        /// What Kafka said, with the topic.
        reason: String,
    },
    /// The cluster cannot take the whole entry within one transaction's time. Of one beside the window the role leaves less, and
    /// makes the rest again: others of the same record may be written already.
    TooSlow {
        /// What was measured.
        reason: String,
    },
}

/// An entry with outputs that were refused, see [`Work::replace`].
#[derive(Debug)]
pub struct Refused<'a, N> {
    /// Lease of the record.
    pub lease: &'a Lease,
    /// Offset of the record.
    pub offset: i64,
    /// What the role remembers of it.
    pub note: &'a mut N,
    /// The outputs it was resolved with.
    pub outputs: Vec<OutRecord>,
    /// What was refused; never empty, indices ascend.
    pub refusals: &'a [Refusal],
    /// How often something of it was refused before.
    pub before: u8,
}

/// One turn of a role: what it may do now, and where its results go.
#[derive(Debug)]
pub struct Turn<'a, N> {
    /// The moment.
    pub now: Now,
    /// Requests may be sent: this process surely still owns its partitions.
    pub may_send: bool,
    /// The stage drains: nothing new may begin.
    pub is_stopping: bool,
    outbox: &'a mut Outbox<N>,
    asked: TurnAsks,
}

/// What a role asks of its stage in one turn, beside what it resolves.
#[derive(Debug, Default)]
pub(crate) struct TurnAsks {
    pub(crate) fetching: Vec<(Lease, Fetching)>,
    pub(crate) restarts: Vec<Lease>,
    pub(crate) topics: Option<Vec<String>>,
}

/// Whether a partition is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetching {
    /// Not fetched, because its first record waits long; what was prefetched is thrown away.
    Paused,
    /// Fetched.
    Flowing,
}

/// What a role does. Every method but [`Work::input`] and [`Work::restore`] decides without waiting.
pub trait Work: Send + 'static {
    /// The role's name in logs and errors: "fan-out worker".
    const ROLE: &'static str;
    /// What is restored for a lease beside its offsets, before its first record.
    type State: Send + 'static;
    /// What the role remembers of a resolved record until its transaction is known.
    type Note: Send + 'static;

    /// Where reading of a partition begins. With it, where nothing that was committed counts because it is read from another place
    /// now: what its commits say from the first one on, which is made before its first record. Both in one answer, so that both go
    /// by the same.
    ///
    /// # Errors
    /// Where reading begins is not known. Rule W8: nobody guesses, the stage ends with it. Where topics fail alone the partition is
    /// held instead, see [`Work::held`].
    fn begins(&self, found: &Restored, _now: Now) -> Result<(i64, Option<PositionClaim>), KafkaError> {
        Ok((found.start()?, None))
    }

    /// A partition is ours and does not begin for now, because it or its topic cannot be read. It is taken over again by itself.
    fn held(&mut self, _lease: &Lease, _why: &KafkaError, _now: Now) {}

    /// Restores the state of these leases, which are ours and taken over: what was found of each, and the offset it begins at.
    /// Whatever a previous owner committed was written before this is called. Runs beside the loop. Leases that are left out of
    /// the answer do not begin with the others: those that are still ours are taken over again later. Whoever takes long should
    /// look at `ownership` and leave out what is over, and tell `watch` how far it is.
    fn restore(&self, found: Vec<(Restored, i64)>, ownership: Ownership, watch: ReadingWatch)
    -> Restoring<Self::State>;

    /// A lease begins; its records follow.
    fn opened(&mut self, lease: &Lease, state: Self::State, now: Now);

    /// Records of an open lease that are not done yet, in order.
    ///
    /// # Errors
    /// A failure that ends the role.
    fn records(&mut self, lease: &Lease, records: Vec<Record>, now: Now) -> Result<(), WorkError>;

    /// Does what is possible now and puts what is resolved into the outbox.
    ///
    /// # Errors
    /// A failure that ends the role.
    fn turn(&mut self, turn: &mut Turn<'_, Self::Note>) -> Result<NextTurn, WorkError>;

    /// Waits for something the role waits for beside Kafka, keeps it for the next turn, and returns. Must be cancel safe: it
    /// is dropped and called again whenever something else happens.
    fn input(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Returns everything that is written instead of an entry's outputs, some of which can never be written.
    ///
    /// # Errors
    /// A failure that ends the role.
    fn replace(&mut self, refused: Refused<'_, Self::Note>, now: Now) -> Result<Vec<OutRecord>, WorkError>;

    /// A batch was cut: adds what it writes once per part, not per entry, and says what the metadata of each part claim about
    /// lists, in the order of the parts (nothing: none does). `outputs` belongs to the batch's transaction; an output's lease is the
    /// index of its part. A batch without entries takes no outputs: it has any number of parts and is committed in portions.
    ///
    /// The role may change what it has in memory here: exactly one of three follows. [`Work::committed`] once the batch is
    /// written; [`Work::unsealed`] once it surely is not; for a part whose lease ends, [`Work::closed`]. One batch is under way
    /// at a time. After an unknown outcome, an abort or a rebalance the writer tries the same outputs and claims again by
    /// itself, and nothing is sealed anew.
    fn seal(&mut self, _batch: &Batch<Self::Note>, _outputs: &mut Vec<Output>) -> Vec<Claimed> {
        Vec::new()
    }

    /// A sealed batch was not written, because something of it is refused, it was too slow, or the stage ends: what
    /// [`Work::seal`] changed is taken back, in the state of before. Its entries are resolved again in their order, in one batch or in
    /// several, which are sealed like any other. Parts whose lease was closed since are still among the batch's: what was known of
    /// them went with [`Work::closed`], and there is nothing to take back.
    fn unsealed(&mut self, _batch: &Batch<Self::Note>) {}

    /// A batch is committed. The entries of parts that were dropped are not among these; [`Work::closed`] follows for such a part.
    fn committed<'a>(&mut self, entries: impl Iterator<Item = &'a Entry<Self::Note>>, now: Now);

    /// Leases are about to go: what has not begun is dropped; what is in flight may still end.
    fn revoking(&mut self, leases: &[Lease]);

    /// A lease is over: whatever is left of it is dropped.
    fn closed(&mut self, lease: &Lease);

    /// The stage drains: what has not begun is left to others.
    fn stopping(&mut self, _now: Now) {}

    /// This process stood still, or lost contact to Kafka, long enough for others to own its partitions.
    fn stood_still(&mut self, _now: Now) {}

    /// How many records of these leases are being worked on and will end up in the outbox by themselves.
    fn in_flight(&self, _leases: &[Epoch]) -> usize {
        0
    }

    /// How many records of all leases are being worked on.
    fn in_flight_of_all(&self) -> usize {
        0
    }

    /// The oldest thing that could not be done yet, if something should have been.
    fn waiting(&self, now: Now) -> Option<Waiting>;

    /// Sets the role's gauges and returns what the topic `status` is told, about once a second.
    fn facts(&mut self, measured: &Measured, now: Now) -> Facts;
}

// === impl Now ===

impl Now {
    /// Reads the clocks. Only the shell does; decisions take the moment as an argument.
    #[must_use]
    pub fn read() -> Self {
        Self { wall_ms: clock::now_ms(), boot_ms: clock::boot_ms(), instant: clock::instant() }
    }
}

// === impl Turn ===

impl<'a, N> Turn<'a, N> {
    /// A turn over an outbox; also what a role's own tests call.
    #[must_use]
    pub fn new(outbox: &'a mut Outbox<N>, now: Now) -> Self {
        Self { now, may_send: true, is_stopping: false, outbox, asked: TurnAsks::default() }
    }

    /// Whether the next batch is full. A role that can leave work for later stops here.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.outbox.is_full()
    }

    /// A record is resolved: `outputs` (drained, their room stays with the caller) and its progress go into one transaction.
    /// Nothing happens if its lease is over.
    pub fn resolve(&mut self, entry: Entry<N>, outputs: &mut Vec<OutRecord>) {
        self.outbox.resolve(entry, outputs);
    }

    /// Pauses or resumes fetching of a lease, for long waits.
    pub fn fetch(&mut self, lease: Lease, fetching: Fetching) {
        self.asked.fetching.push((lease, fetching));
    }

    /// Takes a lease's partition over anew, once what was resolved of it is committed: as after a revoke that gives it back. One that
    /// is held is taken over now.
    pub fn restart(&mut self, lease: Lease) {
        self.asked.restarts.push(lease);
    }

    /// From now on the stage reads these topics: the whole list.
    pub fn subscribe(&mut self, topics: Vec<String>) {
        self.asked.topics = Some(topics);
    }

    /// What was asked for so far beside what was resolved, for a role's own tests: leases that are paused or flow, leases that are
    /// taken over anew, and the topics.
    #[must_use]
    #[expect(clippy::type_complexity, reason = "three things of a turn, for tests")]
    pub fn asked(&self) -> (&[(Lease, Fetching)], &[Lease], Option<&[String]>) {
        (&self.asked.fetching, &self.asked.restarts, self.asked.topics.as_deref())
    }

    pub(crate) fn into_asked(self) -> TurnAsks {
        self.asked
    }
}
