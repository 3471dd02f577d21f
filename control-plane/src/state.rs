//! What every handler holds.

use std::sync::Arc;
use std::time::Duration;

use catalog::Catalog;
use chassis::body_budget::BodyBudget;
use chassis::config::ControlConfig;
use schemas::topics::Topics;
use secrecy::ExposeSecret as _;
use vault::LookupHash;

use crate::audits::AuditLog;
use crate::config::Deps;
use crate::error::Error;
use crate::health::HealthView;
use crate::jobs::Jobs;
use crate::log::DeliveryLog;
use crate::log::accepted::AcceptedEvents;
use crate::metrics::ControlMetrics;
use crate::pings::Pings;
use crate::rates::Rates;
use crate::rejections::RejectedReader;
use crate::schema_registry::RegistryAsker;
use crate::source::ClusterTopics;
use crate::store::Store;
use crate::turns::{Turns, TurnsLine};
use target::TargetPolicy;

/// Lists of subscriptions that an organization reads at once.
const LISTS: usize = 4;
/// How an organization's writes of jobs wait for each other: as long as one may take, and about as many as are done in that time.
const JOBS: TurnsLine = TurnsLine { wait: Duration::from_secs(8), waiting: 256 };

/// The application state of the router.
#[derive(Debug)]
pub(crate) struct App {
    config: ControlConfig,
    catalog: Catalog,
    policy: TargetPolicy,
    store: Store,
    pings: Pings,
    health: HealthView,
    audits: AuditLog,
    log: DeliveryLog,
    accepted: AcceptedEvents,
    rejected: RejectedReader,
    jobs: Jobs,
    cluster: ClusterTopics,
    topics: Topics,
    registries: RegistryAsker,
    metrics: ControlMetrics,
    admin: Arc<[LookupHash]>,
    rates: Rates,
    turns: AppTurns,
    in_flight: BodyBudget,
}

/// What is looked at beside the catalog: within the instance, and outside it.
type AppViews = (HealthView, AuditLog, LogViews, Jobs, (ClusterTopics, Topics, RegistryAsker));

/// What happened to events and records.
type LogViews = (DeliveryLog, AcceptedEvents, RejectedReader);

/// An organization's turns.
#[derive(Debug)]
pub(crate) struct AppTurns {
    /// At the audit topic.
    pub(crate) audit: Turns,
    /// At rejected records.
    pub(crate) rejected: Turns,
    /// At the delivery log.
    pub(crate) log: Turns,
    /// At lists of subscriptions, which are looked through and whose secrets are opened.
    pub(crate) lists: Turns,
    /// At asking Kafka which topics there are.
    pub(crate) topics: Turns,
    /// At writing what is asked of jobs, and what is erased: one transaction at a time for everybody.
    pub(crate) jobs: Turns,
}

impl App {
    pub(crate) fn new(
        config: ControlConfig,
        deps: &Deps,
        store: Store,
        (health, log, jobs): (HealthView, LogViews, Jobs),
        metrics: ControlMetrics,
    ) -> Result<Self, Error> {
        let pings = Pings::new(Arc::clone(&deps.topics.deliveries));
        let outside = (ClusterTopics::start(deps)?, deps.topics.clone(), RegistryAsker::start());
        let views = (health, AuditLog::start(deps)?, log, jobs, outside);
        Self::of(config, (deps.catalog.clone(), deps.policy.clone()), store, pings, views, metrics)
    }

    /// Without Kafka, for tests of the handlers: nothing is known of health, there is no log, and the audit is what this store
    /// wrote.
    #[cfg(test)]
    pub(crate) fn assemble(
        config: ControlConfig,
        catalog: Catalog,
        policy: TargetPolicy,
        store: Store,
        pings: Pings,
        metrics: ControlMetrics,
    ) -> Result<Self, Error> {
        let log = DeliveryLog::none("it was not started");
        let registries = RegistryAsker::Memory(parking_lot::Mutex::default());
        let topics = schemas::topics::TopicSettings::default().topics();
        let outside = (ClusterTopics::Memory(parking_lot::Mutex::default()), topics.clone(), registries);
        let accepted = AcceptedEvents::new(catalog.clone(), log.clone(), &topics, config.sources.decoded_limit);
        let audits = AuditLog::Memory(store.clone());
        let read = (log, accepted, RejectedReader::in_memory());
        let views = (HealthView::default(), audits, read, Jobs::in_memory(), outside);
        Self::of(config, (catalog, policy), store, pings, views, metrics)
    }

