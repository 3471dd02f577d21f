//! Notices what stands still while Kafka answers, says what it is, and ends the process's liveness where a new process may help.
//!
//! ```text
//! turn ----Watched::note: the oldest thing that waits, ---> shared --> beat `<role> progress`: its age, /livez
//!                         what an open transaction holds      |        gauge: the age of either
//! task ----every second: is it old? does Kafka answer?------>   |  no answer: the age counts from now
//!                                                              +--> one line when it passes the limit
//! ```
//!
//! An outage of Kafka is no stall: everything waits for it, and goes on by itself. A loop that takes no turn any more is one,
//! whatever Kafka does. A transaction that never ends is the operator's to end: the next process would stand before it too, so it
//! is told and counted, and ends nobody's liveness. So is one that Kafka fails again and again, whose outputs have a partition
//! without a leader (`waits.rs`): the next process would do its work once more, and not get it written either.

use std::sync::Arc;
use std::time::Duration;

use chassis::{clock, tasks};
use kafka::{FailedTry, Offsets};
use parking_lot::Mutex;
use schemas::record::TopicPartition;
use tokio::task::JoinHandle;
use tracing::{error, info};

use crate::metrics::StageMetrics;
use crate::waits::{FAILING, OWN_ID};
use crate::work::Waiting;

/// Between two looks of the task.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long Kafka may take to answer a question about an offset and still counts as answering.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A loop that took no turn for so long does not run: it wakes at least twice a second.
const TURN_LIMIT_MS: i64 = 10_000;

/// What the loop tells and the watchdog reads. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Watched(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// When the loop turned last, on the clock that counts suspension, ms.
    turned_ms: i64,
    /// When the watchdog's task looked last, likewise.
    looked_ms: i64,
    /// What this process should do.
    work: Stall,
    /// What an open transaction keeps from being read, or Kafka from being written.
    held: Stall,
    /// Why Kafka keeps it from being written, as of the last try.
    failed: Option<FailedTry>,
}

/// The oldest thing of one kind that waits.
#[derive(Debug)]
struct Stall {
    waiting: Option<Waiting>,
    /// When Kafka failed to answer a question about it last, or this process took no turns, on the same clock.
    unanswered_ms: i64,
}

/// The task's side.
pub(crate) struct Watchdog {
    pub(crate) role: &'static str,
    pub(crate) watched: Watched,
    pub(crate) offsets: Offsets,
    /// Something that stands still for so long ends liveness.
    pub(crate) limit: Duration,
    pub(crate) metrics: StageMetrics,
}

/// The running task. It ends when this is dropped: a stage that ends by an error leaves no watchdog behind.
#[derive(Debug)]
pub(crate) struct Watching(JoinHandle<()>);

// === impl Watching ===

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Watched ===

impl Watched {
    pub(crate) fn new(boot_ms: i64) -> Self {
        let stall = || Stall { waiting: None, unanswered_ms: boot_ms };
        Self(Arc::new(Mutex::new(State {
            turned_ms: boot_ms,
            looked_ms: boot_ms,
            work: stall(),
            held: stall(),
            failed: None,
        })))
    }

    /// The loop turned; this is the oldest thing that waits, and the oldest that an open transaction holds.
    pub(crate) fn note(&self, boot_ms: i64, waiting: Option<Waiting>, held: Option<Waiting>) {
        let mut state = self.0.lock();
        if boot_ms - state.turned_ms >= TURN_LIMIT_MS && boot_ms - state.looked_ms >= TURN_LIMIT_MS {
            state.go_on(boot_ms);
        }
        state.turned_ms = boot_ms;
        (state.work.waiting, state.held.waiting) = (waiting, held);
    }

    /// The task looks.
    fn look(&self, boot_ms: i64) {
        let mut state = self.0.lock();
        if boot_ms - state.looked_ms >= TURN_LIMIT_MS {
            state.go_on(boot_ms);
        }
        state.looked_ms = boot_ms;
    }

