//! The loop: takes one thing that happened, then does everything that became possible.

use std::time::{Duration, Instant};

use chassis::clock;
use chassis::health::Beat;
use chassis::shutdown::Shutdown;
use chassis::status::Teller;
use kafka::{Committed, FailedTry, KafkaError, Pace, Poller, PollerEvent, PollerEvents, Writer, WriterStats};
use tracing::{info, warn};

use crate::commit::{CommitInFlight, outcome};
use crate::error::StageError;
use crate::gate::Gate;
use crate::group::GroupWatch;
use crate::membership::{Membership, Stepped};
use crate::metrics::StageMetrics;
use crate::options::{Deps, Options};
use crate::outbox::Outbox;
use crate::status::{PASS_MARKERS_AFTER, Progress, held};
use crate::waits::{HeldBy, HeldWaits, Waits};
use crate::watchdog::{Watched, Watching};
use crate::work::{Fetching, NextTurn, Now, Turn, Waiting, Work};

/// Two turns are never further apart, so that the gate and the watchdog notice when this process stood still.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// While the gate is closed it is looked at this often.
const GATE_SLEEP: Duration = Duration::from_millis(50);
/// Between two measurements.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// A running role.
pub(crate) struct Stage<W: Work> {
    pub(crate) work: W,
    pub(crate) poller: Poller,
    pub(crate) signals: PollerEvents,
    pub(crate) writer: Writer,
    pub(crate) outbox: Outbox<W::Note>,
    pub(crate) commit: Option<CommitInFlight<W::Note>>,
    pub(crate) pace: Pace,
    pub(crate) is_paced_by_fill: bool,
    pub(crate) members: Membership<W::State>,
    pub(crate) group: GroupWatch,
    /// None where the role sends no requests.
    pub(crate) gate: Option<Gate>,
    pub(crate) is_gate_open: bool,
    /// A partition that cannot be read is held.
    pub(crate) fails_alone: bool,
    pub(crate) drain: Option<Drain>,
    pub(crate) handover_wait: Duration,
    pub(crate) grace: Duration,
    pub(crate) give_up_bytes: Option<usize>,
    pub(crate) metrics: StageMetrics,
    pub(crate) teller: Option<Teller>,
    pub(crate) progress: Progress,
    pub(crate) last_commit_ms: Option<i64>,
    pub(crate) measure_at: Instant,
    pub(crate) watched: Watched,
    /// What an open transaction has held longest, and the group, as of the last measurement.
    pub(crate) held: HeldWaits,
    /// What the writer had counted by then.
    pub(crate) counted: WriterStats,
    /// The watchdog's task, which ends with the stage, however that ends; so do the beats.
    pub(crate) _watching: Watching,
    pub(crate) _beats: [Beat; 2],
}

/// A stage that was asked to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    until: Instant,
    /// The poller was told to leave the group.
    is_leaving: bool,
    /// Everything had ended and was committed by then.
    is_complete: bool,
}

/// What the loop waits for.
enum Wake<S> {
    Committed(Result<Committed, KafkaError>),
    /// `None`: the poller has left the group.
    Signal(Option<PollerEvent>),
    MembershipStep(Stepped<S>),
    /// The role keeps what came in.
    Input,
    Stop,
    Slept,
}

/// Runs a role until `shutdown` is requested and everything resolved is committed, at most its grace period.
///
/// # Errors
/// What no waiting heals. The process should end with it; everything not committed is done again by others.
pub async fn run<W: Work>(mut options: Options, deps: Deps, work: W, shutdown: Shutdown) -> Result<(), StageError> {
    // Kept here until it can write: whoever is stopped before takes back what it has told.
    let teller = options.teller.take();
    let mut stage = tokio::select! {
        started = Stage::start(options, deps, work) => started?,
        () = shutdown.requested() => {
            info!(role = W::ROLE, "asked to stop before it could write: it owns nothing");
            if let Some(teller) = teller {
                teller.end().await;
            }
            return Ok(());
        }
    };
    stage.teller = teller;
    loop {
        let sleep = stage.turn()?;
        let wake = stage.wait(sleep, &shutdown).await;
        if matches!(wake, Wake::Signal(None)) {
            return stage.end().await;
        }
        stage.on(wake)?;
    }
}

