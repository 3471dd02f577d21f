//! The loop of one commit, on the writer's thread: rules W2, W3 and W4.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode as Code;
use tracing::{info, warn};

use super::aside::Aside;
use super::fencing::Fencings;
use super::one_try::Try;
use super::sieve::{GroupSize, Sieve};
use super::{Committed, Refusal, Shared, Transaction, WriterOptions, slow};
use crate::clock::{boot_ms, instant};
use crate::connection::Connection;
use crate::error::{ErrorCode, KafkaError};
use crate::lease::Ownership;
use crate::log;
use crate::metadata;
use crate::session::{Aborted, AckPace, Content, Failure, Session, Touched};
use crate::takeover::Restorer;

/// One `init_transactions` call; the loop around it never gives up.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);
/// First and longest pause between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// After how many transaction timeouts a transaction that fails again and again is tried with a new producer: who watches leaves a
/// process alone whose tries end, so it does by itself what could help if it were started again.
const RENEW_TIMEOUTS: u32 = 6;

/// The writer's thread state.
pub(super) struct Committer {
    pub(super) connection: Connection,
    pub(super) options: WriterOptions,
    pub(super) ownership: Ownership,
    pub(super) shared: Arc<Shared>,
    pub(super) restorer: Arc<Restorer>,
    pub(super) session: Option<Session>,
    /// How often the membership had been lost when the session was opened.
    pub(super) losses: u64,
    pub(super) fencings: Fencings,
    pub(super) group_size: GroupSize,
}

/// What to do after a try.
pub(super) enum Next {
    Done,
    /// After a pause.
    Again,
    /// At once: the try has told which records to look at closer.
    Sift,
    /// After a pause, in groups small enough to show whether anything moves.
    SmallGroups,
    TooSlow {
        written_bytes: usize,
        reason: String,
    },
}

pub(super) struct Backoff(Duration);

// === impl Committer ===

impl Committer {
    /// Makes sure that there is an initialised session, waiting for the cluster as long as it takes.
    pub(super) fn open(&mut self) -> Result<(), KafkaError> {
        let mut backoff = Backoff::new();
        self.renew_after_loss();
        while self.session.is_none() {
            self.check_closing()?;
            let session = Session::open(
                &self.connection,
                &self.options.transactional_id,
                self.options.transaction_timeout,
                self.options.message_max_bytes,
            )?;
            match session.init(INIT_TIMEOUT) {
                Ok(()) => {
                    self.fencings.initialised(boot_ms());
                    let session = if self.options.fails_alone { session.hurried() } else { session };
                    self.session = Some(session);
                }
                // After a timeout or a failure in a transaction call the producer is replaced, not reused.
                Err(error) => {
                    drop(session);
                    refuse_denied(&error)?;
                    log::call_failed(&error);
                    self.shared.tries.failed(boot_ms(), &error);
                    self.wait(backoff.next());
                }
            }
        }
        Ok(())
    }

    /// A membership is lost when the group's coordinator is gone, and librdkafka remembers it as such for as long as nobody asked it
    /// meanwhile. Offsets that are sent to one that the cluster does not name any more wait without a timeout, for a connection that
    /// nobody makes. A new session asks who it is.
    fn renew_after_loss(&mut self) {
        let losses = self.ownership.losses();
        if losses != self.losses && self.session.take().is_some() {
            info!("the membership of the group was lost; writing goes on with a new producer");
        }
        self.losses = losses;
    }

