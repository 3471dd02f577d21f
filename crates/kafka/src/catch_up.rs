//! Reading partitions to ends that were listed before, as a new owner does before its first record. Committed records only.
//!
//! ```text
//! Tail --record below the end--> caller          every second, and every 4,096 events --> Look: does anybody still need it?
//!      --position >= end-------> done
//!      --nothing moves---------> does Kafka answer for what is left?
//!                                  yes, for longer than any transaction lives --> KafkaError::Held
//!                                  for none of it, and others are done        --> left out: a partition without a leader
//!                                  for none at all                            --> an outage: waited for
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use schemas::record::{Record, TopicPartition};

use crate::clock::boot_ms;
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::offsets::Offsets;
use crate::tail::{From, Tail, TailEvent, TailOptions};
use crate::takeover::longest_open_ms;

/// Catch-up: an empty fetch comes back at once, so that the position passes transaction markers.
const FETCH_WAIT_MS: u32 = 20;
/// How often, in events, the caller is asked to look whether anybody still needs what is read.
const LOOK_EVERY: u32 = 4_096;
/// The same in time, which counts where nothing comes.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// Where nothing moves for so long, Kafka is asked for the ends.
const ASK_AFTER_MS: i64 = 5_000;

/// Reads partitions to their ends.
#[derive(Debug)]
pub struct CatchUp {
    /// None: there is nothing to read.
    tail: Option<Tail>,
    offsets: Offsets,
    topic: Arc<str>,
    standing: CatchUpState,
    left_out: BTreeSet<i32>,
    watch: ReadingWatch,
    /// Events since the last look, and when that was.
    events: u32,
    looked_ms: i64,
    /// When Kafka was asked for the ends last.
    asked_ms: i64,
}

/// What is to be read, and within which limits.
#[derive(Clone, Debug)]
pub struct CatchUpOptions {
    /// Topic.
    pub topic: Arc<str>,
    /// Partitions: where reading begins, and the end it must reach.
    pub ranges: BTreeMap<i32, (i64, i64)>,
    /// Of those who write the topic.
    pub transaction_timeout: Duration,
}

/// What comes next.
#[derive(Debug)]
pub enum CatchUpStep {
    /// A record below the end of its partition.
    Record {
        /// Its partition.
        partition: i32,
        /// The record.
        record: Record,
    },
    /// Time to look whether anybody still needs what is read.
    Look,
}

/// How far reading is, for whoever watches that it moves. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct ReadingWatch(Arc<Mutex<ReadingStand>>);

/// What a [`ReadingWatch`] tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadingStand {
    /// A partition that is not read to its end, and the offset it is at.
    pub at: Option<(TopicPartition, i64)>,
    /// When anything was read last, on the clock that counts suspension, ms; 0: nothing was yet.
    pub moved_ms: i64,
}

/// How far the partitions are that have not reached their ends. Pure.
#[derive(Debug)]
struct CatchUpState {
    /// Position and end of each.
    open: BTreeMap<i32, (i64, i64)>,
    /// How many others have reached theirs.
    done: usize,
    /// When one of them moved last.
    moved_ms: i64,
    /// Beyond this no transaction lives.
    longest_open_ms: i64,
}

/// What follows from Kafka's answer about partitions that stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CatchUpVerdict {
    /// It may still move.
    Wait,
    /// Kafka does not answer: an outage, whose time does not count.
    Outage,
    /// Kafka answers for others, not for these.
    LeaveOut,
    /// This one is held by a transaction that never ends.
    Held { partition: i32, position: i64, end: i64 },
}

// === impl CatchUp ===

