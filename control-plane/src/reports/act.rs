//! Acts on a report: through the store, again and again while Kafka does not take the write.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, Snapshot};
use chassis::limited::Limited;
use retry::Budget;
use schemas::attempt::{Kind, Lifecycle};
use schemas::control::Limits;
use schemas::ids::{ApplicationId, OrganizationId};
use schemas::problem::Code;
use schemas::record::OutRecord;
use tracing::{error, info, warn};

use super::decide::{Outcome, Report};
use crate::actor::Actor;
use crate::metrics::ControlMetrics;
use crate::operations::{Operations, ToldOperator};
use crate::problem::Problem;
use crate::store::{Moment, Store};

/// Between two tries while Kafka does not take writes.
const PAUSE: Duration = Duration::from_secs(1);
/// Event types declared on sight per application and second: beyond it the fan-out says so again later.
const DECLARED_PER_SECOND: f64 = 10.0;
/// How many of them may come at once.
const DECLARED_BURST: u32 = 50;
/// Applications that are counted at once.
const MAX_COUNTED: usize = 10_000;
/// Between two lines about one application's limit.
const LINE_PERIOD: Duration = Duration::from_secs(600);

/// What acting on reports needs.
#[derive(Debug)]
pub(crate) struct Acting {
    writing: Writing,
    catalog: Catalog,
    metrics: ControlMetrics,
    declared: Budget<ApplicationId>,
}

/// What a write that is under way holds on to.
#[derive(Clone, Debug)]
struct Writing {
    store: Store,
    /// Limits of the instance.
    limits: Limits,
    lines: Arc<Limited<ApplicationId>>,
}

/// A write under way, which resolves to the word for its outcome.
pub(super) type ActingOn = Pin<Box<dyn Future<Output = &'static str> + Send>>;

// === impl Acting ===

impl Acting {
    pub(crate) fn new(store: Store, catalog: Catalog, metrics: ControlMetrics, limits: Limits) -> Self {
        let declared = Budget::new(DECLARED_PER_SECOND, DECLARED_BURST, MAX_COUNTED);
        let declared = declared.expect("a rate and a burst within the limits");
        let lines = Arc::new(Limited::new(LINE_PERIOD));
        Self { writing: Writing { store, limits, lines }, catalog, metrics, declared }
    }

    /// A report that needs no write is counted at once. For any other the write is returned, which resolves to its outcome
    /// once Kafka has taken it.
    pub(super) fn begin(&mut self, report: &Report, now_ms: i64) -> Option<ActingOn> {
        let Some(outcome) = self.quick(report, now_ms) else {
            let (writing, report) = (self.writing.clone(), report.clone());
            return Some(Box::pin(async move { writing.write(&report).await }));
        };
        self.count(report, outcome.as_str());
        None
    }

    /// What the operator is told of a worker's report, if that is anything.
    pub(super) fn tell_operator(
        &self,
        operations: &Operations,
        report: &Lifecycle<'_>,
        now_ms: i64,
    ) -> Option<OutRecord> {
        let told = operations.of_report(&self.catalog.read(), report, now_ms)?;
        let (event, outcome) = match told {
            ToldOperator::Event(record) => (Some(record), "told"),
            ToldOperator::TooMany => (None, Outcome::Limited.as_str()),
        };
        self.metrics.reports.with_label_values(&[report.kind.as_str(), outcome]).inc();
        event
    }

    /// Whose a report is; `None`: of an organization that is not known any more.
    pub(super) fn organization(&self, report: &Report) -> Option<OrganizationId> {
        report.organization(&self.catalog.read())
    }

    /// A record of a kind that is not known here was skipped.
    pub(super) fn skipped(&self) {
        self.metrics.reports.with_label_values(&[Kind::Unknown.as_str(), "skipped"]).inc();
    }

    pub(super) fn count(&self, report: &Report, outcome: &'static str) {
        self.metrics.reports.with_label_values(&[report.kind(), outcome]).inc();
    }

    fn quick(&mut self, report: &Report, now_ms: i64) -> Option<Outcome> {
        let (is_settled, is_beyond) = {
            let snapshot = self.catalog.read();
            (report.is_settled(&snapshot), report.is_beyond(&snapshot, &self.writing.limits))
        };
        if is_settled {
            return Some(Outcome::Outdated);
        }
        if is_beyond {
            self.writing.tell(report, Outcome::Limited);
            return Some(Outcome::Limited);
        }
        let Report::Declare { application, .. } = report else { return None };
        (!self.declared.try_take(application, now_ms)).then_some(Outcome::Limited)
    }
}

// === impl Writing ===

impl Writing {
    async fn write(&self, report: &Report) -> &'static str {
        loop {
            let (decided, limits) = (report.clone(), self.limits);
            let decide = move |snapshot: &Snapshot, moment: Moment| Ok(decided.decide(snapshot, moment, &limits));
            let actor = Actor::system("reports").doing(report.action());
            match self.store.write_own(&actor, decide).await {
                Ok(outcome) => {
                    self.tell(report, outcome);
                    return outcome.as_str();
                }
                Err(problem) if problem.status == 503 => {
                    warn!(?report, detail = problem.detail, "a worker's report cannot be acted on yet");
                    tokio::time::sleep(PAUSE).await;
                }
                // What its organization has is as heavy as it may be.
                Err(problem) if problem.code == Some(Code::LimitReached) => {
                    self.tell(report, Outcome::Limited);
                    return Outcome::Limited.as_str();
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
