//! How fast a log may be read. Pure.

use std::time::{Duration, Instant};

/// Waits are taken in pieces of this length, not record by record.
const PIECE: Duration = Duration::from_millis(5);
/// What may be read at once after a rest.
const BURST: Duration = Duration::from_millis(100);

/// Bytes per second with a short burst.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByteRate {
    bytes_per_second: u64,
    /// Everything that was taken is paid for at this time.
    paid_at: Instant,
}

// === impl ByteRate ===

impl ByteRate {
    pub(super) fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid_at: now }
    }

    /// Takes bytes that were read; returns how long to wait before more are.
    pub(super) fn take(&mut self, bytes: u64, now: Instant) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        self.paid_at = self.paid_at.max(earliest) + cost;
        let wait = self.paid_at.saturating_duration_since(now);
        if wait < PIECE { Duration::ZERO } else { wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::instant;

    #[test]
    fn what_is_read_over_a_time_is_the_rate_and_one_burst() {
        let start = instant();
        let mut rate = ByteRate::new(1_000_000, start);
        let (mut now, mut read) = (start, 0_u64);
        while now < start + Duration::from_secs(10) {
            now += rate.take(1_000, now);
            read += 1_000;
        }
        assert!((9_900_000..=10_200_000).contains(&read), "{read}");
        // A rest of a minute is one burst, not sixty.
        now += Duration::from_secs(60);
        assert_eq!(rate.take(100_000, now), Duration::ZERO);
        assert_eq!(rate.take(50_000, now), Duration::from_millis(50));
    }
}