    /// What is made of the configuration alone is made here.
    fn of(
        config: ControlConfig,
        (catalog, policy): (Catalog, TargetPolicy),
        store: Store,
        pings: Pings,
        (health, audits, (log, accepted, rejected), jobs, (cluster, topics, registries)): AppViews,
        metrics: ControlMetrics,
    ) -> Result<Self, Error> {
        let (admin, rates) = (admin(&config, &catalog), Rates::new(config.rates)?);
        let turns = AppTurns::new(config.log.readers);
        let in_flight = BodyBudget::new(config.max_in_flight, metrics.server.body_bytes.clone());
        Ok(Self {
            config,
            catalog,
            policy,
            store,
            pings,
            health,
            audits,
            log,
            accepted,
            rejected,
            jobs,
            cluster,
            topics,
            registries,
            metrics,
            admin,
            rates,
            turns,
            in_flight,
        })
    }

    pub(crate) fn config(&self) -> &ControlConfig {
        &self.config
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub(crate) fn policy(&self) -> &TargetPolicy {
        &self.policy
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// How often one may ping.
    pub(crate) fn pings(&self) -> &Pings {
        &self.pings
    }

    /// How lanes are doing.
    pub(crate) fn health(&self) -> &HealthView {
        &self.health
    }

    /// Who changed what.
    pub(crate) fn audits(&self) -> &AuditLog {
        &self.audits
    }

    /// What is sent again.
    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// What the cluster says of topics.
    pub(crate) fn cluster(&self) -> &ClusterTopics {
        &self.cluster
    }

    /// What Hookbus reads and writes.
    pub(crate) fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Who asks schema registries.
    pub(crate) fn registries(&self) -> &RegistryAsker {
        &self.registries
    }

    /// What happened to events.
    pub(crate) fn log(&self) -> &DeliveryLog {
        &self.log
    }

    /// Accepted events, as they were.
    pub(crate) fn accepted(&self) -> &AcceptedEvents {
        &self.accepted
    }

    /// What could not be used.
    pub(crate) fn rejected(&self) -> &RejectedReader {
        &self.rejected
    }

    /// With this log in place of none.
    #[cfg(test)]
    pub(crate) fn with_log(self, log: DeliveryLog) -> Self {
        let topics = schemas::topics::TopicSettings::default().topics();
        let accepted =
            AcceptedEvents::new(self.catalog.clone(), log.clone(), &topics, self.config.sources.decoded_limit);
        Self { log, accepted, ..self }
    }

    pub(crate) fn metrics(&self) -> &ControlMetrics {
        &self.metrics
    }

    /// How often one may ask.
    pub(crate) fn rates(&self) -> &Rates {
        &self.rates
    }

    /// What bodies of requests hold.
    pub(crate) fn in_flight(&self) -> &BodyBudget {
        &self.in_flight
    }

    /// Who does how much at once.
    pub(crate) fn turns(&self) -> &AppTurns {
        &self.turns
    }

    /// Keyed hashes of the admin keys.
    pub(crate) fn admin(&self) -> &Arc<[LookupHash]> {
        &self.admin
    }
}

// === impl AppTurns ===

impl AppTurns {
    /// Over a delivery log with so many readers: one organization keeps at most half of them busy.
    fn new(readers: usize) -> Self {
        Self {
            audit: Turns::new("reads the audit", 1),
            rejected: Turns::new("reads rejected records", 1),
            log: Turns::new("reads the delivery log", readers / 2),
            lists: Turns::new("reads lists of subscriptions", LISTS),
            topics: Turns::new("asks for topics", 1),
            jobs: Turns::with_line("asks for jobs, changes some or erases events", 1, JOBS),
        }
    }
}

fn admin(config: &ControlConfig, catalog: &Catalog) -> Arc<[LookupHash]> {
    config.admin_keys.iter().map(|key| catalog.vault().lookup(key.expose_secret())).collect()
}
