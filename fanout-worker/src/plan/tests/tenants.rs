//! Who gets a record that came through a topic: every way of naming an application, by topic, before and after it is renamed,
//! deleted and made again by somebody else. The answers over HTTP are in the control plane's matrix.

use schemas::control::{Organization, RetiredApplication, SourceFormat, TopicSource};
use schemas::ids::{PositionId, SourceId};
use schemas::record::OutRecord;

use super::*;
use crate::intake::SourceRoute;

const EVENTS: &str = "hookbus.events";
const THEIR_TOPIC: &str = "orders";

/// The installation's organization, and another tenant.
const OURS: u128 = 9;
const THEIRS: u128 = 8;

/// One application of each, both called `shop`, each with a subscription to everything.
const OUR_SHOP: u128 = 101;
const THEIR_SHOP: u128 = 102;

fn organization(number: u128) -> OrganizationId {
    OrganizationId(Uuid::from_u128(number))
}

fn shop(id: u128, owner: u128, uid: Option<&str>) -> ControlObject {
    let new = Application::new(ApplicationId(Uuid::from_u128(id)), organization(owner), "shop", 0);
    ControlObject::Application(Application { uid: uid.map(str::to_owned), ..new })
}

fn everything(id: u128, application: u128) -> ControlObject {
    let (id, application) = (SubscriptionId(Uuid::from_u128(id)), ApplicationId(Uuid::from_u128(application)));
    ControlObject::Subscription(Box::new(schemas::control::Subscription {
        event_types: vec![EventTypePattern::parse("**").unwrap()],
        target: Target { method: "POST".into(), url: "https://example.com/".into(), ..Target::default() },
        ..schemas::control::Subscription::new(id, application, 0)
    }))
}

fn world() -> World {
    let vault = vault::Vault::new(&[vault::EncryptionKey::new("k1", [1; 32])], &[2; 32]).unwrap();
    let organizations =
        [OURS, THEIRS].map(|it| ControlObject::Organization(Organization::new(organization(it), "o", 0)));
    let objects = [
        shop(OUR_SHOP, OURS, Some("shop")),
        shop(THEIR_SHOP, THEIRS, Some("shop")),
        everything(1, OUR_SHOP),
        everything(2, THEIR_SHOP),
    ];
    let mut world = World::of(Catalog::of(organizations.into_iter().chain(objects), Arc::new(vault)));
    world.planner.owners = Owners::new(organization(OURS));
    world
}

/// Whose source a topic is, if it is one.
fn route(topic: &str) -> Option<SourceRoute> {
    let (id, position) = (SourceId(Uuid::from_u128(1)), PositionId(Uuid::from_u128(2)));
    let new = || TopicSource::new(id, organization(THEIRS), "orders", SourceFormat::Cloudevents, position, 0);
    (topic == THEIR_TOPIC).then(|| SourceRoute::new(Arc::new(new()), 1_000))
}

impl World {
    /// Who gets a record of a topic that names its application so, or why nobody does.
    fn gets(&mut self, topic: &str, named: &str) -> Result<Vec<u128>, RejectReason> {
        let record = event(0, "", &[(header::APPLICATION, named)]);
        let lease = Lease { partition: TopicPartition::new(topic, 0), epoch: Epoch(0) };
        let mut seen = self.identities.partition();
        let (catalog, now) = (&self.catalog, self.now);
        let route = route(topic);
        let source = route.as_ref().map(SourceTurn::first);
        let mut turn = Turn {
            catalog,
            seen: &mut seen,
            source,
            retried: None,
            written: None,
            now_ms: NOW_MS,
            now,
            is_over: &|| false,
        };
        let Planned::Done(note) = self.planner.plan(&mut turn, &lease, record) else { panic!("no filters") };
        match note.verdict {
            EventVerdict::Rejected(reason) => Err(reason),
            EventVerdict::Repeat | EventVerdict::Skipped(_) | EventVerdict::Sliced(_) => panic!("an event of its own"),
            EventVerdict::Matched(_) => {
                let made = self.planner.outputs().iter().filter(|out| &*out.topic == "hookbus.deliveries");
                let key = |out: &OutRecord| String::from_utf8(out.key.as_ref().unwrap().to_vec()).unwrap();
                Ok(made.map(|out| key(out).parse::<Uuid>().unwrap().as_u128()).collect())
            }
        }
    }

    fn write(&self, key: &str, object: Option<&ControlObject>) {
        let value = object.map(|it| it.encode().unwrap().into());
        let (topic, key, headers) = ("control".into(), Some(key.to_owned().into()), Headers::default());
        self.catalog.feed([OutRecord { topic, partition: None, key, value, headers }]);
    }

