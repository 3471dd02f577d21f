//! What is done beside reading: old days are given up, the others counted. What fails here ends no reader: it is done again a
//! moment later.

use std::time::Duration;

use chassis::clock;
use chassis::limited::Limited;
use delivery_log::{Day, DeliveryStore, StoreError};
use tracing::warn;

use super::metrics::LogMetrics;

/// How often it is done.
pub(super) const EVERY: Duration = Duration::from_secs(30);
/// One line about the same trouble per that.
const LINE: Duration = Duration::from_secs(60);
/// Milliseconds of a day.
const DAY_MS: u128 = 86_400_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Upkeep {
    warned: Limited<()>,
}

// === impl Upkeep ===

impl Upkeep {
    pub(super) fn new() -> Self {
        Self { warned: Limited::new(LINE) }
    }

    /// Gives up days that are older than what is kept, and counts the others.
    pub(super) async fn run(&self, store: &dyn DeliveryStore, keep: Duration, metrics: &LogMetrics) {
        let kept = give_up_old_days(store, keep).await.map(|_oldest| ());
        let counted = count_days(store, metrics).await;
        for error in [kept, counted].into_iter().filter_map(Result::err) {
            if let Some(swallowed) = self.warned.permit(&()) {
                warn!(%error, swallowed, "days of the delivery log are not given up or not counted, trying again");
            }
        }
    }
}

/// Gives up days that are older than what is kept. Returns the oldest day that is.
pub(super) async fn give_up_old_days(store: &dyn DeliveryStore, keep: Duration) -> Result<Day, StoreError> {
    let days = u32::try_from(keep.as_millis().div_ceil(DAY_MS)).unwrap_or(u32::MAX);
    let oldest = Day::of(clock::now_ms()).minus(days);
    store.retain(oldest).await?;
    Ok(oldest)
}

async fn count_days(store: &dyn DeliveryStore, metrics: &LogMetrics) -> Result<(), StoreError> {
    let days = store.days().await?;
    metrics.days.set(i64::try_from(days.len()).unwrap_or(i64::MAX));
    let bytes: u64 = days.iter().map(|day| day.bytes).sum();
    metrics.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    metrics.letters.set(i64::try_from(store.undecided_letters().await?).unwrap_or(i64::MAX));
    Ok(())
}

#[cfg(test)]
mod tests {
    use chassis::metrics::Registry;
    use delivery_log::{LogChunk, SqliteOptions, SqliteStore};

    use super::*;

    #[tokio::test]
    async fn what_cannot_be_counted_leaves_the_last_count_and_ends_nothing() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("log");
        let store =
            SqliteStore::open(&SqliteOptions { folder: folder.clone(), readers: 1, memory_bytes: 1 << 20 }).unwrap();
        let metrics = LogMetrics::new(&Registry::new()).unwrap();
        let (upkeep, keep) = (Upkeep::new(), Duration::from_secs(86_400));
        let today = clock::now_ms();
        let row = delivery_log::LogRow { offset: 0, stored_ms: today, content: delivery_log::RowContent::Nothing };
        store.project(vec![LogChunk { partition: 0, offsets: 0..1, rows: vec![row] }]).await.unwrap();
        upkeep.run(&store, keep, &metrics).await;
        assert_eq!(metrics.days.get(), 1);
        let bytes = metrics.bytes.get();
        assert!(bytes > 0);
        std::fs::rename(&folder, place.path().join("elsewhere")).unwrap();
        assert!(count_days(&store, &metrics).await.is_err());
        upkeep.run(&store, keep, &metrics).await;
        assert_eq!((metrics.days.get(), metrics.bytes.get()), (1, bytes));
    }
}
