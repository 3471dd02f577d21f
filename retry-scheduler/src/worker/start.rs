//! Reaches Kafka and joins the group: everything the loop needs, made once.

use std::collections::BTreeMap;

use chassis::clock::instant;
use chassis::config::Role;
use chassis::status::{Teller, TellerOptions};
use kafka::{Pace, Poller, PollerOptions, Writer, WriterOptions};
use schemas::canary::Canary;
use tokio::task::JoinSet;

use super::Worker;
use crate::Deps;
use crate::batch::BatchLimits;
use crate::config::{LIVE_RECORDS, PACE_CAP, PACE_FACTOR, PACE_FLOOR, POLL_AGE_LIMIT_MS, RetryConfig};
use crate::error::{Error, doing};
use crate::metrics::RetryMetrics;
use crate::promote::Promoter;
use crate::tiers::Tiers;
use crate::wait::Lines;

impl Worker {
    /// Reaches Kafka and joins the group.
    pub(crate) async fn start(config: RetryConfig, deps: Deps) -> Result<Self, Error> {
        let tiers = Tiers::new(&config.tiers, deps.topics.clone())?;
        let promoter = Promoter::new(tiers.clone(), deps.topics.clone(), config.promotion_per_second)?;
        let metrics = RetryMetrics::new(&deps.registry)?;
        let partitions = deps.health.latch("partitions");
        let group = deps.kafka.group(Role::Retry);
        let options = PollerOptions {
            live_records: LIVE_RECORDS,
            live_bytes: config.look_ahead_bytes,
            budget_bytes: deps.kafka.live_budget_bytes,
            handover_wait: deps.kafka.handover_wait,
            session_timeout: deps.kafka.session_timeout,
            ..PollerOptions::new(group.clone(), vec![deps.topics.retry_pattern()], deps.kafka.client_id(Role::Retry))
        };
        let (poller, events) = Poller::start(&deps.connection, options).map_err(doing("starting the poller"))?;
        let heartbeat = poller.heartbeat();
        let _beat = deps.health.beat("retry poller", move || heartbeat.age_ms(), POLL_AGE_LIMIT_MS);
        let options = WriterOptions {
            transaction_timeout: deps.kafka.transaction_timeout,
            message_max_bytes: deps.topics.max_message_bytes,
            canary: (deps.canary == Some(Canary::NoNonceComparison)).then_some(kafka::Canary::NoNonceComparison),
            ..WriterOptions::new(deps.kafka.transactional_id(Role::Retry), group)
        };
        let writer = Writer::start(&deps.connection, options, poller.ownership()).await;
        let writer = writer.map_err(doing("starting the writer"))?;
        let teller = Teller::start(TellerOptions::of(Role::Retry, &deps.connection, &deps.topics, &deps.kafka));
        Ok(Self {
            limits: BatchLimits { records: config.batch_records, bytes: config.batch_bytes },
            look_ahead_ms: i64::try_from(config.look_ahead_tier.as_millis()).unwrap_or(i64::MAX),
            topics: deps.topics,
            tiers,
            promoter,
            metrics,
            poller,
            events,
            writer,
            partitions,
            lines: Lines::default(),
            pace: Pace::new(PACE_FACTOR, PACE_FLOOR, PACE_CAP),
            commit: None,
            steps: JoinSet::new(),
            revokes: Vec::new(),
            started: instant(),
            waiting: BTreeMap::new(),
            teller,
            last_commit_ms: None,
            stopping: false,
        })
    }
}
