//! What workers say in `attempts` and the control plane acts on: an endpoint that is gone or fails for too long disables its
//! subscription, an event type that was seen is declared where its application wants that.
//!
//! ```text
//! [attempts] --Poller (group of all replicas)--> concerns us? --> Store: decide over the snapshot (see `decide`)
//!                                                      |
//!                                       Writer: offsets alone, in a transaction without outputs
//! ```
//!
//! Acting twice does no harm (a change since the report wins), so a crash between the act and the commit costs nothing.

mod decide;

use std::collections::BTreeMap;
use std::time::Duration;

use catalog::{Catalog, Snapshot};
use chassis::clock;
use chassis::config::Role;
use chassis::limited::Limited;
use kafka::{
    KafkaError, Lease, Poller, PollerEvent, PollerEvents, PollerOptions, Progress, Transaction, Writer, WriterOptions,
};
use retry::Budget;
use schemas::attempt::Lifecycle;
use schemas::control::Limits;
use schemas::ids::ApplicationId;
use schemas::record::Record;
use tracing::{error, info, warn};

use self::decide::{Outcome, Report};

use crate::actor::Actor;
use crate::config::Deps;
use crate::error::Error;
use crate::metrics::ControlMetrics;
use crate::problem::Problem;
use crate::store::{Moment, Store};

/// Offsets are committed at most this late: what is read again after a crash costs nothing but reading.
const COMMIT_PERIOD: Duration = Duration::from_secs(5);
/// Between two tries while Kafka does not take writes.
const PAUSE: Duration = Duration::from_secs(1);
/// The poll thread counts as hung after that.
const BEAT_LIMIT_MS: i64 = 10_000;
/// Event types declared on sight per application and second: beyond it the fan-out says so again later.
const DECLARED_PER_SECOND: f64 = 10.0;
/// Of them at once.
const DECLARED_BURST: u32 = 50;
/// Applications that are counted at once.
const MAX_COUNTED: usize = 10_000;
/// Between two lines about one application's limit.
const LINE_PERIOD: Duration = Duration::from_secs(600);

struct Reports {
    poller: Poller,
    writer: Writer,
    acting: Acting,
    /// Next offset of each partition that has moved since the last commit.
    moved: BTreeMap<(String, i32), (Lease, i64)>,
}

/// What acting on reports needs.
#[derive(Debug)]
pub(crate) struct Acting {
    store: Store,
    catalog: Catalog,
    metrics: ControlMetrics,
    /// Limits of the instance.
    limits: Limits,
    declared: Budget<ApplicationId>,
    lines: Limited<ApplicationId>,
}

/// Reads reports until shutdown is requested.
pub(crate) async fn run(deps: Deps, acting: Acting) -> Result<(), Error> {
    let failed = |source| Error::Kafka { purpose: "reading worker reports", source };
    let shutdown = deps.tasks.shutdown().clone();
    tokio::select! {
        () = deps.catalog.caught_up() => {}
        () = shutdown.requested() => return Ok(()),
    }
    let mut events = start(&deps, acting).await.map_err(failed)?;
    let outcome = tokio::select! {
        outcome = events.1.follow(&mut events.0) => outcome,
        () = shutdown.requested() => Ok(()),
    };
    let (mut poller_events, mut reports) = events;
    if outcome.is_ok() {
        reports.leave(&mut poller_events).await.map_err(failed)?;
    }
    outcome.map_err(failed)
}

async fn start(deps: &Deps, acting: Acting) -> Result<(PollerEvents, Reports), KafkaError> {
    let names = &deps.kafka;
    let topics = vec![deps.topics.attempts.to_string()];
    let mut options = PollerOptions::new(names.group(Role::Control), topics, names.client_id(Role::Control));
    options.session_timeout = names.session_timeout;
    options.handover_wait = names.handover_wait;
    let (poller, events) = Poller::start(&deps.connection, options)?;
    let mut options = WriterOptions::new(names.transactional_id(Role::Control), names.group(Role::Control));
    options.transaction_timeout = names.transaction_timeout;
    options.message_max_bytes = deps.topics.max_message_bytes;
    let writer = Writer::start(&deps.connection, options, poller.ownership()).await?;
    let heartbeat = poller.heartbeat();
    let _beat = deps.health.beat("control-poller", move || heartbeat.age_ms(), BEAT_LIMIT_MS);
    Ok((events, Reports { poller, writer, acting, moved: BTreeMap::new() }))
}

// === impl Reports ===

