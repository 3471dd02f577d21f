//! Reaches Kafka and joins the group: everything the loop needs, made once.
//!
//! The writer comes first, and waits for as long as Kafka does not give it its transactional id. Who is in the group owns partitions:
//! before it could write them on, others would wait for those.

use std::sync::Arc;
use std::time::Duration;

use chassis::clock;
use chassis::shutdown::drain_time;
use kafka::{
    Connection, KafkaError, Offsets, Ownership, Poller, PollerOptions, Tries, Writer, WriterOptions, WriterStats,
    topics,
};
use schemas::record::TopicPartition;
use tracing::info;

use crate::error::StageError;
use crate::gate::Gate;
use crate::group::GroupWatch;
use crate::membership::Membership;
use crate::metrics::StageMetrics;
use crate::options::{Deps, Options};
use crate::outbox::Outbox;
use crate::status::Progress;
use crate::turn::Stage;
use crate::waits::{HeldBy, HeldWaits};
use crate::watchdog::{Watchdog, Watched};
use crate::work::{Waiting, Work};

/// The poll thread stands still for a hand-over at most; far above that it hangs.
const POLL_AGE_LIMIT_MS: i64 = 30_000;
/// After how many transaction timeouts something that stands still while Kafka answers counts as hung.
const STALL_TIMEOUTS: u32 = 6;
/// While the writer gets ready, the watchdog is told this often that it does.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl<W: Work> Stage<W> {
    /// Reaches Kafka and joins the group, once it can write. Can be dropped: whatever was started then ends.
    pub(crate) async fn start(options: Options, deps: Deps, work: W) -> Result<Self, StageError> {
        let name = options.name;
        let failed = |doing: &'static str| StageError::kafka(W::ROLE, doing);
        let metrics = match &options.metrics {
            Some(metrics) => metrics.clone(),
            None => StageMetrics::new(&deps.registry, name)?,
        };
        require(&deps.connection, &options.writes).await.map_err(failed("looking for the topics it writes"))?;
        let ownership = Ownership::default();
        let poller = poller_options(&options, &deps, &ownership);
        let tries = Tries::default();
        let writer = writer_options(&options, &deps, &tries);
        let offsets = Offsets::start(&deps.connection).map_err(failed("starting the watchdog's client"))?;
        let watched = Watched::new(clock::boot_ms());
        let limit = deps.kafka.transaction_timeout * STALL_TIMEOUTS;
        let watchdog = Watchdog { role: W::ROLE, watched: watched.clone(), offsets, limit, metrics: metrics.clone() };
        let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        let seen = watched.clone();
        let moving = deps.health.beat(format!("{name} progress"), move || seen.stalled_ms(clock::boot_ms()), limit_ms);
        let _watching = watchdog.watch();
        let writer = Writer::start(&deps.connection, writer, ownership);
        let asked = TopicPartition::new(Arc::clone(&deps.topics.control), 0);
        let writer = told(writer, (&watched, &tries), asked.clone()).await;
        let writer = writer.map_err(failed("starting the transactional writer"))?;
        let (poller, signals) = Poller::start(&deps.connection, poller).map_err(failed("starting the poller"))?;
        let heartbeat = poller.heartbeat();
        let polling = deps.health.beat(format!("{name} poller"), move || heartbeat.age_ms(), POLL_AGE_LIMIT_MS);
        let now = clock::instant();
        info!(role = W::ROLE, options.group, transactional.id = options.transactional_id, reads = ?options.reads, "started");
        Ok(Self {
            work,
            poller,
            signals,
            writer,
            outbox: Outbox::new(options.batch, options.order).within(options.live_records, options.live_bytes),
            commit: None,
            pace: options.pace,
            is_paced_by_fill: options.is_paced_by_fill,
            members: Membership::new(options.latch, now),
            group: GroupWatch::new(asked, !options.reads.is_empty(), clock::boot_ms()),
            gate: options.is_gated.then(|| Gate::new(half_ms(deps.kafka.session_timeout), clock::boot_ms())),
            is_gate_open: true,
            fails_alone: options.fails_alone,
            drain: None,
            handover_wait: deps.kafka.handover_wait,
            grace: drain_time(options.grace),
            give_up_bytes: options.give_up_bytes,
            metrics,
            teller: options.teller,
            progress: Progress::default(),
            last_commit_ms: None,
            measure_at: now,
            watched,
            held: HeldWaits::new(),
            counted: WriterStats::default(),
            _watching,
            _beats: [polling, moving],
        })
    }
}

