//! Every question, of an application that keeps two days, and of one that keeps all.

use delivery_log::{Coordinates, FactKind, LogRow, RowContent, SqliteOptions, SqliteStore, Subject, delivery_prefix};
use schemas::control::{Application, ControlObject};
use schemas::ids::OrganizationId;
use vault::{EncryptionKey, Vault};

use super::*;
use crate::log::made;

const SHORT: ApplicationId = ApplicationId(Uuid::from_u128(1));
const LONG: ApplicationId = ApplicationId(Uuid::from_u128(2));
const SUBSCRIPTION: SubscriptionId = SubscriptionId(Uuid::from_u128(3));

fn catalog() -> Catalog {
    let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
    let of = |id, days| {
        let new = Application::new(id, OrganizationId(Uuid::from_u128(9)), "billing", 1);
        ControlObject::Application(Application { log_retention_days: days, ..new })
    };
    Catalog::of([of(SHORT, Some(2)), of(LONG, None)], vault)
}

fn delivery(application: ApplicationId, number: u128) -> DeliveryId {
    let number = (application.0.as_u128() << 64) + (number << 16);
    DeliveryId(uuid::Builder::from_u128(number).with_version(uuid::Version::Sha1).into_uuid())
}

fn uuid(application: ApplicationId, number: u128) -> Uuid {
    Uuid::from_u128((application.0.as_u128() << 64) + number)
}

/// Of each application an event of three days ago and one of an hour ago, each with an attempt that waits, and a dead letter.
fn rows(now_ms: i64) -> Vec<LogRow> {
    let mut rows = Vec::new();
    for application in [SHORT, LONG] {
        for (number, ago_ms) in [(1, 3 * DAY_MS), (2, 3_600_000)] {
            let (stored_ms, event) = (now_ms - ago_ms, Some(uuid(application, number)));
            let mut push = |make: &dyn Fn(Coordinates) -> RowContent| {
                let offset = i64::try_from(rows.len()).unwrap();
                rows.push(LogRow { offset, stored_ms, content: make(Coordinates { partition: 0, offset }) });
            };
            push(&|coordinates| {
                let made = made::event(application);
                let (id, accepted_ms) = (format!("evt_{number}"), stored_ms);
                let uuid = uuid(application, number);
                RowContent::Event(Box::new(LoggedEvent { coordinates, stored_ms, accepted_ms, id, uuid, ..made }))
            });
            for (kind, of) in [(FactKind::Attempted, number), (FactKind::DeadLettered, number + 10)] {
                push(&|coordinates| {
                    let (made, delivery) = (made::fact(application, kind), Some(delivery(application, of)));
                    let (attempt, subscription, at_ms) = (Some(1), Some(SUBSCRIPTION), stored_ms);
                    let of = Fact { coordinates, stored_ms, at_ms, event, delivery, attempt, subscription, ..made };
                    RowContent::Fact(Box::new(of))
                });
            }
        }
    }
    rows
}

/// What is told of an application: how many of what was asked for came.
async fn told(store: &dyn DeliveryStore, application: ApplicationId) -> Vec<usize> {
    let deliveries: Vec<DeliveryId> = [1, 2, 11, 12].map(|number| delivery(application, number)).into();
    let since = deliveries.iter().map(|id| (*id, Day::of(0))).collect();
    let (prefix, _) = delivery_prefix(delivery_log::attempt_id(deliveries[0], 1)).unwrap();
    let of_event = FactQuery { subject: Subject::Event(uuid(application, 1)), ..FactQuery::of(application, 10) };
    let of_subscription = FactQuery { subject: Subject::Subscription(SUBSCRIPTION), ..FactQuery::of(application, 10) };
    let named = |number| EventName::Uuid(uuid(application, number));
    let events = vec![(uuid(application, 1), Day::of(0)), (uuid(application, 2), Day::of(0))];
    let buckets = BucketQuery { application, subscription: None, times: Times::default(), step_ms: 60_000 };
    vec![
        store.facts(FactQuery::of(application, 10)).await.unwrap().rows.len(),
        store.facts(of_event).await.unwrap().rows.len(),
        store.facts(of_subscription).await.unwrap().rows.len(),
        store.events(EventQuery::of(application, 10)).await.unwrap().rows.len(),
        usize::from(store.event(application, named(1)).await.unwrap().is_some()),
        usize::from(store.event(application, named(2)).await.unwrap().is_some()),
        store.events_of(application, events).await.unwrap().len(),
        store.histories(application, since).await.unwrap().len(),
        store.history_of(application, prefix).await.unwrap().len(),
        store.open_deliveries(deliveries).await.unwrap().len(),
        usize::try_from(store.open_letters(application, SUBSCRIPTION, 0).await.unwrap()).unwrap(),
        store.buckets(buckets).await.unwrap().len(),
        store.accepted(vec![application], Day::of(0), Day::of(i64::MAX)).await.unwrap().len(),
    ]
}

#[tokio::test]
async fn what_an_application_does_not_keep_is_in_no_answer_also_before_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions { folder: folder.path().to_owned(), readers: 1, memory_bytes: 8 << 20 };
    let (store, catalog, now_ms) = (Arc::new(SqliteStore::open(&options).unwrap()), catalog(), clock::now_ms());
    let rows = rows(now_ms);
    let end = i64::try_from(rows.len()).unwrap();
    store.project(vec![LogChunk { partition: 0, offsets: 0..end, rows }]).await.unwrap();
    let shown = RetainedStore::new(Arc::clone(&store) as Arc<dyn DeliveryStore>, catalog.clone());
    let (all, new) = (vec![4, 2, 4, 2, 1, 1, 2, 4, 1, 2, 2, 2, 2], vec![2, 0, 2, 1, 0, 1, 1, 2, 0, 1, 1, 1, 1]);
    assert_eq!(told(store.as_ref(), SHORT).await, all, "all of it is there");
    assert_eq!(told(&shown, SHORT).await, new);
    assert_eq!(told(&shown, LONG).await, all, "and nothing of another's is hidden");
    // Removed, it is gone for whoever looks into the store itself.
    while store.forget(all_kept_from(&catalog, now_ms)).await.unwrap().is_more {}
    assert_eq!(told(store.as_ref(), SHORT).await, new);
    assert_eq!(told(store.as_ref(), LONG).await, all);
}