    /// How the last try of a transaction failed.
    pub(crate) fn note_failed(&self, failed: Option<FailedTry>) {
        self.0.lock().failed = failed;
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> Option<Waiting> {
        self.0.lock().held.waiting.clone()
    }

    /// For how long something has stood still while Kafka answered that a new process might do, ms.
    pub(crate) fn stalled_ms(&self, boot_ms: i64) -> i64 {
        self.0.lock().stalled_ms(boot_ms)
    }
}

// === impl State ===

impl State {
    /// The process itself stood still, not the loop alone: what waits may have been ready for long, and nobody was there to take it.
    fn go_on(&mut self, boot_ms: i64) {
        (self.work.unanswered_ms, self.held.unanswered_ms) = (boot_ms, boot_ms);
    }

    fn stalled_ms(&self, boot_ms: i64) -> i64 {
        let unturned_ms = boot_ms - self.turned_ms;
        if unturned_ms >= TURN_LIMIT_MS { unturned_ms } else { self.work.age_ms(boot_ms) }
    }
}

// === impl Stall ===

impl Stall {
    fn age_ms(&self, boot_ms: i64) -> i64 {
        self.waiting.as_ref().map_or(0, |waiting| (boot_ms - waiting.since_boot_ms.max(self.unanswered_ms)).max(0))
    }
}

// === impl Watchdog ===

impl Watchdog {
    /// Starts its task.
    pub(crate) fn watch(self) -> Watching {
        Watching(tasks::spawn("stage watchdog", self.run()))
    }

    /// Looks until its task is aborted.
    #[expect(clippy::infinite_loop, reason = "its task is aborted when the stage ends")]
    async fn run(self) {
        let limit_ms = i64::try_from(self.limit.as_millis()).unwrap_or(i64::MAX);
        let (mut is_told, mut is_held_told) = (false, false);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.watched.look(clock::boot_ms());
            // A sixth of the limit is one transaction's time: below that, waiting is ordinary.
            self.ask(|state| &mut state.work, limit_ms / 6).await;
            self.ask(|state| &mut state.held, limit_ms / 6).await;
            let now_ms = clock::boot_ms();
            let (stalled_ms, held_ms) = (self.watched.stalled_ms(now_ms), self.watched.0.lock().held.age_ms(now_ms));
            let longest_ms = stalled_ms.max(held_ms);
            self.metrics.stalled.set(if longest_ms < 1_000 { 0 } else { longest_ms / 1_000 });
            let (is_over, is_held) = (stalled_ms >= limit_ms, held_ms >= limit_ms);
            if is_over && !is_told {
                self.tell(stalled_ms);
            }
            if is_held && !is_held_told {
                self.tell_held(held_ms);
            }
            if (is_told && !is_over) || (is_held_told && !is_held) {
                info!(role = self.role, "what stood still moves again");
            }
            (is_told, is_held_told) = (is_over, is_held);
        }
    }

    /// Begins the count anew where Kafka does not answer about what has waited for so long.
    async fn ask(&self, of: impl Fn(&mut State) -> &mut Stall, suspicious_ms: i64) {
        let waiting = of(&mut self.watched.0.lock()).waiting.clone();
        if let Some(waiting) = waiting.filter(|it| clock::boot_ms() - it.since_boot_ms >= suspicious_ms)
            && !self.answers(&waiting.partition).await
        {
            of(&mut self.watched.0.lock()).unanswered_ms = clock::boot_ms();
        }
    }

    /// Whether Kafka answers a question about this partition.
    async fn answers(&self, partition: &TopicPartition) -> bool {
        matches!(tokio::time::timeout(ANSWER_WITHIN, self.offsets.end(partition)).await, Ok(Ok(_)))
    }

    fn tell(&self, stalled_ms: i64) {
        let waiting = self.watched.0.lock().work.waiting.clone();
        match waiting {
            Some(Waiting { reason, partition, offset, .. }) => {
                let seconds = stalled_ms / 1_000;
                error!(role = self.role, %partition, offset, waits_for = reason, seconds, "nothing moves though kafka answers: this process counts as hung");
            }
            None => error!(
                role = self.role,
                seconds = stalled_ms / 1_000,
                "the loop takes no turn: this process counts as hung"
            ),
        }
    }

