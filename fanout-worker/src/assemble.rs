//! The two intakes, put together from what they share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chassis::clock;
use chassis::config::Role;
use chassis::shutdown::Shutdown;
use chassis::status::{Teller, TellerOptions};
use chassis::tasks;
use kafka::{Offsets, Pace};
use schema_registry::{CacheLimits, SchemaCache, SchemaCompiler, SchemaFetcher};
use stage::{StageError, StageMetrics};
use tokio::sync::watch;
use tracing::{error, info};

use crate::Deps;
use crate::config::{FanoutConfig, GIVE_UP_BYTES, HELD_FOR, PACE_CAP, PACE_FACTOR, PACE_FLOOR, SourcesConfig, max_age};
use crate::cursors::Cursors;
use crate::deduplicate::{Identities, Limits};
use crate::error::{Error, doing};
use crate::expand::Expander;
use crate::intake::{RouteLimits, SourceRoutes, SourcesFollower, SourcesIntake, SourcesTeller};
use crate::metrics::FanoutMetrics;
use crate::owners::Owners;
use crate::plan::Planner;
use crate::queue::Queue;
use crate::restore::Restorer;
use crate::retried::RetriedIntake;
use crate::status::Pulse;
use crate::weigh::EventLimits;
use crate::work::FanoutWork;

/// First part of the names of the sources' beats and metrics.
pub(crate) const SOURCES: &str = "sources";

/// What both intakes stand on.
#[derive(Clone, Debug)]
pub(crate) struct SharedParts {
    config: Arc<FanoutConfig>,
    deps: Deps,
    metrics: FanoutMetrics,
    offsets: Offsets,
    identities: Identities,
    expander: Expander,
    seen_partitions: i32,
    /// For records of sources, also for those that are retried.
    schemas: SchemaCache,
    /// Most bytes that a record is decoded to.
    decoded_limit: usize,
}

// === impl SharedParts ===

impl SharedParts {
    pub(crate) async fn new(config: FanoutConfig, sources: &SourcesConfig, deps: Deps) -> Result<Self, Error> {
        let offsets = Offsets::start(&deps.connection).map_err(doing("starting the offsets client"))?;
        let seen_topic = &deps.topics.seen;
        let seen_partitions = offsets.partitions(seen_topic).await.map_err(doing("looking for the topic `seen`"))?;
        let seen_partitions = seen_partitions.ok_or_else(|| Error::NoTopic { topic: Arc::clone(seen_topic) })?;
        Ok(Self {
            metrics: FanoutMetrics::new(&deps.registry)?,
            offsets,
            identities: Identities::new(Limits::new(config.dedup_window, config.dedup_ids)),
            expander: Expander::new(deps.topics.clone(), max_age(&config)?),
            seen_partitions,
            schemas: SchemaCache::new(cache_limits(sources)),
            decoded_limit: sources.decoded_limit,
            config: Arc::new(config),
            deps,
        })
    }

    pub(crate) fn stage_deps(&self) -> stage::Deps {
        let Deps { connection, kafka, topics, registry, health, .. } = self.deps.clone();
        stage::Deps { connection, kafka, topics, registry, health }
    }

    pub(crate) fn events_work(&self) -> FanoutWork {
        self.work(None)
    }

    pub(crate) fn events_options(&self) -> stage::Options {
        let Deps { topics, kafka, .. } = &self.deps;
        let writes = [&topics.deliveries, &topics.attempts, &topics.dead_letters, &topics.rejected, &topics.seen];
        stage::Options {
            writes: writes.map(Arc::clone).to_vec(),
            live_records: self.config.live_records,
            live_bytes: self.config.live_bytes,
            batch: stage::BatchLimits { records: self.config.batch_records, bytes: self.config.batch_bytes },
            pace: Pace::new(PACE_FACTOR, PACE_FLOOR, PACE_CAP),
            is_paced_by_fill: true,
            give_up_bytes: Some(GIVE_UP_BYTES),
            grace: self.deps.grace,
            ..stage::Options::of(Role::Fanout, kafka, vec![topics.events.to_string(), topics.retried.to_string()])
        }
    }

    /// The same under names of its own, without topics yet, and no failure of one ends it.
    fn sources_options(&self) -> stage::Options {
        let kafka = &self.deps.kafka;
        stage::Options {
            name: SOURCES,
            group: kafka.sources_group(),
            transactional_id: kafka.sources_id(),
            client_id: kafka.sources_id(),
            reads: Vec::new(),
            fails_alone: true,
            ..self.events_options()
        }
    }

    fn work(&self, intake: Option<SourcesIntake>) -> FanoutWork {
        let (config, deps) = (&self.config, &self.deps);
        let limits = EventLimits {
            matches: config.max_matches,
            bytes: config.max_expansion_bytes,
            slice_records: config.slice_records,
            slice_bytes: config.slice_bytes,
        };
        FanoutWork {
            catalog: deps.catalog.clone(),
            metrics: self.metrics.clone(),
            restorer: Restorer {
                connection: deps.connection.clone(),
                offsets: self.offsets.clone(),
                seen_topic: Arc::clone(&deps.topics.seen),
                seen_partitions: self.seen_partitions,
                transaction_timeout: deps.kafka.transaction_timeout,
                identities: self.identities.clone(),
                is_of_sources: intake.is_some(),
            },
            planner: Planner::new(self.expander.clone(), limits, Owners::new(config.organization_id)),
            expander: self.expander.clone(),
            seen_partitions: self.seen_partitions,
            retried: intake.is_none().then(|| {
                let topics = (Arc::clone(&deps.topics.retried), Arc::clone(&deps.topics.events));
                RetriedIntake::new(topics, deps.catalog.clone(), self.schemas.clone(), self.decoded_limit)
            }),
            intake,
            seen: BTreeMap::new(),
            cursors: Cursors::default(),
            queue: Queue::default(),
            crowded: VecDeque::new(),
            index: None,
            is_answered: false,
            pulse: Pulse::default(),
            planned_boot_ms: clock::boot_ms(),
        }
    }
}

