//! How far the log is: behind the topic, and from when on it is whole.

use std::collections::BTreeMap;
use std::ops::Range;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// How long a partition may not be read to where it ended, ms: transactions take their time.
const HELD_MS: i64 = 10_000;

/// What was told by another replica is as new as it says for so long, ms.
const FRESH_MS: i64 = 5_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LogProgress(Mutex<KnownProgress>);

#[derive(Debug, Default)]
struct KnownProgress {
    /// None before the first reader has begun: then nothing is known.
    partitions: BTreeMap<i32, ReachedTo>,
    whole_from_ms: Option<i64>,
    /// The edition of the store that this is said of.
    edition: i64,
    /// Days that are read or looked through before all are there.
    days_left: usize,
    /// Partitions of which Kafka says nothing, and when it said something last, Unix ms.
    silent: BTreeMap<i32, i64>,
    /// When Kafka said something of a partition last.
    heard: BTreeMap<i32, i64>,
    /// Where a partition ended when Kafka said so, and since when, Unix ms, it is not read so far.
    owed: BTreeMap<i32, (i64, i64)>,
    /// Since when it is, of those of which that takes too long: a transaction is open there, or the reader stands still.
    held: BTreeMap<i32, i64>,
    /// Offsets that were deleted before they had been read.
    lost: u64,
    /// Below these offsets they are counted.
    lost_to: BTreeMap<i32, i64>,
    /// Everything below these offsets that is of the newest part is in the log.
    stored: BTreeMap<i32, i64>,
}

/// Where the reader of a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReachedTo {
    /// Everything that was written is in the log.
    End,
    /// The record that was taken last has this Kafka timestamp, Unix ms.
    Time(i64),
}

/// How far the replica is that fills a shared store, as it tells the others.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ToldProgress {
    /// The replica.
    pub(super) replica: String,
    /// When it told so, Unix ms.
    told_ms: i64,
    /// The Kafka timestamp of what was taken last; null: everything that was written is there.
    partitions: BTreeMap<i32, Option<i64>>,
    whole_from_ms: Option<i64>,
    /// Of which edition of the store it is so far.
    edition: i64,
    days_left: usize,
    lost: u64,
    stored: BTreeMap<i32, i64>,
}

// === impl LogProgress ===

impl LogProgress {
    /// A reader of an edition of the store begins: nothing is reached since this time, Unix ms, and days before it have yet to be
    /// looked at.
    pub(super) fn begin(&self, partitions: impl Iterator<Item = i32>, since_ms: i64, edition: i64) {
        let mut known = self.0.lock();
        let before = known.reached();
        // A reader that begins anew is where the one before it was.
        known.partitions = partitions
            .map(|partition| {
                let was = match before.get(&partition) {
                    Some(ReachedTo::Time(ms)) => *ms,
                    Some(ReachedTo::End) | None => since_ms,
                };
                (partition, ReachedTo::Time(was))
            })
            .collect();
        known.whole_from_ms = Some(since_ms);
        known.edition = edition;
        known.stored.clear();
        // Whoever begins has asked for all of them.
        known.silent.clear();
        known.owed.clear();
        known.held.clear();
    }

    /// Kafka said at this time, Unix ms, where a partition ends, and its reader is at `position`. Returns whether it is found to be
    /// held there just now: what stands behind is not read for a while, whatever the reader says of an end.
    pub(super) fn heard(&self, partition: i32, (end, position): (i64, i64), at_ms: i64) -> bool {
        let mut known = self.0.lock();
        known.heard.insert(partition, at_ms);
        if position >= end {
            known.silent.remove(&partition);
        }
        let (owed_to, since_ms) = known.owed.get(&partition).copied().unwrap_or((i64::MIN, at_ms));
        if position >= owed_to {
            known.held.remove(&partition);
            if position < end {
                known.owed.insert(partition, (end, at_ms));
            } else {
                known.owed.remove(&partition);
            }
            return false;
        }
        at_ms.saturating_sub(since_ms) >= HELD_MS && known.held.insert(partition, since_ms).is_none()
    }

    /// Kafka did not say where a partition ends. What is written to it since it last did may be missing, until something of it is
    /// read again. `since_ms`: when it was asked for the first time.
    pub(super) fn silent(&self, partition: i32, since_ms: i64) {
        let mut known = self.0.lock();
        let since_ms = known.heard.get(&partition).copied().unwrap_or(since_ms);
        known.silent.entry(partition).or_insert(since_ms);
    }

