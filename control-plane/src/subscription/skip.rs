//! A delivery of an ordered subscription is given up, so that those behind it with the same ordering key go on. Pure.
//!
//! It is noted in the subscription: the workers learn of it as they learn of every change, whoever has the delivery by then, and cancel
//! it when it comes back.

use schemas::control::{SkippedDelivery, Subscription};
use schemas::ids::DeliveryId;
use schemas::lanes::HeldKey;
use schemas::problem::{Code, ProblemId};

use crate::health::HeldSeen;
use crate::problem::{Problem, unavailable};

/// A subscription has so many at once that have not come back yet: they stand in its record.
const MOST: usize = 100;
/// Where nobody knows how long it may be on its way: longer than any delivery lives.
const LONGEST_MS: i64 = 400 * 86_400_000;

/// The subscription without this delivery. That is no change of what it is: how long its endpoint may fail counts on from where it was.
///
/// # Errors
/// None of its keys waits for it, that is not known yet, or too many are skipped already.
pub(crate) fn skip(
    former: &Subscription,
    delivery: DeliveryId,
    held: &HeldSeen,
    now_ms: i64,
) -> Result<Subscription, Problem> {
    if former.skipped.iter().any(|skipped| skipped.delivery == delivery) {
        return Ok(former.clone());
    }
    let until_ms = waiting_for(held, delivery)?.map_or_else(|| now_ms.saturating_add(LONGEST_MS), |held| held.until_ms);
    let mut object = former.clone();
    object.skipped.retain(|skipped| skipped.until_ms > now_ms);
    if object.skipped.len() >= MOST {
        let message = format!(
            "{MOST} deliveries of this subscription are skipped and not back yet: disable it to cancel all that is queued"
        );
        return Err(Problem::field("delivery_id", Code::InvalidField, message).with_status(409));
    }
    object.skipped.push(SkippedDelivery { delivery, until_ms });
    Ok(object)
}

/// The key that waits for a delivery. `None`: whether one does cannot be known here.
///
/// # Errors
/// None does, or that is not known yet.
pub(super) fn waiting_for(held: &HeldSeen, delivery: DeliveryId) -> Result<Option<HeldKey>, Problem> {
    match held {
        HeldSeen::Known(held) => match held.iter().find(|held| held.delivery == delivery) {
            Some(held) => Ok(Some(held.clone())),
            None => {
                let detail = "no ordering key of this subscription waits for such a delivery: `held_deliveries` of its health are those";
                Err(Problem::new(ProblemId::NotFound, detail))
            }
        },
        HeldSeen::NoRoom => Ok(None),
        HeldSeen::Unread => {
            Err(unavailable("what the ordering keys of this subscription wait for is still being read from Kafka"))
        }
    }
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
        HeldKey { key: OrderingKey(1), delivery: id(number), matched_at: 0, until_ms, retry: None, listed_at: None }
    }

    fn former() -> Subscription {
        Subscription::new(SubscriptionId(Uuid::nil()), ApplicationId(Uuid::nil()), 0)
    }

    #[test]
    fn what_a_key_waits_for_is_skipped_once_and_nothing_else_is() {
        let waits = HeldSeen::Known(vec![held(1, 500), held(2, 700)]);
        let once = skip(&former(), id(2), &waits, 10).unwrap();
        assert_eq!(once.skipped, [SkippedDelivery { delivery: id(2), until_ms: 700 }]);
        assert_eq!(once.updated_ms, 0, "its endpoint fails as long as before");
        let nothing = HeldSeen::Known(Vec::new());
        assert_eq!(skip(&once, id(2), &nothing, 20).unwrap(), once, "it is done already, and its key is free");
        assert_eq!(skip(&once, id(3), &waits, 20).unwrap_err().status, 404);
    }

    #[test]
    fn where_nobody_can_know_what_waits_it_is_skipped_for_longer_than_it_lives_and_where_somebody_will_he_is_waited_for()
     {
        assert_eq!(skip(&former(), id(2), &HeldSeen::Unread, 10).unwrap_err().status, 503);
        let skipped = skip(&former(), id(2), &HeldSeen::NoRoom, 10).unwrap().skipped;
        assert_eq!(skipped, [SkippedDelivery { delivery: id(2), until_ms: 10 + LONGEST_MS }]);
    }

    #[test]
    fn what_is_over_makes_room_and_what_is_not_is_bounded() {
        let mut object = former();
        for number in 0..MOST {
            let number = u128::try_from(number).unwrap();
            object = skip(&object, id(number), &HeldSeen::Known(vec![held(number, 1_000)]), 10).unwrap();
        }
        let next = HeldSeen::Known(vec![held(999, 2_000)]);
        assert_eq!(skip(&object, id(999), &next, 999).unwrap_err().status, 409);
        let later = skip(&object, id(999), &next, 1_000).unwrap();
        assert_eq!(later.skipped, [SkippedDelivery { delivery: id(999), until_ms: 2_000 }]);
    }
}
