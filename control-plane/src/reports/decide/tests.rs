//! Reports over snapshots.

use std::sync::Arc;

use catalog::Catalog;
use schemas::control::{Application, HurriedRetry, Organization, SkippedDelivery};
use schemas::ids::{DeliveryId, OrganizationId};
use uuid::Uuid;
use vault::{EncryptionKey, Vault};

use super::*;
use crate::store::Change;

const APPLICATION: ApplicationId = ApplicationId(Uuid::from_u128(2));
const SUBSCRIPTION: SubscriptionId = SubscriptionId(Uuid::from_u128(3));
const MOMENT: Moment = Moment { end: 40, now_ms: 5_000 };

fn catalog(rule: UnknownEventTypes, limits: Limits, change: impl FnOnce(&mut Subscription)) -> Catalog {
    let vault = Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap();
    let organization = Organization::new(OrganizationId(Uuid::from_u128(1)), "default", 1);
    let mut application = Application::new(APPLICATION, organization.organization_id, "app", 1);
    application.unknown_event_types = rule;
    application.limits = limits;
    let mut subscription = Subscription::new(SUBSCRIPTION, APPLICATION, 1_000);
    change(&mut subscription);
    let declared = EventType::new(APPLICATION, EventTypeName::parse("known.type").unwrap(), 1);
    let objects = [
        ControlObject::Organization(organization),
        ControlObject::Application(application),
        ControlObject::EventType(declared),
        ControlObject::Subscription(Box::new(subscription)),
    ];
    Catalog::of(objects, Arc::new(vault))
}

fn report(kind: Kind, at_ms: i64, detail: Option<&'static str>) -> Report {
    let lifecycle = Lifecycle {
        subscription_id: Some(SUBSCRIPTION),
        detail: detail.map(Into::into),
        ..Lifecycle::new(kind, at_ms)
    };
    Report::of(&lifecycle).unwrap()
}

fn undeclared(event_type: &str) -> Report {
    let lifecycle = Lifecycle {
        application_id: Some(APPLICATION),
        event_type: Some(event_type.into()),
        ..Lifecycle::new(Kind::Undeclared, 1)
    };
    Report::of(&lifecycle).unwrap()
}

fn decided(report: &Report, catalog: &Catalog) -> (Outcome, Option<ControlObject>) {
    let decision = report.decide(&catalog.read(), MOMENT, &Limits::default());
    let object = decision.changes.into_iter().next().map(|change| match change {
        Change::Put(object) => object,
        Change::Remove(key) => panic!("{key} is removed"),
    });
    (decision.answer, object)
}

