//! Step 1: one event in. Authenticates, validates, publishes to the events topic.
//!
//! ```text
//! serve (chassis' server) -> gateway: one request goes through
//!
//!   by its head   route -> authenticate (directory) -> query          other routes -> fallback: the control plane's,
//!   its body      body (limits of size, time, memory) -> encoding                    when both roles share a process,
//!                                                                                    else forward: to another process
//!   its events    parse -> validate | cloud_event | batch
//!   each event    ingest -> recent_ids (409) -> limits (429) -> publish (acks=all) -> response (201)
//!
//! beside it       status: tells how the gateway is doing;  replicas: counts the gateways that share the limits
//! ```
//!
//! **201 means acknowledged**: by all in-sync replicas, never before. A repeat of an id whose first record was acknowledged
//! here is a 409; one that is under way waits for its outcome. What this replica does not know is left to the fan-out's
//! deduplication.
//!
//! **Payloads are not touched.** The record's value is a slice of the request's body (or the decoded string), so spaces, key
//! order and escapes reach the endpoint as they were sent.
//!
//! **Nothing is unbounded**: connections, streams, heads, bodies, the bytes of all bodies together, the producer's queue, the
//! memory of recent ids. Beyond a limit the answer is a problem (`application/problem+json`), for Kafka's sake a 503 with
//! `Retry-After`.
//!
//! **A refusal is never stale**: before an unknown token, application or event type is refused, the catalog is brought up to
//! what `control` held when the request came ([`Catalog::read_index`](catalog::Catalog::read_index)).
//!
//! The batch form answers `{"results": [...]}`, one entry per event in order: either the 201's body, or
//! `{"problem": {...}}`.
//!
//! **Limits and quotas** of applications and organizations are counted in this process, each replica its share ([`limits`]): beyond
//! the rate a 429 `RateLimited` with `Retry-After`, beyond the day's quota a 429 `TooManyEventsToday`.
//!
//! What it leaves to others: who gets the event (fan-out).

mod authenticate;
mod batch;
mod body;
mod check_budget;
mod cloud_event;
mod config;
mod cors;
mod directory;
mod encoding;
mod error;
mod fallback;
mod forward;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gateway;
mod ingest;
mod limits;
mod metrics;
mod problem;
mod publish;
mod query;
mod recent_ids;
mod refusals;
mod replicas;
mod response;
mod route;
mod serve;
mod status;

use std::convert::Infallible;
use std::sync::Arc;

use catalog::Catalog;
use chassis::config::KafkaConfig;
use chassis::health::Health;
use chassis::metrics::Registry;
use chassis::server::tls::ListenerTls;
use chassis::shutdown::Shutdown;
use kafka::{Connection, LastingProducer, ProducerOptions, ProducerState};
use schemas::topics::Topics;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use config::GatewayConfig;
pub use error::Error;
pub use fallback::{Fallback, FallbackBody};

use sources::event_body::{json, parse, validate};

use crate::directory::CatalogDirectory;
use crate::forward::Forwarder;
use crate::gateway::Gateway;
use crate::limits::Allowance;
use crate::metrics::GatewayMetrics;
use crate::replicas::{FirstCount, ReplicaCounter};
use crate::status::StatusReporter;

/// What the gateway stands on.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Where Kafka is.
    pub connection: Connection,
    /// Names under which this process appears there.
    pub kafka: KafkaConfig,
    /// Names of the topics.
    pub topics: Topics,
    /// Tokens, applications, event types.
    pub catalog: Catalog,
    /// Gets the metrics.
    pub registry: Registry,
    /// Gets a latch `gateway`, released when events are taken.
    pub health: Health,
    /// Serves what is no event route; without it that is passed on as the configuration says, or a 404.
    pub fallback: Option<Fallback>,
    /// TLS of the listener; without it plain HTTP.
    pub tls: Option<ListenerTls>,
}

/// Serves until the shutdown is requested and what was in flight has been answered.
///
/// # Errors
/// The producer cannot be made or does not empty itself at the end; a metric's name is taken.
pub async fn run(config: GatewayConfig, deps: Deps, listener: TcpListener, shutdown: Shutdown) -> Result<(), Error> {
    let latch = deps.health.latch("gateway");
    let failed = |source| Error::Producer { topic: deps.topics.events.to_string(), source };
    let metrics = GatewayMetrics::new(&deps.registry)?;
    let status = StatusReporter::new(&deps, metrics.clone(), shutdown.clone());
    let options = ProducerOptions {
        linger: config.linger,
        message_timeout: config.message_timeout,
        queue_bytes: config.queue_bytes,
        message_max_bytes: deps.topics.max_message_bytes,
        ..ProducerOptions::new("hookbus-gateway")
    };
    let producer = LastingProducer::start(&deps.connection, options).map_err(failed)?;
    let health = deps.health.clone();
    let default = Allowance { per_second: config.rate_per_second, per_day: config.quota_per_day };
    let directory = CatalogDirectory::new(deps.catalog, &config.admin_keys, default);
    let message_timeout = config.message_timeout;
    let replicas = config.replicas;
    let forwarded = config.forward.clone().filter(|_to| deps.fallback.is_none());
    let forwarder = forwarded.map(|to| Forwarder::new(to, metrics.clone())).transpose()?;
    let gateway = Gateway::new(
        config,
        gateway::GatewayParts {
            topics: deps.topics.clone(),
            directory: Arc::new(directory),
            publisher: Arc::new(producer.clone()),
            fallback: deps.fallback,
            forwarder,
            metrics: metrics.clone(),
        },
    );
    metrics.replicas.set(replicas.unwrap_or(1).into());
    let (counter, counted) = match replicas {
        Some(_) => (None, FirstCount::not_needed()),
        None => {
            let (counter, counted) = ReplicaCounter::new(&deps.connection, &deps.topics, &deps.kafka.slot);
            (Some(counter), counted)
        }
    };
    let limited = Arc::clone(&gateway);
    let serving = serve::serve(gateway, deps.tls, listener, (latch, counted), shutdown);
    tokio::select! {
        () = status.during(serving) => {}
        never = follow(producer.state(), &health, &metrics) => match never {},
        never = replicas::count(counter, limited.limits(), &metrics) => match never {},
    }
    producer.flush(message_timeout).await.map_err(failed)
}

/// Counts replaced producers, and keeps the process unready from a failure until a new one has proved itself.
async fn follow(mut state: watch::Receiver<ProducerState>, health: &Health, metrics: &GatewayMetrics) -> Infallible {
    let mut failed = None;
    let mut counted = 0;
    loop {
        let ProducerState { failure, replaced } = state.borrow_and_update().clone();
        metrics.producers_replaced.inc_by(replaced - counted);
        counted = replaced;
        match (failure, &failed) {
            (Some(_), None) => failed = Some(health.latch("a producer that Kafka accepts")),
            (None, Some(latch)) => {
                latch.release();
                failed = None;
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        if state.changed().await.is_err() {
            // The producer is gone: nothing changes any more.
            return std::future::pending().await;
        }
    }
}
