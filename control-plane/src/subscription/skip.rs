//! A delivery of an ordered subscription is given up, so that those behind it with the same ordering key go on. Pure.
//!
//! It is noted in the subscription: the workers learn of it as they learn of every change, whoever has the delivery by then, and cancel
//! it when it comes back.

use schemas::control::{SkippedDelivery, Subscription};
use schemas::ids::DeliveryId;
use schemas::lanes::HeldKey;
use schemas::problem::{Code, ProblemId};

use crate::problem::Problem;

/// A subscription has so many at once that have not come back yet: they stand in its record.
const MOST: usize = 100;
/// Where nobody knows how long it may be on its way: longer than any delivery lives.
const LONGEST_MS: i64 = 400 * 86_400_000;

/// The subscription without this delivery. `held`: what its ordering keys wait for, where that is known.
///
/// # Errors
/// None of its keys waits for it, or too many are skipped already.
pub(crate) fn skip(
    former: &Subscription,
    delivery: DeliveryId,
    held: Option<&[HeldKey]>,
    now_ms: i64,
) -> Result<Subscription, Problem> {
    if former.skipped.iter().any(|skipped| skipped.delivery == delivery) {
        return Ok(former.clone());
    }
    let found = held.map(|held| held.iter().find(|held| held.delivery == delivery));
    let until_ms = match found {
        Some(Some(held)) => held.until_ms,
        None => now_ms.saturating_add(LONGEST_MS),
        Some(None) => {
            let detail = "no ordering key of this subscription waits for such a delivery: `held_deliveries` of its health are those";
            return Err(Problem::new(ProblemId::NotFound, detail));
        }
    };
    let mut object = former.clone();
    object.skipped.retain(|skipped| skipped.until_ms > now_ms);
    if object.skipped.len() >= MOST {
        let message = format!(
            "{MOST} deliveries of this subscription are skipped and not back yet: disable it to cancel all that is queued"
        );
        return Err(Problem::field("delivery_id", Code::InvalidField, message).with_status(409));
    }
    object.skipped.push(SkippedDelivery { delivery, until_ms });
    object.updated_ms = now_ms;
    Ok(object)
}

#[cfg(test)]
mod tests {
    use schemas::ids::{ApplicationId, SubscriptionId};
    use schemas::ordering::OrderingKey;
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> DeliveryId {
        DeliveryId(Uuid::from_u128(number))
    }

    fn held(number: u128, until_ms: i64) -> HeldKey {
        HeldKey { key: OrderingKey(1), delivery: id(number), matched_at: 0, until_ms }
    }

    fn former() -> Subscription {
        Subscription::new(SubscriptionId(Uuid::nil()), ApplicationId(Uuid::nil()), 0)
    }

    #[test]
    fn what_a_key_waits_for_is_skipped_once_and_nothing_else_is() {
        let waits = [held(1, 500), held(2, 700)];
        let once = skip(&former(), id(2), Some(&waits), 10).unwrap();
        assert_eq!(once.skipped, [SkippedDelivery { delivery: id(2), until_ms: 700 }]);
        assert_eq!(once.updated_ms, 10);
        assert_eq!(skip(&once, id(2), Some(&[]), 20).unwrap(), once, "it is done already, and its key is free");
        assert_eq!(skip(&once, id(3), Some(&waits), 20).unwrap_err().status, 404);
    }

    #[test]
    fn where_nobody_knows_what_waits_it_is_skipped_for_longer_than_it_lives() {
        let skipped = skip(&former(), id(2), None, 10).unwrap().skipped;
        assert_eq!(skipped, [SkippedDelivery { delivery: id(2), until_ms: 10 + LONGEST_MS }]);
    }

    #[test]
    fn what_is_over_makes_room_and_what_is_not_is_bounded() {
        let mut object = former();
        for number in 0..MOST {
            let number = u128::try_from(number).unwrap();
            object = skip(&object, id(number), Some(&[held(number, 1_000)]), 10).unwrap();
        }
        let next = [held(999, 2_000)];
        assert_eq!(skip(&object, id(999), Some(&next), 999).unwrap_err().status, 409);
        let later = skip(&object, id(999), Some(&next), 1_000).unwrap();
        assert_eq!(later.skipped, [SkippedDelivery { delivery: id(999), until_ms: 2_000 }]);
    }
}
