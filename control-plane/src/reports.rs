//! What workers say in `attempts` and the control plane acts on: an endpoint that is gone or fails for too long disables its
//! subscription, an event type that was seen is declared where its application wants that. What the operator wants to hear of
//! (`crate::operations`) is written with the progress.
//!
//! ```text
//! [attempts] --stage (group of all replicas)--> work.rs: concerns us? --> act.rs: Store, over the snapshot (see decide.rs)
//!                                                  | no, or acted on
//!                                                  v
//!                                          stage: offsets, and operational events, in one transaction
//! ```
//!
//! Acting twice does no harm (a change since the report wins), so a crash between the act and the commit costs nothing.

mod act;
mod decide;
mod work;

use std::sync::Arc;
use std::time::Duration;

use chassis::config::Role;
use kafka::Pace;
use stage::{BatchLimits, Order};

pub(crate) use self::act::Acting;
use self::work::ReportsWork;
use crate::config::Deps;
use crate::error::Error;
use crate::operations::Operations;

/// Offsets are committed this often while there is little to read: what is read again after a crash costs nothing but reading.
const COMMIT_PERIOD: Duration = Duration::from_secs(5);
/// Records of one partition read and not committed: they hold no memory once they are looked at.
const LIVE_RECORDS: usize = 4_000;
/// Records whose offsets are committed at once, however early.
const BATCH_RECORDS: usize = 2_000;

/// Reads reports until shutdown is requested.
pub(crate) async fn run(deps: Deps, acting: Acting, operations: Option<Operations>) -> Result<(), Error> {
    let shutdown = deps.tasks.shutdown().clone();
    tokio::select! {
        () = deps.catalog.caught_up() => {}
        () = shutdown.requested() => return Ok(()),
    }
    let options = stage::Options {
        live_records: LIVE_RECORDS,
        batch: BatchLimits { records: BATCH_RECORDS, ..BatchLimits::default() },
        order: Order::InOrder,
        pace: Pace::new(1.0, COMMIT_PERIOD, COMMIT_PERIOD),
        // The API serves without it.
        latch: None,
        writes: operations.iter().map(|operations| Arc::clone(operations.topic())).collect(),
        ..stage::Options::of(Role::Control, &deps.kafka, vec![deps.topics.attempts.to_string()])
    };
    let Deps { connection, kafka, topics, registry, health, .. } = deps;
    let deps = stage::Deps { connection, kafka, topics, registry, health };
    Ok(stage::run(options, deps, ReportsWork::new(acting, operations), shutdown).await?)
}
