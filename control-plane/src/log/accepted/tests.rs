//! What is read as which event.

use bytes::Bytes;
use schemas::control::{ControlObject, SourceFormat};
use schemas::header;
use schemas::identity::gateway_source;
use schemas::ids::{ApplicationId, OrganizationId, PositionId, SubscriptionId};
use schemas::record::{Headers, OutRecord};
use schemas::topics::TopicSettings;
use uuid::Uuid;
use vault::{EncryptionKey, Vault};

use super::*;
use crate::log::made;

const ORGANIZATION: OrganizationId = OrganizationId(Uuid::nil());
const APPLICATION: ApplicationId = ApplicationId(Uuid::from_u128(1));

fn application() -> Application {
    Application { uid: Some("shop".to_owned()), ..Application::new(APPLICATION, ORGANIZATION, "Shop", 0) }
}

/// Over these sources, with `orders` in place of `events` where they are none.
fn accepted(sources: Vec<TopicSource>) -> (Catalog, AcceptedEvents) {
    let mut topics = TopicSettings::default().topics();
    if sources.is_empty() {
        topics.events = Arc::from("orders");
    }
    let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
    let catalog = Catalog::of(sources.into_iter().map(|it| ControlObject::Source(Box::new(it))), vault);
    let accepted = AcceptedEvents::new(catalog.clone(), DeliveryLog::none("it is a test"), &topics, 1_000);
    (catalog, accepted)
}

/// An event of this id and source, as the log names it.
fn named(id: &str, source: Option<&str>) -> LoggedEvent {
    let own = source.map_or_else(|| gateway_source(APPLICATION), str::to_owned);
    let uuid = event_uuid(APPLICATION, &own, id);
    LoggedEvent { id: id.to_owned(), source: source.map(str::to_owned), uuid, ..made::event(APPLICATION) }
}

fn origin() -> Origin {
    Origin { topic: "orders".to_owned(), partition: 3, offset: 7 }
}

fn record(value: &[u8], headers: Headers) -> Record {
    Record { offset: 7, timestamp_ms: 99, key: None, value: Some(Bytes::copy_from_slice(value)), headers }
}

/// What is read back of a record of `events`.
fn read_back(event: &LoggedEvent, record: Record) -> Option<String> {
    let (_, accepted) = accepted(Vec::new());
    let found = accepted.of_record(record, &origin(), (&application(), event))?;
    let payload = sources::decode(&found, &TopicPartition::new("orders", 3)).unwrap().payload;
    Some(String::from_utf8(payload.into()).unwrap())
}

/// The record of an event with these headers, and whether it is read back as that of `evt_1` of application 1.
fn is_read_back(source: Option<&str>, id: &str, headers: &[(&str, &str)]) -> bool {
    let headers = headers.iter().copied().chain([(header::CE_TYPE, "a.b")]).collect();
    read_back(&named(id, source), record(b"{}", headers)).is_some()
}

/// What is read back of an envelope as that of an event of application 1.
fn of_envelope(id: &str, source: &str, envelope: &str, headers: &[(&str, &str)]) -> Option<String> {
    let structured = (header::CONTENT_TYPE, "application/cloudevents+json; charset=utf-8");
    let headers = headers.iter().copied().chain([structured]).collect();
    read_back(&named(id, Some(source)), record(envelope.as_bytes(), headers))
}

