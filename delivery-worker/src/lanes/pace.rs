//! Parking pace: when a parked delivery comes back. One number per lane, `next = max(now, next) + 1/rate`, so that what is
//! parked comes back at the endpoint's own pace and in order.

use schemas::delivery::Parks;

/// Most parks of one delivery within one hour.
pub(crate) const PARKS_PER_HOUR: u32 = 6;

/// The next free slot, Unix ms with fractions.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    next_ms: f64,
}

impl Pace {
    /// Takes the next slot that is at least `least_ms` away.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "Unix ms are far below 2^52")]
    pub(crate) fn slot(&mut self, now_ms: i64, least_ms: i64, per_second: f64) -> i64 {
        self.next_ms = self.next_ms.max((now_ms + least_ms) as f64) + 1_000.0 / per_second.max(0.001);
        self.next_ms.ceil() as i64
    }

    /// Whether no slot is ahead: a new one would give the same.
    #[expect(clippy::cast_precision_loss, reason = "Unix ms are far below 2^52")]
    pub(crate) fn is_over(&self, now_ms: i64) -> bool {
        self.next_ms <= now_ms as f64
    }

    /// How far beyond `least_ms` the slots are taken: what was parked and is still to come back, as time.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "Unix ms are far below 2^52")]
    pub(crate) fn ahead_ms(&self, now_ms: i64, least_ms: i64) -> i64 {
        (self.next_ms - (now_ms + least_ms) as f64).max(0.0) as i64
    }
}

/// The least wait of one more park. A delivery that its lane could not take again and again waits twice as long each time.
pub(crate) fn least_ms(base_ms: i64, parks: Parks, grows: bool, now_ms: i64) -> i64 {
    let before = parks.in_hour(now_ms);
    if before + 1 >= PARKS_PER_HOUR {
        // The last one that is allowed lasts until the hour is over.
        return base_ms.max(parks.since_ms + 3_600_000 - now_ms);
    }
    if grows { base_ms.saturating_mul(1 << before.min(PARKS_PER_HOUR)) } else { base_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_each_other_at_the_rate_and_never_before_the_least() {
        let mut pace = Pace::default();
        let slots: Vec<i64> = (0..4).map(|_| pace.slot(1_000, 5_000, 10.0)).collect();
        assert_eq!(slots, [6_100, 6_200, 6_300, 6_400]);
        assert_eq!(pace.ahead_ms(1_000, 5_000), 400);
        assert_eq!(pace.ahead_ms(9_000, 5_000), 0);
    }

    #[test]
    fn a_delivery_parks_at_most_six_times_in_any_hour() {
        for (base, grows) in [(5_000, true), (600_000, false), (1_000, false)] {
            let (mut now, mut parks, mut times) = (1_000_000, Parks::default(), Vec::new());
            for _ in 0..40 {
                let least = least_ms(base, parks, grows, now);
                assert!(least >= base);
                parks = parks.parked(now);
                times.push(now);
                now += least;
            }
            assert!(times.windows(7).all(|window| window[6] - window[0] >= 3_600_000), "{base} {times:?}");
        }
    }
}