impl CatchUp {
    /// Starts reading; the thread waits for the cluster if needed.
    ///
    /// # Errors
    /// Properties librdkafka refuses.
    pub fn start(
        connection: &Connection,
        offsets: Offsets,
        options: CatchUpOptions,
        watch: ReadingWatch,
    ) -> Result<Self, KafkaError> {
        let CatchUpOptions { topic, ranges, transaction_timeout } = options;
        let now_ms = boot_ms();
        let standing = CatchUpState::new(ranges, longest_open_ms(transaction_timeout), now_ms);
        let options = TailOptions {
            topic: topic.to_string(),
            partitions: Some(standing.open.keys().copied().collect()),
            from: From::Offsets(standing.open.iter().map(|(at, (position, _))| (*at, *position)).collect()),
            committed: true,
            eof: true,
            fetch_wait_ms: FETCH_WAIT_MS,
        };
        let tail = if standing.open.is_empty() { None } else { Some(Tail::start(connection, options)?) };
        let (events, left_out) = (0, BTreeSet::new());
        let catch_up =
            Self { tail, offsets, topic, standing, left_out, watch, events, looked_ms: now_ms, asked_ms: now_ms };
        catch_up.note();
        Ok(catch_up)
    }

    /// The next step; `None`: every partition has reached its end or is [left out](Self::left_out). Not cancel safe.
    ///
    /// # Errors
    /// [`KafkaError::Held`]: nothing moves though Kafka answers, for longer than any transaction lives; as [`Tail::next`].
    pub async fn next(&mut self) -> Result<Option<CatchUpStep>, KafkaError> {
        while let Some(tail) = self.tail.as_mut().filter(|_| !self.standing.open.is_empty()) {
            if self.events >= LOOK_EVERY || boot_ms() - self.looked_ms >= as_ms(LOOK_AFTER) {
                self.look().await?;
                return Ok(Some(CatchUpStep::Look));
            }
            let Ok(event) = tokio::time::timeout(LOOK_AFTER, tail.next()).await else { continue };
            self.events += 1;
            match event? {
                TailEvent::Record { partition, record } => {
                    let is_wanted = self.standing.wants(partition, record.offset);
                    self.standing.reached(partition, record.offset + 1, boot_ms());
                    if is_wanted {
                        return Ok(Some(CatchUpStep::Record { partition, record }));
                    }
                }
                TailEvent::Eof { partition, position } => self.standing.reached(partition, position, boot_ms()),
            }
        }
        self.note();
        Ok(None)
    }

    /// Partitions for which Kafka did not answer while it did for the others: they have no leader. Known at the end.
    #[must_use]
    pub fn left_out(&self) -> &BTreeSet<i32> {
        &self.left_out
    }

    async fn look(&mut self) -> Result<(), KafkaError> {
        let now_ms = boot_ms();
        if now_ms - self.looked_ms >= ASK_AFTER_MS {
            // Nobody looked for so long: this process stood still, and what came meanwhile is yet to be taken.
            self.standing.moved_ms = now_ms;
        }
        (self.events, self.looked_ms) = (0, now_ms);
        self.note();
        if now_ms - self.standing.moved_ms.max(self.asked_ms) < ASK_AFTER_MS {
            return Ok(());
        }
        let asked = self.standing.open.keys().map(|number| self.partition(*number)).collect();
        let answers = self.offsets.ends_of(asked).await;
        let answered = |number: i32| answers.get(&self.partition(number)).is_some_and(Result::is_ok);
        // As of the question: who is suspended meanwhile has waited for nothing.
        let verdict = self.standing.judge(answered, now_ms);
        let now_ms = boot_ms();
        (self.asked_ms, self.looked_ms) = (now_ms, now_ms);
        match verdict {
            CatchUpVerdict::Wait => {}
            CatchUpVerdict::Outage => self.standing.moved_ms = now_ms,
            CatchUpVerdict::LeaveOut => self.left_out.extend(std::mem::take(&mut self.standing.open).into_keys()),
            CatchUpVerdict::Held { partition, position, end } => {
                let waited_ms = now_ms - self.standing.moved_ms;
                return Err(KafkaError::Held { partition: self.partition(partition), position, end, waited_ms });
            }
        }
        self.note();
        Ok(())
    }

    fn note(&self) {
        let first = self.standing.open.first_key_value();
        let at = first.map(|(number, (position, _))| (self.partition(*number), *position));
        let moved_ms = if at.is_some() { self.standing.moved_ms } else { boot_ms() };
        self.watch.note(ReadingStand { at, moved_ms });
    }

    fn partition(&self, number: i32) -> TopicPartition {
        TopicPartition::new(Arc::clone(&self.topic), number)
    }
}

// === impl ReadingWatch ===

