//! Step 3: deliveries become signed requests, and their outcomes become records.
//!
//! ```text
//! [deliveries] --stage--> work --> work/intake --> engine (pure): lanes/{queue, cap, congestion, rate, breaker, origin}
//!      ^                                              | whose turn is it? No room: listed --> book --> [lanes]
//!      +------------- work/readback: its turn is near <--+
//!                                                    v
//!                    attempts: targets --> request --> client --> classify                one task per attempt
//!                                                    |     pool: connections, kept and shared <-- resolve: who may be dialled
//!                                                    |
//!                                                    v
//!                    work/ends: settle --> report --> stage: one transaction
//!                                                       [retry.<delay>] [lanes] [dead-letters] [attempts] [rejected] + offsets
//! ```
//!
//! All deliveries of one subscription are in one partition, so its lane is local to one owner. No record holds its partition
//! for long: it leaves as delivered, retried, dead-lettered or cancelled, or is listed: it stays where it is, its offset waits on
//! `lanes`, and it is read back when its turn comes. Waiting for a lane writes no payload, however long, however often.
//!
//! What it leaves to others: matching (fan-out), waiting (retry scheduler), acting on a 410 (control plane), leases and
//! transactions (crates/stage).

mod attempts;
mod auth;
mod book;
mod classify;
mod client;
mod config;
mod engine;
mod error;
mod flaws;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod lanes;
mod lists;
mod metrics;
pub mod operator;
mod pool;
mod report;
mod request;
mod resolve;
mod settle;
mod slots;
mod steady;
mod targets;
#[cfg(test)]
mod testing;
mod told;
mod work;

use std::sync::Arc;
use std::time::Duration;

use catalog::Catalog;
use chassis::clock;
use chassis::config::{DeliveryConfig, KafkaConfig, Role};
use chassis::health::Health;
use chassis::shutdown::Shutdown;
use chassis::status::{Teller, TellerOptions};
use kafka::topics::until_answered;
use kafka::{Connection, KafkaError, ListsRestorer, Offsets};
use prometheus::Registry;
use schemas::topics::Topics;
use target::TargetPolicy;

pub use self::error::{BookError, Error, TlsError};

use self::client::{Client, Tls};
use self::config::Settings;
use self::metrics::{DeliveryMetrics, EndpointMetrics};
use self::resolve::TargetResolver;
use self::work::{Books, DeliveryWork, LaneEnds, ReadBack};

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
    let mut settings = Settings::new(&config, targets)?;
    settings.client.pool = pool::fit_descriptors(settings.client.pool);
    settings.rules.look_ahead.budget = kafka.live_budget_bytes;
    let metrics = DeliveryMetrics::new(&registry)?;
    metrics.in_flight_limit.set(i64::try_from(config.concurrency).unwrap_or(i64::MAX));
    let endpoints = EndpointMetrics::new(&registry, config.endpoint_metrics)?;
    let tls = Tls::new(config.ca_file.as_deref())?;
    let resolver = TargetResolver::new(settings.targets.clone(), &config.dns_servers).through(config.egress_proxy);
    let client = Client::new(resolver, settings.client, tls.plain()?);
    // Taken here, so that no moment between the catalog's latch and the stage's counts as ready.
    let latch = health.latch("delivery partitions");
    let retention = tokio::select! {
        retention = retention(&connection, &topics) => retention.map_err(Error::Lists)?,
        () = shutdown.requested() => return Ok(()),
    };
    settings.rules.keep_ms = keep_ms(retention.as_deref());
    let offsets = Offsets::start(&connection).map_err(Error::Lists)?;
    let lists = ListsRestorer::new(&connection, offsets.clone(), Arc::clone(&topics.lanes), kafka.transaction_timeout);
    let read_back = ReadBack::start(&connection, config.read_back_bytes)?;
    let (books, lane_ends) = (Books::new(topics.clone(), Some(lists)), LaneEnds::new(offsets));
    // A subscription that is not there counts as deleted, which is true only of a snapshot that has caught up.
    tokio::select! {
        () = catalog.caught_up() => {}
        () = shutdown.requested() => return Ok(()),
    }
    tracing::info!(concurrency = config.concurrency, allow_http = config.allow_http, "requests will be sent");
    let outputs =
        [&topics.deliveries, &topics.lanes, &topics.dead_letters, &topics.attempts, &topics.rejected].map(Arc::clone);
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
    let work = DeliveryWork::new(
        settings,
        catalog,
        (books, lane_ends, read_back),
        (client, tls),
        (metrics, endpoints),
        clock::instant(),
    );
    let deps = stage::Deps { connection, kafka, topics, registry, health };
    Ok(Box::pin(stage::run(options, deps, work, shutdown)).await?)
}

/// Makes sure that the lists of each partition have a place, and reads how long `deliveries` keeps its records. Waits while Kafka is away.
async fn retention(connection: &Connection, topics: &Topics) -> Result<Option<String>, KafkaError> {
    let alike = [&*topics.deliveries, &*topics.lanes];
    until_answered(|| kafka::topics::require_alike(connection, alike)).await?;
    until_answered(|| kafka::topics::setting(connection, &topics.deliveries, "retention.ms")).await
}

/// How long a delivery may wait in `deliveries` with this retention: a day less, or half of one that is shorter than two.
fn keep_ms(retention: Option<&str>) -> Option<i64> {
    const DAY_MS: i64 = 86_400_000;
    let retention_ms = retention?.parse::<i64>().ok().filter(|retention_ms| *retention_ms >= 0)?;
    Some(retention_ms - DAY_MS.min(retention_ms / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_waits_until_its_record_is_deleted() {
        assert_eq!(keep_ms(Some("1209600000")), Some(13 * 86_400_000));
        assert_eq!(keep_ms(Some("120000")), Some(60_000));
        assert_eq!((keep_ms(Some("-1")), keep_ms(None), keep_ms(Some("?"))), (None, None, None));
    }
}