impl<W: Work> Stage<W> {
    async fn wait(&mut self, sleep: Duration, shutdown: &Shutdown) -> Wake<W::State> {
        if sleep.is_zero() {
            // Work is due: take what is there without waiting, but let the other tasks run.
            tokio::task::yield_now().await;
        }
        let until = tokio::time::Instant::from_std(clock::instant() + sleep);
        tokio::select! {
            result = outcome(&mut self.commit) => Wake::Committed(result),
            signal = self.signals.next() => Wake::Signal(signal),
            stepped = self.members.stepped() => Wake::MembershipStep(stepped),
            () = self.work.input() => Wake::Input,
            () = shutdown.requested(), if self.drain.is_none() => Wake::Stop,
            () = tokio::time::sleep_until(until) => Wake::Slept,
        }
    }

    fn on(&mut self, wake: Wake<W::State>) -> Result<(), StageError> {
        let now = Now::read();
        match wake {
            Wake::Committed(result) => self.on_outcome(result, now),
            Wake::Signal(Some(signal)) => self.on_signal(signal, now),
            Wake::MembershipStep(stepped) => self.on_step(stepped, now),
            Wake::Stop => {
                self.begin_drain(now);
                Ok(())
            }
            Wake::Input | Wake::Slept | Wake::Signal(None) => Ok(()),
        }
    }

    /// Does all work that is due. Returns how long the loop may sleep.
    fn turn(&mut self) -> Result<Duration, StageError> {
        let now = Now::read();
        self.check_gate(now);
        let mut next = self.work_turn(now)?;
        if self.begin_commit(now) {
            // The next batch has room now.
            next = NextTurn::AtOnce;
        }
        self.finish_handovers(now);
        self.finish_drain(now);
        self.members.check_ready(now.instant, || self.poller.membership());
        let (waits, failed) = self.waits(now);
        let mut held = self.held.clone();
        held.extend(waits.held.map(|waiting| (HeldBy::FailingTransaction, waiting)));
        self.watched.note(now.boot_ms, waits.work, held);
        self.watched.note_failed(failed);
        self.measure(now);
        Ok(self.sleep(now, next))
    }

    fn work_turn(&mut self, now: Now) -> Result<NextTurn, StageError> {
        let mut turn = Turn::new(&mut self.outbox, now);
        turn.may_send = self.is_gate_open && self.drain.is_none();
        turn.is_stopping = self.drain.is_some();
        let next = self.work.turn(&mut turn).map_err(|source| StageError::Work { role: W::ROLE, source })?;
        let asked = turn.into_asked();
        for (lease, fetching) in asked.fetching {
            match fetching {
                Fetching::Paused => self.poller.pause(&lease),
                Fetching::Flowing => self.poller.resume(&lease),
            }
        }
        for lease in asked.restarts {
            self.restart(lease, now);
        }
        if let Some(topics) = asked.topics.filter(|_| self.drain.is_none()) {
            info!(role = W::ROLE, topics = topics.len(), "reading another list of topics");
            self.group.subscribed(!topics.is_empty(), now.boot_ms);
            self.poller.subscribe(topics);
        }
        Ok(next)
    }

    /// Nothing may be sent while somebody else may own what would be sent.
    fn check_gate(&mut self, now: Now) {
        let Some(gate) = &mut self.gate else { return };
        let pending = [self.outbox.oldest_boot_ms(), self.commit.as_ref().map(|commit| commit.batch.oldest_boot_ms)];
        let (was_suspect, doubts) = (gate.is_suspect(), gate.doubts());
        gate.turn(now.boot_ms, self.poller.heartbeat().age_ms(), pending.into_iter().flatten().min());
        if gate.doubts() != doubts {
            // Only a transaction that begins from now on proves that the leases are still ours.
            self.outbox.ask_for_proof();
        }
        if gate.is_suspect() && !was_suspect {
            self.work.stood_still(now);
        }
        if gate.is_suspect() && self.outbox.is_proved() {
            gate.prove();
        }
        if gate.is_open() != self.is_gate_open {
            self.is_gate_open = gate.is_open();
            if self.is_gate_open {
                info!(role = W::ROLE, "contact to Kafka is back, sending again");
            } else {
                warn!(
                    role = W::ROLE,
                    "no contact to Kafka for half a session timeout, nothing is sent until it is back"
                );
            }
        }
    }

    fn sleep(&self, now: Now, next: NextTurn) -> Duration {
        let until = |at: Instant| at.saturating_duration_since(now.instant);
        let mut sleep = match next {
            NextTurn::AtOnce => Duration::ZERO,
            NextTurn::After(time) => time.min(LONGEST_SLEEP),
            NextTurn::OnInput => LONGEST_SLEEP,
        };
        if !self.is_gate_open {
            sleep = sleep.min(GATE_SLEEP);
        }
        if self.commit.is_none() && !self.outbox.is_empty() {
            sleep = sleep.min(until(self.pace.next_start(now.instant)));
        }
        let drain = self.drain.filter(|drain| !drain.is_leaving).map(|drain| drain.until);
        let deadlines = [self.members.next_deadline(), drain];
        deadlines.into_iter().flatten().map(until).fold(sleep, Duration::min)
    }

