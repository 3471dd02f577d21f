//! What workers say in `attempts` and the control plane acts on: an endpoint that is gone disables its subscription.
//!
//! ```text
//! [attempts] --Poller (group of all replicas)--> endpoint gone? --> Store: disable, unless it was changed since
//!                                                      |
//!                                       Writer: offsets alone, in a transaction without outputs
//! ```
//!
//! Acting twice does no harm (a change since the report wins), so a crash between the act and the commit costs nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use catalog::Snapshot;
use chassis::config::Role;
use kafka::{
    KafkaError, Lease, Poller, PollerEvent, PollerEvents, PollerOptions, Progress, Transaction, Writer, WriterOptions,
};
use schemas::attempt::{Kind, Lifecycle};
use schemas::control::ControlObject;
use schemas::ids::SubscriptionId;
use schemas::record::Record;
use tracing::{error, info, warn};

use crate::config::Deps;
use crate::error::Error;
use crate::metrics::ControlMetrics;
use crate::store::{Decision, Moment, Store};

/// Offsets are committed at most this late: what is read again after a crash costs nothing but reading.
const COMMIT_PERIOD: Duration = Duration::from_secs(5);
/// Between two tries while Kafka does not take writes.
const PAUSE: Duration = Duration::from_secs(1);
/// The poll thread counts as hung after that.
const BEAT_LIMIT_MS: i64 = 10_000;

struct Reports {
    poller: Poller,
    writer: Writer,
    store: Store,
    metrics: ControlMetrics,
    /// Next offset of each partition that has moved since the last commit.
    moved: BTreeMap<(String, i32), (Lease, i64)>,
}

/// One report.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gone {
    subscription: SubscriptionId,
    at_ms: i64,
    reason: String,
}

/// Reads reports until shutdown is requested.
pub(crate) async fn run(deps: Deps, store: Store, metrics: ControlMetrics) -> Result<(), Error> {
    let failed = |source| Error::Kafka { purpose: "reading worker reports", source };
    let shutdown = deps.tasks.shutdown().clone();
    tokio::select! {
        () = deps.catalog.caught_up() => {}
        () = shutdown.requested() => return Ok(()),
    }
    let mut events = start(&deps, store, metrics).await.map_err(failed)?;
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

async fn start(deps: &Deps, store: Store, metrics: ControlMetrics) -> Result<(PollerEvents, Reports), KafkaError> {
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
    Ok((events, Reports { poller, writer, store, metrics, moved: BTreeMap::new() }))
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
            // Reading old reports again is harmless, so a lost position is no reason to stop (unlike rule 8 elsewhere).
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
            if let Some(gone) = read(record, &lease) {
                self.act(gone).await;
            }
        }
        self.poller.release(&lease, records.len(), bytes);
        if let Some(last) = records.last() {
            self.moved.insert(place(&lease), (lease, last.offset + 1));
        }
    }

    /// Acts until it is done: a report is not passed while Kafka does not take the write.
    async fn act(&self, gone: Gone) {
        loop {
            let report = gone.clone();
            let decide = move |snapshot: &Snapshot, moment: Moment| Ok(disable(&report, snapshot, moment));
            let outcome = match self.store.write("worker-report".to_owned(), decide).await {
                Ok(true) => {
                    info!(subscription = %gone.subscription, reason = gone.reason, "subscription disabled");
                    "disabled"
                }
                Ok(false) => "outdated",
                Err(problem) if problem.status == 503 => {
                    warn!(subscription = %gone.subscription, detail = problem.detail, "a gone endpoint cannot be disabled yet");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(problem) => {
                    error!(subscription = %gone.subscription, detail = problem.detail, "a gone endpoint was not disabled");
                    "failed"
                }
            };
            self.metrics.reports.with_label_values(&[outcome]).inc();
            return;
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

fn place(lease: &Lease) -> (String, i32) {
    (lease.partition.topic.to_string(), lease.partition.partition)
}

fn read(record: &Record, lease: &Lease) -> Option<Gone> {
    let value = record.value.as_deref()?;
    match Lifecycle::decode(value) {
        Ok(lifecycle) if lifecycle.kind == Kind::EndpointGone => Some(Gone {
            subscription: lifecycle.subscription_id?,
            at_ms: lifecycle.at_ms,
            reason: lifecycle.reason.map_or_else(|| "gone".to_owned(), |reason| reason.into_owned()),
        }),
        Ok(_other) => None,
        Err(error) => {
            warn!(partition = %lease.partition, offset = record.offset, %error, "a lifecycle record cannot be decoded");
            None
        }
    }
}

/// Disables the subscription unless it is gone, disabled already, or was changed after the report.
fn disable(report: &Gone, snapshot: &Snapshot, moment: Moment) -> Decision<bool> {
    let Some(found) = snapshot.subscription(report.subscription) else { return Decision::nothing(false) };
    if !found.is_enabled() || found.object().updated_ms >= report.at_ms {
        return Decision::nothing(false);
    }
    let mut object = found.object().clone();
    object.is_enabled = false;
    object.disabled_reason = Some(report.reason.clone());
    object.cancel_before = Some(moment.end);
    object.updated_ms = moment.now_ms;
    Decision::put(ControlObject::Subscription(Box::new(object)), true)
}
