//! What the attempts of a subscription have in common, as a store gives it back.

use schemas::ids::{ApplicationId, SubscriptionId};
use uuid::Uuid;

use super::Fixture;
use crate::fact::{LogChunk, LogRow, LoggedTarget, RowContent};
use crate::position::Coordinates;
use crate::store::{DeliveryStore, Projected};

const DAY: i64 = 86_400_000;

pub(crate) async fn what_attempts_had_in_common_is_found_by_subscription_and_offset<F: Fixture>() {
    let mut fixture = F::empty();
    let (application, stranger) = (ApplicationId(Uuid::from_u128(1)), ApplicationId(Uuid::from_u128(2)));
    let subscription = |number| SubscriptionId(Uuid::from_u128(number));
    let told = |place: i64, (number, offset): (u128, i64), facts: &str| {
        let coordinates = Coordinates { partition: 0, offset: place };
        let (subscription, facts) = (subscription(number), facts.to_owned());
        let target = LoggedTarget { coordinates, application, subscription, offset, facts };
        LogRow { offset: place, stored_ms: place * DAY / 2, content: RowContent::Target(Box::new(target)) }
    };
    // Two workers tell the same, and on the next day one of them again.
    let rows =
        vec![told(0, (7, 40), "old"), told(1, (7, 40), "old"), told(2, (7, 41), "new"), told(3, (7, 40), "again")];
    let chunk = LogChunk { partition: 0, offsets: 0..4, rows };
    let store = fixture.open().await;
    assert_eq!(store.project(vec![chunk.clone()]).await.unwrap(), Projected { new: 4, known: 0, too_old: 0 });
    assert_eq!(store.project(vec![chunk]).await.unwrap(), Projected { new: 0, known: 4, too_old: 0 });
    let store = fixture.open().await;
    let of =
        async |application, number, offset| store.target(application, (subscription(number), offset)).await.unwrap();
    assert_eq!(of(application, 7, 40).await.as_deref(), Some("again"));
    assert_eq!(of(application, 7, 41).await.as_deref(), Some("new"));
    for (application, number, offset) in [(application, 7, 39), (application, 8, 40), (stranger, 7, 40)] {
        assert_eq!(of(application, number, offset).await, None, "{application} {number} {offset}");
    }
}