    pub(super) fn commit(&mut self, transaction: Transaction) -> Result<Committed, KafkaError> {
        let started = instant();
        let mut renew_at = started + self.options.transaction_timeout * RENEW_TIMEOUTS;
        let mut backoff = Backoff::new();
        let mut sieve = Sieve::new(transaction.outputs.len(), self.group_size.now());
        let mut aside = Aside::default();
        loop {
            self.open()?;
            let mut snapshot = self.ownership.snapshot(transaction.progress.iter().map(|progress| &progress.lease));
            aside.leave_out(&transaction, &mut snapshot.live);
            let one_try = Try::new(&transaction, &snapshot.live);
            if one_try.progress.is_empty() {
                return Ok(finished(&transaction, &snapshot.live, started));
            }
            let Some(group) = snapshot.group else {
                // Between two generations: the next assignment brings the metadata, or takes the leases.
                self.ownership.wait_change(snapshot.version, BACKOFF.1);
                self.check_closing()?;
                continue;
            };
            let offsets = one_try.offsets(&self.shared, &self.ownership, &self.options.transactional_id)?;
            let (groups, of_records) = one_try.groups(sieve.groups());
            let content = Content {
                offsets: Some((&offsets, &group)),
                records: &one_try.records,
                random: one_try.nonce.as_u64_pair().0,
                groups: &of_records,
            };
            let session = self.session.as_mut().expect("open() returned Ok, so there is a session");
            let outcome = if sieve.is_probe() {
                session.probe(&content).map(|()| None)
            } else {
                session.transact(&content).map(Some)
            };
            let next = match outcome {
                Ok(None) => {
                    sieve.all_passed();
                    Next::Sift
                }
                Ok(Some(touched)) => {
                    self.count_commit(&one_try, &touched, started);
                    Next::Done
                }
                Err(failure) => self.after_failure(failure, &one_try, &groups, &mut sieve, &mut aside)?,
            };
            if sieve.is_hopeless() {
                self.group_size.refused(sieve.size());
                return Err(unwritable(transaction, sieve));
            }
            match next {
                Next::Done => {
                    self.group_size.committed(sieve.size());
                    return Ok(finished(&transaction, &snapshot.live, started));
                }
                Next::TooSlow { written_bytes, reason } => {
                    return Err(KafkaError::TooSlow { transaction: Box::new(transaction), written_bytes, reason });
                }
                Next::Sift => self.check_closing()?,
                Next::Again | Next::SmallGroups => {
                    if matches!(next, Next::SmallGroups) {
                        let records: Vec<_> = transaction.outputs.iter().map(|output| &output.record).collect();
                        sieve.regroup(slow::small_groups(&records, sieve.size()));
                    }
                    // What is queued is still committed while closing, but nothing is tried for ever.
                    self.check_closing()?;
                    self.renew_if_due(&mut renew_at);
                    self.ownership.wait_change(snapshot.version, backoff.next());
                }
            }
        }
    }

    /// Once at `renew_at`, and every so often from then on.
    fn renew_if_due(&mut self, renew_at: &mut Instant) {
        if instant() >= *renew_at {
            info!("a transaction has failed for long; it goes on with a new producer, as a new process would");
            self.session = None;
            *renew_at = instant() + self.options.transaction_timeout * RENEW_TIMEOUTS;
        }
    }

    /// The try did not commit, or nobody knows.
    fn after_failure(
        &mut self,
        failure: Failure,
        one_try: &Try<'_>,
        groups: &[std::ops::Range<usize>],
        sieve: &mut Sieve,
        aside: &mut Aside,
    ) -> Result<Next, KafkaError> {
        if self.lay_aside(&failure, one_try, aside) {
            return self.without_those(failure, one_try, aside);
        }
        match failure {
            Failure::Aborted(aborted) => self.after_abort(one_try.of_outputs(aborted), groups, sieve),
            Failure::Unknown { ref error, .. } => {
                if !self.options.fails_alone {
                    refuse_denied(error)?;
                }
                self.after_unknown(failure, one_try, aside)
            }
        }
    }

    /// The try was aborted, surely.
    fn after_abort(
        &mut self,
        aborted: Aborted,
        groups: &[std::ops::Range<usize>],
        sieve: &mut Sieve,
    ) -> Result<Next, KafkaError> {
        self.count_abort();
        refuse_denied(&aborted.error)?;
        refuse_short_metadata(&aborted.error)?;
        if !aborted.refused.is_empty() {
            let (error, records) = (&aborted.error, aborted.refused.len());
            info!(%error, records, "kafka refused records of a transaction; finding out which it never takes");
            sieve.refused(groups, &aborted);
            return Ok(Next::Sift);
        }
        self.note_aborted(&aborted.error);
        if !aborted.timed_out {
            return Ok(Next::Again);
        }
        if sieve.is_probe() && sieve.out_of_time(groups, aborted.passed) {
            return Ok(Next::Again);
        }
        let pace = self.session.as_ref().map(Session::ack_pace).unwrap_or_default();
        Ok(self.out_of_time(&pace))
    }

