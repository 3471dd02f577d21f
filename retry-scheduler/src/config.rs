//! What can be set, and what is fixed with its reason.

pub use chassis::config::RetryConfig;

/// A partition of a long tier whose head waits longer is not fetched meanwhile: it would take the room of those that move.
pub(crate) const PAUSE_OVER_MS: i64 = 10_000;
/// A paused partition is fetched again this long before its head is ready; a refetch takes up to 600 ms.
pub(crate) const RESUME_BEFORE_MS: i64 = 1_000;
/// Records read and not moved, per partition; the bytes are configured, and records below 4 KiB never come to the default of them.
/// As many as surely fit the commit metadata wherever they stand, with two bytes for each of 2,937; and what stands beside each counts 5 KiB
/// of the memory limit in every partition of every tier.
pub(crate) const LIVE_RECORDS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_says_how_many_records_are_held() {
        let said = format!("at most {},{:03} of them", LIVE_RECORDS / 1_000, LIVE_RECORDS % 1_000);
        let reference = chassis::config::reference();
        let line = reference.lines().find(|line| line.contains("**Look-ahead.**")).expect("there is such a key");
        assert!(line.contains(&said), "{line}");
    }
}
