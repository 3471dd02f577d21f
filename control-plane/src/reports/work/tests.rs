//! Whose reports are acted on, and in what order they are done with.

use std::sync::Arc;

use catalog::Catalog;
use chassis::config::ByteLimits;
use chassis::metrics::Registry;
use schemas::control::{Application, ControlObject, Limits, Organization, Subscription};
use schemas::ids::{ApplicationId, SubscriptionId};
use uuid::Uuid;
use vault::{EncryptionKey, Vault};

use super::super::decide::Why;
use super::*;
use crate::metrics::ControlMetrics;
use crate::store::Store;

const NOW_MS: i64 = 10_000;

fn id(organization: u128, number: u128) -> SubscriptionId {
    SubscriptionId(Uuid::from_u128(organization * 1_000_000 + number))
}

/// Two organizations, each with an application and so many subscriptions.
fn work(subscriptions: [u128; 2]) -> (ReportsWork, Catalog) {
    let mut objects = Vec::new();
    for (organization, count) in (1..).zip(subscriptions) {
        let application = ApplicationId(Uuid::from_u128(organization));
        let of = Organization::new(OrganizationId(application.0), "one", 1);
        objects.push(ControlObject::Application(Application::new(application, of.organization_id, "app", 1)));
        objects.push(ControlObject::Organization(of));
        for number in 0..count {
            let subscription = Subscription::new(id(organization, number), application, 1_000);
            objects.push(ControlObject::Subscription(Box::new(subscription)));
        }
    }
    let vault = Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap();
    let catalog = Catalog::of(objects, Arc::new(vault));
    let metrics = ControlMetrics::new(&Registry::new()).unwrap();
    let store = Store::in_memory(catalog.clone(), ByteLimits::default(), metrics.clone());
    let acting = Acting::new(store, catalog.clone(), metrics, Limits::default());
    (ReportsWork::new(acting, None), catalog)
}

fn looked(offset: i64, subscription: SubscriptionId) -> Looked {
    let detail = "it answered 410".to_owned();
    Looked {
        epoch: Epoch(1),
        partition: TopicPartition::new("attempts", 0),
        offset,
        timestamp_ms: NOW_MS,
        size: 100,
        report: Some(Report::Disable { subscription, at_ms: NOW_MS, why: Why::Gone, detail }),
        event: None,
    }
}

fn now() -> Now {
    Now { wall_ms: NOW_MS, boot_ms: 0, instant: chassis::clock::instant() }
}

#[tokio::test]
async fn a_report_waits_for_none_of_many_of_another_organization() {
    let (mut work, catalog) = work([1_000, 1]);
    for number in 0..1_000 {
        work.add(looked(i64::try_from(number).unwrap(), id(1, number)));
    }
    work.add(looked(1_000, id(2, 0)));
    work.begin(now());
    assert_eq!((work.under_way.len(), work.since.contains_key(&1_000)), (AT_ONCE, true));
    while catalog.read().subscription(id(2, 0)).unwrap().is_enabled() {
        work.input().await;
    }
    let disabled = (0..1_000).filter(|number| !catalog.read().subscription(id(1, *number)).unwrap().is_enabled());
    assert!(disabled.count() < 2 * AT_ONCE, "those of the other one are not done");
}

#[tokio::test]
async fn records_are_done_with_in_their_order_whatever_was_acted_on_first() {
    let (mut work, _) = work([3, 1]);
    for (offset, subscription) in [(0, id(1, 0)), (1, id(1, 1)), (2, id(2, 0)), (3, id(1, 2))] {
        work.add(looked(offset, subscription));
    }
    work.begin(now());
    work.end(2, "disabled");
    assert!(work.pop_done().is_none(), "the first one is under way");
    let mut done = Vec::new();
    while done.len() < 4 {
        work.input().await;
        done.extend(std::iter::from_fn(|| work.pop_done()).map(|looked| looked.offset));
    }
    assert_eq!(done, [0, 1, 2, 3]);
}
