//! What a request is told before its write is decided. The snapshot of this replica may not have what another one has made a moment
//! ago: so nothing is refused before everything is read that was written.

use catalog::Snapshot;

use crate::problem::{Problem, unavailable};
use crate::state::App;

/// What `look` finds here, or, where it refuses, in a snapshot that has everything that was written before.
pub(super) async fn found<T>(
    app: &App,
    look: impl Fn(&Snapshot) -> Result<T, Problem> + Send + Sync,
) -> Result<T, Problem> {
    let here = look(&app.catalog().read());
    if here.is_ok() {
        return here;
    }
    let current = app.catalog().read_index().await;
    current.map_err(|error| unavailable(format!("the catalog is not current: {error}")))?;
    look(&app.catalog().read())
}
