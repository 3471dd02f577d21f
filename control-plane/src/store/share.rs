//! Replicas that all have something to write take turns of some length, instead of fencing each other for every write.
//!
//! Acquiring costs as much as several transactions. Who is fenced soon after it had acquired knows that another writes too, and
//! lets it write for a while before it fences it in turn; meanwhile what comes here gathers for one transaction.
//!
//! The other's turn begins with its first write and not when we were fenced: until then it may still be acquiring, and whoever
//! acquires meanwhile takes its turn away before it has had it. With transactions of its own it even keeps it from acquiring at all.

use std::time::{Duration, Instant};

use chassis::clock;

use crate::store::StoreInner;

/// How long the other writes undisturbed, from its first write on.
const SHARE: Duration = Duration::from_millis(200);
/// How long its first write is waited for: acquiring takes some 60 ms, twice that where a transaction was open, and more on a busy
/// machine.
const BEGINS_WITHIN: Duration = Duration::from_millis(700);
/// Who wrote undisturbed for longer has met one single write of another, and need not wait for the next.
const CONTENDED: Duration = Duration::from_secs(2);

/// When this replica acquired last.
#[derive(Debug, Default)]
pub(super) struct WriterShare {
    acquired: Option<Instant>,
    /// Offset of the last record of `control` that was there then, or is our own: what stands behind it is another's.
    own: i64,
}

// === impl WriterShare ===

impl WriterShare {
    /// It has acquired, and the snapshot has everything up to here.
    pub(super) fn on_acquired(&mut self, now: Instant, applied: i64) {
        self.acquired = Some(now);
        self.own = applied;
    }

    /// It has written up to here.
    pub(super) fn on_written(&mut self, applied: i64) {
        self.own = applied;
    }

    /// Whether the other is left its turn, now that this one was fenced and has something to write.
    fn is_contended(&self, fenced: Instant) -> bool {
        self.acquired.is_some_and(|acquired| fenced.saturating_duration_since(acquired) < CONTENDED)
    }

    /// When this one, which leaves the other its turn, may acquire again. `begun`: when the other's first write was seen.
    fn next(fenced: Instant, begun: Option<Instant>) -> Instant {
        begun.map_or(fenced + BEGINS_WITHIN, |begun| begun + SHARE)
    }
}

// === impl StoreInner ===

impl StoreInner {
    /// Waits while another has its turn, if there is one; no longer than until the deadline.
    pub(super) async fn leave_turn(&self, share: &WriterShare, deadline: Instant) {
        let fenced = clock::instant();
        if !share.is_contended(fenced) {
            return;
        }
        let first = async {
            loop {
                let position = self.catalog.position();
                let applied = self.catalog.read().applied();
                if applied > share.own {
                    return clock::instant();
                }
                self.catalog.wait_for(position + 1).await;
            }
        };
        let latest = WriterShare::next(fenced, None).min(deadline);
        let begun = tokio::time::timeout_at(latest.into(), first).await.ok();
        tokio::time::sleep_until(WriterShare::next(fenced, begun).min(deadline).into()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(10);
    /// From a request that Kafka grants until the first transaction.
    const GRANTED: Duration = Duration::from_millis(60);

    #[test]
    fn only_who_was_fenced_soon_after_it_acquired_leaves_the_other_its_turn() {
        let (mut share, start) = (WriterShare::default(), clock::instant());
        assert!(!share.is_contended(start), "it has never written");
        share.on_acquired(start, 7);
        assert!(share.is_contended(start + Duration::from_millis(300)));
        assert!(!share.is_contended(start + CONTENDED), "the other wrote once, after a long time");
    }

    /// What a replica that always has something to write does.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Doing {
        /// It has a transaction open most of the time.
        Writing,
        /// It was fenced then.
        Waiting { fenced: Instant },
        /// It asks Kafka then, for the so manieth time.
        Asking { at: Instant, times: u32 },
        /// It was granted, and writes from then on.
        Granted { at: Instant },
    }

    #[derive(Debug)]
    struct Replica {
        share: WriterShare,
        doing: Doing,
        /// When it saw the other's first write.
        begun: Option<Instant>,
        /// Writes of each of its turns.
        turns: Vec<u32>,
    }

    /// Two replicas, for half a minute.
    fn run(pause: &dyn Fn(u32) -> Duration) -> [Replica; 2] {
        let start = clock::instant();
        let replica = |doing| Replica { share: WriterShare::default(), doing, begun: None, turns: Vec::new() };
        let mut replicas = [replica(Doing::Granted { at: start }), replica(Doing::Asking { at: start, times: 0 })];
        for number in 0..3_000 {
            for one in [0, 1] {
                step(&mut replicas, one, start + STEP * number, pause);
            }
        }
        replicas
    }

    /// Kafka, asked for the id of one with a transaction open, fences that one and says "not now": whoever asked asks again after
    /// its pause.
    fn step(replicas: &mut [Replica; 2], one: usize, now: Instant, pause: &dyn Fn(u32) -> Duration) {
        let other = 1 - one;
        match replicas[one].doing {
            Doing::Writing => {
                *replicas[one].turns.last_mut().unwrap() += 1;
                if let Doing::Waiting { .. } = replicas[other].doing {
                    replicas[other].begun.get_or_insert(now);
                }
            }
            Doing::Waiting { fenced } => {
                let Replica { share, begun, .. } = &replicas[one];
                let next = if share.is_contended(fenced) { WriterShare::next(fenced, *begun) } else { fenced };
                if now >= next {
                    replicas[one].doing = Doing::Asking { at: now, times: 0 };
                }
            }
            Doing::Asking { at, times } if now >= at => {
                replicas[one].doing = match replicas[other].doing {
                    Doing::Writing => Doing::Asking { at: now + pause(times), times: times + 1 },
                    Doing::Waiting { .. } | Doing::Asking { .. } | Doing::Granted { .. } => {
                        Doing::Granted { at: now + GRANTED }
                    }
                };
                if let Doing::Writing | Doing::Granted { .. } = replicas[other].doing {
                    (replicas[other].doing, replicas[other].begun) = (Doing::Waiting { fenced: now }, None);
                }
            }
            Doing::Granted { at } if now >= at => {
                replicas[one].doing = Doing::Writing;
                replicas[one].share.on_acquired(now, 0);
                replicas[one].turns.push(0);
            }
            Doing::Asking { .. } | Doing::Granted { .. } => {}
        }
    }

    #[test]
    fn two_that_write_all_the_time_have_turns_of_equal_length_however_long_acquiring_takes() {
        // As `Session::init` asks, as librdkafka alone does, and between them.
        let ours = |times: u32| Duration::from_millis(50) * 2_u32.pow(times.min(3));
        let pauses: [&dyn Fn(u32) -> Duration; 3] =
            [&ours, &|_| Duration::from_millis(500), &|_| Duration::from_millis(150)];
        for (number, pause) in pauses.into_iter().enumerate() {
            let [one, other] = run(pause);
            let (turns, others) = (one.turns.len(), other.turns.len());
            assert!(turns.abs_diff(others) <= 1 && turns > 15, "{number}: {turns} and {others} turns");
            for turns in [one.turns, other.turns] {
                // The first was not left to it, and the last is cut off.
                let whole = turns.get(1..turns.len() - 1).unwrap();
                assert!(whole.iter().all(|writes| (18..=22).contains(writes)), "{number}: {whole:?}");
            }
        }
    }
}
