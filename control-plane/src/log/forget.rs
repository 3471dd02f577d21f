//! Removes what applications do not keep: it was hidden the moment it was too old, and is gone some minutes later.

use std::sync::Arc;
use std::time::Duration;

use catalog::Catalog;
use chassis::clock;
use chassis::limited::Limited;
use delivery_log::{DeliveryStore, StoreError};
use tracing::{info, warn};

use super::retained::all_kept_from;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(600);
/// Between two tries of one that failed.
const AGAIN: Duration = Duration::from_secs(60);
/// One line about the same trouble per that.
const LINE: Duration = Duration::from_secs(3_600);

/// Looks again and again, for ever.
#[expect(clippy::infinite_loop, reason = "its task is aborted when the delivery log ends")]
pub(super) async fn run(store: Arc<dyn DeliveryStore>, catalog: Catalog) {
    let warned = Limited::<()>::new(LINE);
    loop {
        let wait = match forget(store.as_ref(), &catalog).await {
            Ok(0) => EVERY,
            Ok(rows) => {
                info!(rows, "rows of the delivery log are gone that their applications do not keep");
                EVERY
            }
            // Whoever fills the store removes them.
            Err(StoreError::FilledByAnother) => EVERY,
            Err(error) => {
                if let Some(swallowed) = warned.permit(&()) {
                    warn!(%error, swallowed, "rows that applications do not keep are hidden, and not removed from the delivery log, trying again");
                }
                AGAIN
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Removes all of it, bit by bit: between two bits other things are written. Returns how many rows there were.
async fn forget(store: &dyn DeliveryStore, catalog: &Catalog) -> Result<u64, StoreError> {
    // One time for all bits: what was found to be gone before it is not looked for again.
    let (mut rows, now_ms) = (0, clock::now_ms());
    loop {
        let before = all_kept_from(catalog, now_ms);
        if before.is_empty() {
            return Ok(rows);
        }
        let forgotten = store.forget(before).await?;
        rows += forgotten.rows;
        if !forgotten.is_more {
            return Ok(rows);
        }
    }
}
