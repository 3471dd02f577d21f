//! What becomes of a delivery that leaves: its end is counted, logged where somebody should know, and written.

use std::time::Duration;

use chassis::limited::Limited;
use kafka::Lease;
use schemas::delivery::{Delivery, DeliveryError, Hop, LastAttempt};
use schemas::ids::SubscriptionId;
use schemas::lanes::PendingRetry;
use schemas::record::{Headers, OutRecord, Record};
use schemas::topics::Topics;
use stage::{Refusal, Refused};

use crate::attempts::Completed;
use crate::classify::AttemptVerdict;
use crate::engine::{Arrival, Landed, Left};
use crate::error::Error;
use crate::metrics::DeliveryMetrics;
use crate::report::{Attempt, Reporter};
use crate::settle::{End, RetryRules};
use crate::told::ToldTargets;

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
    told: ToldTargets,
}

/// What is written after an attempt, and the next one, if another follows that its ordering key waits for.
#[derive(Debug)]
pub(super) struct AttemptEnd {
    pub(super) outputs: Vec<OutRecord>,
    pub(super) retry: Option<PendingRetry>,
}

// === impl Ends ===

impl Ends {
    /// Writes to these topics; retries by these rules where a subscription has none of its own.
    pub(super) fn new(retry: RetryRules, reporter: Reporter, topics: Topics, metrics: DeliveryMetrics) -> Self {
        Self { retry, reporter, topics, metrics, limited: Limited::new(LINE_EVERY), told: ToldTargets::default() }
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
    pub(super) fn attempted(&mut self, landed: &Landed, of: &Completed, now_ms: i64) -> Result<AttemptEnd, Error> {
        let (Landed { arrival, is_cut_off, failed, recovered_ms, .. }, Completed { attempt, subscription, .. }) =
            (landed, of);
        let (delivery, verdict) = (&arrival.delivery, &attempt.answer.verdict);
        if delivery.hop.attempt == 1 && delivery.generation.0.is_none() {
            #[expect(clippy::cast_precision_loss, reason = "ages are far below 2^52 ms")]
            let age = (attempt.started_ms - delivery.accepted_ms).max(0) as f64;
            self.metrics.pickup.observe(age / 1_000.0);
        }
        let since_ms = failed.map(|failed| failed.since_ms).or(delivery.hop.failing_since_ms);
        let end = if *is_cut_off {
            self.retry.deferred(delivery, now_ms)
        } else {
            self.retry.after(verdict, delivery, since_ms, subscription, now_ms)
        };
        if *verdict != AttemptVerdict::Delivered {
            self.log_failure(arrival, attempt, &end);
        }
        let mut outputs = self.written(delivery, &end, Some(attempt), now_ms)?;
        // What does not fit as a retry is a dead letter: nobody waits for it.
        let is_awaited = delivery.ordering_key.is_some()
            && outputs.first().is_some_and(|first| first.topic != self.topics.dead_letters);
        let retry =
            end.retry().filter(|_| is_awaited).map(|Hop { attempt: number, due_ms, failing_since_ms, .. }| {
                let pending = PendingRetry { failing_since_ms, ..PendingRetry::new(arrival.offset, number, due_ms) };
                pending.after(attempt.last(&attempt.to_string()))
            });
        if self.told.is_news(subscription.id(), arrival.lease, subscription.offset(), now_ms) {
            outputs.push(self.reporter.target(subscription, now_ms)?);
        }
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
        Ok(AttemptEnd { outputs, retry })
    }

    /// What is written about a delivery that leaves without an attempt.
    ///
    /// # Errors
    /// As [`Ends::attempted`].
    pub(super) fn left(&self, left: &Left, now_ms: i64) -> Result<Vec<OutRecord>, Error> {
        self.written(&left.arrival.delivery, &left.end, None, now_ms)
    }

    /// A retry that goes now; `None`: it does not fit the topic.
    pub(super) fn hurried(&self, delivery: &Delivery, hop: Hop, last: Option<LastAttempt<'_>>) -> Option<OutRecord> {
        self.reporter.hurried(delivery, hop, last)
    }

    /// How a delivery leaves that comes far too early.
    pub(super) fn passed_on(&self, delivery: &Delivery, now_ms: i64) -> End {
        self.reporter.passed_on(delivery, now_ms)
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
                self.metrics.delivered(delivery.hop.attempt, age / 1_000.0);
            }
            End::Retry(_) => self.metrics.retries.inc(),
            End::PassedOn | End::Superseded(_) => {}
            // It is no dead letter: nobody else hears of it.
            End::Died { .. } if delivery.is_once() => {}
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
    use std::sync::Arc;

    use kafka::Epoch;
    use retry::{Schedule, Tiers};
    use schemas::attempt::{Kind, Lifecycle};
    use schemas::topics::TopicSettings;

    use super::*;
    use crate::client::Answer;
    use crate::request::Signed;
    use crate::slots::Slots;
    use crate::testing;

    const LEASE: Epoch = Epoch(1);

    /// Kinds of the lifecycle records that are written under a lease after an attempt with a subscription as it stood at an offset.
    fn kinds(ends: &mut Ends, lease: Epoch, offset: i64, now_ms: i64) -> Vec<Kind> {
        let vault = testing::vault();
        let subscription = testing::subscription(testing::object(1, "https://example.com/", &vault), offset, &vault);
        let delivery = Arc::new(testing::delivery("evt_1", 1));
        let arrival = Arrival { lease, offset: 0, size: 0, timestamp_ms: 0, delivery };
        let landed = Landed { arrival, is_listed: false, is_cut_off: false, failed: None, recovered_ms: None };
        let (answer, signed) = (Answer::of(AttemptVerdict::Delivered), Signed::default());
        let attempt = Attempt { started_ms: 0, elapsed_ms: 0, first_byte_ms: None, target: offset, signed, answer };
        let ticket = Slots::default().insert(());
        let written = ends.attempted(&landed, &Completed { ticket, subscription, attempt, lag_ms: 0 }, now_ms).unwrap();
        let kind = |out: &OutRecord| Lifecycle::decode(out.value.as_ref().unwrap()).unwrap().kind;
        written.outputs.iter().map(kind).collect()
    }

    #[test]
    fn what_attempts_have_in_common_is_written_with_the_first_of_them() {
        let (settings, day_ms) = (TopicSettings::default(), 86_400_000);
        let reporter = Reporter::new(settings.topics(), &settings.tiers, 4_096, Duration::from_secs(15));
        let rules = RetryRules {
            schedule: Schedule::default(),
            tiers: Tiers::default(),
            retry_after_cap: Duration::from_secs(86_400),
        };
        let metrics = DeliveryMetrics::new(&prometheus::Registry::new()).unwrap();
        let mut ends = Ends::new(rules, reporter, settings.topics(), metrics);
        let (first, others) = (vec![Kind::Delivered, Kind::Target], vec![Kind::Delivered]);
        assert_eq!(kinds(&mut ends, LEASE, 7, 0), first);
        assert_eq!(kinds(&mut ends, LEASE, 7, 1), others);
        assert_eq!(kinds(&mut ends, LEASE, 8, 2), first, "it was changed");
        assert_eq!(kinds(&mut ends, LEASE, 8, day_ms + 2), first, "a day has passed");
        assert_eq!(kinds(&mut ends, LEASE, 8, day_ms + 3), others);
        // The transaction that told of it may have been aborted with its lease.
        assert_eq!(kinds(&mut ends, Epoch(2), 8, day_ms + 4), first);
    }

    #[test]
    fn a_blip_is_no_recovery() {
        let now_ms = 1_790_000_000_000;
        let told = [None, Some(RECOVERED_AFTER_MS - 1), Some(RECOVERED_AFTER_MS)]
            .map(|lasted_ms| worth_telling(lasted_ms.map(|lasted_ms| now_ms - lasted_ms), now_ms));
        assert_eq!(told, [None, None, Some(now_ms - RECOVERED_AFTER_MS)]);
    }
}