    fn tell_held(&self, held_ms: i64) {
        let Some(Waiting { reason, partition, offset, .. }) = self.watched.0.lock().held.waiting.clone() else {
            return;
        };
        let seconds = held_ms / 1_000;
        let failed = self.watched.0.lock().failed.clone();
        if reason == OWN_ID {
            let error = failed.map_or_else(|| "no answer yet".to_owned(), |failed| failed.error.to_string());
            error!(
                role = self.role, seconds, %error,
                "{reason} is not ours yet: nothing is read until kafka gives it (see deploy/runbooks/stalled.md)"
            );
            return;
        }
        if let Some(FailedTry { error, .. }) = failed.filter(|_| reason == FAILING) {
            error!(
                role = self.role, %partition, offset, seconds, %error,
                "{reason} does not get through: nothing is committed until kafka takes it (see deploy/runbooks/stalled.md)"
            );
            return;
        }
        error!(
            role = self.role, %partition, offset, seconds,
            "{reason} holds what follows this offset for longer than any lives: nothing behind it is read until it is ended (see \
             deploy/runbooks/open-transaction.md)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(since_boot_ms: i64) -> Option<Waiting> {
        Some(Waiting { reason: "a test", partition: TopicPartition::new("events", 3), offset: 7, since_boot_ms })
    }

    #[test]
    fn only_what_stands_still_while_kafka_answers_counts() {
        let watched = Watched::new(0);
        assert_eq!(watched.stalled_ms(5_000), 0, "nothing waits");
        watched.0.lock().turned_ms = 59_000;
        watched.note(60_000, waiting(20_000), None);
        assert_eq!(watched.stalled_ms(60_000), 40_000);
        watched.0.lock().work.unanswered_ms = 55_000;
        assert_eq!(watched.stalled_ms(60_000), 5_000, "an outage begins the count anew");
        watched.note(61_000, None, None);
        assert_eq!(watched.stalled_ms(61_000), 0, "it moved");
    }

    /// One that was frozen for five minutes called itself hung as soon as it went on.
    #[test]
    fn what_waited_while_the_process_stood_still_is_young_when_it_goes_on() {
        let watched = Watched::new(0);
        watched.note(1_000, waiting(0), waiting(0));
        watched.note(300_000, waiting(0), waiting(0));
        assert_eq!((watched.stalled_ms(300_000), watched.0.lock().held.age_ms(300_000)), (0, 0));
        assert_eq!(watched.stalled_ms(305_000), 5_000);
        // The same where the task is the first to run again.
        watched.look(600_000);
        watched.note(600_001, waiting(0), waiting(0));
        assert_eq!(watched.stalled_ms(600_001), 1);
    }

    /// A loop that was stuck for most of each turn was never hung.
    #[test]
    fn what_waits_for_a_slow_loop_grows_old() {
        let watched = Watched::new(0);
        for now_ms in (1_000..=75_000).step_by(1_000) {
            watched.look(now_ms);
            if now_ms % 15_000 == 0 {
                watched.note(now_ms, waiting(0), None);
            }
        }
        assert_eq!(watched.stalled_ms(75_000), 75_000);
    }

    #[test]
    fn a_loop_that_takes_no_turn_counts_whatever_kafka_does() {
        let watched = Watched::new(0);
        watched.note(1_000, None, None);
        watched.0.lock().work.unanswered_ms = 90_000;
        assert_eq!(watched.stalled_ms(1_000 + TURN_LIMIT_MS), TURN_LIMIT_MS);
    }

    #[test]
    fn what_an_open_transaction_holds_is_told_and_ends_no_liveness() {
        let watched = Watched::new(0);
        watched.0.lock().turned_ms = 89_000;
        watched.note(90_000, None, waiting(20_000));
        assert_eq!(watched.stalled_ms(90_000), 0, "a new process would stand before it too");
        assert_eq!(watched.0.lock().held.age_ms(90_000), 70_000);
        watched.0.lock().held.unanswered_ms = 80_000;
        assert_eq!(watched.0.lock().held.age_ms(90_000), 10_000, "an outage begins the count anew");
        watched.note(90_500, waiting(60_000), waiting(20_000));
        assert_eq!(watched.stalled_ms(90_500), 30_500, "the older one hides nothing");
    }
}
