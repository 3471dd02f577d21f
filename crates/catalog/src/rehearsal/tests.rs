//! Rehearsals that go on from one another.

use schemas::control::{Application, Organization, Subscription, Target};
use schemas::ids::{ApplicationId, OrganizationId, SubscriptionId};
use schemas::record::{Headers, OutRecord};
use uuid::Uuid;
use vault::EncryptionKey;

use super::*;
use crate::Catalog;

const ORGANIZATION: OrganizationId = OrganizationId(Uuid::from_u128(1));
const APPLICATION: ApplicationId = ApplicationId(Uuid::from_u128(2));

fn organization(id: u128, uid: &str) -> ControlObject {
    let new = Organization::new(OrganizationId(Uuid::from_u128(id)), "one", 1);
    ControlObject::Organization(Organization { uid: Some(uid.to_owned()), ..new })
}

fn subscription(id: u128, uid: &str) -> ControlObject {
    let mut new = Subscription::new(SubscriptionId(Uuid::from_u128(id)), APPLICATION, 1);
    new.target = Target { method: "POST".into(), url: "https://e.example/".into(), ..Target::default() };
    new.uid = Some(uid.to_owned());
    ControlObject::Subscription(Box::new(new))
}

fn catalog() -> Catalog {
    let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
    let application = Application::new(APPLICATION, ORGANIZATION, "one", 1);
    Catalog::of([organization(1, "ours"), ControlObject::Application(application)], vault)
}

fn record(object: &ControlObject) -> OutRecord {
    OutRecord {
        topic: "control".into(),
        partition: None,
        key: Some(object.key().to_string().into()),
        value: Some(object.encode().unwrap().into()),
        headers: Headers::default(),
    }
}

/// Which subscription has the uid `a`, which organization `ours`, and how many of each there are.
fn seen(snapshot: &Snapshot) -> (Option<u128>, Option<u128>, usize, usize) {
    let subscription = snapshot.subscription_by_uid(APPLICATION, "a").map(|it| it.id().0.as_u128());
    let organization = snapshot.organization_called("ours").map(|it| it.organization_id.0.as_u128());
    (subscription, organization, snapshot.subscriptions_total(), snapshot.organizations().count())
}

#[test]
fn another_rehearsal_goes_on_from_what_one_has_come_to_but_for_what_was_taken_back() {
    let catalog = catalog();
    let rehearsed = catalog.rehearse(|it| {
        it.put(&subscription(10, "a")).unwrap();
        it.put(&subscription(11, "b")).unwrap();
        it.remove(&subscription(11, "b").key());
        let mark = it.mark();
        it.put(&subscription(12, "c")).unwrap();
        it.take_back(mark);
        it.rehearsed()
    });
    assert_eq!(seen(&catalog.read()), (None, Some(1), 0, 1));
    for _ in 0..2 {
        catalog.rehearse(|it| {
            it.go_on_from(&rehearsed);
            assert_eq!(seen(it.snapshot()), (Some(10), Some(1), 1, 1));
        });
    }
    assert_eq!(seen(&catalog.read()), (None, Some(1), 0, 1));
}

#[test]
fn who_has_taken_a_uid_between_two_rehearsals_has_it_afterwards() {
    let catalog = catalog();
    let rehearsed = catalog.rehearse(|it| {
        it.put(&subscription(10, "a")).unwrap();
        it.put(&organization(20, "ours")).unwrap();
        it.rehearsed()
    });
    assert_eq!(seen(&catalog.read()), (None, Some(1), 0, 1), "the uid of an organization is its own again");
    catalog.feed([record(&subscription(30, "a"))]);
    let digest = catalog.read().digest();
    catalog.rehearse(|it| {
        it.go_on_from(&rehearsed);
        assert_eq!(seen(it.snapshot()), (Some(10), Some(20), 2, 2));
    });
    assert_eq!(seen(&catalog.read()), (Some(30), Some(1), 1, 1));
    assert_eq!(catalog.read().digest(), digest);
}
