//! Who receives what: the management API, and the only writer of `control`.
//!
//! ```text
//! request --server--> layers (path, id, deadline) --> authenticate --> body --> api/<resource>
//!                                                                                  |  reads: catalog snapshot
//!                                                                                  v  writes: a closure over the snapshot
//! [control] <--one transaction-- Store: fence, list the end, catch up, decide, write, look for the write id
//!     |                            ^
//!     +--> every role's catalog    +-- reports: what workers say in [attempts] (an endpoint is gone or failing, a type is new)
//!
//! writes, reports --> operations: events about them, for the application that the operator names --> [events]
//! POST .../ping --> one record on [deliveries], which no event stands behind
//! [lanes], [status] --> health: how each lane and each source is doing --> GET .../health, GET /sources/...
//! topics of others --> source: where they begin, when a source is written
//! schema registries --> schema_registry: asked when the operator checks one, or a record is tried that names a schema
//! [attempts] --> log: an index of what happened, in a store of this process --> events, attempts, responses
//! POST .../retry, .../replay, :redrive --> jobs: what is sent again, exactly once --> [jobs] --> [deliveries], [attempts]
//! [rejected] --> rejections: what could not be used --> GET /rejected; :retry --> jobs --> [retried], which the fan-out plans again
//! ```
//!
//! Every write is a pure decision over one [`catalog::Snapshot`] (`Store::write` takes it as a closure, because it may have
//! to decide again), so rules such as a unique `uid` hold over all replicas without a database.
//!
//! What it leaves to others: sending events (the gateway), delivering (the delivery worker), and the files of the delivery log
//! (`crates/delivery-log`).

mod actor;
mod api;
mod audits;
mod auth;
mod backlog;
mod body;
mod certificates;
pub mod config;
mod custom_headers;
mod error;
mod etag;
mod given_secret;
mod health;
mod idempotency;
mod in_flight;
mod in_turn;
mod jobs;
mod layers;
mod limits;
mod log;
mod metrics;
mod openapi;
mod operations;
mod page;
mod pings;
mod problem;
mod query;
mod rates;
mod rejections;
mod reports;
mod reseal;
mod schema_registry;
mod seed;
mod server;
mod source;
mod state;
mod store;
mod stored;
mod subscription;
mod sweep;
mod token;
mod turns;
mod weights;

use std::sync::Arc;

use axum::Router;
use chassis::config::Role;
use chassis::server::Server;
use chassis::server::tls::ListenerTls;
use chassis::shutdown::Shutdown;
use tokio::net::TcpListener;
use tracing::info;

pub use backlog::kept_ms;
pub use config::{ControlConfig, Deps};
pub use error::Error;
pub use jobs::job_names;
pub use log::{LogCheckError, LogChecked, LogDifference, check_log, log_copy};
pub use store::transactional_id;

use crate::health::HealthView;
use crate::jobs::{BackfillRules, Jobs};
use crate::log::DeliveryLog;
use crate::log::accepted::AcceptedEvents;
use crate::metrics::ControlMetrics;
use crate::operations::Operations;
use crate::rejections::RejectedReader;
use crate::reports::Acting;
use crate::server::Routes;
use crate::state::App;
use crate::store::{Store, WriteRules};

/// A started control plane: its store writes, its routes can be served.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    app: Arc<App>,
    deps: Deps,
}

/// The OpenAPI document as the code describes it. The committed one, [`schemas::OPENAPI`], is the same; it is what is served.
///
/// # Errors
/// It cannot be written as JSON.
pub fn openapi() -> Result<String, serde_json::Error> {
    openapi::finish(&api::document())
}

/// Starts to read what is told of lanes and of tokens, and to tell when tokens were used.
fn watch_health(config: &ControlConfig, deps: &Deps) -> HealthView {
    let view = HealthView::default();
    catalog::usage::share_use(catalog::usage::UseDeps {
        connection: deps.connection.clone(),
        topic: Arc::clone(&deps.topics.status),
        tasks: deps.tasks.clone(),
        used: Arc::clone(deps.catalog.used()),
        role: Role::Control.name(),
        instance: deps.kafka.slot.clone(),
        hears: Some(Arc::new(view.clone())),
    });
    let (connection, topic) = (deps.connection.clone(), Arc::clone(&deps.topics.lanes));
    let (lanes, stop) = (view.lanes.clone(), deps.tasks.shutdown().clone());
    let follow = health::follow(connection, topic, lanes, config.max_subscriptions, stop);
    deps.tasks.spawn("control-lanes", async move {
        follow.await;
        Ok::<_, std::convert::Infallible>(())
    });
    view
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Opens the store and starts the background work: seeding the organization and acting on worker reports. A latch
    /// `control` is released when the catalog has caught up and the seed is there.
    ///
    /// # Errors
    /// A Kafka client cannot be made, or a metric's name is taken.
    pub async fn start(config: ControlConfig, deps: Deps) -> Result<Self, Error> {
        let metrics = ControlMetrics::new(&deps.registry)?;
        let operations = Operations::of(&config, &deps.topics);
        let health = watch_health(&config, &deps);
        let rules = WriteRules::new(config.bytes, health.instances.clone());
        let store = Store::start(&deps, (config.request_timeout, rules), operations.clone(), metrics.clone()).await?;
        let latch = deps.health.latch("control");
        deps.tasks.spawn("control-seed", seed::run(config.clone(), deps.clone(), store.clone(), latch));
        let acting = Acting::new(store.clone(), deps.catalog.clone(), metrics.clone(), config.limits);
        deps.tasks.spawn("control-reports", reports::run(deps.clone(), acting, operations));
        deps.tasks.spawn("control-sweep", sweep::run(deps.clone(), store.clone(), metrics.clone()));
        deps.tasks.spawn("control-reseal", reseal::run(deps.clone(), store.clone(), metrics.clone()));
        backlog::start(&deps, health.instances.clone())?;
        let log = DeliveryLog::start(&config.log, &deps)?;
        let accepted =
            AcceptedEvents::new(deps.catalog.clone(), log.clone(), &deps.topics, config.sources.decoded_limit);
        let rejected = RejectedReader::start(&deps)?;
        let rules = BackfillRules::of(&config);
        let read = (log.clone(), accepted.clone(), rejected.clone(), rules);
        let jobs = Jobs::start(&deps, store.clone(), read).await?;
        let app = Arc::new(App::new(config, &deps, store, (health, (log, accepted, rejected), jobs), metrics)?);
        Ok(Self { app, deps })
    }

    /// The routes as a service that can be a fallback of another one (the gateway's, in one process).
    pub fn router(&self) -> Router {
        api::router(Arc::clone(&self.app))
    }

    /// Serves the routes on a listener, over TLS if there is one, until shutdown is requested, then lets what is in flight finish.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(self, listener: TcpListener, tls: Option<ListenerTls>, shutdown: Shutdown) -> Result<(), Error> {
        let address = listener.local_addr().map_err(|source| Error::Listen { source })?;
        info!(%address, "control plane listens");
        let (config, metrics) = (self.app.config(), self.app.metrics().server.clone());
        let server = Server::new("control", server::limits(config), tls, metrics);
        // A gateway that passes requests on has places of its own for them.
        let server = server.trusting(config.trusted_proxies.clone());
        server.serve(Arc::new(Routes(self.router())), listener, shutdown).await;
        drop(self.deps);
        Ok(())
    }
}
