//! What nobody asks for any more, removed bit by bit: what a deleted application has left behind, and answers whose day is over,
//! and that jobs were cancelled, once no copy of them can be left.
//!
//! Deleting an application is one small write: from then on nothing in it is found, nothing matches and no token of it opens
//! anything. Its objects follow in batches with pauses between them, so that a million of them stand in nobody's way. They are
//! found in the snapshot itself, so a restart goes on where the last process was.
//!
//! Every replica does it. Whoever sees during its pause that another one is at it leaves it to that one.

use std::convert::Infallible;
use std::time::Duration;

use catalog::{Catalog, Snapshot};
use chassis::clock;
use schemas::control::ControlKey;
use tracing::{info, warn};

use crate::actor::Actor;
use crate::config::Deps;
use crate::metrics::ControlMetrics;
use crate::problem::Problem;
use crate::store::{Change, Decision, Moment, Store};

/// Objects of one write: some milliseconds in which nobody else decides.
const BATCH: usize = 1_000;
/// Between two writes: those who manage go first. A million objects take about five minutes.
const PAUSE: Duration = Duration::from_millis(250);
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(2);
/// Between two looks for answers whose time is over.
const EXPIRY_PERIOD: Duration = Duration::from_secs(60);

/// Runs until shutdown is requested.
pub(crate) async fn run(deps: Deps, store: Store, metrics: ControlMetrics) -> Result<(), Infallible> {
    let shutdown = deps.tasks.shutdown().clone();
    let work = async {
        deps.catalog.caught_up().await;
        let mut changed = deps.catalog.changed();
        loop {
            clear(&deps.catalog, &store, PAUSE).await;
            // The sender lives as long as the catalog does.
            if changed.changed().await.is_err() {
                return;
            }
        }
    };
    let expiry = async {
        deps.catalog.caught_up().await;
        loop {
            expire(&deps.catalog, &store).await;
            let kept = deps.catalog.read().kept_amount().count;
            metrics.kept_answers.set(i64::try_from(kept).unwrap_or(i64::MAX));
            tokio::time::sleep(EXPIRY_PERIOD).await;
        }
    };
    tokio::select! {
        () = work => Ok(()),
        () = expiry => Ok(()),
        () = shutdown.requested() => Ok(()),
    }
}

/// Removes what is kept for a time that is over. What another replica has removed meanwhile is not there any more when it is decided.
pub(crate) async fn expire(catalog: &Catalog, store: &Store) {
    while !expired(&catalog.read(), clock::now_ms(), 1).is_empty() {
        let decide = |snapshot: &Snapshot, moment: Moment| {
            let expired = expired(snapshot, moment.now_ms, BATCH);
            Ok(Decision::of(expired.into_iter().map(Change::Remove).collect(), ()))
        };
        let pause = match store.write_own(&Actor::system("sweep"), decide).await {
            Ok(()) => PAUSE,
            Err(problem) => {
                warn!(
                    detail = problem.into_detail(),
                    "cannot remove what was kept for a time that is over, trying again"
                );
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Answers and cancelled jobs whose time is over, at most so many.
fn expired(snapshot: &Snapshot, now_ms: i64, limit: usize) -> Vec<ControlKey> {
    let mut expired = snapshot.expired_answers(now_ms, limit);
    expired.extend(snapshot.expired_cancelled_jobs(now_ms, limit - expired.len()));
    expired
}

/// Removes all that is there to be removed.
pub(crate) async fn clear(catalog: &Catalog, store: &Store, pause: Duration) {
    let mut removed = 0;
    while left(catalog) > 0 {
        match batch(store).await {
            Ok(count) => removed += count,
            Err(problem) => {
                warn!(
                    detail = problem.into_detail(),
                    "cannot remove what deleted applications left behind, trying again"
                );
                tokio::time::sleep(RETRY).await;
            }
        }
        loop {
            let before = left(catalog);
            tokio::time::sleep(pause).await;
            if left(catalog) >= before {
                break;
            }
        }
    }
    if removed > 0 {
        info!(objects = removed, "what deleted applications left behind is removed");
    }
}

/// Objects there are, as far as one batch goes, and the subscriptions beyond it: enough to see whether they become fewer.
fn left(catalog: &Catalog) -> usize {
    let snapshot = catalog.read();
    snapshot.orphans(BATCH).len() + snapshot.orphaned_subscriptions()
}

async fn batch(store: &Store) -> Result<usize, Problem> {
    let decide = |snapshot: &Snapshot, _moment: Moment| {
        let changes: Vec<Change> = snapshot.orphans(BATCH).into_iter().map(Change::Remove).collect();
        let count = changes.len();
        Ok(Decision::of(changes, count))
    };
    store.write_own(&Actor::system("sweep"), decide).await
}
