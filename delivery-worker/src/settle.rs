//! How a delivery leaves this worker: delivered, retried, passed on, dead or cancelled. Pure: an attempt's verdict and
//! the subscription's schedule in, the end out.

use std::borrow::Cow;
use std::time::Duration;

use catalog::Subscription;
use retry::{RetryAfter, Schedule, Tiers};
use schemas::dead_letter::DeathReason;
use schemas::delivery::{Delivery, Hop, Wait};
use schemas::lanes::SupersededRetry;

use crate::classify::AttemptVerdict;

/// What could not be sent for want of something here waits so long: somebody has to mend it, or load to fall.
const DEFERRED: Duration = Duration::from_secs(30);

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
    /// Its subscription is deleted or disabled, its job was cancelled, or somebody gave it up.
    Cancelled(&'static str),
    /// Another retry went in its place: it is dropped, and its delivery goes on, or has ended, without it.
    Superseded(SupersededRetry),
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

    /// Which retry is dropped, if it is one that another went in the place of.
    pub(crate) fn superseded(&self) -> Option<SupersededRetry> {
        if let Self::Superseded(retry) = self { Some(*retry) } else { None }
    }

    /// The next attempt, if there is to be one.
    pub(crate) fn retry(&self) -> Option<Hop> {
        if let Self::Retry(hop) = self { Some(*hop) } else { None }
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
        verdict: &AttemptVerdict,
        delivery: &Delivery,
        failing_since_ms: Option<i64>,
        of: &Subscription,
        now_ms: i64,
    ) -> End {
        match verdict {
            AttemptVerdict::Delivered => End::Delivered,
            AttemptVerdict::Gone(detail) => {
                End::Died { reason: DeathReason::Gone, detail: Cow::Borrowed(detail), endpoint_gone: true }
            }
            AttemptVerdict::Aborted => End::died(DeathReason::Aborted, "the receiver asked to abort this message"),
            AttemptVerdict::Refused(detail) => End::died(DeathReason::Refused, detail.clone()),
            AttemptVerdict::Unwritable(detail) => End::died(DeathReason::Unwritable, detail.clone()),
            verdict @ AttemptVerdict::Failed(_) if verdict.is_unsent() => self.deferred(delivery, now_ms),
            AttemptVerdict::Failed(failure) => self.again(delivery, of, failure.retry_after, failing_since_ms, now_ms),
        }
    }

    /// Nothing was sent, and not because of the endpoint: the same attempt, later. Its life goes on meanwhile.
    pub(crate) fn deferred(&self, delivery: &Delivery, now_ms: i64) -> End {
        let no_hint = RetryAfter { asked: None, cap: self.retry_after_cap };
        let due_ms = retry::next(now_ms, DEFERRED, no_hint, unit(delivery), &self.tiers).due_ms;
        if due_ms >= delivery.deadline_ms {
            return End::too_old();
        }
        End::Retry(Hop { due_ms, wait: Wait::Retry, ..delivery.hop })
    }

    fn again(
        &self,
        delivery: &Delivery,
        of: &Subscription,
        asked: Option<Duration>,
        failing_since_ms: Option<i64>,
        now_ms: i64,
    ) -> End {
        if delivery.is_once() {
            return End::died(DeathReason::Schedule, "one attempt was asked for, and it failed");
        }
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

#[cfg(test)]
mod tests {
    use retry::Preset;

    use super::*;
    use crate::classify::{NoAnswer, unanswered};
    use crate::testing;

    #[test]
    fn what_could_not_be_sent_is_no_attempt() {
        let vault = testing::vault();
        let subscription = testing::subscription(testing::object(1, "https://example.com/", &vault), 1, &vault);
        let rules = RetryRules {
            schedule: Schedule::preset(Preset::Quick),
            tiers: Tiers::parse("1s 5s 20s").unwrap(),
            retry_after_cap: Duration::from_secs(60),
        };
        let mut delivery = testing::delivery("evt_1", 1);
        let after = |why, delivery: &Delivery| rules.after(&unanswered(why), delivery, None, &subscription, 1_000);
        for why in NoAnswer::ALL {
            let End::Retry(hop) = after(why, &delivery) else { panic!("{why:?} ends it") };
            let is_own = matches!(why, NoAnswer::Local | NoAnswer::Unsigned);
            assert_eq!(hop.attempt, delivery.hop.attempt + u32::from(!is_own), "{why:?}");
            assert!(!is_own || hop.due_ms >= 31_000, "{why:?}");
        }
        // One attempt that was asked for is made once: what could not be sent was none.
        let once = testing::once("evt_1", 1);
        assert!(matches!(after(NoAnswer::Local, &once), End::Retry(_)));
        assert!(matches!(after(NoAnswer::Timeout, &once), End::Died { reason: DeathReason::Schedule, .. }));
        delivery.deadline_ms = 20_000;
        assert_eq!(after(NoAnswer::Local, &delivery), End::too_old());
    }
}
