//! Reaches Kafka and joins the group: everything the loop needs, made once.

use std::collections::BTreeMap;
use std::sync::Arc;

use chassis::clock::instant;
use chassis::config::Role;
use kafka::{Offsets, Pace, Poller, PollerOptions, Writer, WriterOptions};
use tokio::task::JoinSet;

use super::Worker;
use crate::batch::{Batch, BatchLimits};
use crate::commit::Committer;
use crate::config::{FanoutConfig, PACE_CAP, PACE_FACTOR, PACE_FLOOR, POLL_AGE_LIMIT_MS, max_age};
use crate::deduplicate::Limits;
use crate::error::{Error, doing};
use crate::expand::Expander;
use crate::metrics::FanoutMetrics;
use crate::plan::Planner;
use crate::queue::Queue;
use crate::report::Report;
use crate::restore::Restorer;
use crate::{Deps, Source};

impl Worker {
    /// Reaches Kafka and joins the group.
    pub(crate) async fn start(config: FanoutConfig, deps: Deps, report: Report) -> Result<Self, Error> {
        let metrics = FanoutMetrics::new(&deps.registry)?;
        let partitions = deps.health.latch("partitions");
        let offsets = Offsets::start(&deps.connection).map_err(doing("starting the offsets client"))?;
        let seen_topic = &deps.topics.seen;
        let seen_partitions = offsets.partitions(seen_topic).await.map_err(doing("looking for the topic `seen`"))?;
        let seen_partitions = seen_partitions.ok_or_else(|| Error::NoTopic { topic: Arc::clone(seen_topic) })?;
        let group = deps.kafka.group(Role::Fanout);
        let (poller, events) = Poller::start(&deps.connection, poller_options(&config, &deps, &group))
            .map_err(doing("starting the poller"))?;
        let heartbeat = poller.heartbeat();
        let _beat = deps.health.beat("fanout poller", move || heartbeat.age_ms(), POLL_AGE_LIMIT_MS);
        let ownership = poller.ownership();
        let writer = Writer::start(&deps.connection, writer_options(&deps, group), ownership.clone());
        let writer = writer.await.map_err(doing("starting the writer"))?;
        let dedup = Limits::new(config.dedup_window, config.dedup_ids);
        let restorer = Restorer {
            connection: deps.connection,
            writer: writer.clone(),
            offsets,
            ownership,
            seen_topic: Arc::clone(&deps.topics.seen),
            seen_partitions,
            limits: dedup,
            sources: deps.sources.into_iter().map(|Source { topic, start }| (topic, start)).collect(),
        };
        let expander = Expander::new(deps.topics, max_age(&config)?);
        Ok(Self {
            limits: BatchLimits { records: config.batch_records, bytes: config.batch_bytes },
            dedup,
            catalog: deps.catalog,
            metrics,
            poller,
            events,
            committer: Committer { writer: writer.clone(), expander: expander.clone(), seen_partitions },
            writer,
            restorer,
            planner: Planner::new(expander, config.max_matches),
            partitions,
            held: BTreeMap::new(),
            queue: Queue::default(),
            batch: Batch::default(),
            spare: Batch::default(),
            pace: Pace::new(PACE_FACTOR, PACE_FLOOR, PACE_CAP),
            commit: None,
            committing_ms: None,
            committing: 0,
            committing_filled: 0.0,
            index: None,
            steps: JoinSet::new(),
            revokes: Vec::new(),
            started: instant(),
            lags: BTreeMap::new(),
            report,
            is_interrupted: false,
            stopping: false,
        })
    }
}

fn poller_options(config: &FanoutConfig, deps: &Deps, group: &str) -> PollerOptions {
    let sources = deps.sources.iter().map(|source| source.topic.to_string());
    let topics = std::iter::once(deps.topics.events.to_string()).chain(sources).collect();
    PollerOptions {
        live_records: config.live_records,
        live_bytes: config.live_bytes,
        handover_wait: deps.kafka.handover_wait,
        session_timeout: deps.kafka.session_timeout,
        ..PollerOptions::new(group, topics, deps.kafka.client_id(Role::Fanout))
    }
}

fn writer_options(deps: &Deps, group: String) -> WriterOptions {
    WriterOptions {
        transaction_timeout: deps.kafka.transaction_timeout,
        message_max_bytes: deps.topics.max_message_bytes,
        ..WriterOptions::new(deps.kafka.transactional_id(Role::Fanout), group)
    }
}
