//! Two binaries of `hookbus` in one run: what ours costs of the other.
//!
//! ```text
//! round: ours, theirs, theirs, ours  -->  CPU of ours / CPU of theirs  -->  median and spread over the rounds
//! ```
//!
//! Single runs scatter by more than what a change costs: the broker, the machine and its caches drift. In a round both meet
//! the same drift, as each stands as early in it as the other.

use std::path::PathBuf;

use crate::meter::Cost;
use crate::table::say;

/// What ours is compared with.
#[derive(Debug)]
pub(crate) struct Against {
    /// The other `hookbus`.
    pub(crate) binary: PathBuf,
    /// Rounds that count.
    pub(crate) rounds: u32,
}

/// CPU of ours divided by CPU of theirs, one of each round.
#[derive(Debug, Default)]
struct Ratios(Vec<f64>);

// === impl Against ===

impl Against {
    /// Measures both in turns and prints what comes of it. A first round does not count: memory is touched for the first time.
    pub(crate) async fn measure<R>(
        &self,
        ours: &mut R,
        theirs: &mut R,
        turn: impl AsyncFn(&mut R) -> anyhow::Result<Cost>,
    ) -> anyhow::Result<()> {
        let mut ratios = Ratios::default();
        for round in 0..=self.rounds {
            let mut cost_ours = turn(ours).await?;
            let mut cost_theirs = turn(theirs).await?;
            cost_theirs += turn(theirs).await?;
            cost_ours += turn(ours).await?;
            let (ours, theirs) = (cost_ours.cpu_seconds(), cost_theirs.cpu_seconds());
            let ratio = ours / theirs;
            if round == 0 {
                say(&format!("    warm-up: {ours:.3} / {theirs:.3} CPU-s per 100,000 = {ratio:.3}"))?;
                continue;
            }
            say(&format!("    round {round}: {ours:.3} / {theirs:.3} CPU-s per 100,000 = {ratio:.3}"))?;
            ratios.0.push(ratio);
        }
        say(&format!("    ours / theirs: {}", ratios.summary()))?;
        Ok(())
    }
}

// === impl Ratios ===

impl Ratios {
    /// Median, and the range of the middle half of the rounds and of all.
    fn summary(&self) -> String {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let [lowest, lower, median, upper, highest] = [0, 1, 2, 3, 4].map(|quarter| quartile(&sorted, quarter));
        format!("median {median:.3}, half of the rounds {lower:.3} to {upper:.3}, all {lowest:.3} to {highest:.3}")
    }
}

/// The value that so many quarters of these ascending ones are below; between two of them their mean. NaN if there is none.
fn quartile(sorted: &[f64], quarter: usize) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let (low, high) = (last * quarter / 4, (last * quarter).div_ceil(4));
    f64::midpoint(sorted[low], sorted[high])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_spread_are_those_of_the_rounds() {
        let summary = |ratios: &[f64]| Ratios(ratios.to_vec()).summary();
        assert_eq!(
            summary(&[1.2, 1.0, 0.9, 1.1, 1.05]),
            "median 1.050, half of the rounds 1.000 to 1.100, all 0.900 to 1.200"
        );
        assert_eq!(summary(&[1.0, 1.1]), "median 1.050, half of the rounds 1.050 to 1.050, all 1.000 to 1.100");
        assert_eq!(summary(&[1.0]), "median 1.000, half of the rounds 1.000 to 1.000, all 1.000 to 1.000");
    }
}
