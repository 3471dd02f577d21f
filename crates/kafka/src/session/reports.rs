//! Delivery reports of one try of a transaction, as the thread that serves the producer brings them.

use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError as Native;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::clock::coarse_ms;
use crate::log;

/// Collects delivery reports; lives in the producer, called by its thread.
#[derive(Default)]
pub(super) struct Reports(Mutex<Reported>);

#[derive(Default)]
struct Reported {
    attempt: u32,
    failed: Vec<Failed>,
    partitions: Vec<TouchedPartition>,
    /// When the first record was sent, if any was: coarse milliseconds, as all times here.
    sending_since_ms: Option<i64>,
    /// When the last acknowledgement came.
    last_ms: Option<i64>,
    longest_gap_ms: i64,
    acknowledged_bytes: usize,
    throttled: Duration,
}

/// A partition that records of a try were written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TouchedPartition {
    /// Its topic, as the client names it.
    topic: usize,
    partition: i32,
    /// The index of one of its records.
    pub(crate) index: usize,
    /// The highest offset that a record got. `None`: of one of them Kafka has said that it is there, and not where.
    pub(crate) last_offset: Option<i64>,
}

/// One record that Kafka did not take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    /// Its index among the records of the try.
    pub(super) index: usize,
    /// Where it was to go; negative if that was not decided.
    pub(super) partition: i32,
    /// Why.
    pub(super) code: Code,
    /// It was refused for itself, before it was in a batch.
    pub(super) alone: bool,
}

/// How Kafka acknowledged a try's records, to tell a slow cluster from one that is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AckPace {
    /// The longest time without an acknowledgement, from the first record sent to the end of the try.
    pub(crate) longest_gap: Duration,
    /// Key and value bytes that were acknowledged.
    pub(crate) acknowledged_bytes: usize,
    /// The longest wait that a broker imposed for a quota.
    pub(crate) throttled: Duration,
}

// === impl Reports ===

impl Reports {
    /// Forgets what was reported: another try begins.
    pub(super) fn begin(&self, attempt: u32) {
        *self.0.lock() = Reported { attempt, ..Reported::default() };
    }

    /// The first record goes out about now.
    pub(super) fn start_sending(&self) {
        let now_ms = coarse_ms();
        self.0.lock().sending_since_ms.get_or_insert(now_ms);
    }

    /// A record that librdkafka refused at once.
    pub(super) fn refused(&self, index: usize, code: Code) {
        self.0.lock().failed.push(Failed { index, partition: -1, code, alone: true });
    }

    /// A record that was not sent, because the transaction has failed already.
    pub(super) fn skipped(&self, index: usize) {
        self.0.lock().failed.push(Failed { index, partition: -1, code: Code::State, alone: false });
    }

    /// Records that were not taken; once.
    pub(super) fn take_failed(&self) -> Vec<Failed> {
        std::mem::take(&mut self.0.lock().failed)
    }

    /// Distinct partitions that were written to.
    pub(super) fn partitions(&self) -> Vec<TouchedPartition> {
        self.0.lock().partitions.clone()
    }

    /// The pace of the acknowledgements if the try ends at `now_ms`, [coarse milliseconds](coarse_ms).
    pub(super) fn pace(&self, now_ms: i64) -> AckPace {
        let reported = self.0.lock();
        let longest_gap_ms = reported.longest_gap_ms.max(reported.gap_ms(now_ms));
        AckPace {
            longest_gap: Duration::from_millis(u64::try_from(longest_gap_ms).unwrap_or(0)),
            acknowledged_bytes: reported.acknowledged_bytes,
            throttled: reported.throttled,
        }
    }
}

// === impl Reported ===

impl Reported {
    /// The clock is read for each record: it is the coarse one.
    fn acknowledged(&mut self, bytes: usize, now_ms: i64) {
        self.acknowledged_bytes += bytes;
        self.longest_gap_ms = self.longest_gap_ms.max(self.gap_ms(now_ms));
        self.last_ms = Some(now_ms);
    }

    /// Notes where a record has got to.
    fn touched(&mut self, (topic, partition): (usize, i32), index: usize, offset: i64) {
        let offset = (offset >= 0).then_some(offset);
        let is_it = |it: &&mut TouchedPartition| (it.topic, it.partition) == (topic, partition);
        // Acknowledgements come by the batch: it is nearly always the last one.
        match self.partitions.iter_mut().rev().find(is_it) {
            Some(known) => known.last_offset = known.last_offset.zip(offset).map(|(known, new)| known.max(new)),
            None => self.partitions.push(TouchedPartition { topic, partition, index, last_offset: offset }),
        }
    }