#[test]
fn only_what_may_concern_us_is_decoded() {
    let look = |kind| FirstLook::of(&Lifecycle::new(kind, 1).encode().unwrap());
    for kind in [Kind::EndpointGone, Kind::Failing, Kind::Undeclared, Kind::Recovered, Kind::DeadLettered] {
        assert_eq!(look(kind), FirstLook::Decoded, "{kind:?}");
    }
    for kind in [Kind::Matched, Kind::Delivered, Kind::Attempted, Kind::Target, Kind::Rejected] {
        assert_eq!(look(kind), FirstLook::Passed, "{kind:?}");
    }
    assert_eq!(FirstLook::of(br#"{"v":2,"kind":"teleported","at_ms":1}"#), FirstLook::Unknown);
    assert_eq!(FirstLook::of(br#"{"v":9,"kind":"failing","at_ms":1}"#), FirstLook::Unknown);
    assert_eq!(FirstLook::of(b"nonsense"), FirstLook::Decoded, "whoever decodes it says what is wrong");
}

#[test]
fn a_gone_endpoint_and_a_failing_one_disable_their_subscription_and_say_why() {
    let skipped = SkippedDelivery { delivery: DeliveryId(Uuid::from_u128(8)), until_ms: i64::MAX };
    let catalog = catalog(UnknownEventTypes::Accept, Limits::default(), |object| {
        object.skipped = vec![skipped];
        object.hurried = vec![HurriedRetry { delivery: skipped.delivery, due_ms: i64::MAX }];
    });
    for (kind, reason) in [(Kind::EndpointGone, "gone"), (Kind::Failing, "failing")] {
        let (outcome, object) = decided(&report(kind, 2_000, Some("because")), &catalog);
        assert_eq!(outcome, Outcome::Disabled);
        let Some(ControlObject::Subscription(object)) = object else { panic!("{object:?}") };
        assert!(!object.is_enabled);
        assert_eq!(object.disabled_reason.as_deref(), Some(reason));
        assert_eq!(object.disabled_detail.as_deref(), Some("because"));
        assert_eq!((object.disabled_ms, object.cancel_before, object.updated_ms), (Some(5_000), Some(40), 5_000));
        assert_eq!((object.skipped, object.hurried), (vec![], vec![]), "all of them are cancelled by that");
        let Report::Disable { detail, .. } = report(kind, 2_000, None) else { panic!("a disabling one") };
        assert!(!detail.is_empty(), "there always is a sentence");
    }
}

#[test]
fn what_was_said_before_the_last_change_is_outdated() {
    let changed = catalog(UnknownEventTypes::Accept, Limits::default(), |object| object.updated_ms = 3_000);
    for at_ms in [2_000, 3_000] {
        assert_eq!(decided(&report(Kind::EndpointGone, at_ms, None), &changed).0, Outcome::Outdated);
        assert!(report(Kind::EndpointGone, at_ms, None).is_settled(&changed.read()));
    }
    assert_eq!(decided(&report(Kind::EndpointGone, 3_001, None), &changed).0, Outcome::Disabled);
    let disabled = catalog(UnknownEventTypes::Accept, Limits::default(), |object| object.is_enabled = false);
    assert_eq!(decided(&report(Kind::Failing, 2_000, None), &disabled).0, Outcome::Outdated);
    let empty = Catalog::of([], Arc::new(Vault::new(&[EncryptionKey::new("k", [7; 32])], &[8; 32]).unwrap()));
    assert_eq!(decided(&report(Kind::Failing, 2_000, None), &empty).0, Outcome::Outdated);
}

#[test]
fn an_event_type_is_declared_where_that_is_wanted_and_there_is_room() {
    let wants = catalog(UnknownEventTypes::Declare, Limits::default(), |_| {});
    let (outcome, object) = decided(&undeclared("new.type"), &wants);
    assert_eq!(outcome, Outcome::Declared);
    let Some(ControlObject::EventType(object)) = object else { panic!("{object:?}") };
    assert_eq!((object.name.as_str(), object.created_ms), ("new.type", 5_000));
    assert_eq!(decided(&undeclared("known.type"), &wants), (Outcome::Outdated, None));
    assert!(undeclared("known.type").is_settled(&wants.read()));
    for unfit in ["one", "a b.c", "a..b"] {
        assert_eq!(decided(&undeclared(unfit), &wants), (Outcome::Unfit, None), "{unfit}");
        assert!(undeclared(unfit).is_settled(&wants.read()));
    }
    for rule in [UnknownEventTypes::Accept, UnknownEventTypes::Reject] {
        let other = catalog(rule, Limits::default(), |_| {});
        assert_eq!(decided(&undeclared("new.type"), &other), (Outcome::Outdated, None));
    }
    let full = catalog(UnknownEventTypes::Declare, Limits { event_types: Some(1), ..Limits::default() }, |_| {});
    assert_eq!(decided(&undeclared("new.type"), &full), (Outcome::Limited, None));
}

#[test]
fn other_kinds_are_nobodys_business_here_and_long_sentences_are_cut() {
    let delivered = Lifecycle { subscription_id: Some(SUBSCRIPTION), ..Lifecycle::new(Kind::Delivered, 1) };
    assert_eq!(Report::of(&delivered), None);
    assert_eq!(Report::of(&Lifecycle::new(Kind::EndpointGone, 1)), None, "without a subscription");
    assert_eq!(cut(&"\u{e9}".repeat(400)).len(), MAX_DETAIL);
    assert_eq!(cut(""), "");
}
