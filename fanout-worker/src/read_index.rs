//! One question for the end of `control`, and the wait until the snapshot is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use catalog::Catalog;
use chassis::clock;
use chassis::limited::Limited;
use tracing::error;

use crate::config::INDEX_RETRY;

/// Waits until the snapshot has reached an end that was asked for now; as long as it takes. `failed_boot_ms` is set to when the question
/// was not answered last, on the clock that counts suspension.
pub(crate) async fn read_index(catalog: Catalog, failed_boot_ms: Arc<AtomicI64>) {
    let limited: Limited<String> = Limited::new(Duration::from_secs(10));
    loop {
        match catalog.read_index().await {
            Ok(_end) => return,
            // The catalog's own task stops the process if it cannot go on; anything else passes.
            Err(error) => {
                failed_boot_ms.store(clock::boot_ms(), Ordering::Relaxed);
                if let Some(swallowed) = limited.permit("read index") {
                    error!(%error, swallowed, "the end of `control` is not known: planning waits");
                }
                tokio::time::sleep(INDEX_RETRY).await;
            }
        }
    }
}