    fn put(&self, object: &ControlObject) {
        self.write(&object.key().to_string(), Some(object));
    }
}

fn id(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

#[test]
fn a_uid_means_the_application_of_the_topics_organization() {
    let mut world = world();
    let (ours, theirs) = (id(OUR_SHOP), id(THEIR_SHOP));
    for (topic, named, gets) in [
        (EVENTS, "shop", Ok(vec![1])),
        (EVENTS, &ours, Ok(vec![1])),
        (EVENTS, &theirs, Ok(vec![2])),
        (EVENTS, "nobody", Err(RejectReason::UnknownApplication)),
        (EVENTS, &id(7), Err(RejectReason::UnknownApplication)),
        (THEIR_TOPIC, "shop", Ok(vec![2])),
        (THEIR_TOPIC, &theirs, Ok(vec![2])),
        (THEIR_TOPIC, &ours, Err(RejectReason::UnknownApplication)),
        (THEIR_TOPIC, "nobody", Err(RejectReason::UnknownApplication)),
    ] {
        assert_eq!(world.gets(topic, named), gets, "{named} on {topic}");
    }
}

/// A rejection is found where its application looks, and nowhere else: no topic writes into another tenant's log.
#[test]
fn a_rejected_record_is_told_of_the_application_it_means_inside_its_organization() {
    let world = world();
    let (ours, theirs) = (id(OUR_SHOP), id(THEIR_SHOP));
    let attribute = ("ce_hookbusapplication", "shop");
    let structured = (header::CONTENT_TYPE, "application/cloudevents+json");
    let envelope = bytes::Bytes::from_static(br#"{"hookbusapplication":"shop"}"#);
    for (topic, named, means) in [
        (EVENTS, "shop", Some(OUR_SHOP)),
        (EVENTS, &*theirs, Some(THEIR_SHOP)),
        (EVENTS, &*id(7), Some(7)),
        (EVENTS, "nobody", None),
        (THEIR_TOPIC, "shop", Some(THEIR_SHOP)),
        (THEIR_TOPIC, &*ours, None),
        (THEIR_TOPIC, &*id(7), None),
    ] {
        // No type, so it is no event.
        let record = |headers: &[(&str, &str)], value| Record {
            headers: headers.iter().copied().collect(),
            value: Some(value),
            ..event(0, "", &[])
        };
        let partition = TopicPartition::new(topic, 0);
        let mut records = vec![record(&[(header::APPLICATION, named)], bytes::Bytes::new())];
        if named == "shop" {
            records.push(record(&[attribute], bytes::Bytes::new()));
            records.push(record(&[structured], envelope.clone()));
        }
        for record in &records {
            let place = Place { record, partition: &partition, now_ms: NOW_MS, retries: 0 };
            let found = world.planner.named(&world.catalog, place, route(topic).as_ref()).map(|id| id.0.as_u128());
            assert_eq!(found, means, "{named} on {topic}: {:?}", record.headers);
        }
    }
}

#[test]
fn who_gives_a_uid_up_is_not_followed_by_another_tenant() {
    let mut world = world();
    world.put(&shop(OUR_SHOP, OURS, None));
    assert_eq!(world.gets(EVENTS, "shop"), Err(RejectReason::AmbiguousApplication));
    world.put(&shop(OUR_SHOP, OURS, Some("shop")));
    world.put(&shop(THEIR_SHOP, THEIRS, None));
    assert_eq!(world.gets(EVENTS, "shop"), Ok(vec![1]));
    assert_eq!(world.gets(THEIR_TOPIC, "shop"), Err(RejectReason::UnknownApplication), "it does not tell of ours");
}

#[test]
fn a_deleted_applications_records_reach_nobody_until_its_organization_has_it_again() {
    let mut world = world();
    let ours = shop(OUR_SHOP, OURS, Some("shop"));
    let retired = RetiredApplication {
        application_id: ApplicationId(Uuid::from_u128(OUR_SHOP)),
        organization_id: organization(OURS),
        retired_ms: NOW_MS,
    };
    world.put(&ControlObject::RetiredApplication(retired));
    world.write(&ours.key().to_string(), None);
    for (named, reason) in
        [("shop", RejectReason::AmbiguousApplication), (&*id(OUR_SHOP), RejectReason::UnknownApplication)]
    {
        assert_eq!(world.gets(EVENTS, named), Err(reason), "{named}");
    }
    // Another tenant takes the id where nobody stops him: what another build wrote. It is not his.
    world.put(&shop(OUR_SHOP, THEIRS, None));
    assert_eq!(world.gets(EVENTS, &id(OUR_SHOP)), Err(RejectReason::UnknownApplication));
    world.put(&ours);
    assert_eq!(world.gets(EVENTS, "shop"), Ok(vec![1]));
}
