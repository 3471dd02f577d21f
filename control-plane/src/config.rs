//! What the control plane needs: its configuration and what it stands on.

pub use chassis::config::ControlConfig;

use std::collections::BTreeMap;

use catalog::Catalog;
use chassis::config::KafkaConfig;
use chassis::health::Health;
use chassis::metrics::Registry;
use chassis::tasks::Tasks;
use kafka::Connection;
use schemas::topics::Topics;

use target::TargetPolicy;

/// What it stands on.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Where Kafka is.
    pub connection: Connection,
    /// Names of the topics.
    pub topics: Topics,
    /// How long topics keep their records by configuration, by full name, ms ([`crate::kept_ms`]).
    pub kept_ms: BTreeMap<String, i64>,
    /// The snapshot.
    pub catalog: Catalog,
    /// Names of groups and transactional ids.
    pub kafka: KafkaConfig,
    /// Which targets may be called; the delivery workers' configuration says so.
    pub policy: TargetPolicy,
    /// Gets the metrics.
    pub registry: Registry,
    /// Gets the latch `control`.
    pub health: Health,
    /// Runs the background work.
    pub tasks: Tasks,
}