#[test]
fn a_payload_inside_an_envelope_is_what_stands_there() {
    let header = [(header::APPLICATION, "shop")];
    let json = r#"{"specversion":"1.0","id":"evt_1","source":"/shop","type":"a.b","data": {"a" : 1}}"#;
    assert_eq!(of_envelope("evt_1", "/shop", json, &header).as_deref(), Some(r#"{"a" : 1}"#));
    let named = r#"{"specversion":"1.0","type":"a.b","hookbusapplication":"shop","id":"evt_1","source":"/shop","data_base64":"aGVsbG8="}"#;
    assert_eq!(of_envelope("evt_1", "/shop", named, &[]).as_deref(), Some("hello"));
    let text = r#"{"specversion":"1.0","type":"a.b","id":"evt_1","source":"/shop","datacontenttype":"text/plain","data":"a\"b"}"#;
    assert_eq!(of_envelope("evt_1", "/shop", text, &header).as_deref(), Some("a\"b"));
    let bare = r#"{"specversion":"1.0","type":"a.b"}"#;
    assert_eq!(of_envelope("orders-3-7-99", "/topics/orders", bare, &header).as_deref(), Some(""));
    assert_eq!(of_envelope("evt_2", "/shop", json, &header), None, "another event's");
    assert_eq!(of_envelope("evt_1", "/market", json, &header), None, "another source's");
    assert_eq!(of_envelope("evt_1", "/shop", json, &[(header::APPLICATION, "market")]), None);
    assert_eq!(of_envelope("evt_1", "/shop", "no envelope", &header), None);
}

#[test]
fn a_payload_is_that_of_the_same_application_source_and_id() {
    let own = ApplicationId(Uuid::from_u128(1));
    let (own_id, own_source) = (own.to_string(), gateway_source(own));
    let by_gateway = |application: &str, source: &str, id: &str| {
        let headers = [(header::APPLICATION, application), (header::CE_SOURCE, source), (header::CE_ID, id)];
        is_read_back(None, "evt_1", &headers)
    };
    assert!(by_gateway(&own_id, &own_source, "evt_1"));
    assert!(by_gateway("shop", &own_source, "evt_1"));
    let other = ApplicationId(Uuid::from_u128(2));
    assert!(!by_gateway(&other.to_string(), &own_source, "evt_1"), "another application's");
    assert!(!by_gateway("market", &own_source, "evt_1"), "another application's, by its uid");
    assert!(!by_gateway("", &own_source, "evt_1"), "nobody's");
    assert!(!by_gateway(&own_id, &gateway_source(other), "evt_1"), "another source's");
    assert!(!by_gateway(&own_id, "", "evt_1"), "another source's");
    assert!(!by_gateway(&own_id, &own_source, "evt_2"));
}

#[test]
fn a_record_of_a_topic_may_leave_out_its_source_and_its_id() {
    let by_topic = |id, headers: &[(&str, &str)]| is_read_back(Some("/topics/orders"), id, headers);
    assert!(by_topic("orders-3-7-99", &[("ce_hookbusapplication", "shop")]));
    assert!(by_topic("evt_1", &[(header::APPLICATION, "shop"), (header::CE_ID, "evt_1")]));
    assert!(!by_topic("evt_1", &[(header::APPLICATION, "shop")]), "its place is not its id");
    assert!(!by_topic("orders-3-7-99", &[("ce_hookbusapplication", "market")]));
    let both = [(header::APPLICATION, "market"), ("ce_hookbusapplication", "shop")];
    assert!(!by_topic("orders-3-7-99", &both), "the header comes first");
}

const ORDER: &[u8] = br#"{"kind":"paid","region":"eu","no":"7","body":{"a" : 1}}"#;

/// A source whose records are no CloudEvents.
fn orders() -> TopicSource {
    let (id, position) = (SourceId(Uuid::from_u128(3)), PositionId(Uuid::from_u128(4)));
    TopicSource {
        topics: vec!["orders".to_owned()],
        application: Some("shop".to_owned()),
        event_type: Some("order.{value:/kind}".to_owned()),
        id: Some("{value:/no}".to_owned()),
        payload: Some("/body".to_owned()),
        labels: [("region".to_owned(), "{value:/region}".to_owned())].into(),
        ..TopicSource::new(id, ORGANIZATION, "Orders", SourceFormat::Json, position, 0)
    }
}

/// The same event as the log knows it.
fn ordered() -> LoggedEvent {
    LoggedEvent {
        event_type: "order.paid".to_owned(),
        content_type: Some("application/json".to_owned()),
        labels: Some(r#"{"region":"eu"}"#.to_owned()),
        payload_bytes: 9,
        ..named("7", Some("/topics/orders"))
    }
}

fn replaced(source: TopicSource) -> OutRecord {
    let object = ControlObject::Source(Box::new(source));
    let (key, value) = (Some(object.key().to_string().into()), Some(object.encode().unwrap().into()));
    OutRecord { topic: "control".into(), partition: None, key, value, headers: Headers::default() }
}

#[test]
fn a_record_of_a_source_is_the_event_that_its_mapping_made_of_it() {
    let (catalog, accepted) = accepted(vec![orders()]);
    let read =
        |event: &LoggedEvent| accepted.of_record(record(ORDER, Headers::default()), &origin(), (&application(), event));
    let found = read(&ordered()).unwrap();
    let from = TopicPartition::new("orders", 3);
    let event = sources::decode(&found, &from).unwrap();
    assert_eq!((&*event.id, &*event.source, &*event.event_type), ("7", "/topics/orders", "order.paid"));
    assert_eq!(event.content_type.as_deref(), Some("application/json"));
    assert_eq!((event.labels.as_deref(), &event.payload[..]), (Some(&br#"{"region":"eu"}"#[..]), &br#"{"a" : 1}"#[..]));
    assert!(read(&LoggedEvent { uuid: Uuid::nil(), ..ordered() }).is_none(), "another event's");
    // Changed since, it makes another event of it, under the same id.
    for changed in [
        TopicSource { event_type: Some("order.seen".to_owned()), ..orders() },
        TopicSource { payload: None, ..orders() },
        TopicSource { labels: Default::default(), ..orders() },
        TopicSource { id: None, ..orders() },
        TopicSource { application: Some("market".to_owned()), ..orders() },
        TopicSource { organization_id: OrganizationId(Uuid::from_u128(9)), ..orders() },
        TopicSource { topics: vec!["other".to_owned()], ..orders() },
    ] {
        catalog.feed([replaced(changed.clone())]);
        assert!(read(&ordered()).is_none(), "{changed:?}");
    }
    catalog.feed([replaced(TopicSource { is_enabled: false, ..orders() })]);
    assert!(read(&ordered()).is_some(), "whether it reads more decides nothing");
}

#[test]
fn a_delivery_of_an_event_is_a_copy_of_it() {
    let event = ordered();
    let (_, accepted) = accepted(vec![orders()]);
    let found = accepted.of_record(record(ORDER, Headers::default()), &origin(), (&application(), &event)).unwrap();
    let new = schemas::delivery::NewDelivery {
        id: schemas::ids::DeliveryId(Uuid::from_u128(5)),
        subscription: SubscriptionId(Uuid::from_u128(6)),
        generation: schemas::ids::Generation::default(),
        made_by: None,
        accepted_ms: 99,
        deadline_ms: 100,
        control_offset: 0,
        ordering_key: None,
        deprecation: None,
    };
    let headers = new.encode(&found.headers, APPLICATION, "orders/3/7");
    let delivery = || Delivery::decode(&Record { headers: headers.clone(), ..found.clone() }).unwrap();
    let copy = of_copy(delivery(), (&application(), &event)).unwrap();
    let from = TopicPartition::new("orders", 3);
    let (one, other) = (sources::decode(&found, &from).unwrap(), sources::decode(&copy, &from).unwrap());
    assert_eq!((&one.id, &one.source, &one.event_type), (&other.id, &other.source, &other.event_type));
    assert_eq!((&one.labels, &one.content_type, &one.payload), (&other.labels, &other.content_type, &other.payload));
    let another = LoggedEvent { uuid: Uuid::nil(), ..event };
    assert!(of_copy(delivery(), (&application(), &another)).is_none());
}