/// Runs the intake of sources from when there is one, until shutdown is requested and what was begun is committed. What the cluster
/// does not permit it is waited for: `events` goes on. Where it is alone in its process it says how that is doing.
///
/// # Errors
/// What no waiting heals.
pub(crate) async fn run_sources(
    common: SharedParts,
    config: SourcesConfig,
    tells: Option<(TellerOptions, Teller)>,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let mut changes = common.deps.catalog.sources_changed();
    loop {
        changes.borrow_and_update();
        // What is disabled too: its offsets are kept while somebody owns its partitions.
        if config.enabled && !common.deps.catalog.sources().is_empty() {
            break;
        }
        tokio::select! {
            // An error is the catalog's end, and with it the process's.
            _changed = changes.changed() => {}
            () = shutdown.requested() => {
                if let Some((_, teller)) = tells {
                    teller.end().await;
                }
                return Ok(());
            }
        }
    }
    info!("there are sources: their intake begins");
    Box::pin(keep_running_sources(&common, &config, tells, shutdown)).await
}

/// Fetches the schemas that records need, until shutdown is requested.
///
/// # Errors
/// The task ended.
pub(crate) async fn fetch_schemas(common: &SharedParts, shutdown: Shutdown) -> Result<(), Error> {
    let (schemas, catalog) = (common.schemas.clone(), common.deps.catalog.clone());
    let mut fetching =
        tasks::spawn("schema fetcher", SchemaFetcher::new(schemas, catalog, SchemaCompiler::default()).run());
    let ended = tokio::select! {
        () = shutdown.requested() => Ok(()),
        // It runs until it is aborted: only a panic ends it before, and every schema would be "being asked for" from then on.
        ended = &mut fetching => {
            let how = ended.err().map_or_else(|| "in a way of its own".to_owned(), |error| error.to_string());
            Err(Error::Intake { reason: format!("the task that fetches schemas ended: {how}") })
        }
    };
    fetching.abort();
    ended
}

async fn keep_running_sources(
    common: &SharedParts,
    config: &SourcesConfig,
    tells: Option<(TellerOptions, Teller)>,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let (telling, mut teller) = tells.unzip();
    let mut deps = common.stage_deps();
    deps.kafka.live_budget_bytes = config.live_bytes;
    // One for all tries: what is counted is shown whichever of them got through.
    let metrics = StageMetrics::new(&deps.registry, SOURCES)?;
    // One of its own: takeovers of `events` do not wait behind questions about other people's topics, whose leaders may be silent.
    let offsets = Offsets::start(&deps.connection).map_err(doing("starting the offsets client of sources"))?;
    loop {
        let teller = teller.take().or_else(|| telling.clone().map(Teller::start));
        let options = stage::Options { metrics: Some(metrics.clone()), teller, ..common.sources_options() };
        let ended =
            Box::pin(try_run_sources(common, config, (options, deps.clone(), offsets.clone()), shutdown.clone())).await;
        let Err(failed) = ended else { return Ok(()) };
        if !is_denied(&failed) {
            return Err(failed.into());
        }
        // What it says once lasts; the gauge says it for as long as it is so.
        metrics.shut_out();
        error!(error = %chassis::telemetry::chain(&failed), "the cluster does not let sources be read: tried again, and `events` goes on");
        tokio::select! {
            () = tokio::time::sleep(HELD_FOR) => {}
            () = shutdown.requested() => return Ok(()),
        }
    }
}

async fn try_run_sources(
    common: &SharedParts,
    config: &SourcesConfig,
    (options, deps, offsets): (stage::Options, stage::Deps, Offsets),
    shutdown: Shutdown,
) -> Result<(), StageError> {
    let (newest, routes) = watch::channel(Arc::new(SourceRoutes::default()));
    let (health, told) = watch::channel(Arc::default());
    let follower = SourcesFollower {
        catalog: common.deps.catalog.clone(),
        offsets: offsets.clone(),
        limits: RouteLimits {
            own_prefix: config.own_prefix.clone(),
            partitions: config.max_partitions,
            decoded: common.decoded_limit,
        },
        refresh: config.refresh,
        newest,
    };
    let teller = SourcesTeller {
        connection: deps.connection.clone(),
        client_id: deps.kafka.sources_id(),
        topic: Arc::clone(&deps.topics.status),
        instance: deps.kafka.slot.clone(),
        health: told,
        offsets,
    };
    let following = tasks::spawn("sources follower", follower.run());
    let telling = tasks::spawn("sources teller", teller.run());
    let intake = SourcesIntake::new(routes, health, common.schemas.clone(), clock::now_ms());
    let work = common.work(Some(intake));
    let ended = Box::pin(stage::run(options, deps, work, shutdown)).await;
    following.abort();
    // It takes back what it told, once the work is gone.
    if tokio::time::timeout(TELLER_ENDS_WITHIN, telling).await.is_err() {
        info!("the last word on sources was not told");
    }
    ended
}

/// What bounds the cache of schemas.
fn cache_limits(config: &SourcesConfig) -> CacheLimits {
    CacheLimits { bytes: config.schema_cache_bytes, grace: config.schema_not_found_grace, ..CacheLimits::default() }
}

/// How long the last word on `status` may take.
const TELLER_ENDS_WITHIN: Duration = Duration::from_secs(5);

/// Whether it is a permission that is missing.
fn is_denied(error: &StageError) -> bool {
    matches!(error, StageError::Kafka { source, .. } if source.is_denied())
}
