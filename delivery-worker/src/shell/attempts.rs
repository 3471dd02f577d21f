//! Attempts: a request task per dispatch, and what becomes of its outcome.

use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, Subscription};
use chassis::{clock, tasks};
use schemas::delivery::Delivery;
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::OutRecord;
use tokio::sync::mpsc;

use super::Shell;
use super::targets::{TARGETS, Targets};
use crate::book::Entry;
use crate::classify::Verdict;
use crate::client::{Answer, Client, Clients, Tls};
use crate::config::{Settings, ms};
use crate::engine::{Arrival, Dispatch, Landed};
use crate::error::Error;
use crate::report::Attempt;
use crate::request::{self, Prepared};
use crate::settle::End;
use crate::slots::Ticket;

/// How often an attempt passes the runtime's queue: its connection takes it, the answer comes, the attempt goes on, the shell
/// hears of it.
const TURNS: i64 = 4;

/// An attempt that ended.
#[derive(Debug)]
pub(super) struct Completed {
    ticket: Ticket,
    subscription: Arc<Subscription>,
    attempt: Attempt,
    /// How long its task waited for the runtime, ms: what this worker, not the endpoint, is slow by.
    lag_ms: i64,
}

/// Makes attempts.
#[derive(Debug)]
pub(super) struct Attempts {
    clients: Clients,
    targets: Targets,
    timeout: Duration,
    outcomes: mpsc::Sender<Completed>,
}

impl Attempts {
    pub(super) fn new(client: Client, tls: Tls, settings: &Settings, outcomes: mpsc::Sender<Completed>) -> Self {
        let clients = Clients::new(client, settings.guard.clone());
        let targets = Targets::new(TARGETS, settings.guard.clone(), tls);
        Self { clients, targets, timeout: settings.attempt_timeout, outcomes }
    }

    /// Forgets clients and targets of subscriptions that are not what they were.
    pub(super) fn review(&mut self, catalog: &Catalog) {
        let snapshot = catalog.read();
        let offset_of = |id| snapshot.subscription(id).map(|it| it.offset());
        self.clients.keep_current(offset_of);
        self.targets.keep_current(offset_of);
    }

    fn spawn(&mut self, dispatch: Dispatch) {
        let target = self.targets.of(&dispatch.subscription);
        let timeout = dispatch.subscription.timeout().unwrap_or(self.timeout);
        let client = match target.as_ref() {
            Ok(target) => self.clients.of(dispatch.subscription.id(), dispatch.subscription.offset(), target.auth()),
            // Nothing will be sent.
            Err(_verdict) => self.clients.shared(),
        };
        let outcomes = self.outcomes.clone();
        let dispatched = clock::instant();
        drop(tasks::spawn("attempt", async move {
            let lag_ms = ms(clock::instant().saturating_duration_since(dispatched));
            let completed = attempt(&client, &dispatch, &target, timeout, lag_ms).await;
            if outcomes.send(completed).await.is_err() {
                tracing::debug!("an attempt ended after the worker");
            }
        }));
    }
}

async fn attempt(client: &Client, dispatch: &Dispatch, target: &Prepared, timeout: Duration, lag_ms: i64) -> Completed {
    let (started_ms, started) = (clock::now_ms(), clock::instant());
    let answer = match begin(client, dispatch, target, timeout, started_ms) {
        Ok(sending) => sending.await,
        Err(verdict) => Answer::of(verdict),
    };
    let elapsed_ms = ms(clock::instant().saturating_duration_since(started));
    Completed {
        ticket: dispatch.ticket,
        subscription: Arc::clone(&dispatch.subscription),
        attempt: Attempt { started_ms, elapsed_ms, answer },
        lag_ms,
    }
}

/// Builds the request and begins to send it. No part of the attempt's future, which would carry the request.
fn begin<'a>(
    client: &'a Client,
    dispatch: &Dispatch,
    target: &'a Prepared,
    timeout: Duration,
    now_ms: i64,
) -> Result<impl Future<Output = Answer> + Send + use<'a>, Verdict> {
    let target = target.as_ref().as_ref().map_err(Clone::clone)?;
    let request = request::build(&dispatch.delivery, &dispatch.subscription, target, now_ms)?;
    Ok(target.auth().send(client, request, timeout, now_ms))
}

impl Shell {
    pub(super) fn on_dispatch(&mut self, dispatch: Dispatch, now_ms: i64) -> Result<(), Error> {
        if is_planted(PlantedBug::CommitBeforeSend) {
            // The planted bug: done before it is sent.
            if let Some(arrival) = self.engine.peek(dispatch.ticket).cloned() {
                self.settle(&arrival, &End::Delivered, now_ms)?;
            }
        }
        self.attempts.spawn(dispatch);
        Ok(())
    }

