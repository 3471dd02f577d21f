//! How a stage behaves: who it is in Kafka, what it reads and writes, and where its batches close.

use std::sync::Arc;
use std::time::Duration;

use chassis::config::{KafkaConfig, Role};
use chassis::health::{Health, Latch};
use chassis::metrics::Registry;
use chassis::status::Teller;
use kafka::{Connection, Pace};
use schemas::topics::Topics;

use crate::metrics::StageMetrics;
use crate::outbox::{BatchLimits, Order};

/// What a stage needs from its process.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Where Kafka is.
    pub connection: Connection,
    /// Time limits: session, transaction, hand-over.
    pub kafka: KafkaConfig,
    /// Names of the topics, and the largest record of any.
    pub topics: Topics,
    /// Registry that gets the metrics `hookbus_<role>_*`.
    pub registry: Registry,
    /// Health that gets two beats: of the poll thread, and of progress.
    pub health: Health,
}

/// How a stage behaves.
#[derive(Debug)]
pub struct Options {
    /// First part of the names of beats and metrics: `fanout`.
    pub name: &'static str,
    /// Consumer group.
    pub group: String,
    /// Transactional id, stable per instance: a restart fences its predecessor.
    pub transactional_id: String,
    /// Name of the clients in the brokers' logs and quotas.
    pub client_id: String,
    /// Topics it reads; an entry that starts with `^` is a pattern.
    pub reads: Vec<String>,
    /// Topics it writes: they must exist.
    pub writes: Vec<Arc<str>>,
    /// The look-ahead: how many records of one partition may be read and not committed.
    pub live_records: usize,
    /// How many bytes those records may have; one record may exceed the limit.
    pub live_bytes: usize,
    /// Where a batch closes.
    pub batch: BatchLimits,
    /// In which order records of a partition are resolved.
    pub order: Order,
    /// How long a partial batch waits for more.
    pub pace: Pace,
    /// After a small batch the next one waits less, see [`Pace::finished_filled`].
    pub is_paced_by_fill: bool,
    /// The role sends requests: they begin only while this process surely owns its partitions.
    pub is_gated: bool,
    /// The topics it reads are other people's: a partition that cannot be read is held and tried again, and ends nothing. The
    /// transactions go without it.
    pub fails_alone: bool,
    /// An entry that alone does not get through in time, twice, is given up from this many bytes of outputs on.
    pub give_up_bytes: Option<usize>,
    /// Released when what was assigned has begun; none where the process serves without it. A role takes it before it waits
    /// for anything, so that the process is not ready in between.
    pub latch: Option<Latch>,
    /// The grace period of the process; draining gets less of it, so that the end is still its own.
    pub grace: Duration,
    /// Writes what the role says of itself to the topic `status`, if it says anything.
    pub teller: Option<Teller>,
    /// What it counts by, where several stages run one after another under one name; else its own are registered at its start.
    pub metrics: Option<StageMetrics>,
}

// === impl Options ===

impl Options {
    /// A role of this process that reads these topics, with the defaults for the rest.
    #[must_use]
    pub fn of(role: Role, kafka: &KafkaConfig, reads: Vec<String>) -> Self {
        Self {
            name: role.name(),
            group: kafka.group(role),
            transactional_id: kafka.transactional_id(role),
            client_id: kafka.client_id(role),
            reads,
            writes: Vec::new(),
            live_records: 1_000,
            live_bytes: 16 * 1024 * 1024,
            batch: BatchLimits::default(),
            order: Order::InOrder,
            // Fewer, fuller transactions cost the brokers less, and nobody waits for most commits.
            pace: Pace::new(4.0, Duration::from_millis(2), Duration::from_millis(200)),
            is_paced_by_fill: false,
            is_gated: false,
            fails_alone: false,
            give_up_bytes: None,
            latch: None,
            grace: Duration::from_secs(20),
            teller: None,
            metrics: None,
        }
    }
}
