//! How a delivery leaves this worker: delivered, retried, passed on, dead or cancelled. Pure: an attempt's verdict and
//! the subscription's schedule in, the end out.

use std::borrow::Cow;
use std::time::Duration;

use catalog::Subscription;
use retry::{RetryAfter, Schedule, Tiers};
use schemas::dead_letter::DeathReason;
use schemas::delivery::{Delivery, Hop, Wait};

use crate::classify::Verdict;

/// The end of one stay here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// The endpoint took it.
    Delivered,
    /// Another attempt, later.
    Retry(Hop),
    /// It came far too early: back to a delay topic as it is.
    PassedOn,
    /// It ended badly.
    Died {
        /// Why.
        reason: DeathReason,
        /// A sentence for people.
        detail: Cow<'static, str>,
        /// The endpoint wants nothing any more.
        endpoint_gone: bool,
    },
    /// Its subscription is deleted or disabled.
    Cancelled(&'static str),
}

/// What retries depend on.
#[derive(Clone, Debug)]
pub(crate) struct RetryRules {
    /// Of subscriptions without their own.
    pub(crate) schedule: Schedule,
    /// The delay topics.
    pub(crate) tiers: Tiers,
    /// Longest `Retry-After` that counts.
    pub(crate) retry_after_cap: Duration,
}

impl End {
    /// A death without anything else to say.
    pub(crate) fn died(reason: DeathReason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Died { reason, detail: detail.into(), endpoint_gone: false }
    }

    /// It is older than it may be.
    pub(crate) fn too_old() -> Self {
        Self::died(DeathReason::MaxAge, "older than the subscription's max_age")
    }
}

impl RetryRules {
    /// The end after an attempt for an endpoint that has been failing since then, if it does.
    pub(crate) fn after(
        &self,
        verdict: &Verdict,
        delivery: &Delivery,
        failing_since_ms: Option<i64>,
        of: &Subscription,
        now_ms: i64,
    ) -> End {
        match verdict {
            Verdict::Delivered => End::Delivered,
            Verdict::Gone(detail) => {
                End::Died { reason: DeathReason::Gone, detail: Cow::Borrowed(detail), endpoint_gone: true }
            }
            Verdict::Aborted => End::died(DeathReason::Aborted, "the receiver asked to abort this message"),
            Verdict::Refused(detail) => End::died(DeathReason::Refused, detail.clone()),
            Verdict::Unwritable(detail) => End::died(DeathReason::Unwritable, detail.clone()),
            Verdict::Failed(failure) => self.again(delivery, of, failure.retry_after, failing_since_ms, now_ms),
        }
    }

    fn again(
        &self,
        delivery: &Delivery,
        of: &Subscription,
        asked: Option<Duration>,
        failing_since_ms: Option<i64>,
        now_ms: i64,
    ) -> End {
        let own = of.own_schedule().is_some();
        let schedule = if own { of.schedule().as_ref() } else { &self.schedule };
        let attempt = delivery.hop.attempt;
        let Some(delay) = schedule.delay(attempt) else {
            return End::died(DeathReason::Schedule, "the retry schedule ended");
        };
        let retry_after = RetryAfter { asked, cap: self.retry_after_cap };
        let due_ms = retry::next(now_ms, delay, retry_after, unit(delivery), &self.tiers).due_ms;
        if due_ms >= delivery.deadline_ms {
            return End::died(DeathReason::MaxAge, "the next attempt would be due after the subscription's max_age");
        }
        End::Retry(Hop { attempt: attempt + 1, due_ms, wait: Wait::Retry, failing_since_ms, ..delivery.hop })
    }
}

/// The draw of a delivery's jitter: of this attempt and no other, the same after a crash.
fn unit(delivery: &Delivery) -> f64 {
    let (high, low) = delivery.id.0.as_u64_pair();
    retry::unit(high ^ low ^ u64::from(delivery.hop.attempt))
}
