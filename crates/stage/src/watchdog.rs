//! Notices what stands still while Kafka answers, says what it is, and ends the process's liveness where a new process may help.
//!
//! ```text
//! turn ----Watched::note: the oldest thing that waits, ---> shared --> beat `<role> progress`: its age, /livez
//!                         what Kafka holds, by what           |        gauge: the age of the oldest of all
//! task ----every second: is it old? does Kafka answer?------>   |  no answer: the age counts from now
//!                                                              +--> one line of each when it passes the limit
//! ```
//!
//! An outage of Kafka is no stall: everything waits for it, and goes on by itself. A loop that takes no turn any more is one,
//! whatever Kafka does. A transaction that never ends is the operator's to end: the next process would stand before it too, so it
//! is told and counted, and ends nobody's liveness. So is one that Kafka fails again and again, whose outputs have a partition
//! without a leader (`waits.rs`): the next process would do its work once more, and not get it written either. So are a transactional
//! id that Kafka does not give, and a group that does not have us: there nothing is done at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chassis::{clock, tasks};
use kafka::{FailedTry, Offsets};
use parking_lot::Mutex;
use schemas::record::TopicPartition;
use tokio::task::JoinHandle;
use tracing::{error, info};

use crate::metrics::StageMetrics;
use crate::waits::{HeldBy, HeldWaits};
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
    /// What Kafka holds, each by what it is held.
    held: BTreeMap<HeldBy, Stall>,
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
            held: HeldBy::ALL.map(|by| (by, stall())).into(),
            failed: None,
        })))
    }

    /// The loop turned; this is the oldest thing that waits, and the oldest of what Kafka holds.
    pub(crate) fn note(&self, boot_ms: i64, waiting: Option<Waiting>, mut held: HeldWaits) {
        let mut state = self.0.lock();
        if boot_ms - state.turned_ms >= TURN_LIMIT_MS && boot_ms - state.looked_ms >= TURN_LIMIT_MS {
            state.go_on(boot_ms);
        }
        state.turned_ms = boot_ms;
        state.work.waiting = waiting;
        for (by, stall) in &mut state.held {
            stall.waiting = held.remove(by);
        }
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
    pub(crate) fn held(&self, by: HeldBy) -> Option<Waiting> {
        self.0.lock().held[&by].waiting.clone()
    }

    #[cfg(test)]
    pub(crate) fn failed(&self) -> Option<FailedTry> {
        self.0.lock().failed.clone()
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
        for stall in self.held.values_mut().chain([&mut self.work]) {
            stall.unanswered_ms = boot_ms;
        }
    }

    fn stalled_ms(&self, boot_ms: i64) -> i64 {
        let unturned_ms = boot_ms - self.turned_ms;
        if unturned_ms >= TURN_LIMIT_MS { unturned_ms } else { self.work.age_ms(boot_ms) }
    }

    /// For how long each thing has been held.
    fn held_ms(&self, boot_ms: i64) -> impl Iterator<Item = (HeldBy, i64)> {
        self.held.iter().map(move |(by, stall)| (*by, stall.age_ms(boot_ms)))
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
        let (mut is_told, mut told_held) = (false, BTreeSet::new());
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.watched.look(clock::boot_ms());
            // A sixth of the limit is one transaction's time: below that, waiting is ordinary.
            self.ask(|state| Some(&mut state.work), limit_ms / 6).await;
            for by in HeldBy::ALL {
                self.ask(|state| state.held.get_mut(&by), limit_ms / 6).await;
            }
            let now_ms = clock::boot_ms();
            let stalled_ms = self.watched.stalled_ms(now_ms);
            let held_ms: Vec<(HeldBy, i64)> = self.watched.0.lock().held_ms(now_ms).collect();
            let longest_ms = held_ms.iter().fold(stalled_ms, |longest, (_, held_ms)| longest.max(*held_ms));
            self.metrics.stalled.set(if longest_ms < 1_000 { 0 } else { longest_ms / 1_000 });
            let is_over = stalled_ms >= limit_ms;
            if is_over && !is_told {
                self.tell(stalled_ms);
            }
            let held: BTreeMap<HeldBy, i64> = held_ms.into_iter().filter(|(_, held_ms)| *held_ms >= limit_ms).collect();
            for (by, held_ms) in held.iter().filter(|(by, _)| !told_held.contains(*by)) {
                self.tell_held(*by, *held_ms);
            }
            if (is_told && !is_over) || told_held.iter().any(|by| !held.contains_key(by)) {
                info!(role = self.role, "what stood still moves again");
            }
            (is_told, told_held) = (is_over, held.into_keys().collect());
        }
    }

    /// Begins the count anew where Kafka does not answer about what has waited for so long.
    async fn ask(&self, of: impl Fn(&mut State) -> Option<&mut Stall>, suspicious_ms: i64) {
        let waiting = of(&mut self.watched.0.lock()).and_then(|stall| stall.waiting.clone());
        if let Some(waiting) = waiting.filter(|it| clock::boot_ms() - it.since_boot_ms >= suspicious_ms)
            && !self.answers(&waiting.partition).await
        {
            let mut state = self.watched.0.lock();
            if let Some(stall) = of(&mut state) {
                stall.unanswered_ms = clock::boot_ms();
            }
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

    fn tell_held(&self, by: HeldBy, held_ms: i64) {
        let (waiting, failed) = {
            let state = self.watched.0.lock();
            (state.held.get(&by).and_then(|stall| stall.waiting.clone()), state.failed.clone())
        };
        let Some(Waiting { reason, partition, offset, .. }) = waiting else { return };
        let (role, seconds) = (self.role, held_ms / 1_000);
        let error = failed.map_or_else(|| "no answer yet".to_owned(), |failed| failed.error.to_string());
        match by {
            HeldBy::OpenTransaction => error!(
                role, %partition, offset, seconds,
                "{reason} holds what follows this offset for longer than any lives: nothing behind it is read until it is ended (see \
                 deploy/runbooks/open-transaction.md)"
            ),
            HeldBy::FailingTransaction => error!(
                role, %partition, offset, seconds, %error,
                "{reason} does not get through: nothing is committed until kafka takes it (see deploy/runbooks/stalled.md)"
            ),
            HeldBy::OwnId => error!(
                role, seconds, %error,
                "{reason} is not ours yet: nothing is read until kafka gives it (see deploy/runbooks/stalled.md)"
            ),
            HeldBy::Group => error!(
                role,
                seconds,
                "{reason} is not ours: nothing is read until the group's coordinator lets us in (see deploy/runbooks/stalled.md)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(since_boot_ms: i64) -> Option<Waiting> {
        Some(Waiting { reason: "a test", partition: TopicPartition::new("events", 3), offset: 7, since_boot_ms })
    }

    const OPEN: HeldBy = HeldBy::OpenTransaction;

    fn open_since(since_boot_ms: i64) -> HeldWaits {
        HeldWaits::from([(OPEN, waiting(since_boot_ms).unwrap())])
    }

    fn held_ms(watched: &Watched, by: HeldBy, boot_ms: i64) -> i64 {
        watched.0.lock().held[&by].age_ms(boot_ms)
    }

    #[test]
    fn only_what_stands_still_while_kafka_answers_counts() {
        let watched = Watched::new(0);
        assert_eq!(watched.stalled_ms(5_000), 0, "nothing waits");
        watched.0.lock().turned_ms = 59_000;
        watched.note(60_000, waiting(20_000), HeldWaits::new());
        assert_eq!(watched.stalled_ms(60_000), 40_000);
        watched.0.lock().work.unanswered_ms = 55_000;
        assert_eq!(watched.stalled_ms(60_000), 5_000, "an outage begins the count anew");
        watched.note(61_000, None, HeldWaits::new());
        assert_eq!(watched.stalled_ms(61_000), 0, "it moved");
    }

    /// One that was frozen for five minutes called itself hung as soon as it went on.
    #[test]
    fn what_waited_while_the_process_stood_still_is_young_when_it_goes_on() {
        let watched = Watched::new(0);
        watched.note(1_000, waiting(0), open_since(0));
        watched.note(300_000, waiting(0), open_since(0));
        assert_eq!((watched.stalled_ms(300_000), held_ms(&watched, OPEN, 300_000)), (0, 0));
        assert_eq!(watched.stalled_ms(305_000), 5_000);
        // The same where the task is the first to run again.
        watched.look(600_000);
        watched.note(600_001, waiting(0), open_since(0));
        assert_eq!(watched.stalled_ms(600_001), 1);
    }

    /// A loop that was stuck for most of each turn was never hung.
    #[test]
    fn what_waits_for_a_slow_loop_grows_old() {
        let watched = Watched::new(0);
        for now_ms in (1_000..=75_000).step_by(1_000) {
            watched.look(now_ms);
            if now_ms % 15_000 == 0 {
                watched.note(now_ms, waiting(0), HeldWaits::new());
            }
        }
        assert_eq!(watched.stalled_ms(75_000), 75_000);
    }

    #[test]
    fn a_loop_that_takes_no_turn_counts_whatever_kafka_does() {
        let watched = Watched::new(0);
        watched.note(1_000, None, HeldWaits::new());
        watched.0.lock().work.unanswered_ms = 90_000;
        assert_eq!(watched.stalled_ms(1_000 + TURN_LIMIT_MS), TURN_LIMIT_MS);
    }

    #[test]
    fn what_an_open_transaction_holds_is_told_and_ends_no_liveness() {
        let watched = Watched::new(0);
        watched.0.lock().turned_ms = 89_000;
        watched.note(90_000, None, open_since(20_000));
        assert_eq!(watched.stalled_ms(90_000), 0, "a new process would stand before it too");
        assert_eq!(held_ms(&watched, OPEN, 90_000), 70_000);
        watched.0.lock().held.get_mut(&OPEN).unwrap().unanswered_ms = 80_000;
        assert_eq!(held_ms(&watched, OPEN, 90_000), 10_000, "an outage begins the count anew");
        watched.note(90_500, waiting(60_000), open_since(20_000));
        assert_eq!(watched.stalled_ms(90_500), 30_500, "the older one hides nothing");
    }

    /// One that had been open for an hour hid that nothing could be written any more.
    #[test]
    fn what_is_held_by_one_thing_hides_no_other() {
        let watched = Watched::new(0);
        watched.0.lock().turned_ms = 89_000;
        let failing = (HeldBy::FailingTransaction, waiting(30_000).unwrap());
        watched.note(90_000, None, open_since(20_000).into_iter().chain([failing]).collect());
        assert_eq!(
            (held_ms(&watched, OPEN, 90_000), held_ms(&watched, HeldBy::FailingTransaction, 90_000)),
            (70_000, 60_000)
        );
        watched.note(90_500, None, open_since(20_000));
        assert_eq!(
            (held_ms(&watched, OPEN, 90_500), held_ms(&watched, HeldBy::FailingTransaction, 90_500)),
            (70_500, 0)
        );
    }
}
