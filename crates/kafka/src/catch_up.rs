//! Reading partitions to ends that were listed before, as a new owner does before its first record. Committed records only.
//!
//! ```text
//! Tail --record below the end--> caller          every second, and every 4,096 events --> Look: does anybody still need it?
//!      --position >= end-------> done
//!      --nothing moves---------> does Kafka answer for what is left?
//!                                  yes, for longer than any transaction lives  --> KafkaError::Held
//!                                  none of it has a leader, or others are done --> left out
//!                                  for none at all                             --> an outage: waited for
//! ```

mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use schemas::record::{Record, TopicPartition};

use self::state::{CatchUpState, CatchUpVerdict};
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
    /// Events since the last look.
    events: u32,
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
        let catch_up = Self { tail, offsets, topic, standing, left_out, watch, events };
        catch_up.note();
        Ok(catch_up)
    }

    /// The next step; `None`: every partition has reached its end or is [left out](Self::left_out). Not cancel safe.
    ///
    /// # Errors
    /// [`KafkaError::Held`]: nothing moves though Kafka answers, for longer than any transaction lives; as [`Tail::next`].
    pub async fn next(&mut self) -> Result<Option<CatchUpStep>, KafkaError> {
        while let Some(tail) = self.tail.as_mut().filter(|_| !self.standing.open.is_empty()) {
            if self.events >= LOOK_EVERY || boot_ms() - self.standing.looked_ms >= as_ms(LOOK_AFTER) {
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

    /// Partitions that have no leader, or for which Kafka did not answer while it did for the others. Known at the end.
    #[must_use]
    pub fn left_out(&self) -> &BTreeSet<i32> {
        &self.left_out
    }

    async fn look(&mut self) -> Result<(), KafkaError> {
        self.events = 0;
        let now_ms = boot_ms();
        let is_to_ask = self.standing.look(now_ms);
        self.note();
        if !is_to_ask {
            return Ok(());
        }
        let asked = self.standing.open.keys().map(|number| self.partition(*number)).collect();
        let answers = self.offsets.ends_of(asked).await;
        let answers = answers.into_iter().map(|(place, end)| (place.partition, end.map(drop))).collect();
        match self.standing.answered(&answers, now_ms, boot_ms()) {
            CatchUpVerdict::Wait | CatchUpVerdict::Outage => {}
            CatchUpVerdict::LeaveOut => self.left_out.extend(std::mem::take(&mut self.standing.open).into_keys()),
            CatchUpVerdict::Held { partition, position, end, waited_ms } => {
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

    /// Reading has failed at this time: gives the error back where everything is read again. Kafka did not answer for what is read
    /// then, whatever it answers for what is taken over, so that is no stall.
    ///
    /// # Errors
    /// The error, where reading again cures nothing.
    pub fn read_again(&self, error: KafkaError, now_ms: i64) -> Result<KafkaError, KafkaError> {
        // Somebody may delete the oldest of what is read while it is read.
        if error.is_retriable() || matches!(error, KafkaError::OffsetOutOfRange { .. }) {
            self.note(ReadingStand { at: None, moved_ms: now_ms });
            Ok(error)
        } else {
            Err(error)
        }
    }
}

fn as_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_again_has_moved_and_what_cannot_be_cured_is_handed_on() {
        let watch = ReadingWatch::default();
        let at = Some((TopicPartition::new("seen", 3), 40));
        watch.note(ReadingStand { at: at.clone(), moved_ms: 10_000 });
        let denied = watch.read_again(KafkaError::may_not_write("seen"), 90_000).unwrap_err();
        assert!(denied.is_denied());
        assert_eq!(watch.stand(), ReadingStand { at, moved_ms: 10_000 });
        let partition = TopicPartition::new("seen", 3);
        let deleted = KafkaError::OffsetOutOfRange { partition, offset: 4, log_start: 9, log_end: 12 };
        for error in [KafkaError::without_leader("list offsets of seen/3"), deleted] {
            watch.note(ReadingStand { at: None, moved_ms: 10_000 });
            watch.read_again(error, 90_000).unwrap();
            assert_eq!(watch.stand(), ReadingStand { at: None, moved_ms: 90_000 });
        }
    }
}
