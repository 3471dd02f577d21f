//! One process: configuration, logs, admin port, shutdown, and the parts that several roles share.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use catalog::{Catalog, CatalogDeps};
use chassis::admin::{self, AdminServer};
use chassis::config::{Config, DeliveryConfig, Loaded};
use chassis::health::{Health, Latch};
use chassis::server::tls::Protocols;
use chassis::shutdown::Shutdown;
use chassis::tasks::Tasks;
use kafka::Connection;
use prometheus::Registry;
use schemas::planted::{self, PlantedBug};
use schemas::topics::Topics;
use target::{AllowList, OwnAddresses, TargetPolicy, TargetRules};
use vault::Vault;

/// What the roles of this process stand on.
#[derive(Debug)]
pub(crate) struct Process {
    /// The checked configuration.
    pub(crate) config: Config,
    /// Where Kafka is.
    pub(crate) connection: Connection,
    /// Names of all topics.
    pub(crate) topics: Topics,
    /// All metrics of this process.
    pub(crate) registry: Registry,
    /// Ready and alive.
    pub(crate) health: Health,
    /// The wish to stop.
    pub(crate) shutdown: Shutdown,
    /// Everything that runs.
    pub(crate) tasks: Tasks,
    admin: AdminServer,
    /// Where this process listens.
    listeners: Vec<SocketAddr>,
    /// Not ready before every role was wired and has taken its own latches.
    starting: Latch,
}

impl Process {
    /// Binds the admin port and checks the configuration against librdkafka, before any work is taken.
    ///
    /// # Errors
    /// When the port is taken, a property is refused or a signal handler cannot be installed.
    pub(crate) fn start(loaded: &Loaded) -> Result<Self> {
        let config = loaded.config.clone();
        let registry = Registry::new();
        let health = Health::new();
        let starting = health.latch("start");
        let shutdown = Shutdown::on_signals(config.shutdown.delay).context("cannot listen for signals")?;
        let connection = connection(&config)?;
        let port = admin::bind(config.admin.listen)?;
        let tls = crate::listeners::tls("admin", config.admin.tls.as_ref(), config.admin.listen, Protocols::Http1)?;
        let admin = AdminServer::start(port, tls, registry.clone(), health.clone())?;
        tracing::info!(address = %admin.address(), "the admin port serves /livez, /readyz and /metrics");
        plant_bug(chassis::config::environment())?;
        crate::invariants::register(&registry)?;
        crate::version::register(&registry)?;
        crate::host::register(&registry)?;
        Ok(Self {
            topics: config.topics.topics(),
            tasks: Tasks::new(shutdown.clone()),
            config,
            connection,
            registry,
            health,
            shutdown,
            listeners: vec![admin.address()],
            admin,
            starting,
        })
    }

    /// The address of the admin port.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Remembers an address that this process listens on: no target of its own.
    pub(crate) fn listens_on(&mut self, address: SocketAddr) {
        self.listeners.push(address);
    }

    /// Which targets may be called. The control plane asks it when one is written, the delivery worker when one is dialled; so
    /// whatever this process listens on is taken before.
    pub(crate) fn targets(&self) -> TargetPolicy {
        target_policy(&self.config.delivery, OwnAddresses::new(self.listeners.clone(), self.connection.brokers()))
    }

    /// Every role of this process was wired: from now on their latches decide whether it is ready.
    pub(crate) fn wired(&self) {
        self.starting.release();
    }

    /// Opens secrets at rest and hashes tokens.
    ///
    /// # Errors
    /// When a key is missing or no key.
    pub(crate) fn vault(&self) -> Result<Arc<Vault>> {
        let keys = self.config.security.required()?;
        let encryption = vault::parse_keys(secrecy::ExposeSecret::expose_secret(keys.encryption_keys))
            .context("security.encryption_keys")?;
        let lookup = vault::parse_lookup_key(secrecy::ExposeSecret::expose_secret(keys.lookup_key))
            .context("security.lookup_key")?;
        Ok(Arc::new(Vault::new(&encryption, &lookup)?))
    }

    /// Starts the read side of `control`, which holds kept answers where this process gives any.
    ///
    /// # Errors
    /// When Kafka cannot be reached at all.
    pub(crate) fn catalog(&self, vault: &Arc<Vault>, keeps_answers: bool) -> Result<Catalog> {
        Ok(Catalog::start(CatalogDeps {
            connection: self.connection.clone(),
            topics: self.topics.clone(),
            vault: Arc::clone(vault),
            tasks: self.tasks.clone(),
            health: self.health.clone(),
            registry: self.registry.clone(),
            keeps_answers,
        })?)
    }

    /// Runs until a signal or a failure, then drains within the grace period. From a signal on it is not ready, and goes on for
    /// the configured delay. A second signal ends it at once.
    ///
    /// # Errors
    /// The first part that failed, by name.
    pub(crate) async fn join(&self) -> Result<()> {
        let health = self.health.clone();
        let shutdown = self.shutdown.clone();
        self.tasks.spawn("drain", async move {
            shutdown.announced().await;
            health.drain();
            Ok::<_, std::convert::Infallible>(())
        });
        tokio::select! {
            joined = self.tasks.join(self.config.shutdown.grace) => Ok(joined?),
            () = self.shutdown.forced() => anyhow::bail!("HB-032: ended by a second signal, without draining"),
        }
    }
}

/// The connection of a configuration.
///
/// # Errors
/// A property that correctness depends on, or none that librdkafka knows.
pub(crate) fn connection(config: &Config) -> Result<Connection> {
    Ok(Connection::new(&config.kafka.brokers, config.kafka.properties.as_map())?)
}

/// Tests alone: plants the bug that the environment names. A binary that can do so says it, bug or not.
///
/// # Errors
/// When there is no such bug.
fn plant_bug(mut env: impl Iterator<Item = (String, String)>) -> Result<()> {
    if !planted::CAN_PLANT {
        return Ok(());
    }
    tracing::warn!(
        "this binary was built for tests: {} can plant a bug in it; never use it elsewhere",
        planted::VARIABLE
    );
    let named = env.find(|(name, value)| name == planted::VARIABLE && !value.is_empty());
    let Some((_name, value)) = named else { return Ok(()) };
    let bug = value.parse::<PlantedBug>().map_err(anyhow::Error::msg)?;
    planted::plant(bug).map_err(anyhow::Error::msg)?;
    tracing::error!(?bug, "{} plants a bug in this process", planted::VARIABLE);
    Ok(())
}

/// Which targets may be called by a configuration, but for these addresses.
pub(crate) fn target_policy(delivery: &DeliveryConfig, own: OwnAddresses) -> TargetPolicy {
    let own = match &delivery.egress_proxy {
        Some(proxy) => own.and(&proxy.host, proxy.port),
        None => own,
    };
    let rules = TargetRules { allow_http: delivery.allow_http, nat64: delivery.nat64_prefixes.clone(), own };
    let allow = AllowList { networks: delivery.allow_networks.clone(), hosts: delivery.allow_hosts.clone() };
    TargetPolicy::new(rules, allow)
}