    /// Nobody knows how the try ended: a new session ends it, and its nonce tells.
    pub(super) fn after_unknown(
        &mut self,
        failure: Failure,
        one_try: &Try<'_>,
        aside: &mut Aside,
    ) -> Result<Next, KafkaError> {
        let Failure::Unknown { error, fenced, committing, timed_out } = failure else { return Ok(Next::Again) };
        let pace = self.session.as_ref().map(Session::ack_pace).unwrap_or_default();
        let records = one_try.records.len();
        warn!(%error, fenced, committing, records, "the outcome of a transaction is unknown; finding it out");
        self.session = None;
        // The broker ends what is open for longer than its timeout, which looks as if a second process had fenced us.
        let expired = fenced && instant() - one_try.began >= self.options.transaction_timeout;
        if fenced && !expired {
            self.fencings.fenced(boot_ms(), &self.options.transactional_id)?;
        }
        self.open()?;
        let committed = self.resolve_outcome(one_try, aside)?;
        add(&self.shared.counters.settled, 1);
        info!(committed, "the outcome of the transaction is known");
        if committed {
            self.fencings.committed();
            self.shared.tries.committed();
            return Ok(Next::Done);
        }
        self.shared.tries.failed(boot_ms(), &error);
        if records > 0 && (timed_out || expired) {
            return Ok(self.out_of_time(&pace));
        }
        Ok(Next::Again)
    }

    /// The try was not done in time: too much for the cluster, or an outage.
    fn out_of_time(&self, pace: &AckPace) -> Next {
        match slow::reason(pace, self.options.transaction_timeout) {
            Some(reason) => Next::TooSlow { written_bytes: pace.acknowledged_bytes, reason },
            None => Next::SmallGroups,
        }
    }

    /// An abort that is tried again.
    pub(super) fn note_aborted(&mut self, error: &KafkaError) {
        self.shared.tries.failed(boot_ms(), error);
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

    pub(super) fn count_abort(&self) {
        add(&self.shared.counters.aborted, 1);
    }

    fn count_commit(&mut self, one_try: &Try<'_>, touched: &Touched, started: Instant) {
        self.fencings.committed();
        self.shared.tries.committed();
        let counters = &self.shared.counters;
        add(&counters.partitions, touched.partitions.len());
        add(&counters.transactions, 1);
        add(&counters.records, one_try.records.len());
        let micros = u64::try_from((instant() - started).as_micros()).unwrap_or(u64::MAX);
        counters.last_us.store(micros, Ordering::Relaxed);
    }

    pub(super) fn check_closing(&self) -> Result<(), KafkaError> {
        if self.shared.closing.load(Ordering::Relaxed) { Err(KafkaError::Closed) } else { Ok(()) }
    }

    fn wait(&self, time: Duration) {
        let version = self.ownership.snapshot(std::iter::empty()).version;
        self.ownership.wait_change(version, time);
    }
}

// === impl Backoff ===

impl Backoff {
    pub(super) fn new() -> Self {
        Self(BACKOFF.0)
    }

    pub(super) fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(BACKOFF.1);
        now
    }
}

fn finished(transaction: &Transaction, live: &[bool], started: Instant) -> Committed {
    let dropped = transaction.progress.iter().zip(live).filter(|(_, live)| !**live);
    Committed { dropped: dropped.map(|(progress, _)| progress.lease.clone()).collect(), duration: instant() - started }
}

fn unwritable(transaction: Transaction, sieve: Sieve) -> KafkaError {
    let refusal = |(index, code): (usize, ErrorCode)| {
        let topic = Arc::clone(&transaction.outputs[index].record.topic);
        Refusal { index, topic, code, reason: code.0.to_string() }
    };
    let refused = sieve.into_refused().into_iter().map(refusal).collect();
    KafkaError::Unwritable { refused, transaction: Box::new(transaction) }
}

/// Waiting does not cure a missing authorization.
pub(super) fn refuse_denied(error: &KafkaError) -> Result<(), KafkaError> {
    if error.is_denied() { Err(error.clone()) } else { Ok(()) }
}

/// Nor does it make the brokers take longer metadata.
pub(super) fn refuse_short_metadata(error: &KafkaError) -> Result<(), KafkaError> {
    if !matches!(error, KafkaError::Call { code: ErrorCode(Code::OffsetMetadataTooLarge), .. }) {
        return Ok(());
    }
    Err(KafkaError::Invalid {
        what: "broker setting offset.metadata.max.bytes",
        reason: format!(
            "the brokers refuse commit metadata of at most {} characters; set it to {} at least, its default",
            metadata::MAX_LENGTH,
            metadata::MAX_LENGTH
        ),
    })
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}
