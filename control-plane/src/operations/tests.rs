//! What is told, of whom, and how often.

use std::borrow::Cow;

use catalog::Catalog;
use schemas::control::{Application, Organization};
use schemas::event_type::EventTypeName;
use schemas::ids::DeliveryId;
use uuid::Uuid;
use vault::{EncryptionKey, Vault};

use super::*;

const OPERATORS: ApplicationId = ApplicationId(Uuid::from_u128(7));
const TENANTS: ApplicationId = ApplicationId(Uuid::from_u128(8));
const NOW: i64 = 1_790_000_000_000;

fn catalog(applications: &[ApplicationId]) -> Catalog {
    let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
    let organization = OrganizationId(Uuid::from_u128(1));
    let objects = applications
        .iter()
        .map(|id| ControlObject::Application(Application::new(*id, organization, format!("a{}", id.0.as_u128()), 1)));
    let first = ControlObject::Organization(Organization::new(organization, "o", 1));
    Catalog::of(std::iter::once(first).chain(objects), vault)
}

fn operations() -> Operations {
    Operations::new(OPERATORS, Arc::from("events"))
}

fn subscription(application: ApplicationId, is_enabled: bool) -> Subscription {
    let mut object = Subscription::new(SubscriptionId(Uuid::from_u128(5)), application, 1);
    object.is_enabled = is_enabled;
    object.uid = Some("mine".to_owned());
    object
}

fn write(number: u128) -> WriteFacts {
    WriteFacts { id: Uuid::from_u128(number), at_ms: NOW, is_tenants: false }
}

fn put(object: Subscription) -> Change {
    Change::Put(ControlObject::Subscription(Box::new(object)))
}

fn written(catalog: &Catalog, change: &Change, before: Option<Subscription>) -> Vec<Value> {
    let before = before.map(|object| ControlObject::Subscription(Box::new(object)));
    let changes = [(change, before)].into_iter();
    let records = operations().of_write(&catalog.read(), changes, write(3)).unwrap();
    records.iter().map(|record| serde_json::from_slice(record.value.as_ref().unwrap()).unwrap()).collect()
}

fn report(kind: Kind, reason: Option<&'static str>, number: u128) -> Lifecycle<'static> {
    Lifecycle {
        application_id: Some(TENANTS),
        subscription_id: Some(SubscriptionId(Uuid::from_u128(5))),
        delivery_id: Some(DeliveryId(Uuid::from_u128(number))),
        failing_since_ms: Some(NOW - 600_000),
        reason: reason.map(Cow::Borrowed),
        attempt: Some(12),
        ..Lifecycle::new(kind, NOW - 1_000)
    }
}

fn told(operations: &Operations, catalog: &Catalog, report: &Lifecycle<'_>) -> Option<Value> {
    match operations.of_report(&catalog.read(), report, NOW)? {
        ToldOperator::Event(record) => Some(serde_json::from_slice(record.value.as_ref().unwrap()).unwrap()),
        ToldOperator::TooMany => Some(json!("too many")),
    }
}

#[test]
fn what_a_write_disables_is_told_and_no_other_change() {
    let catalog = catalog(&[OPERATORS, TENANTS]);
    let mut off = subscription(TENANTS, false);
    (off.disabled_reason, off.disabled_detail) = (Some("gone".to_owned()), Some("410".to_owned()));
    let told = written(&catalog, &put(off), Some(subscription(TENANTS, true)));
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["type"], &told[0]["reason"]), (&json!("hookbus.subscription.disabled"), &json!("gone")));
    assert_eq!((&told[0]["subscription_uid"], &told[0]["application_id"]), (&json!("mine"), &json!(TENANTS)));
    let by_hand = written(&catalog, &put(subscription(TENANTS, false)), Some(subscription(TENANTS, true)));
    assert_eq!(by_hand[0]["reason"], "request");
    let on = |is_enabled| Some(subscription(TENANTS, is_enabled));
    for (after, before) in [(true, on(false)), (true, on(true)), (false, on(false)), (false, None), (true, None)] {
        assert_eq!(
            written(&catalog, &put(subscription(TENANTS, after)), before.clone()),
            Vec::<Value>::new(),
            "{before:?}"
        );
    }
}