impl Reports {
    async fn follow(&mut self, events: &mut PollerEvents) -> Result<(), KafkaError> {
        let mut tick = tokio::time::interval(COMMIT_PERIOD);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.handle(event).await?,
                    None => return Ok(()),
                },
                _ = tick.tick() => self.commit().await?,
            }
        }
    }

    async fn handle(&mut self, event: PollerEvent) -> Result<(), KafkaError> {
        match event {
            PollerEvent::Assigned { leases } => self.assigned(leases).await,
            PollerEvent::Records { lease, records } => {
                self.records(lease, &records).await;
                Ok(())
            }
            PollerEvent::Revoked { leases, lost, done } => {
                if !lost {
                    self.commit().await?;
                }
                for lease in &leases {
                    self.moved.remove(&place(lease));
                }
                done.done();
                Ok(())
            }
            PollerEvent::Failed { error } => Err(error),
        }
    }

    async fn assigned(&self, leases: Vec<Lease>) -> Result<(), KafkaError> {
        for restored in self.writer.take_over(leases).await? {
            // Reading old reports again is harmless, so a lost position is no reason to stop (unlike under rule W8 elsewhere).
            let start = restored.start().unwrap_or(restored.log_start);
            if restored.lost() > 0 {
                warn!(partition = %restored.lease.partition, records = restored.lost(), "worker reports expired unread");
            }
            // Seeking blocks for up to some seconds.
            let (poller, lease) = (self.poller.clone(), restored.lease);
            let begun = tokio::task::spawn_blocking(move || poller.begin(&lease, start)).await;
            match begun.unwrap_or(Err(KafkaError::Closed)) {
                Ok(()) | Err(KafkaError::NotOwned { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn records(&mut self, lease: Lease, records: &[Record]) {
        let mut bytes = 0;
        for record in records {
            bytes += record.size();
            if let Some(report) = read(record, &lease) {
                self.acting.act(report).await;
            }
        }
        self.poller.release(&lease, records.len(), bytes);
        if let Some(last) = records.last() {
            self.moved.insert(place(&lease), (lease, last.offset + 1));
        }
    }

    async fn commit(&mut self) -> Result<(), KafkaError> {
        let moved = std::mem::take(&mut self.moved);
        if moved.is_empty() {
            return Ok(());
        }
        let progress =
            |(lease, next): (Lease, i64)| Progress { lease, committed: next, read_up_to: next, not_done: Vec::new() };
        let transaction = Transaction { outputs: Vec::new(), progress: moved.into_values().map(progress).collect() };
        // Leases that were over are read again by their next owner.
        self.writer.commit(transaction).await.map(drop)
    }

    /// Commits, leaves the group, and closes the writer.
    async fn leave(&mut self, events: &mut PollerEvents) -> Result<(), KafkaError> {
        self.poller.stop_intake();
        self.commit().await?;
        self.poller.close();
        while let Some(event) = events.next().await {
            if let PollerEvent::Revoked { done, .. } = event {
                done.done();
            }
        }
        self.writer.close().await;
        Ok(())
    }
}

// === impl Acting ===

impl Acting {
    pub(crate) fn new(store: Store, catalog: Catalog, metrics: ControlMetrics, limits: Limits) -> Self {
        let declared = Budget::new(DECLARED_PER_SECOND, DECLARED_BURST, MAX_COUNTED);
        let declared = declared.expect("a rate and a burst within the limits");
        Self { store, catalog, metrics, limits, declared, lines: Limited::new(LINE_PERIOD) }
    }

    /// Acts until it is done: a report is not passed while Kafka does not take the write.
    async fn act(&mut self, report: Report) {
        let outcome = match self.quick(&report) {
            Some(outcome) => outcome.as_str(),
            None => self.write(&report).await,
        };
        self.metrics.reports.with_label_values(&[report.kind(), outcome]).inc();
    }

    /// What needs no write.
    fn quick(&mut self, report: &Report) -> Option<Outcome> {
        if report.is_settled(&self.catalog.read()) {
            return Some(Outcome::Outdated);
        }
        let Report::Declare { application, .. } = report else { return None };
        (!self.declared.try_take(application, clock::now_ms())).then_some(Outcome::Limited)
    }

    async fn write(&self, report: &Report) -> &'static str {
        loop {
            let (decided, limits) = (report.clone(), self.limits);
            let decide = move |snapshot: &Snapshot, moment: Moment| Ok(decided.decide(snapshot, moment, &limits));
            let actor = Actor::system("reports").doing(report.action());
            match self.store.write(actor, decide).await {
                Ok(outcome) => {
                    self.tell(report, outcome);
                    return outcome.as_str();
                }
                Err(problem) if problem.status == 503 => {
                    warn!(?report, detail = problem.detail, "a worker's report cannot be acted on yet");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(problem) => {
                    error!(?report, detail = Problem::into_detail(problem), "a worker's report was not acted on");
                    return "failed";
                }
            }
        }
    }

    fn tell(&self, report: &Report, outcome: Outcome) {
        match (report, outcome) {
            (Report::Disable { subscription, why, detail, .. }, Outcome::Disabled) => {
                warn!(subscription.id = %subscription, reason = why.as_str(), detail, "subscription disabled");
            }
            (Report::Declare { application, event_type }, Outcome::Declared) => {
                info!(application.id = %application, event_type, "event type declared on sight");
            }
            (Report::Declare { application, event_type }, Outcome::Limited) => {
                if let Some(swallowed) = self.lines.permit(application) {
                    let id = application;
                    warn!(application.id = %id, event_type, swallowed, "too many event types to declare one on sight");
                }
            }
            (Report::Disable { .. } | Report::Declare { .. }, _) => {}
        }
    }
}

fn place(lease: &Lease) -> (String, i32) {
    (lease.partition.topic.to_string(), lease.partition.partition)
}

fn read(record: &Record, lease: &Lease) -> Option<Report> {
    match Lifecycle::decode(record.value.as_deref()?) {
        Ok(lifecycle) => Report::of(&lifecycle),
        Err(error) => {
            warn!(partition = %lease.partition, offset = record.offset, %error, "a lifecycle record cannot be decoded");
            None
        }
    }
}
