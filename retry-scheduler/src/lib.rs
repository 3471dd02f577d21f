//! Step 4: waits until a delivery is due and promotes it.
//!
//! ```text
//! [retry.5s] --+                       due.rs    when may the head of each partition move?
//! [retry.20s] -+--Poller--> lines -----wait.rs   (in memory, at most the look-ahead per partition)
//! [retry.2m] --+              |
//!    ...                      | head is ready
//!                             v
//!                promote.rs   remaining >= a tier ----> [retry.<largest tier that fits>]
//!                             remaining below all ----> [deliveries], keyed by subscription; the delivery worker waits it out
//!                             budget is used up ------> [retry.<smallest>], once more
//!                             not a delivery ---------> [rejected] + a lifecycle record
//!                             |
//!                           Writer: outputs and offsets in one transaction
//! ```
//!
//! A tier has one constant delay and its topics carry the broker's time, so a partition is in due order and waiting for its
//! head is exact. Every `retry.*` topic that exists is read, so a tier that left the configuration still drains.
//!
//! What it leaves to others: how long to wait (crates/retry, asked by the delivery worker), whether the subscription still
//! exists (delivery-worker): this role needs no catalog.

mod batch;
mod config;
mod due;
mod error;
mod metrics;
mod promote;
mod tiers;
mod wait;
mod worker;

use chassis::config::KafkaConfig;
use chassis::health::Health;
use chassis::metrics::Registry;
use chassis::shutdown::Shutdown;
use kafka::Connection;
use schemas::topics::Topics;

pub use config::RetryConfig;
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
    /// Gets the role's metrics.
    pub registry: Registry,
    /// Gets a latch (`partitions`) and a beat (the poll thread).
    pub health: Health,
}

/// Runs the role until shutdown is requested and what was begun is committed.
///
/// # Errors
/// What no waiting heals: see [`Error`]. The process should end then; everything not committed is done again by others.
pub async fn run(config: RetryConfig, deps: Deps, shutdown: Shutdown) -> Result<(), Error> {
    worker::Worker::start(config, deps).await?.run(shutdown).await
}
