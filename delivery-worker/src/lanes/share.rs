//! The share of attempts that failed lately: ten buckets of a second each, forgotten one by one as time passes.

/// Buckets, each of [`BUCKET_MS`].
const BUCKETS: usize = 10;
const BUCKET_MS: i64 = 1_000;

/// Attempts of the last ten seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailureShare {
    /// Taken and failed.
    buckets: [(u32, u32); BUCKETS],
    /// Number of the newest bucket since the clock's beginning.
    newest: i64,
}

/// What of the last ten seconds is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lately {
    /// Attempts.
    pub(crate) attempts: u32,
    /// Of them failed.
    pub(crate) failed: u32,
    /// Seconds in which one failed.
    pub(crate) failing_seconds: usize,
}

impl FailureShare {
    /// One more attempt ended.
    pub(crate) fn count(&mut self, has_failed: bool, now_ms: i64) {
        self.turn(now_ms);
        let (taken, failed) = &mut self.buckets[index(self.newest)];
        let counter = if has_failed { failed } else { taken };
        *counter = counter.saturating_add(1);
    }

    /// What is known now.
    pub(crate) fn lately(&mut self, now_ms: i64) -> Lately {
        self.turn(now_ms);
        let add = |sum: Lately, (taken, failed): &(u32, u32)| Lately {
            attempts: sum.attempts.saturating_add(*taken).saturating_add(*failed),
            failed: sum.failed.saturating_add(*failed),
            failing_seconds: sum.failing_seconds + usize::from(*failed > 0),
        };
        self.buckets.iter().fold(Lately::default(), add)
    }

    fn turn(&mut self, now_ms: i64) {
        let bucket = now_ms.div_euclid(BUCKET_MS);
        let passed = usize::try_from(bucket - self.newest).unwrap_or(0).min(BUCKETS);
        for number in 0..passed {
            self.buckets[index(bucket - i64::try_from(number).unwrap_or(0))] = (0, 0);
        }
        self.newest = self.newest.max(bucket);
    }
}

fn index(bucket: i64) -> usize {
    let buckets = i64::try_from(BUCKETS).unwrap_or(i64::MAX);
    usize::try_from(bucket.rem_euclid(buckets)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_are_known_and_what_is_older_is_forgotten() {
        let mut share = FailureShare::default();
        for second in 0..12 {
            share.count(second % 2 == 0, second * 1_000);
            share.count(true, second * 1_000 + 999);
        }
        assert_eq!(share.lately(11_999), Lately { attempts: 20, failed: 15, failing_seconds: 10 });
        assert_eq!(share.lately(19_000), Lately { attempts: 4, failed: 3, failing_seconds: 2 });
        share.count(false, 10_000_000);
        assert_eq!(share.lately(10_000_000), Lately { attempts: 1, failed: 0, failing_seconds: 0 });
    }
}
