//! How long requests took, in few bytes: counts by logarithmic steps, so that a quantile is right within 5 %.

use schemas::varint;

/// Each step is so many times the one before: the middle of a step is at most 5 % away from both of its edges.
const STEP: f64 = 1.05 / 0.95;
/// Steps that are told apart: the last begins at some 10 hours.
const STEPS: u16 = 175;

/// Counts by step, sparse and sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(Vec<(u16, u64)>);

// === impl Histogram ===

impl Histogram {
    /// Counts one value, ms. Below zero is zero.
    pub fn record(&mut self, ms: i64) {
        self.add(step(ms), 1);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(step, count)| self.add(*step, *count));
    }

    /// How many values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The value, ms, that this part of all values (in thousandths) does not exceed; within 5 %. `None`: there is none.
    #[must_use]
    pub fn quantile(&self, thousandths: u64) -> Option<i64> {
        let rank = (self.count().saturating_mul(thousandths.min(1_000))).div_ceil(1_000).max(1);
        let mut seen = 0;
        self.0.iter().find_map(|(step, count)| {
            seen += count;
            (seen >= rank).then(|| middle(*step))
        })
    }

    /// As it is stored: step and count in turn, as varints.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * 3);
        for (step, count) in &self.0 {
            varint::push(&mut bytes, u64::from(*step));
            varint::push(&mut bytes, *count);
        }
        bytes
    }

    /// Reads what [`Self::encode`] wrote. `None`: it is something else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (mut rest, mut histogram) = (bytes, Self::default());
        while !rest.is_empty() {
            let step = u16::try_from(varint::pull(&mut rest)?).ok().filter(|step| *step < STEPS)?;
            let count = varint::pull(&mut rest)?;
            histogram.add(step, count);
        }
        Some(histogram)
    }

    fn add(&mut self, step: u16, count: u64) {
        match self.0.binary_search_by_key(&step, |(step, _)| *step) {
            Ok(index) => self.0[index].1 = self.0[index].1.saturating_add(count),
            Err(index) => self.0.insert(index, (step, count)),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times of requests are far below 2^53, and the step is cut to its range"
)]
fn step(ms: i64) -> u16 {
    if ms <= 0 { 0 } else { ((ms as f64).ln() / STEP.ln()).ceil().clamp(0.0, f64::from(STEPS - 2)) as u16 + 1 }
}

#[expect(clippy::cast_possible_truncation, reason = "the last step is some hours")]
fn middle(step: u16) -> i64 {
    if step == 0 { 0 } else { (STEP.powi(i32::from(step) - 1) * 2.0 / (STEP + 1.0)).round() as i64 }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn a_quantile_is_within_five_percent_of_the_true_one() {
        for seed in 0..500 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let most = 10_i64.pow(rng.random_range(1..7));
            let mut values: Vec<i64> = (0..rng.random_range(1..300)).map(|_| rng.random_range(0..=most)).collect();
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.record(*value));
            values.sort_unstable();
            for thousandths in [1, 500, 950, 990, 1_000] {
                let rank = (values.len() * thousandths).div_ceil(1_000).max(1);
                let (exact, found) = (values[rank - 1], histogram.quantile(thousandths as u64).unwrap());
                let error = (found - exact).abs();
                // Half a millisecond of rounding beside the 5 %.
                assert!(error * 20 <= exact + 10, "seed {seed}: {thousandths} is {exact}, {found} was said");
            }
        }
    }

    #[test]
    fn a_histogram_is_read_as_it_was_written_and_merges() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        [0, 1, 3, 3, 250, i64::MAX].into_iter().for_each(|ms| one.record(ms));
        [-5, 3, 15_000].into_iter().for_each(|ms| other.record(ms));
        assert_eq!(Histogram::decode(&one.encode()), Some(one.clone()));
        one.merge(&other);
        assert_eq!(one.count(), 9);
        assert_eq!(Histogram::default().quantile(500), None);
        for bad in [&[0x80][..], &[0xff, 0xff, 0x7f, 1], &[1]] {
            assert_eq!(Histogram::decode(bad), None, "{bad:?}");
        }
    }
}