    /// Something was read of a partition: what its reader says of itself is true again.
    pub(super) fn came(&self, partition: i32) {
        self.0.lock().silent.remove(&partition);
    }

    /// Whether something is to be read before a partition's reader can be believed.
    pub(super) fn is_silent(&self) -> bool {
        !self.0.lock().silent.is_empty()
    }

    /// Everything below this offset is in the log, of the days that are read last apart.
    pub(super) fn stored(&self, partition: i32, below: i64) {
        self.0.lock().stored.insert(partition, below);
    }

    /// The edition of the store that all of this is said of.
    pub(super) fn edition(&self) -> i64 {
        self.0.lock().edition
    }

    /// Whether everything below these offsets is in the log, of all days. Of a partition that ends at 0 there is nothing to read.
    pub(super) fn has(&self, ends: &BTreeMap<i32, i64>) -> bool {
        let known = self.0.lock();
        let is_stored =
            |(partition, end): (&i32, &i64)| *end == 0 || known.stored.get(partition).is_some_and(|below| below >= end);
        known.whole_from_ms.is_none() && ends.iter().all(is_stored)
    }

    /// The reader failed at this time, Unix ms: what is written from then on is not in the log.
    pub(super) fn failed(&self, now_ms: i64) {
        for reached in self.0.lock().partitions.values_mut() {
            if *reached == ReachedTo::End {
                *reached = ReachedTo::Time(now_ms);
            }
        }
    }

    pub(super) fn reached(&self, partition: i32, reached: ReachedTo) {
        self.0.lock().partitions.insert(partition, reached);
    }

    /// Days are whole from this time on, Unix ms; `None`: all of them.
    pub(super) fn whole_from(&self, ms: Option<i64>) {
        let mut known = self.0.lock();
        known.whole_from_ms = ms;
        if ms.is_none() {
            known.days_left = 0;
        }
    }

    /// So many days are read or looked through before all are there.
    pub(super) fn leaves(&self, days: usize) {
        self.0.lock().days_left = days;
    }

    /// The same.
    pub(super) fn days_left(&self) -> usize {
        self.0.lock().days_left
    }

    /// How old the oldest record is that may be missing, ms; `None`: no reader has begun, and nobody knows.
    pub(super) fn behind_ms(&self, now_ms: i64) -> Option<i64> {
        let reached = self.0.lock().reached();
        let behind = reached.into_values().map(|reached| match reached {
            ReachedTo::End => 0,
            ReachedTo::Time(ms) => now_ms.saturating_sub(ms).max(0),
        });
        behind.max()
    }

    /// These offsets of a partition were deleted before they had been read. Returns how many of them are new: each reader that begins
    /// finds the same gap.
    pub(super) fn lost(&self, partition: i32, gap: Range<i64>) -> u64 {
        let mut known = self.0.lock();
        let counted = known.lost_to.get(&partition).copied().unwrap_or(i64::MIN);
        let lost = u64::try_from(gap.end - gap.start.max(counted)).unwrap_or(0);
        known.lost_to.insert(partition, gap.end.max(counted));
        known.lost += lost;
        lost
    }

    /// The topic is another one, whose offsets begin anew.
    pub(super) fn other_topic(&self) {
        self.0.lock().lost_to.clear();
    }

    /// All that were.
    pub(super) fn all_lost(&self) -> u64 {
        self.0.lock().lost
    }

    /// What others are told of it; `None`: no reader has begun.
    pub(super) fn tell(&self, replica: &str, now_ms: i64) -> Option<ToldProgress> {
        let known = self.0.lock();
        let reached = known.reached().into_iter().map(|(partition, reached)| match reached {
            ReachedTo::End => (partition, None),
            ReachedTo::Time(ms) => (partition, Some(ms)),
        });
        let partitions: BTreeMap<_, _> = reached.collect();
        (!partitions.is_empty()).then(|| ToldProgress {
            replica: replica.to_owned(),
            told_ms: now_ms,
            partitions,
            whole_from_ms: known.whole_from_ms,
            edition: known.edition,
            days_left: known.days_left,
            lost: known.lost,
            stored: known.stored.clone(),
        })
    }