    /// How long nothing was acknowledged.
    fn gap_ms(&self, now_ms: i64) -> i64 {
        self.last_ms.or(self.sending_since_ms).map_or(0, |since_ms| now_ms - since_ms)
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // A failed transaction is this crate's to handle and to log; an old generation is part of every rebalance.
        let level = if facility == "TXNERR" { RDKafkaLogLevel::Debug } else { level };
        log::librdkafka("writer", level, facility, message);
    }

    fn error(&self, error: Native, reason: &str) {
        log::client_error("writer", &error, reason);
    }

    /// Nothing but the throttling is read: parsing all of it would cost more than the rest of an idle writer.
    fn stats_raw(&self, statistics: &[u8]) {
        let throttled = longest_throttle(&String::from_utf8_lossy(statistics));
        let mut reported = self.0.lock();
        reported.throttled = reported.throttled.max(throttled);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, opaque: usize) {
        let (attempt, index) = (opaque >> 32, opaque & 0xffff_ffff);
        let mut reported = self.0.lock();
        if attempt != reported.attempt as usize {
            return;
        }
        match report {
            Ok(message) => {
                reported.acknowledged(message.payload_len() + message.key_len(), coarse_ms());
                let partition = (message.topic_ptr() as usize, message.partition());
                reported.touched(partition, index, message.offset());
            }
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
                reported.failed.push(Failed { index, partition: message.partition(), code, alone: false });
            }
        }
    }
}

/// The longest wait a broker imposed since the last statistics: `"throttle":{"min":0,"max":120,...}`, once per broker.
fn longest_throttle(statistics: &str) -> Duration {
    let windows = statistics.split("\"throttle\"").skip(1);
    let longest = windows.filter_map(|rest| {
        let window = rest.split('}').next()?;
        let number = window.split("\"max\"").nth(1)?.trim_start_matches([':', ' ']);
        number.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    });
    Duration::from_millis(longest.max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_throttle_of_any_broker_is_found_in_the_statistics() {
        let statistics = r#"{"brokers":{"a":{"rtt":{"max":99},"throttle":{"min":0,"max":120,"avg":3}},
            "b":{"throttle": { "min":0, "max": 4500, "p99":8000 }}},"max":7}"#;
        assert_eq!(longest_throttle(statistics), Duration::from_millis(4_500));
        assert_eq!(longest_throttle(r#"{"max":7}"#), Duration::ZERO);
    }

    #[test]
    fn the_longest_gap_counts_from_the_first_record_and_to_the_end() {
        let reports = Reports::default();
        let gap = |now_ms| reports.pace(now_ms).longest_gap.as_millis();
        assert_eq!(reports.pace(1_000), AckPace::default(), "nothing was sent");
        *reports.0.lock() = Reported { sending_since_ms: Some(1_000), ..Reported::default() };
        assert_eq!(gap(10_000), 9_000, "nothing was acknowledged");
        reports.0.lock().acknowledged(20, 6_000);
        assert_eq!(gap(6_500), 5_000, "from the first record sent to the first acknowledgement");
        assert_eq!(gap(12_000), 6_000, "from the last acknowledgement to the end");
    }

    #[test]
    fn the_last_offset_of_a_partition_is_known_only_if_that_of_each_record_is() {
        let mut reported = Reported::default();
        for (partition, index, offset) in
            [((1, 0), 0, 7), ((2, 0), 1, 3), ((1, 0), 2, 9), ((1, 0), 3, 8), ((2, 0), 4, -1_001)]
        {
            reported.touched(partition, index, offset);
        }
        reported.touched((2, 0), 5, 12);
        let last: Vec<_> = reported.partitions.iter().map(|it| (it.index, it.last_offset)).collect();
        assert_eq!(last, [(0, Some(9)), (1, None)]);
    }

    #[test]
    fn each_acknowledgement_ends_a_gap_however_small_its_record() {
        let reports = Reports::default();
        *reports.0.lock() = Reported { sending_since_ms: Some(0), ..Reported::default() };
        for second in 1..=60 {
            reports.0.lock().acknowledged(1, second * 1_000);
        }
        let pace = reports.pace(60_500);
        assert_eq!((pace.longest_gap.as_millis(), pace.acknowledged_bytes), (1_000, 60));
    }
}
