//! Step 3: deliveries become signed requests, and their outcomes become records.
//!
//! ```text
//! [deliveries] --stage--> work --> work/intake --> engine (pure): lanes/{queue, cap, rate, breaker, pace, egress}
//!                                                    | whose turn is it, and is it time?
//!                                                    v
//!                    attempts: targets --> request --> client --> classify   one task per attempt
//!                                                    |             |
//!                                                    |             +--> resolve: name --> addresses that may be dialled
//!                                                    v
//!                    work/ends: settle --> report --> stage: one transaction
//!                                                       [retry.<delay>] [dead-letters] [attempts] [rejected] + offsets
//! ```
//!
//! All deliveries of one subscription are in one partition, so its lane is local to one owner. No record holds its partition
//! for long: it leaves as delivered, retried, dead-lettered, cancelled or parked.
//!
//! What it leaves to others: matching (fan-out), waiting (retry scheduler), acting on a 410 (control plane), leases and
//! transactions (crates/stage).

mod attempts;
mod auth;
#[cfg(test)]
mod book;
mod classify;
mod client;
mod config;
mod engine;
mod error;
mod lanes;
#[cfg(test)]
mod lists;
mod metrics;
mod report;
mod request;
mod resolve;
mod settle;
mod slots;
mod targets;
#[cfg(test)]
mod testing;
mod work;

use std::sync::Arc;
use std::time::Duration;

use catalog::Catalog;
use chassis::clock;
use chassis::config::{DeliveryConfig, KafkaConfig, Role};
use chassis::health::Health;
use chassis::shutdown::Shutdown;
use chassis::status::{Teller, TellerOptions};
use kafka::Connection;
use prometheus::Registry;
use schemas::topics::Topics;
use target::TargetPolicy;

pub use self::error::{Error, TlsError};

use self::client::{Client, Tls};
use self::config::Settings;
use self::metrics::DeliveryMetrics;
use self::resolve::Resolver;
use self::work::DeliveryWork;

/// What the role stands on.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Which targets may be called.
    pub targets: TargetPolicy,
    /// Where Kafka is.
    pub connection: Connection,
    /// Names under which this process appears there, and its time limits.
    pub kafka: KafkaConfig,
    /// Names of the topics.
    pub topics: Topics,
    /// Subscriptions.
    pub catalog: Catalog,
    /// Gets `hookbus_delivery_*`.
    pub registry: Registry,
    /// Gets a latch `delivery partitions` and two beats.
    pub health: Health,
    /// How long draining may take after a request to stop.
    pub grace: Duration,
}

/// Runs the delivery worker until `shutdown` is requested and everything in flight has ended.
///
/// # Errors
/// What makes it impossible to go on; the process ends with it.
pub async fn run(config: DeliveryConfig, deps: Deps, shutdown: Shutdown) -> Result<(), Error> {
    let Deps { targets, connection, kafka, topics, catalog, registry, health, grace } = deps;
    let settings = Settings::new(&config, targets)?;
    let metrics = DeliveryMetrics::new(&registry)?;
    let tls = Tls::new(config.ca_file.as_deref())?;
    let resolver = Resolver::new(settings.targets.clone(), &config.dns_servers);
    let client = Client::new(resolver, settings.client, tls.plain()?);
    // Taken here, so that no moment between the catalog's latch and the stage's counts as ready.
    let latch = health.latch("delivery partitions");
    // A subscription that is not there counts as deleted, which is true only of a snapshot that has caught up.
    tokio::select! {
        () = catalog.caught_up() => {}
        () = shutdown.requested() => return Ok(()),
    }
    tracing::info!(concurrency = config.concurrency, allow_http = config.allow_http, "requests will be sent");
    let outputs = [&topics.deliveries, &topics.dead_letters, &topics.attempts, &topics.rejected].map(Arc::clone);
    let options = stage::Options {
        writes: outputs.into_iter().chain(config.tiers.iter().map(|(name, _)| topics.retry(name))).collect(),
        live_records: config.live_records,
        live_bytes: config.live_bytes,
        batch: settings.batch,
        order: stage::Order::AnyOrder,
        is_gated: true,
        grace,
        latch: Some(latch),
        teller: Some(Teller::start(TellerOptions::of(Role::Delivery, &connection, &topics, &kafka))),
        ..stage::Options::of(Role::Delivery, &kafka, vec![topics.deliveries.to_string()])
    };
    let work = DeliveryWork::new(settings, catalog, topics.clone(), (client, tls), metrics, clock::instant());
    let deps = stage::Deps { connection, kafka, topics, registry, health };
    Ok(stage::run(options, deps, work, shutdown).await?)
}
