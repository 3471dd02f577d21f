//! Whether a transaction that ran out of time was too much for the cluster, or the cluster was away. Pure.
//!
//! What is too much is handed back to be made smaller; an outage, and a broker that stood still for some seconds, are waited
//! out with the same transaction. A try was too slow if it was **steady**: from its first record to its end no two
//! acknowledgements (nor the beginning and the first, nor the last and the end) were further apart than a quarter of the
//! transaction timeout, plus the time for which a broker said that it throttles us for a quota. A broker that is away or
//! frozen for that long leaves a longer gap, and one that was frozen more briefly did not take the time.

use std::ops::Range;
use std::time::Duration;

use schemas::record::OutRecord;

use crate::session::AckPace;

/// Bytes of a group after a try that ran out of time and was not steady: large batches over a slow line are
/// acknowledged rarely, small ones show that it moves.
const GROUP_BYTES: usize = 128 * 1024;

/// Why a try that ran out of time was too slow; `None`: it was not, or nobody knows.
pub(super) fn reason(pace: &AckPace, timeout: Duration) -> Option<String> {
    if pace.acknowledged_bytes == 0 || pace.longest_gap > timeout / 4 + pace.throttled {
        return None;
    }
    let throttled = if pace.throttled.is_zero() {
        String::new()
    } else {
        format!(", throttled by a quota for up to {} ms", pace.throttled.as_millis())
    };
    Some(format!(
        "{} bytes were acknowledged in {} s, never more than {} ms apart{throttled}",
        pace.acknowledged_bytes,
        timeout.as_secs_f64(),
        pace.longest_gap.as_millis(),
    ))
}

/// Groups of about 128 KiB, at least one record each, none longer than `most` records.
pub(super) fn small_groups(records: &[&OutRecord], most: usize) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, record) in records.iter().enumerate() {
        let size = record.batch_size();
        if index > start && (bytes + size > GROUP_BYTES || index - start >= most) {
            groups.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    if start < records.len() {
        groups.push(start..records.len());
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::record::Headers;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn pace(gap_ms: u64, bytes: usize, throttled_ms: u64) -> AckPace {
        let (longest_gap, throttled) = (Duration::from_millis(gap_ms), Duration::from_millis(throttled_ms));
        AckPace { longest_gap, acknowledged_bytes: bytes, throttled }
    }

    #[test]
    fn steady_acknowledgements_are_slow_and_gaps_are_an_outage() {
        let cases = [
            (pace(2_500, 1, 0), true, "steady"),
            (pace(2_501, 1_000_000, 0), false, "away or frozen for longer than a quarter"),
            (pace(100, 0, 0), false, "nothing was taken at all"),
            (pace(9_900, 1_000_000, 8_000), true, "the gap is a quota's"),
            (pace(9_900, 1_000_000, 20), false, "frozen, and a little throttled before"),
        ];
        for (pace, slow, why) in cases {
            assert_eq!(reason(&pace, TIMEOUT).is_some(), slow, "{why}: {pace:?}");
        }
    }

    #[test]
    fn small_groups_hold_every_record_once_in_order() {
        let record = |bytes: usize| OutRecord {
            topic: Arc::from("t"),
            partition: Some(0),
            key: None,
            value: Some(vec![0; bytes].into()),
            headers: Headers::default(),
        };
        let records = [record(10), record(200_000), record(10), record(100_000), record(90_000)];
        let records: Vec<&OutRecord> = records.iter().collect();
        assert_eq!(small_groups(&records, usize::MAX), [0..1, 1..2, 2..4, 4..5]);
        assert_eq!(small_groups(&records, 1), [0..1, 1..2, 2..3, 3..4, 4..5]);
        assert_eq!(small_groups(&[], 8), Vec::<Range<usize>>::new());
    }
}