fn poller_options(options: &Options, deps: &Deps, ownership: &Ownership) -> PollerOptions {
    PollerOptions {
        live_records: options.live_records,
        live_bytes: options.live_bytes,
        budget_bytes: deps.kafka.live_budget_bytes,
        handover_wait: deps.kafka.handover_wait,
        session_timeout: deps.kafka.session_timeout,
        transaction_timeout: deps.kafka.transaction_timeout,
        fails_alone: options.fails_alone,
        ownership: ownership.clone(),
        ..PollerOptions::new(options.group.clone(), options.reads.clone(), options.client_id.clone())
    }
}

fn writer_options(options: &Options, deps: &Deps, tries: &Tries) -> WriterOptions {
    WriterOptions {
        transaction_timeout: deps.kafka.transaction_timeout,
        message_max_bytes: deps.topics.max_message_bytes,
        fails_alone: options.fails_alone,
        tries: tries.clone(),
        ..WriterOptions::new(options.transactional_id.clone(), options.group.clone())
    }
}

/// Makes sure that these topics exist, waiting while Kafka is away.
async fn require(connection: &Connection, writes: &[Arc<str>]) -> Result<(), KafkaError> {
    let writes: Vec<&str> = writes.iter().map(AsRef::as_ref).collect();
    topics::until_answered(|| topics::require(connection, &writes)).await
}

/// Waits for what a writer starts with, and tells so, with how its last try failed: no new process would come further. `asked`: Kafka
/// is away while it does not answer about this partition.
async fn told<T>(
    starting: impl Future<Output = Result<T, KafkaError>>,
    (watched, tries): (&Watched, &Tries),
    asked: TopicPartition,
) -> Result<T, KafkaError> {
    let mut starting = std::pin::pin!(starting);
    let since_boot_ms = clock::boot_ms();
    let waiting = Waiting { reason: HeldBy::OwnId.reason(), partition: asked, offset: -1, since_boot_ms };
    loop {
        watched.note(clock::boot_ms(), None, HeldWaits::from([(HeldBy::OwnId, waiting.clone())]));
        watched.note_failed(tries.last());
        if let Ok(started) = tokio::time::timeout(TELL_EVERY, starting.as_mut()).await {
            watched.note(clock::boot_ms(), None, HeldWaits::new());
            return started;
        }
    }
}

/// Half of a timeout, ms: contact that is older may already be too old for others.
fn half_ms(timeout: Duration) -> i64 {
    i64::try_from((timeout / 2).as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_writer_that_gets_ready_is_told_of_and_ends_no_liveness() {
        let watched = Watched::new(clock::boot_ms() - 90_000);
        let asked = TopicPartition::new("control", 0);
        let tries = Tries::default();
        let never = told(std::future::pending::<Result<(), KafkaError>>(), (&watched, &tries), asked.clone());
        assert!(tokio::time::timeout(Duration::ZERO, never).await.is_err());
        let held = watched.held(HeldBy::OwnId);
        assert_eq!(held.map(|it| (it.reason, it.partition)), Some(("the transactional id", asked.clone())));
        assert_eq!(watched.stalled_ms(clock::boot_ms()), 0, "a new process would wait too");
        told(async { Ok(()) }, (&watched, &tries), asked).await.unwrap();
        assert_eq!(watched.held(HeldBy::OwnId), None);
    }

    #[tokio::test]
    async fn a_writer_that_gets_ready_is_told_of_with_what_kafka_said() {
        let watched = Watched::new(clock::boot_ms());
        let tries = Tries::default();
        tries.failed(clock::boot_ms(), &KafkaError::without_leader("init_transactions"));
        let never = std::future::pending::<Result<(), KafkaError>>();
        let never = told(never, (&watched, &tries), TopicPartition::new("control", 0));
        assert!(tokio::time::timeout(Duration::ZERO, never).await.is_err());
        let failed = watched.failed().map(|failed| failed.error.to_string()).unwrap_or_default();
        assert!(failed.contains("init_transactions"), "{failed}");
    }
}