    /// What another replica says of the store that both answer from. What it has not said anew for a while is as old as it was said.
    pub(super) fn follow(&self, told: &ToldProgress, now_ms: i64) {
        let is_fresh = now_ms.saturating_sub(told.told_ms) <= FRESH_MS;
        let reached = told.partitions.iter().map(|(partition, ms)| match ms {
            Some(ms) => (*partition, ReachedTo::Time(*ms)),
            None if is_fresh => (*partition, ReachedTo::End),
            None => (*partition, ReachedTo::Time(told.told_ms)),
        });
        let mut known = self.0.lock();
        let lost_to = std::mem::take(&mut known.lost_to);
        *known = KnownProgress {
            partitions: reached.collect(),
            whole_from_ms: told.whole_from_ms,
            edition: told.edition,
            days_left: told.days_left,
            lost: told.lost,
            stored: told.stored.clone(),
            lost_to,
            ..KnownProgress::default()
        };
    }

    /// Where the reader of each partition is.
    pub(super) fn partitions(&self) -> BTreeMap<i32, ReachedTo> {
        self.0.lock().reached()
    }

    pub(super) fn whole_from_ms(&self) -> Option<i64> {
        self.0.lock().whole_from_ms
    }
}

// === impl KnownProgress ===

impl KnownProgress {
    /// Where the readers are, as far as they can be believed.
    fn reached(&self) -> BTreeMap<i32, ReachedTo> {
        let reached = |(partition, reached): (&i32, &ReachedTo)| {
            // Where a reader says a time, that is when the oldest record was written that may be missing.
            let reached = match (*reached, self.held.get(partition)) {
                (ReachedTo::End, Some(since)) => ReachedTo::Time(*since),
                (reached, _) => reached,
            };
            let reached = match (reached, self.silent.get(partition)) {
                (reached, None) => reached,
                (ReachedTo::End, Some(since)) => ReachedTo::Time(*since),
                (ReachedTo::Time(ms), Some(since)) => ReachedTo::Time(ms.min(*since)),
            };
            (*partition, reached)
        };
        self.partitions.iter().map(reached).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_kafka_says_nothing_a_log_is_as_far_behind_as_it_last_did() {
        let progress = LogProgress::default();
        progress.begin(0..2, 1_000, 0);
        progress.reached(0, ReachedTo::End);
        progress.reached(1, ReachedTo::End);
        progress.heard(0, (9, 9), 2_000);
        progress.silent(0, 5_000);
        progress.silent(1, 5_000);
        progress.silent(0, 7_000);
        assert_eq!(progress.behind_ms(9_000), Some(7_000));
        assert_eq!(progress.partitions()[&0], ReachedTo::Time(2_000));
        progress.heard(0, (12, 9), 9_500);
        assert_eq!(progress.behind_ms(9_500), Some(7_500), "it answers, and nothing was read yet");
        assert!(progress.is_silent());
        progress.came(0);
        assert_eq!(progress.behind_ms(9_500), Some(4_500), "the other one is silent");
        progress.heard(1, (4, 4), 9_600);
        assert_eq!(
            (progress.behind_ms(9_600), progress.is_silent()),
            (Some(0), false),
            "nothing was written meanwhile"
        );
        progress.silent(1, 9_700);
        progress.begin(0..2, 1_000, 0);
        assert_eq!(progress.behind_ms(9_800), Some(8_800), "a reader that begins anew has yet to get there");
        progress.reached(0, ReachedTo::End);
        assert_eq!(progress.behind_ms(9_800), Some(200), "and begins where the one before it was believed to be");
    }

    #[test]
    fn a_partition_behind_an_open_transaction_is_not_at_its_end() {
        let progress = LogProgress::default();
        progress.begin(0..2, 1, 0);
        progress.reached(0, ReachedTo::End);
        progress.reached(1, ReachedTo::End);
        progress.heard(0, (9, 5), 1_000);
        progress.heard(1, (4, 3), 1_000);
        assert_eq!(progress.behind_ms(1_500), Some(0), "a transaction under way is no delay");
        progress.heard(1, (8, 7), 6_000);
        progress.heard(0, (12, 5), 20_000);
        progress.heard(1, (20, 19), 20_000);
        assert_eq!(progress.behind_ms(20_000), Some(19_000), "since it was first heard that there is more");
        assert_eq!(progress.partitions()[&0], ReachedTo::Time(1_000));
        assert_eq!(progress.partitions()[&1], ReachedTo::End, "where it goes on, nothing is held");
        progress.heard(0, (12, 12), 25_000);
        assert_eq!(progress.behind_ms(25_000), Some(0));
    }

    #[test]
    fn what_was_lost_is_counted_once_however_many_readers_find_it() {
        let progress = LogProgress::default();
        assert_eq!(progress.lost(0, 5..9), 4);
        assert_eq!(progress.lost(0, 5..9), 0);
        assert_eq!(progress.lost(0, 5..12), 3);
        assert_eq!(progress.lost(1, 5..9), 4);
        assert_eq!(progress.lost(0, 20..21), 1);
        assert_eq!(progress.all_lost(), 12);
        progress.other_topic();
        assert_eq!(progress.lost(0, 3..4), 1);
    }

    #[test]
    fn whoever_stands_by_is_as_far_as_the_one_who_fills_the_store_last_told() {
        let (filler, other) = (LogProgress::default(), LogProgress::default());
        assert!(filler.tell("one", 1_000).is_none(), "nothing is known yet");
        filler.begin(0..2, 1_000, 7);
        filler.reached(0, ReachedTo::End);
        filler.reached(1, ReachedTo::Time(4_000));
        filler.stored(0, 7);
        let told = serde_json::to_string(&filler.tell("one", 5_000).unwrap()).unwrap();
        let told: ToldProgress = serde_json::from_str(&told).unwrap();
        other.follow(&told, 6_000);
        assert_eq!(
            (told.replica.as_str(), other.behind_ms(6_000), other.whole_from_ms()),
            ("one", Some(2_000), Some(1_000))
        );
        assert_eq!(other.edition(), 7, "of the same edition, and of no other");
        filler.reached(1, ReachedTo::End);
        filler.stored(1, 3);
        filler.whole_from(None);
        let told = filler.tell("one", 7_000).unwrap();
        other.follow(&told, 8_000);
        assert_eq!((other.behind_ms(8_000), other.has(&BTreeMap::from([(0, 7), (1, 3)]))), (Some(0), true));
        other.follow(&told, 7_000 + FRESH_MS + 1);
        assert_eq!(other.behind_ms(20_000), Some(13_000), "it is not heard of any more");
    }

    #[test]
    fn a_log_is_as_far_behind_as_its_slowest_partition() {
        let progress = LogProgress::default();
        assert_eq!(progress.behind_ms(5_000), None, "nothing is known yet");
        progress.begin(0..2, 1_000, 0);
        assert_eq!(progress.behind_ms(5_000), Some(4_000));
        progress.reached(0, ReachedTo::End);
        progress.reached(1, ReachedTo::Time(4_500));
        assert_eq!(progress.behind_ms(5_000), Some(500));
        progress.reached(1, ReachedTo::End);
        assert_eq!(progress.behind_ms(5_000), Some(0));
    }

    #[test]
    fn a_reader_that_begins_anew_is_where_it_was() {
        let progress = LogProgress::default();
        progress.begin(0..2, 1_000, 0);
        progress.reached(0, ReachedTo::End);
        progress.reached(1, ReachedTo::Time(3_000));
        progress.begin(0..3, 4_000, 0);
        assert_eq!(progress.behind_ms(5_000), Some(2_000));
    }

    #[test]
    fn after_a_failure_the_age_grows_from_then() {
        let progress = LogProgress::default();
        progress.failed(1_000);
        assert_eq!(progress.behind_ms(5_000), None, "a reader that never began");
        progress.begin(0..2, 1_000, 0);
        progress.reached(0, ReachedTo::End);
        progress.reached(1, ReachedTo::End);
        progress.failed(6_000);
        progress.failed(7_000);
        assert_eq!(progress.behind_ms(9_000), Some(3_000), "the second failure is of the same age");
        progress.begin(0..2, 1_000, 0);
        assert_eq!(progress.behind_ms(9_000), Some(3_000), "and the next reader goes on there");
    }

    #[test]
    fn everything_is_there_once_all_of_the_newest_part_and_all_days_are() {
        // Nothing was ever written to the second, and nobody has said where its reader is.
        let (progress, ends) = (LogProgress::default(), BTreeMap::from([(0, 7), (1, 0)]));
        progress.begin(0..2, 1_000, 0);
        progress.stored(0, 6);
        progress.whole_from(None);
        assert!(!progress.has(&ends));
        progress.stored(0, 7);
        assert!(progress.has(&ends));
        progress.begin(0..2, 1_000, 0);
        assert!(!progress.has(&ends), "a reader that begins anew knows nothing");
    }

    #[test]
    fn older_days_are_not_whole_before_they_were_looked_at() {
        let progress = LogProgress::default();
        progress.begin(0..2, 1_000, 0);
        assert_eq!(progress.whole_from_ms(), Some(1_000));
        progress.whole_from(None);
        assert_eq!(progress.whole_from_ms(), None);
        progress.begin(0..2, 4_000, 0);
        assert_eq!(progress.whole_from_ms(), Some(4_000), "the next reader has to look again");
    }
}
