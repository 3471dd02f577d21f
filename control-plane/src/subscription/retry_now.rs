//! The retry of a delivery that holds back others of an ordered subscription is wanted now, and not when it is due. Pure.
//!
//! It is noted in the subscription, by the time that it is due at: the workers learn of it as they learn of every change, and whoever has
//! the partition by then does it once. A note is over when that time has come: then the retry comes by itself.

use schemas::control::{HurriedRetry, Subscription};
use schemas::ids::DeliveryId;
use schemas::problem::{Code, ProblemId};

use super::skip::waiting_for;
use crate::health::HeldSeen;
use crate::problem::Problem;

/// A subscription has so many at once that are not due yet: they stand in its record.
const MOST: usize = 100;

/// The subscription with this delivery's retry wanted now. What is due comes by itself.
///
/// # Errors
/// None of its keys waits for it, or it is not known for which retry; it is skipped; a delivery worker of an `older` release runs, which
/// would forget that the former retry is to be dropped; or too many are wanted already.
pub(crate) fn retry_now(
    former: &Subscription,
    delivery: DeliveryId,
    held: &HeldSeen,
    older: Option<&str>,
    now_ms: i64,
) -> Result<Subscription, Problem> {
    let Some(held) = waiting_for(held, delivery)? else {
        let detail = "more ordering keys wait than this control plane remembers: when this delivery's retry is due is not known here";
        return Err(Problem::new(ProblemId::Validation, detail).with_status(409).with_code(Code::LimitReached));
    };
    let Some(retry) = held.retry else {
        return Err(conflict(
            "a delivery worker of an older release wrote its retry, which cannot go before it is due".into(),
        ));
    };
    if former.skipped.iter().any(|skipped| skipped.delivery == delivery) {
        return Err(conflict("it is skipped: it is not attempted any more".into()));
    }
    let wanted = HurriedRetry { delivery, due_ms: retry.due_ms };
    if retry.due_ms <= now_ms || former.hurried.contains(&wanted) {
        return Ok(former.clone());
    }
    if let Some(instance) = older {
        return Err(conflict(format!(
            "delivery worker `{instance}` is of an older release and would attempt it twice: upgrade all of them first"
        )));
    }
    let mut object = former.clone();
    object.hurried.retain(|other| other.due_ms > now_ms);
    if object.hurried.len() >= MOST {
        return Err(conflict(format!(
            "{MOST} retries of this subscription went early and would not have been due yet"
        )));
    }
    object.hurried.push(wanted);
    Ok(object)
}

fn conflict(message: String) -> Problem {
    Problem::field("delivery_id", Code::InvalidField, message).with_status(409)
}

#[cfg(test)]
mod tests {
    use schemas::control::SkippedDelivery;
    use schemas::ids::{ApplicationId, SubscriptionId};
    use schemas::lanes::{HeldKey, PendingRetry};
    use schemas::ordering::OrderingKey;
    use uuid::Uuid;

    use super::{DeliveryId, HeldSeen, HurriedRetry, MOST, Problem, Subscription};

    fn id(number: u128) -> DeliveryId {
        DeliveryId(Uuid::from_u128(number))
    }

    fn held(number: u128, due_ms: Option<i64>) -> HeldSeen {
        let retry = due_ms.map(|due_ms| PendingRetry::new(4, 2, due_ms));
        let (key, delivery) = (OrderingKey(1), id(number));
        HeldSeen::Known(vec![HeldKey { key, delivery, matched_at: 0, until_ms: 9_000, retry, listed_at: None }])
    }

    /// Where all workers are of this release.
    fn retry_now(
        former: &Subscription,
        delivery: DeliveryId,
        held: &HeldSeen,
        now_ms: i64,
    ) -> Result<Subscription, Problem> {
        super::retry_now(former, delivery, held, None, now_ms)
    }

    fn former() -> Subscription {
        Subscription::new(SubscriptionId(Uuid::nil()), ApplicationId(Uuid::nil()), 0)
    }

    #[test]
    fn what_a_key_waits_for_is_wanted_once_by_the_time_it_is_due_at_and_again_when_that_has_changed() {
        let once = retry_now(&former(), id(2), &held(2, Some(700)), 10).unwrap();
        assert_eq!(once.hurried, [HurriedRetry { delivery: id(2), due_ms: 700 }]);
        assert_eq!(once.updated_ms, 0, "its endpoint fails as long as before");
        assert_eq!(retry_now(&once, id(2), &held(2, Some(700)), 20).unwrap(), once);
        let again = retry_now(&once, id(2), &held(2, Some(800)), 30).unwrap();
        assert_eq!(again.hurried.len(), 2, "it has failed again");
        let later = retry_now(&again, id(2), &held(2, Some(900)), 750).unwrap();
        assert_eq!(later.hurried.iter().map(|it| it.due_ms).collect::<Vec<_>>(), [800, 900], "what was due is over");
        assert_eq!(retry_now(&former(), id(2), &held(2, Some(700)), 700).unwrap(), former(), "it comes by itself");
    }

    #[test]
    fn what_nobody_waits_for_what_is_skipped_and_what_is_not_known_is_refused() {
        let refused = |former: &Subscription, held: &HeldSeen| retry_now(former, id(2), held, 10).unwrap_err().status;
        assert_eq!(refused(&former(), &held(3, Some(700))), 404);
        assert_eq!(refused(&former(), &held(2, None)), 409, "an older worker wrote it");
        assert_eq!((refused(&former(), &HeldSeen::NoRoom), refused(&former(), &HeldSeen::Unread)), (409, 503));
        let mut skipped = former();
        skipped.skipped = vec![SkippedDelivery { delivery: id(2), until_ms: 9_000 }];
        assert_eq!(refused(&skipped, &held(2, Some(700))), 409);
    }

    /// What it does not know of the lane's record it would not write again: the former retry would be sent too.
    #[test]
    fn while_a_worker_of_an_older_release_runs_nothing_new_is_wanted() {
        let asked = |former: &Subscription, due_ms| {
            super::retry_now(former, id(2), &held(2, Some(due_ms)), Some("hookbus-delivery-3"), 10)
        };
        let refused = asked(&former(), 700).unwrap_err();
        assert_eq!(refused.status, 409);
        let once = retry_now(&former(), id(2), &held(2, Some(700)), 10).unwrap();
        assert_eq!(asked(&once, 700).unwrap(), once, "it is wanted already");
        assert_eq!(asked(&former(), 10).unwrap(), former(), "it comes by itself");
    }

    #[test]
    fn they_are_bounded() {
        let mut object = former();
        for number in 0..MOST {
            let number = u128::try_from(number).unwrap();
            object = retry_now(&object, id(number), &held(number, Some(1_000)), 10).unwrap();
        }
        let next = held(999, Some(2_000));
        assert_eq!(retry_now(&object, id(999), &next, 999).unwrap_err().status, 409);
        let later = retry_now(&object, id(999), &next, 1_000).unwrap();
        assert_eq!(later.hurried, [HurriedRetry { delivery: id(999), due_ms: 2_000 }]);
    }
}