impl ReadingWatch {
    /// How far reading is now.
    #[must_use]
    pub fn stand(&self) -> ReadingStand {
        self.0.lock().clone()
    }

    /// Notes how far it is.
    pub fn note(&self, stand: ReadingStand) {
        *self.0.lock() = stand;
    }
}

// === impl CatchUpState ===

impl CatchUpState {
    fn new(ranges: BTreeMap<i32, (i64, i64)>, longest_open_ms: i64, now_ms: i64) -> Self {
        let all = ranges.len();
        let open: BTreeMap<i32, (i64, i64)> = ranges.into_iter().filter(|(_, (from, end))| from < end).collect();
        Self { done: all - open.len(), open, moved_ms: now_ms, longest_open_ms }
    }

    fn wants(&self, partition: i32, offset: i64) -> bool {
        self.open.get(&partition).is_some_and(|(_, end)| offset < *end)
    }

    /// Notes a position. What is read of partitions that have reached their ends says nothing about the others.
    fn reached(&mut self, partition: i32, to: i64, now_ms: i64) {
        let Some((position, end)) = self.open.get_mut(&partition).filter(|(position, _)| to > *position) else {
            return;
        };
        (*position, self.moved_ms) = (to, now_ms);
        if to >= *end {
            self.open.remove(&partition);
            self.done += 1;
        }
    }

    /// `answered`: whether Kafka told the end of a partition just now.
    fn judge(&self, answered: impl Fn(i32) -> bool, now_ms: i64) -> CatchUpVerdict {
        let Some((&partition, &(position, end))) = self.open.iter().find(|(partition, _)| answered(**partition)) else {
            // Whoever needs none of these must not wait for them; where all wait there is nobody to hold up.
            return if self.done > 0 { CatchUpVerdict::LeaveOut } else { CatchUpVerdict::Outage };
        };
        // One that waits for its turn behind others is not held: none of them has moved.
        if now_ms - self.moved_ms < self.longest_open_ms {
            return CatchUpVerdict::Wait;
        }
        CatchUpVerdict::Held { partition, position, end }
    }
}

fn as_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> CatchUpState {
        CatchUpState::new(BTreeMap::from([(0, (4, 9)), (1, (0, 3)), (2, (7, 7))]), 30_000, 1_000)
    }

    #[test]
    fn a_position_at_or_behind_the_end_is_the_end() {
        let mut standing = standing();
        assert_eq!((standing.open.len(), standing.done), (2, 1), "what is empty is read");
        assert!(standing.wants(0, 8) && !standing.wants(0, 9) && !standing.wants(2, 0));
        standing.reached(0, 6, 2_000);
        standing.reached(0, 6, 3_000);
        assert_eq!((standing.open[&0], standing.moved_ms), ((6, 9), 2_000), "one that stands keeps its time");
        standing.reached(0, 12, 4_000);
        standing.reached(1, 3, 5_000);
        standing.reached(1, 8, 6_000);
        assert_eq!((standing.open.len(), standing.done, standing.moved_ms), (0, 3, 5_000));
    }

    #[test]
    fn what_never_ends_is_named_and_what_may_still_move_is_waited_for() {
        let mut standing = standing();
        assert_eq!(standing.judge(|_| true, 30_999), CatchUpVerdict::Wait);
        let held = CatchUpVerdict::Held { partition: 1, position: 0, end: 3 };
        assert_eq!(standing.judge(|partition| partition == 1, 31_000), held, "the one that Kafka answers for");
        standing.reached(0, 5, 20_000);
        assert_eq!(standing.judge(|_| true, 49_999), CatchUpVerdict::Wait, "partition 1 may wait for its turn");
        assert!(matches!(standing.judge(|_| true, 50_000), CatchUpVerdict::Held { partition: 0, .. }));
    }

    #[test]
    fn partitions_without_a_leader_hold_up_no_others_and_an_outage_is_waited_for() {
        let mut standing = standing();
        assert_eq!(standing.judge(|_| false, 90_000), CatchUpVerdict::LeaveOut, "partition 2 is read");
        standing.done = 0;
        assert_eq!(standing.judge(|_| false, 90_000), CatchUpVerdict::Outage);
    }
}
