//! How old the oldest record is that has not been done, from questions that move no record: "is there one from before?", in steps
//! that halve what is not known. Pure.

/// Ages below that are not told apart, ms.
const FINEST_MS: i64 = 1_000;
/// Where upper and lower bound are so near, the answer is good enough.
const NEAR: f64 = 1.1;

/// Between which bounds the age lies, ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AgeSearch {
    /// It is surely older than that.
    low_ms: i64,
    /// And not older than that, as far as was asked.
    high_ms: i64,
}

// === impl AgeSearch ===

impl AgeSearch {
    /// Nothing is known but that nothing is older than this.
    pub(super) fn up_to(high_ms: i64) -> Self {
        Self { low_ms: 0, high_ms: high_ms.max(FINEST_MS) }
    }

    /// The age that is asked about next; `None`: the answer is there.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "ages are far below 2^52 ms")]
    pub(super) fn next(self) -> Option<i64> {
        let low_ms = self.low_ms.max(FINEST_MS / 2);
        if self.high_ms <= FINEST_MS || self.high_ms as f64 <= low_ms as f64 * NEAR {
            return None;
        }
        // In the middle by proportion: ages go from seconds to weeks.
        let middle = (low_ms as f64 * self.high_ms as f64).sqrt() as i64;
        Some(middle.clamp(low_ms + 1, self.high_ms - 1))
    }

    /// Whether something is older than what was asked about.
    pub(super) fn told(self, asked_ms: i64, is_older: bool) -> Self {
        if is_older { Self { low_ms: asked_ms, ..self } } else { Self { high_ms: asked_ms, ..self } }
    }

    /// The age, ms: never more than it is.
    pub(super) fn found_ms(self) -> i64 {
        self.low_ms
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_age_is_found_to_within_a_tenth_in_few_questions(age_ms in 0_i64..3_000_000_000) {
            let mut search = AgeSearch::up_to(3_000_000_000);
            let mut questions = 0;
            while let Some(asked_ms) = search.next() {
                search = search.told(asked_ms, age_ms > asked_ms);
                questions += 1;
                prop_assert!(questions <= 16);
            }
            let found_ms = search.found_ms();
            prop_assert!(found_ms <= age_ms);
            prop_assert!(age_ms - found_ms <= FINEST_MS.max(age_ms / 10), "{age_ms}: {found_ms}");
        }
    }
}
