//! Step 2: event x subscriptions. Deduplicates, matches, writes deliveries in one transaction.
//!
//! ```text
//! [events], sources --stage--> queue --read-index on [control]--> plan ---------------------------> stage: one transaction
//!                    work.rs            (one per batch)            |
//!                                                                   +- crates/sources record -> event, or why not
//!      a partition is ours: restore.rs                              +- deduplicate   seen inside the window? -> repeat
//!      reads [seen]                                                 +- select        application, type, schema, subscriptions
//!                                                                   +- filter        whose filters let the event through
//!                                                                   +- weigh         more than one transaction carries? -> rejected
//!                                                                   +- expand        one delivery per subscription
//!
//! one transaction: [deliveries] + [attempts] (one lifecycle record per event) + [rejected] + [seen] + the source's offsets
//! ```
//!
//! Every record leaves exactly one lifecycle record of its own: matched, repeat or rejected. Beside it, and rate-limited, stand
//! those of filters that failed and of types to be declared. Everything but `restore.rs` and `read_index.rs` is pure and takes
//! `now`.
//!
//! What it leaves to others: what a subscription wants (crates/catalog), rebalances, transactions and hand-over
//! (crates/stage), the attempt itself (delivery-worker).

mod config;
mod deduplicate;
mod error;
mod expand;
mod filter;
mod metrics;
mod owners;
mod plan;
mod queue;
mod read_index;
mod restore;
mod select;
mod status;
mod weigh;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::Catalog;
use chassis::config::{KafkaConfig, Role};
use chassis::health::Health;
use chassis::metrics::Registry;
use chassis::shutdown::Shutdown;
use chassis::status::{Teller, TellerOptions};
use kafka::{Connection, Offsets, Pace};
use schemas::topics::Topics;

pub use config::{FanoutConfig, Source, StartAt};
pub use error::Error;

use self::config::{GIVE_UP_BYTES, PACE_CAP, PACE_FACTOR, PACE_FLOOR, max_age};
use self::deduplicate::{Identities, Limits};
use self::error::doing;
use self::expand::Expander;
use self::metrics::FanoutMetrics;
use self::owners::Owners;
use self::plan::Planner;
use self::queue::Queue;
use self::restore::Restorer;
use self::status::Pulse;
use self::weigh::EventLimits;
use self::work::FanoutWork;

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
    /// Gets a latch (`fanout partitions`) and two beats.
    pub health: Health,
    /// The grace period of the process.
    pub grace: Duration,
}

/// Runs the role until shutdown is requested and what was begun is committed.
///
/// # Errors
/// What no waiting heals: see [`Error`]. The process should end then; everything not committed is done again by others.
pub async fn run(config: FanoutConfig, deps: Deps, shutdown: Shutdown) -> Result<(), Error> {
    let latch = Some(deps.health.latch("fanout partitions"));
    let teller = Teller::start(TellerOptions::of(Role::Fanout, &deps.connection, &deps.topics, &deps.kafka));
    teller.tell(status::waiting_for_control());
    // Matching against a snapshot that has not caught up would miss subscriptions; nothing is consumed before.
    tokio::select! {
        () = deps.catalog.caught_up() => {}
        () = shutdown.requested() => {
            teller.end().await;
            return Ok(());
        }
    }
    let work = work(&config, &deps).await?;
    let options = stage::Options { latch, teller: Some(teller), ..options(&config, &deps) };
    let Deps { connection, kafka, topics, registry, health, .. } = deps;
    let deps = stage::Deps { connection, kafka, topics, registry, health };
    Ok(stage::run(options, deps, work, shutdown).await?)
}

async fn work(config: &FanoutConfig, deps: &Deps) -> Result<FanoutWork, Error> {
    let offsets = Offsets::start(&deps.connection).map_err(doing("starting the offsets client"))?;
    let seen_topic = &deps.topics.seen;
    let seen_partitions = offsets.partitions(seen_topic).await.map_err(doing("looking for the topic `seen`"))?;
    let seen_partitions = seen_partitions.ok_or_else(|| Error::NoTopic { topic: Arc::clone(seen_topic) })?;
    let identities = Identities::new(Limits::new(config.dedup_window, config.dedup_ids));
    let expander = Expander::new(deps.topics.clone(), max_age(config)?);
    let limits = EventLimits { matches: config.max_matches, bytes: config.event_bytes };
    Ok(FanoutWork {
        catalog: deps.catalog.clone(),
        metrics: FanoutMetrics::new(&deps.registry)?,
        restorer: Restorer {
            connection: deps.connection.clone(),
            offsets,
            seen_topic: Arc::clone(seen_topic),
            seen_partitions,
            transaction_timeout: deps.kafka.transaction_timeout,
            identities,
            sources: deps.sources.iter().map(|source| (Arc::clone(&source.topic), source.start)).collect(),
        },
        planner: Planner::new(expander.clone(), limits, Owners::new(config.organization_id, &deps.sources)),
        expander,
        seen_partitions,
        seen: BTreeMap::new(),
        queue: Queue::default(),
        index: None,
        is_answered: false,
        pulse: Pulse::default(),
        planned_boot_ms: chassis::clock::boot_ms(),
    })
}

fn options(config: &FanoutConfig, deps: &Deps) -> stage::Options {
    let topics = &deps.topics;
    let sources = deps.sources.iter().map(|source| source.topic.to_string());
    let reads = std::iter::once(topics.events.to_string()).chain(sources).collect();
    let writes = [&topics.deliveries, &topics.attempts, &topics.rejected, &topics.seen];
    stage::Options {
        writes: writes.map(Arc::clone).to_vec(),
        live_records: config.live_records,
        live_bytes: config.live_bytes,
        batch: stage::BatchLimits { records: config.batch_records, bytes: config.batch_bytes },
        pace: Pace::new(PACE_FACTOR, PACE_FLOOR, PACE_CAP),
        is_paced_by_fill: true,
        give_up_bytes: Some(GIVE_UP_BYTES),
        grace: deps.grace,
        ..stage::Options::of(Role::Fanout, &deps.kafka, reads)
    }
}
