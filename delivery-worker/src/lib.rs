//! Step 3: deliveries become signed requests, and their outcomes become records.
//!
//! ```text
//! [deliveries] --poller--> shell/intake --> engine (pure): lanes/{queue, cap, rate, breaker, pace, egress}
//!                                             | whose turn is it, and is it time?
//!                                             v
//!                          request --> guard --> client --> classify      one task per attempt
//!                                             |
//!                                             v
//!                          settle --> report --> book --> shell/commits --> one transaction:
//!                                                            [retry.<delay>] [dead-letters] [attempts] + offsets
//! ```
//!
//! All deliveries of one subscription are in one partition, so its lane is local to one owner. No record holds its partition
//! for long: it leaves as delivered, retried, dead-lettered, cancelled or parked.
//!
//! What it leaves to others: matching (fan-out), waiting (retry scheduler), acting on a 410 (control plane).

mod auth;
mod book;
mod classify;
mod client;
mod config;
mod engine;
mod error;
mod gate;
mod guard;
mod lanes;
mod metrics;
mod report;
mod request;
mod settle;
mod shell;
mod slots;
#[cfg(test)]
mod testing;

use std::time::Duration;

use catalog::Catalog;
use chassis::config::{DeliveryConfig, KafkaConfig, Role};
use chassis::health::Health;
use chassis::shutdown::Shutdown;
use chassis::status::{Teller, TellerOptions};
use kafka::{Connection, Poller, PollerOptions, Writer, WriterOptions};
use prometheus::Registry;
use schemas::topics::Topics;

pub use self::error::{Error, TlsError};

use self::client::{Client, Tls};
use self::config::{Settings, ms};
use self::metrics::DeliveryMetrics;
use self::report::Reporter;
use self::shell::Parts;

/// What the role stands on.
#[derive(Clone, Debug)]
pub struct Deps {
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
    /// Gets a latch `delivery partitions` and a beat of the poll thread.
    pub health: Health,
    /// How long draining may take after a request to stop.
    pub grace: Duration,
}

/// Runs the delivery worker until `shutdown` is requested and everything in flight has ended.
///
/// # Errors
/// What makes it impossible to go on; the process ends with it.
pub async fn run(config: DeliveryConfig, deps: Deps, shutdown: Shutdown) -> Result<(), Error> {
    let settings = Settings::new(&config, &deps.kafka)?;
    let metrics = DeliveryMetrics::new(&deps.registry)?;
    let tls = Tls::new(config.ca_file.as_deref())?;
    let client = Client::new(&settings.guard, settings.client, tls.plain()?);
    let latch = deps.health.latch("delivery partitions");
    // "Absent" means deleted only in a snapshot that has caught up.
    tokio::select! {
        () = deps.catalog.caught_up() => {}
        () = shutdown.requested() => return Ok(()),
    }
    let group = deps.kafka.group(Role::Delivery);
    let (poller, events) = Poller::start(&deps.connection, poller_options(&config, &deps, &group))
        .map_err(Error::kafka("starting to read deliveries"))?;
    let heartbeat = poller.heartbeat();
    let beat = deps.health.beat("delivery poller", move || heartbeat.age_ms(), ms(deps.kafka.session_timeout));
    let writer = Writer::start(&deps.connection, writer_options(&deps, &group), poller.ownership())
        .await
        .map_err(Error::kafka("starting the transactional writer"))?;
    tracing::info!(
        group,
        transactional.id = deps.kafka.transactional_id(Role::Delivery),
        concurrency = config.concurrency,
        allow_http = config.allow_http,
        "delivery worker started"
    );
    let teller = Teller::start(TellerOptions::of(Role::Delivery, &deps.connection, &deps.topics, &deps.kafka));
    let reporter = Reporter::new(deps.topics, &settings.tier_names, client.headers_limit());
    let parts = Parts {
        settings,
        catalog: deps.catalog,
        client,
        tls,
        poller: poller.clone(),
        events,
        writer,
        reporter,
        metrics,
        teller,
        latch,
        grace: deps.grace,
    };
    let result = shell::run(parts, shutdown).await;
    beat.end();
    poller.close();
    result
}

fn poller_options(config: &DeliveryConfig, deps: &Deps, group: &str) -> PollerOptions {
    let topics = vec![deps.topics.deliveries.to_string()];
    PollerOptions {
        live_records: config.live_records,
        live_bytes: config.live_bytes,
        handover_wait: deps.kafka.handover_wait,
        session_timeout: deps.kafka.session_timeout,
        ..PollerOptions::new(group, topics, deps.kafka.client_id(Role::Delivery))
    }
}

fn writer_options(deps: &Deps, group: &str) -> WriterOptions {
    WriterOptions {
        transaction_timeout: deps.kafka.transaction_timeout,
        message_max_bytes: deps.topics.max_message_bytes,
        ..WriterOptions::new(deps.kafka.transactional_id(Role::Delivery), group)
    }
}
