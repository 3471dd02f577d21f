//! Step 2: event x subscriptions. Deduplicates, matches, writes deliveries in one transaction.
//!
//! ```text
//! [events], sources --Poller--> queue --read-index on [control]--> plan --------------------------> batch --Writer--> commit
//!                     worker.rs          (one per batch)            |                                batch.rs, commit.rs
//!                                                                   +- sources/      record -> event, or why not
//!      Assigned: restore.rs                                         +- deduplicate   seen inside the window? -> repeat
//!      takes over, reads [seen]                                     +- select        application, type, schema, subscriptions
//!                                                                   +- filter        whose filters let the event through
//!                                                                   +- expand        one delivery per subscription
//!
//! one transaction: [deliveries] + [attempts] (one lifecycle record per event) + [rejected] + [seen] + the source's offsets
//! ```
//!
//! Every record leaves exactly one lifecycle record of its own: matched, repeat or rejected. Beside it, and rate-limited, stand
//! those of filters that failed and of types to be declared. Everything between the queue and the batch
//! is pure and takes `now`; the worker around it only waits. While one batch commits, the next one is planned.
//!
//! What it leaves to others: what a subscription wants (crates/catalog), rebalances and transactions (crates/kafka), the
//! attempt itself (delivery-worker).

mod batch;
mod commit;
mod config;
mod deduplicate;
mod error;
mod expand;
mod filter;
mod metrics;
mod plan;
mod queue;
mod report;
mod restore;
mod select;
mod sources;
mod worker;

use catalog::Catalog;
use chassis::config::KafkaConfig;
use chassis::health::Health;
use chassis::metrics::Registry;
use chassis::shutdown::Shutdown;
use kafka::Connection;
use schemas::topics::Topics;

pub use config::{FanoutConfig, Source, StartAt};
pub use error::Error;

/// What the role stands on.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Where Kafka is.
    pub connection: Connection,
    /// Names and timeouts: group, slot, session, transaction, hand-over.
    pub kafka: KafkaConfig,
    /// Names of our topics.
    pub topics: Topics,
    /// The user's own topics that are sources of events, beside `events`.
    pub sources: Vec<Source>,
    /// Who receives what.
    pub catalog: Catalog,
    /// Gets the role's metrics.
    pub registry: Registry,
    /// Gets a latch (`partitions`) and a beat (the poll thread).
    pub health: Health,
}

/// Runs the role until shutdown is requested and what was begun is committed.
///
/// # Errors
/// What no waiting heals: see [`Error`]. The process should end then; everything not committed is done again by others.
pub async fn run(config: FanoutConfig, deps: Deps, shutdown: Shutdown) -> Result<(), Error> {
    // Not ready between the catalog's latch and the worker's own.
    let starting = deps.health.latch("fanout");
    let report = report::Report::start(&deps);
    // Matching against a snapshot that has not caught up would miss subscriptions; nothing is consumed before.
    tokio::select! {
        () = deps.catalog.caught_up() => {}
        () = shutdown.requested() => {
            report.end().await;
            return Ok(());
        }
    }
    let worker = worker::Worker::start(config, deps, report).await?;
    starting.release();
    worker.run(shutdown).await
}