#[test]
fn what_a_write_deprecates_is_told_with_each_change_of_its_moments() {
    let catalog = catalog(&[OPERATORS, TENANTS]);
    let of = |application, deprecated, moments: Option<(i64, i64)>| {
        let name = EventTypeName::parse("order.new").unwrap();
        EventType {
            deprecated,
            deprecated_ms: moments.map(|it| it.0),
            sunset_ms: moments.map(|it| it.1),
            ..EventType::new(application, name, 1)
        }
    };
    let told_of = |after: EventType, before: Option<EventType>| -> Vec<Value> {
        let change = Change::Put(ControlObject::EventType(after));
        let changes = [(&change, before.map(ControlObject::EventType))].into_iter();
        let records = operations().of_write(&catalog.read(), changes, write(3)).unwrap();
        records.iter().map(|record| serde_json::from_slice(record.value.as_ref().unwrap()).unwrap()).collect()
    };
    let plain = of(TENANTS, false, None);
    let (first, later) = (of(TENANTS, true, Some((NOW, NOW + 9_000))), of(TENANTS, true, Some((NOW, NOW + 10_000))));
    for (after, before) in [(&first, &plain), (&later, &first)] {
        let told = told_of(after.clone(), Some(before.clone()));
        assert_eq!(told.len(), 1);
        assert_eq!(
            (&told[0]["type"], &told[0]["event_type"]),
            (&json!("hookbus.event_type.deprecated"), &json!("order.new"))
        );
        let sunset = time(after.sunset_ms.unwrap());
        assert_eq!((&told[0]["deprecated_at"], &told[0]["sunset_at"]), (&json!(time(NOW)), &json!(sunset)));
        assert_eq!((&told[0]["application_id"], told[0].get("subscription_uid")), (&json!(TENANTS), None));
    }
    let back = told_of(plain.clone(), Some(later.clone()));
    assert_eq!((&back[0]["type"], &back[0]["sunset_at"]), (&json!("hookbus.event_type.reinstated"), &json!(null)));
    let described = EventType { description: Some("d".to_owned()), ..later.clone() };
    for (after, before) in [(described, Some(later)), (first, None), (plain.clone(), Some(plain))] {
        assert_eq!(told_of(after, before), Vec::<Value>::new());
    }
    let own = told_of(of(OPERATORS, true, Some((NOW, NOW))), Some(of(OPERATORS, false, None)));
    assert_eq!(own, Vec::<Value>::new(), "nothing about the application that is told");
}

#[test]
fn nothing_is_told_of_the_application_that_is_told_nor_to_one_that_is_not_there() {
    let all = catalog(&[OPERATORS, TENANTS]);
    let own = written(&all, &put(subscription(OPERATORS, false)), Some(subscription(OPERATORS, true)));
    assert_eq!(own, Vec::<Value>::new());
    let exhausted = report(Kind::DeadLettered, Some("schedule"), 1);
    let own = Lifecycle { application_id: Some(OPERATORS), ..exhausted.clone() };
    assert_eq!(told(&operations(), &all, &own), None);
    let lonely = catalog(&[TENANTS]);
    assert_eq!(told(&operations(), &lonely, &exhausted), None);
    let off = put(subscription(TENANTS, false));
    assert_eq!(written(&lonely, &off, Some(subscription(TENANTS, true))), Vec::<Value>::new());
}

#[test]
fn reports_of_recovery_and_of_exhausted_attempts_are_told() {
    let catalog = catalog(&[OPERATORS, TENANTS]);
    let recovered = told(&operations(), &catalog, &report(Kind::Recovered, None, 1)).unwrap();
    assert_eq!(recovered["type"], "hookbus.subscription.recovered");
    assert_eq!(recovered["failing_since"], time(NOW - 600_000));
    for reason in ["schedule", "max_age"] {
        let exhausted = told(&operations(), &catalog, &report(Kind::DeadLettered, Some(reason), 1)).unwrap();
        assert_eq!(exhausted["type"], "hookbus.subscription.attempts_exhausted");
        assert_eq!((&exhausted["attempts"], &exhausted["reason"]), (&json!(12), &json!(reason)));
    }
    for (kind, reason) in [(Kind::DeadLettered, Some("gone")), (Kind::Delivered, None), (Kind::Failing, None)] {
        assert_eq!(told(&operations(), &catalog, &report(kind, reason, 1)), None, "{kind:?}");
    }
    let old = Lifecycle { at_ms: NOW - OLD_MS - 1, ..report(Kind::Recovered, None, 1) };
    assert_eq!(told(&operations(), &catalog, &old), None, "it may have been told when it was new");
}

