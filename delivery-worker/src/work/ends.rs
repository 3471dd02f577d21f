//! What becomes of a delivery that leaves: its end is counted, logged where somebody should know, and written.

use std::time::Duration;

use chassis::limited::Limited;
use kafka::Lease;
use schemas::delivery::{Delivery, DeliveryError};
use schemas::ids::SubscriptionId;
use schemas::record::{Headers, OutRecord, Record};
use schemas::topics::Topics;
use stage::{Refusal, Refused};

use crate::attempts::Completed;
use crate::classify::Verdict;
use crate::engine::{Arrival, Landed, Left};
use crate::error::Error;
use crate::metrics::DeliveryMetrics;
use crate::report::{Attempt, Reporter};
use crate::settle::{End, RetryRules};

/// At most one line is logged per subscription in this time.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// An endpoint that works again is reported if nothing had worked for so long: shorter blips are no news.
const RECOVERED_AFTER_MS: i64 = 5 * 60_000;

/// Turns the ends of deliveries into records.
#[derive(Debug)]
pub(super) struct Ends {
    retry: RetryRules,
    reporter: Reporter,
    topics: Topics,
    metrics: DeliveryMetrics,
    limited: Limited<SubscriptionId>,
}

// === impl Ends ===

impl Ends {
    /// Writes to these topics; retries by these rules where a subscription has none of its own.
    pub(super) fn new(retry: RetryRules, reporter: Reporter, topics: Topics, metrics: DeliveryMetrics) -> Self {
        Self { retry, reporter, topics, metrics, limited: Limited::new(LINE_EVERY) }
    }

    /// Counts an attempt that ended, whoever its delivery belongs to by now.
    pub(super) fn count(&self, attempt: &Attempt) {
        #[expect(clippy::cast_precision_loss, reason = "durations are far below 2^52 ms")]
        let seconds = attempt.elapsed_ms as f64 / 1_000.0;
        self.metrics.attempted(&attempt.answer.verdict, seconds);
    }

    /// What is written after an attempt.
    ///
    /// # Errors
    /// A record that cannot be encoded.
    pub(super) fn attempted(&self, landed: &Landed, of: &Completed, now_ms: i64) -> Result<Vec<OutRecord>, Error> {
        let (Landed { arrival, failed, recovered_ms, .. }, Completed { attempt, subscription, .. }) = (landed, of);
        let (delivery, verdict) = (&arrival.delivery, &attempt.answer.verdict);
        let since_ms = failed.map(|failed| failed.since_ms).or(delivery.hop.failing_since_ms);
        let end = self.retry.after(verdict, delivery, since_ms, subscription, now_ms);
        if *verdict != Verdict::Delivered {
            self.log_failure(arrival, attempt, &end);
        }
        let mut outputs = self.written(delivery, &end, Some(attempt), now_ms)?;
        if let Some(failed) = failed.filter(|failed| failed.is_due) {
            self.metrics.failing.inc();
            tracing::warn!(
                subscription.id = %subscription.id(),
                since.ms = failed.since_ms,
                outcome = %attempt,
                "no attempt has succeeded for longer than allowed, the control plane is told"
            );
            outputs.push(self.reporter.failing(delivery, failed.since_ms, attempt, now_ms)?);
        }
        if let Some(since_ms) = worth_telling(*recovered_ms, now_ms) {
            tracing::info!(subscription.id = %subscription.id(), since.ms = since_ms, "an endpoint works again");
            outputs.push(self.reporter.recovered(delivery, since_ms, now_ms)?);
        }
        Ok(outputs)
    }

    /// What is written about a delivery that leaves without an attempt.
    ///
    /// # Errors
    /// As [`Ends::attempted`].
    pub(super) fn left(&self, left: &Left, now_ms: i64) -> Result<Vec<OutRecord>, Error> {
        self.written(&left.arrival.delivery, &left.end, None, now_ms)
    }

    /// What is written about a record that is not a valid delivery.
    ///
    /// # Errors
    /// As [`Ends::attempted`].
    pub(super) fn rejected(
        &self,
        lease: &Lease,
        record: &Record,
        error: &DeliveryError,
        now_ms: i64,
    ) -> Result<Vec<OutRecord>, Error> {
        self.metrics.rejected.inc();
        tracing::warn!(
            partition = %lease.partition,
            offset = record.offset,
            %error,
            "record is not a valid delivery; moved to the topic of rejected records"
        );
        self.reporter.rejected(&lease.partition, record, &error.to_string(), now_ms)
    }

    /// What is written where Kafka can never take some outputs: those are replaced in their places, the others stay.
    ///
    /// # Errors
    /// As [`Ends::attempted`].
    pub(super) fn replaced<N>(&self, refused: Refused<'_, N>, now_ms: i64) -> Result<Vec<OutRecord>, Error> {
        let Refused { lease, offset, outputs, refusals, .. } = refused;
        let mut replaced = Vec::with_capacity(outputs.len() + refusals.len());
        for (at, output) in outputs.into_iter().enumerate() {
            let reason = refusals.iter().find_map(|refusal| match refusal {
                Refusal::Unwritable { index, reason } => (*index == at).then_some(reason),
                Refusal::TooSlow { reason } => Some(reason),
            });
            let Some(reason) = reason else {
                replaced.push(output);
                continue;
            };
            let detail = format!("kafka never takes this record to {reason}");
            tracing::error!(partition = %lease.partition, offset, detail, "something shorter is written instead");
            // A rejection that was refused itself: what it rejects is left out, its place says which record it was.
            let output = if output.topic == self.topics.rejected {
                OutRecord { key: None, value: None, headers: Headers::default(), ..output }
            } else {
                output
            };
            replaced.extend(self.reporter.unwritable(output, (&lease.partition, offset), &detail, now_ms)?);
        }
        Ok(replaced)
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
                        "a delivery has become a dead letter"
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
                "an attempt failed and will be repeated"
            );
        }
    }
}

/// Since when every attempt had failed, if that was long.
fn worth_telling(recovered_ms: Option<i64>, now_ms: i64) -> Option<i64> {
    recovered_ms.filter(|since_ms| now_ms - since_ms >= RECOVERED_AFTER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blip_is_no_recovery() {
        let now_ms = 1_790_000_000_000;
        let told = [None, Some(RECOVERED_AFTER_MS - 1), Some(RECOVERED_AFTER_MS)]
            .map(|lasted_ms| worth_telling(lasted_ms.map(|lasted_ms| now_ms - lasted_ms), now_ms));
        assert_eq!(told, [None, None, Some(now_ms - RECOVERED_AFTER_MS)]);
    }
}