    pub(super) fn on_completed(&mut self, completed: Completed, now_ms: i64) -> Result<(), Error> {
        let Completed { ticket, subscription, attempt, lag_ms } = completed;
        let verdict = &attempt.answer.verdict;
        #[expect(clippy::cast_precision_loss, reason = "durations are far below 2^52 ms")]
        let seconds = attempt.elapsed_ms as f64 / 1_000.0;
        self.metrics.attempted(verdict, seconds);
        // A worker short of CPU must not take its lanes for slow, and park what they could have sent.
        let endpoint_ms = (attempt.elapsed_ms - TURNS * lag_ms).max(0);
        let Some(landed) = self.engine.outcome(ticket, verdict, endpoint_ms, now_ms) else { return Ok(()) };
        let Landed { arrival, failed } = landed;
        let since_ms = failed.map(|failed| failed.since_ms).or(arrival.delivery.hop.failing_since_ms);
        let end = self.settings.retry.after(verdict, &arrival.delivery, since_ms, &subscription, now_ms);
        if is_planted(PlantedBug::CommitBeforeSend) {
            return Ok(());
        }
        if *verdict != Verdict::Delivered {
            self.log_failure(&arrival, &attempt, &end);
        }
        let mut outputs = self.written(&arrival.delivery, &end, Some(&attempt), now_ms)?;
        if let Some(failed) = failed.filter(|failed| failed.is_due) {
            self.metrics.failing.inc();
            tracing::warn!(
                subscription.id = %subscription.id(),
                since.ms = failed.since_ms,
                outcome = %attempt,
                "no attempt has succeeded for longer than allowed, the control plane is told"
            );
            outputs.push(self.reporter.failing(&arrival.delivery, failed.since_ms, &attempt, now_ms)?);
        }
        self.resolve(&arrival, outputs);
        Ok(())
    }

    /// Puts an end into the book, with everything that is written about it.
    pub(super) fn settle(&mut self, arrival: &Arrival, end: &End, now_ms: i64) -> Result<(), Error> {
        let outputs = self.written(&arrival.delivery, end, None, now_ms)?;
        self.resolve(arrival, outputs);
        Ok(())
    }

    fn resolve(&mut self, arrival: &Arrival, outputs: Vec<OutRecord>) {
        let Arrival { lease, offset, size, .. } = *arrival;
        self.book.resolve(Entry { lease, offset, size, outputs, boot_ms: clock::boot_ms() });
    }

    /// Counts an end; returns what is written about it.
    fn written(
        &self,
        delivery: &Delivery,
        end: &End,
        attempt: Option<&Attempt>,
        now_ms: i64,
    ) -> Result<Vec<OutRecord>, Error> {
        match end {
            End::Delivered => {
                #[expect(clippy::cast_precision_loss, reason = "ages are far below 2^52 ms")]
                let age = (now_ms - delivery.accepted_ms).max(0) as f64;
                self.metrics.latency.observe(age / 1_000.0);
            }
            End::Retry(_) => self.metrics.retries.inc(),
            End::Parked { hop, .. } => self.metrics.parked(hop.wait),
            End::PassedOn => {}
            End::Died { reason, detail, .. } => {
                self.metrics.died(*reason);
                if let Some(swallowed) = self.limited.permit(&delivery.subscription) {
                    tracing::warn!(
                        delivery.id = %delivery.id,
                        subscription.id = %delivery.subscription,
                        reason = reason.as_str(),
                        detail = %detail,
                        attempt = delivery.hop.attempt,
                        swallowed,
                        "dead letter"
                    );
                }
            }
            End::Cancelled(_) => self.metrics.cancelled.inc(),
        }
        self.reporter.outputs(delivery, end, attempt, now_ms)
    }

    fn log_failure(&self, arrival: &Arrival, attempt: &Attempt, end: &End) {
        let End::Retry(hop) = end else { return };
        let delivery = &arrival.delivery;
        if let Some(swallowed) = self.limited.permit(&delivery.subscription) {
            tracing::info!(
                delivery.id = %delivery.id,
                subscription.id = %delivery.subscription,
                attempt = delivery.hop.attempt,
                outcome = %attempt,
                due.ms = hop.due_ms,
                swallowed,
                "attempt failed, will be repeated"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientLimits;
    use crate::guard::Guard;
    use crate::request::Target;
    use crate::slots::Slots;
    use crate::testing;

    /// It is moved into its task and its place is written over when it ends. With the request in it, it had 4.8 KB.
    #[test]
    fn an_attempt_is_small() {
        let (vault, guard, tls) = (testing::vault(), Guard::new(false, Vec::new()), Tls::new(None).unwrap());
        let subscription = testing::subscription(testing::object(1, "https://example.com/", &vault), 1, &vault);
        let target: Prepared = Arc::new(Target::new(&subscription, &guard, &tls));
        let limits = ClientLimits {
            connect_timeout: Duration::from_secs(5),
            headers: 4_096,
            body: 4_096,
            idle_timeout: Duration::from_secs(60),
            idle_per_host: 8,
        };
        let client = Client::new(&guard, limits, tls.plain().unwrap());
        let ticket = Slots::default().insert(());
        let dispatch = Dispatch { ticket, delivery: Arc::new(testing::delivery("evt_1", 1)), subscription };
        let size = size_of_val(&attempt(&client, &dispatch, &target, Duration::from_secs(1), 0));
        assert!(size <= 2_048, "{size} bytes");
    }
}