    /// What should have moved, for the watchdog, and how the last try of a transaction failed.
    fn waits(&self, now: Now) -> (Waits, Option<FailedTry>) {
        let commit = self.commit.as_ref().and_then(|commit| {
            let part = commit.batch.parts.first()?;
            let (partition, offset) = (part.lease.partition.clone(), part.committed);
            let reason = "the outcome of its transaction";
            Some(Waiting { reason, partition, offset, since_boot_ms: commit.since_boot_ms })
        });
        let failed = self.writer.failed_try();
        (Waits::sort([commit, self.members.waiting()], self.work.waiting(now), failed.as_ref()), failed)
    }

    fn measure(&mut self, now: Now) {
        if now.instant < self.measure_at {
            return;
        }
        self.measure_at = now.instant + MEASURE_EVERY;
        let lags = self.poller.lag();
        if self.group.look(self.poller.membership().joined || self.drain.is_some(), now.boot_ms) {
            self.metrics.let_in();
        }
        let held = [(HeldBy::OpenTransaction, held(&lags)), (HeldBy::Group, self.group.held())];
        self.held = held.into_iter().filter_map(|(by, waiting)| Some((by, waiting?))).collect();
        let committing = self.commit.as_ref().map_or(0, |commit| commit.batch.records());
        let mut measured = self.progress.measure(&lags, &self.outbox, committing);
        measured.last_commit_ms = self.last_commit_ms;
        if self.fails_alone {
            measured.leases = Progress::leases(&lags, &self.outbox);
        }
        let committing_ms = self.commit.as_ref().and_then(|commit| commit.batch.oldest_timestamp_ms());
        measured.oldest_timestamp_ms = [measured.oldest_timestamp_ms, committing_ms].into_iter().flatten().min();
        let counted = std::mem::replace(&mut self.counted, self.writer.stats());
        self.metrics.count_writer(&counted, &self.counted);
        self.metrics.partitions.set(i64::try_from(measured.partitions).unwrap_or(i64::MAX));
        self.metrics.unbegun.set(i64::try_from(self.members.unbegun()).unwrap_or(i64::MAX));
        self.metrics.denied.set(i64::try_from(self.poller.denied_topics().len()).unwrap_or(i64::MAX));
        let facts = self.work.facts(&measured, now);
        if let Some(teller) = &self.teller {
            teller.tell(facts);
        }
        if self.drain.is_none() {
            self.progress.pass_markers(&lags, &mut self.outbox, now.instant, PASS_MARKERS_AFTER);
        }
    }

    fn begin_drain(&mut self, now: Now) {
        let (in_flight, grace_ms) = (self.work.in_flight_of_all(), self.grace.as_millis());
        info!(role = W::ROLE, in_flight, grace.ms = %grace_ms, "draining: no more intake, waiting for what is in flight");
        self.drain = Some(Drain { until: now.instant + self.grace, is_leaving: false, is_complete: false });
        // What retention empties before the next owner comes was read.
        self.progress.pass_markers(&self.poller.lag(), &mut self.outbox, now.instant, Duration::ZERO);
        self.poller.stop_intake();
        self.members.abort_steps();
        self.work.stopping(now);
    }

    /// Whether a drain is over, and the poller was told to leave the group.
    pub(crate) fn is_leaving(&self) -> bool {
        self.drain.is_some_and(|drain| drain.is_leaving)
    }

    /// Whether a drain had ended everything, and committed it, before the poller was told to leave the group.
    pub(crate) fn is_complete(&self) -> bool {
        self.drain.is_some_and(|drain| drain.is_complete)
    }

    /// Once nothing is in flight and everything is committed, the partitions may go.
    fn finish_drain(&mut self, now: Now) {
        let Some(drain) = self.drain.as_mut().filter(|drain| !drain.is_leaving) else { return };
        let in_flight = self.work.in_flight_of_all();
        let is_drained = in_flight == 0 && self.outbox.is_empty() && self.commit.is_none();
        if is_drained || now.instant >= drain.until {
            (drain.is_leaving, drain.is_complete) = (true, is_drained);
            if !is_drained {
                warn!(
                    role = W::ROLE,
                    in_flight, "the grace period is over before everything ended: it is done again by others"
                );
            }
            self.poller.close();
        }
    }
}