#[test]
fn a_subscription_whose_deliveries_all_die_is_told_of_a_few_times() {
    let (catalog, operations) = (catalog(&[OPERATORS, TENANTS]), operations());
    let reports = (0..1_000).map(|number| report(Kind::DeadLettered, Some("schedule"), number));
    let events = reports.filter(|report| told(&operations, &catalog, report).unwrap().is_object()).count();
    assert_eq!(events, BURST as usize);
    let other =
        Lifecycle { subscription_id: Some(SubscriptionId(Uuid::from_u128(6))), ..report(Kind::Recovered, None, 1) };
    assert!(told(&operations, &catalog, &other).unwrap().is_object(), "another one is not held back");
    let recovered = report(Kind::Recovered, None, 1);
    assert!(told(&operations, &catalog, &recovered).unwrap().is_object(), "nor is what it is told of otherwise");
}

#[test]
fn what_waited_while_nobody_read_is_not_too_much() {
    let (catalog, operations) = (catalog(&[OPERATORS, TENANTS]), operations());
    let minutes = (0..100).rev().map(|ago| Lifecycle {
        at_ms: NOW - ago * 60_000,
        ..report(Kind::DeadLettered, Some("schedule"), u128::try_from(ago).unwrap())
    });
    let events = minutes.filter(|report| told(&operations, &catalog, report).unwrap().is_object()).count();
    assert_eq!(events, 100, "one a minute, all read at once");
}

#[test]
fn what_all_may_have_together_costs_no_subscription_its_own() {
    let (catalog, operations) = (catalog(&[OPERATORS, TENANTS]), operations());
    let of = |subscription: u128| Lifecycle {
        subscription_id: Some(SubscriptionId(Uuid::from_u128(100 + subscription))),
        ..report(Kind::DeadLettered, Some("schedule"), subscription)
    };
    let is_told = |report: &Lifecycle<'_>| told(&operations, &catalog, report).unwrap().is_object();
    assert_eq!((0..1_000).filter(|number| is_told(&of(*number))).count(), SHARE_BURST as usize);
    let later = Lifecycle { at_ms: NOW, ..of(999) };
    assert_eq!(
        (0..10).filter(|_| is_told(&later)).count(),
        BURST as usize,
        "it has paid nothing while it was held back"
    );
}

#[test]
fn two_writes_of_one_moment_are_two_events() {
    let catalog = catalog(&[OPERATORS, TENANTS]);
    let (off, on) = (put(subscription(TENANTS, false)), subscription(TENANTS, true));
    let id = |number: u128| {
        let before = ControlObject::Subscription(Box::new(on.clone()));
        let changes = [(&off, Some(before))].into_iter();
        let records = operations().of_write(&catalog.read(), changes, write(number)).unwrap();
        records[0].headers.text(schemas::header::CE_ID).unwrap().to_owned()
    };
    assert_ne!(id(1), id(2));
    assert_eq!(id(1), id(1));
}

#[test]
fn what_an_organization_turns_off_and_on_by_the_thousand_is_not_told_by_the_thousand() {
    let catalog = catalog(&[OPERATORS, TENANTS]);
    let operations = operations();
    let (off, on) = (put(subscription(TENANTS, false)), subscription(TENANTS, true));
    let told = |is_tenants: bool| {
        let times = (0..1_000).map(|number| {
            let changes = [(&off, Some(ControlObject::Subscription(Box::new(on.clone()))))].into_iter();
            let write = WriteFacts { is_tenants, ..write(number) };
            operations.of_write(&catalog.read(), changes, write).unwrap().len()
        });
        times.sum::<usize>()
    };
    assert_eq!(told(true), CHANGED_BURST as usize);
    assert_eq!(told(false), 1_000, "each of these is one report, or the operator's own");
}

#[test]
fn what_happens_to_one_organization_leaves_others_to_be_told_of() {
    const OTHERS: ApplicationId = ApplicationId(Uuid::from_u128(9));
    let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
    let objects = [(1, OPERATORS), (2, TENANTS), (3, OTHERS)].into_iter().flat_map(|(number, application)| {
        let organization = OrganizationId(Uuid::from_u128(number));
        [
            ControlObject::Organization(Organization::new(organization, "o", 1)),
            ControlObject::Application(Application::new(application, organization, "a", 1)),
        ]
    });
    let (catalog, operations) = (Catalog::of(objects, vault), operations());
    let told_of = |application: ApplicationId| {
        let times = (0..100).filter(|number| {
            let report = Lifecycle {
                application_id: Some(application),
                subscription_id: Some(SubscriptionId(Uuid::from_u128(application.0.as_u128() * 1_000 + number))),
                ..report(Kind::DeadLettered, Some("schedule"), *number)
            };
            told(&operations, &catalog, &report).is_some_and(|it| it != "too many")
        });
        times.count()
    };
    assert_eq!((told_of(TENANTS), told_of(OTHERS)), (SHARE_BURST as usize, SHARE_BURST as usize));
}
