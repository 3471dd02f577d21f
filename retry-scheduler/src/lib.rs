//! Step 4: waits until a delivery is due and promotes it.
//!
//! ```text
//! [retry.5s] --+                       due.rs    when may a record move?
//! [retry.20s] -+--stage --> lines -----wait.rs   (in memory, at most the look-ahead per partition)
//! [retry.2m] --+              |
//!    ...                      | head is ready
//!                             v
//!                promote.rs   remaining >= a tier ----> [retry.<largest tier that fits>]
//!                             due --------------------> [deliveries], keyed by subscription
//!                             not a delivery ---------> [rejected] + a lifecycle record
//!                             |
//!                           stage: outputs and offsets in one transaction
//! ```
//!
//! A tier has one constant delay and its topics carry the broker's time, so a partition is nearly in due order; what remains below
//! every tier is waited out in memory, among the records of the look-ahead. Nothing is promoted early, and nothing is held back:
//! what is too much for a lane waits in its list. Every `retry.*` topic that exists is read, so a tier that left the configuration still drains.
//!
//! What it leaves to others: how long to wait (crates/retry, asked by the delivery worker), whether the subscription still
//! exists (delivery-worker): this role needs no catalog.

mod config;
mod due;
mod error;
mod metrics;
mod promote;
mod tiers;
mod wait;
mod work;

use std::sync::Arc;
use std::time::Duration;

use chassis::config::{KafkaConfig, Role};
use chassis::health::Health;
use chassis::metrics::Registry;
use chassis::shutdown::Shutdown;
use chassis::status::{Teller, TellerOptions};
use kafka::Connection;
use schemas::topics::Topics;

pub use config::RetryConfig;
pub use error::Error;

use self::metrics::RetryMetrics;
use self::promote::Promoter;
use self::tiers::Tiers;
use self::wait::Lines;
use self::work::RetryWork;

/// What the role stands on.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Where Kafka is.
    pub connection: Connection,
    /// Names and timeouts: group, slot, session, transaction, hand-over.
    pub kafka: KafkaConfig,
    /// Names of our topics.
    pub topics: Topics,
    /// Gets the role's metrics.
    pub registry: Registry,
    /// Gets a latch (`retry partitions`) and two beats.
    pub health: Health,
    /// How long draining may take after a request to stop.
    pub grace: Duration,
}

/// Runs the role until shutdown is requested and what was begun is committed.
///
/// # Errors
/// What no waiting heals: see [`Error`]. The process should end then; everything not committed is done again by others.
pub async fn run(config: RetryConfig, deps: Deps, shutdown: Shutdown) -> Result<(), Error> {
    let latch = Some(deps.health.latch("retry partitions"));
    let tiers = Tiers::new(&config.tiers, deps.topics.clone())?;
    let work = RetryWork {
        promoter: Promoter::new(tiers.clone(), deps.topics.clone()),
        metrics: RetryMetrics::new(&deps.registry)?,
        lines: Lines::default(),
        look_ahead_ms: i64::try_from(config.look_ahead_tier.as_millis()).unwrap_or(i64::MAX),
        moved_boot_ms: chassis::clock::boot_ms(),
        outputs: Vec::new(),
        topics: deps.topics.clone(),
        tiers,
    };
    let Deps { connection, kafka, topics, registry, health, grace } = deps;
    let tiers = config.tiers.iter().map(|(name, _)| topics.retry(name));
    let outputs = [&topics.deliveries, &topics.rejected, &topics.attempts].map(Arc::clone);
    let options = stage::Options {
        writes: outputs.into_iter().chain(tiers).collect(),
        live_records: config::LIVE_RECORDS,
        live_bytes: config.look_ahead_bytes,
        order: stage::Order::AnyOrder,
        batch: stage::BatchLimits { records: config.batch_records, bytes: config.batch_bytes },
        teller: Some(Teller::start(TellerOptions::of(Role::Retry, &connection, &topics, &kafka))),
        grace,
        latch,
        ..stage::Options::of(Role::Retry, &kafka, vec![topics.retry_pattern()])
    };
    let deps = stage::Deps { connection, kafka, topics, registry, health };
    Ok(stage::run(options, deps, work, shutdown).await?)
}
