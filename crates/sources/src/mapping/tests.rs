//! Definitions and records, and what they come to.

mod debezium;
mod hookbus;
mod registry;

use schemas::control::SourceFormat;
use schemas::control::source::{OnNull, TimeUnit};
use schemas::header;
use schemas::ids::{OrganizationId, PositionId, SourceId};
use schemas::record::Headers;
use schemas::rejected::RejectReason;
use uuid::Uuid;

use super::*;
use crate::RejectedAt;

fn source(format: SourceFormat) -> TopicSource {
    let (id, owner) = (SourceId(Uuid::from_u128(1)), OrganizationId(Uuid::from_u128(2)));
    let new = TopicSource::new(id, owner, "orders", format, PositionId(Uuid::from_u128(3)), 0);
    TopicSource { application: Some("shop".to_owned()), event_type: Some("order.placed".to_owned()), ..new }
}

fn record(value: &[u8]) -> Record {
    let value = Some(value.to_vec().into());
    Record { offset: 42, timestamp_ms: 1_700, key: Some("k1".into()), value, headers: Headers::default() }
}

fn at() -> TopicPartition {
    TopicPartition::new("crm.orders", 3)
}

fn refused(source: &TopicSource) -> (String, Option<usize>, String) {
    let error = Mapping::compile(source).unwrap_err();
    (error.field, error.column, error.message)
}

/// What a record comes to, as a text: attributes, labels, payload.
fn told(source: &TopicSource, record: &Record) -> String {
    told_against(source, record, Against::default())
}

fn told_against(source: &TopicSource, record: &Record, against: Against<'_>) -> String {
    let mapping = Mapping::compile(source).unwrap();
    match mapping.map(record, &at(), against) {
        Mapped::Event(event) => {
            assert_eq!(event.headers.text(header::CE_ID), Some(&*event.id));
            assert_eq!(event.headers.text(header::CE_TYPE), Some(&*event.event_type));
            assert_eq!(event.headers.text(header::CE_SOURCE), Some(&*event.source));
            assert_eq!(event.headers.text(header::APPLICATION), Some(&*event.application));
            assert_eq!(event.headers.text(header::CE_TIME), event.time.as_deref());
            assert_eq!(event.headers.get(header::LABELS), event.labels.as_deref());
            let labels = event.labels.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            let payload = String::from_utf8_lossy(&event.payload).into_owned();
            let (id, time) = (if event.is_id_made { "-" } else { &event.id }, event.time.as_deref().unwrap_or("-"));
            format!("{} {} {id} {time} {labels} {payload}", event.application, event.event_type)
        }
        Mapped::Skipped(reason) => format!("skipped {}", reason.as_str()),
        Mapped::Rejected(rejection) => {
            let position = rejection.position.map(|at| format!(" @{at}")).unwrap_or_default();
            format!("{}{position}: {}", rejection.reason, rejection.detail)
        }
        Mapped::NeedsSchema(key) => format!("needs {}", key.id),
    }
}

#[test]
fn every_attribute_has_its_template() {
    let mut source = source(SourceFormat::Json);
    source.application = Some("{key}-{topic:0}".to_owned());
    source.event_type = Some("{topic:1}.{value:/kind}".to_owned());
    source.id = Some("{value:/id}:{value:/rows/1}".to_owned());
    source.time = Some("{value:/at}".to_owned());
    source.time_unit = Some(TimeUnit::Ms);
    source.labels = [("region", "{header:region}"), ("paid", "{value:/paid}")]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into();
    source.payload = Some("/order".to_owned());
    let value =
        br#"{"kind":"placed","id":7e0,"rows":[1,"\u0061"],"at":1700000000123,"paid":true,"order":{ "n" : 1.0 }}"#;
    let record = Record { headers: [("region", "eu"), ("traceparent", "00-1")].into_iter().collect(), ..record(value) };
    let expected = r#"k1-crm orders.placed 7e0:a 2023-11-14T22:13:20.123Z {"paid":"true","region":"eu"} { "n" : 1.0 }"#;
    assert_eq!(told(&source, &record), expected);
    let mapping = Mapping::compile(&source).unwrap();
    let at = at();
    let Mapped::Event(event) = mapping.map(&record, &at, Against::default()) else { panic!("an event") };
    assert_eq!(event.source, "/topics/crm.orders");
    assert_eq!(event.headers.text(header::CONTENT_TYPE), Some("application/json"));
    assert_eq!(event.headers.text(header::TRACEPARENT), Some("00-1"));
    assert_eq!(event.headers.get("region"), None, "only what the source says travels on");
    let value = record.value.as_ref().unwrap();
    let inside = value.as_ptr_range().contains(&event.payload.as_ptr());
    assert!(inside, "the payload is a slice of the record");
}

#[test]
fn an_id_that_comes_to_nothing_is_the_position() {
    let plain = source(SourceFormat::Json);
    let mapping = Mapping::compile(&plain).unwrap();
    let (record, at) = (record(b"{}"), at());
    let Mapped::Event(event) = mapping.map(&record, &at, Against::default()) else { panic!("an event") };
    assert_eq!((&*event.id, event.is_id_made), ("crm.orders-3-42-1700", true));
    for (value, id) in [(r#"{"id":null}"#, "-"), ("{}", "-"), (r#"{"id":""}"#, "-"), (r#"{"id":0}"#, "0")] {
        let source = TopicSource { id: Some("{value:/id}".to_owned()), ..plain.clone() };
        assert_eq!(told(&source, &self::record(value.as_bytes())), format!("shop order.placed {id} -  {value}"));
    }
}

#[test]
fn a_type_that_comes_to_nothing_is_the_default() {
    let mut source = source(SourceFormat::Json);
    source.event_type = Some("{value:/type}".to_owned());
    assert_eq!(
        told(&source, &record(b"{}")),
        "invalid_attribute: the event has no type: no `ce_type`, no template, no default type"
    );
    source.default_type = Some("order.changed".to_owned());
    assert_eq!(told(&source, &record(b"{}")), "shop order.changed - -  {}");
    assert_eq!(told(&source, &record(br#"{"type":"a.b"}"#)), r#"shop a.b - -  {"type":"a.b"}"#);
    let wrong = told(&source, &record(br#"{"type":{}}"#));
    assert!(wrong.starts_with("invalid_attribute @/type: attribute `type`: {value:/type} is an object"), "{wrong}");
    let spaced = told(&source, &record(br#"{"type":"a b"}"#));
    assert!(spaced.contains("`a b` is not 1 to 200 visible ASCII characters"), "{spaced}");
}

#[test]
fn what_an_attribute_lacks_is_named() {
    let one = |field: &str, text: &str, record: &Record| {
        let mut source = source(SourceFormat::Json);
        match field {
            "application" => source.application = Some(text.to_owned()),
            "time" => source.time = Some(text.to_owned()),
            "id" => source.id = Some(text.to_owned()),
            label => drop(source.labels.insert(label.to_owned(), text.to_owned())),
        }
        told(&source, record)
    };
    let value = format!(r#"{{"a":[1],"n":null,"l":"{}","t":"noon","s":"\ud800","e":"","i":17}}"#, "x".repeat(1_001));
    let full = record(value.as_bytes());
    let bare = Record { key: None, ..record(b"{}") };
    let bytes = Record { key: Some(b"\xff".as_slice().into()), ..record(b"{}") };
    for (field, text, record, expected) in [
        ("application", "{value:/x}", &full, "invalid_attribute @/x: attribute `application`: {value:/x} is not there"),
        ("application", "{value:/n}", &full, "invalid_attribute @/n: attribute `application`: {value:/n} is `null`"),
        ("application", "{value:/e}", &full, "invalid_attribute: attribute `application` is empty"),
        ("application", "{value:/l}", &full, "invalid_attribute: attribute `application` is longer than 1000 bytes"),
        ("application", "{header:t}", &full, "invalid_attribute: attribute `application`: {header:t} is not there"),
        (
            "application",
            "{topic:2}",
            &full,
            "attribute `application`: {topic:2} is not there: the topic has fewer parts",
        ),
        ("application", "{key}", &bare, "attribute `application`: {key} is not there: the record has no key"),
        ("application", "{key:/a}", &bare, "attribute `application`: {key:/a} is not there"),
        ("application", "{key}", &bytes, "attribute `application`: {key} is not UTF-8"),
        ("application", "{key:/a}", &full, "undecodable: the key: not JSON: a value was expected at byte 0"),
        ("id", "{value:/a}", &full, "invalid_attribute @/a: attribute `id`: {value:/a} is an array"),
        ("id", "{value:/l}", &full, "the event's id is longer than 1000 bytes"),
        ("id", "{value:/s}", &full, "attribute `id`: {value:/s} is a text with an escape that is no character"),
        ("time", "{value:/t}", &full, "attribute `time` is `noon`: no RFC 3339 time"),
        ("time", "{value:/i}", &full, "attribute `time` is `17`: an integer; say with `time_unit` what it counts"),
        ("time", "{value:/x}", &full, "attribute `time`: {value:/x} is not there"),
        ("region", "{value:/x}", &full, "attribute `labels.region`: {value:/x} is not there"),
        ("region", "{value:/l}", &full, "attribute `labels.region` is `xxx"),
    ] {
        let told = one(field, text, record);
        assert!(told.contains(expected), "{field} {text}: {told}");
    }
}

#[test]
fn times_are_texts_or_integers_with_a_unit() {
    let mut source = source(SourceFormat::Json);
    source.time = Some("{value:/t}".to_owned());
    let time = |source: &TopicSource, value: &str| told(source, &record(format!(r#"{{"t":{value}}}"#).as_bytes()));
    assert!(time(&source, r#""2026-11-22T10:30:00+02:00""#).contains(" 2026-11-22T10:30:00+02:00 "));
    for (unit, value, expected) in [
        (TimeUnit::S, "1700000000", " 2023-11-14T22:13:20Z "),
        (TimeUnit::Ms, r#""1700000000000""#, " 2023-11-14T22:13:20.000Z "),
        (TimeUnit::Us, "-1", " 1969-12-31T23:59:59.999999Z "),
        (TimeUnit::Ns, "1700000000000000001", " 2023-11-14T22:13:20.000000001Z "),
        (TimeUnit::S, r#""2026-11-22T10:30:00Z""#, " 2026-11-22T10:30:00Z "),
        (TimeUnit::S, "1700000000000000", "not in the years 0 to 9999"),
        (TimeUnit::S, "1.5", "neither an RFC 3339 time nor an integer"),
        (TimeUnit::S, "99999999999999999999", "neither an RFC 3339 time nor an integer"),
    ] {
        source.time_unit = Some(unit);
        let told = time(&source, value);
        assert!(told.contains(expected), "{value}: {told}");
    }
}

#[test]
fn a_value_that_no_template_looks_into_is_not_parsed() {
    let source = source(SourceFormat::Json);
    assert!(!Mapping::compile(&source).unwrap().looks_into_the_value());
    assert_eq!(told(&source, &record(b"{no json")), "shop order.placed - -  {no json");
    let looking = TopicSource { id: Some("{value:/id}".to_owned()), ..source };
    assert!(Mapping::compile(&looking).unwrap().looks_into_the_value());
    let told = told(&looking, &record(b"{no json"));
    assert_eq!(told, "undecodable @byte 1: the value: not JSON: a name in quotes was expected at byte 1");
}

#[test]
fn bad_json_is_rejected_with_its_place() {
    let source = TopicSource { id: Some("{value:/id}".to_owned()), ..source(SourceFormat::Json) };
    let deep = format!(r#"{{"id":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let long = format!(r#"{{"id":{}}}"#, "7".repeat(1 << 20));
    for (value, expected) in [
        (deep.as_bytes(), "undecodable @byte 132: the value: nested more than 127 levels deep"),
        (br#"{"id":1,"id":2}"#.as_slice(), "undecodable @byte 8: the value: `id` stands twice in one object"),
        (
            br#"{"id":"\ud800"}"#,
            "invalid_attribute @/id: attribute `id`: {value:/id} is a text with an escape that is no",
        ),
        (long.as_bytes(), "invalid_attribute @/id: attribute `id`: {value:/id} is too long for an attribute"),
        (b"{\"id\":\"\xff\"}", "undecodable @byte 7: the value: not JSON: it is not UTF-8 at byte 7"),
        (b"", "undecodable @byte 0: the value: not JSON: it ends at byte 0, in the middle"),
    ] {
        let told = told(&source, &record(value));
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn a_payload_that_is_not_there_is_unmapped() {
    let source = TopicSource { payload: Some("/after".to_owned()), ..source(SourceFormat::Json) };
    assert_eq!(told(&source, &record(br#"{"after": [ 1 ]}"#)), "shop order.placed - -  [ 1 ]");
    assert_eq!(told(&source, &record(br#"{"after":null}"#)), "shop order.placed - -  null");
    let told = told(&source, &record(b"{}"));
    assert_eq!(told, "unmapped @/after: there is nothing at `/after`, where the source says that the payload is");
}

#[test]
fn json_behind_a_frame_is_what_follows_it() {
    let mut source = TopicSource { id: Some("{value:/id}".to_owned()), ..source(SourceFormat::Json) };
    let framed = [&[0, 0, 0, 0, 9], br#"{"id":1}"#.as_slice()].concat();
    assert_eq!(told(&source, &record(&framed)), r#"shop order.placed 1 -  {"id":1}"#);
    let broken = [&[0, 0, 0, 0, 9], b"{".as_slice()].concat();
    assert!(told(&source, &record(&broken)).starts_with("undecodable @byte 6: "), "bytes are those of the value");
    let options = r#"{"json":{"frame":"none"}}"#;
    source.options = serde_json::from_str(options).unwrap();
    assert!(told(&source, &record(&framed)).starts_with("undecodable @byte 0: "));
}

#[test]
fn a_null_value_is_skipped_rejected_or_an_empty_body() {
    for format in [SourceFormat::Json, SourceFormat::Text, SourceFormat::Cloudevents] {
        let mut source = source(format);
        let null = Record { value: None, ..record(b"") };
        assert_eq!(told(&source, &null), "skipped tombstone");
        source.on_null = OnNull::Reject;
        assert_eq!(told(&source, &null), "null_value: the record has no value");
        source.on_null = OnNull::Deliver;
        assert_eq!(told(&source, &null), "shop order.placed - -  ");
        let mapping = Mapping::compile(&source).unwrap();
        let at = at();
        let Mapped::Event(event) = mapping.map(&null, &at, Against::default()) else { panic!("an event") };
        assert_eq!((event.content_type, event.payload.len()), (None, 0));
    }
}

#[test]
fn text_and_bytes_are_untouched() {
    let of = |source: &TopicSource| {
        let mapping = Mapping::compile(source).unwrap();
        let (record, at) = (record(b"a\xff\0"), at());
        let Mapped::Event(event) = mapping.map(&record, &at, Against::default()) else { panic!("an event") };
        (event.content_type.unwrap().into_owned(), event.payload)
    };
    assert_eq!(of(&source(SourceFormat::Text)), ("text/plain".to_owned(), b"a\xff\0".as_slice().into()));
    assert_eq!(
        of(&source(SourceFormat::Binary)),
        ("application/octet-stream".to_owned(), b"a\xff\0".as_slice().into())
    );
    let mut base64 = source(SourceFormat::Binary);
    base64.options = serde_json::from_str(r#"{"binary":{"base64":true}}"#).unwrap();
    assert_eq!(of(&base64), ("application/json".to_owned(), r#"{"data_base64":"Yf8A"}"#.into()));
}

#[test]
fn headers_that_are_not_utf_8_are_no_attributes_and_harm_no_other() {
    let mut headers = Headers::builder(2, 32);
    headers.push("tenant", b"\xff").push_raw(b"\xfe", b"x");
    let record = Record { headers: headers.build(), ..record(b"{}") };
    let mut source = source(SourceFormat::Json);
    assert_eq!(told(&source, &record), "shop order.placed - -  {}");
    source.application = Some("{header:tenant}".to_owned());
    assert_eq!(told(&source, &record), "invalid_attribute: attribute `application`: {header:tenant} is not UTF-8");
}

#[test]
fn templates_override_what_a_cloud_event_says() {
    let ce = [
        (header::CE_SPECVERSION, "1.0"),
        (header::CE_ID, "e1"),
        (header::CE_SOURCE, "/shop"),
        (header::CE_TYPE, "a.b"),
        (header::APPLICATION, "other"),
        (header::LABELS, r#"{"x":"y"}"#),
        (header::CONTENT_TYPE, "application/json"),
    ];
    let binary = Record { headers: ce.into_iter().collect(), ..record(br#"{"n":5}"#) };
    let envelope = br#"{"specversion":"1.0","id":"e1","type":"a.b","hookbusapplication":"other","data":{"n":5},"n":5}"#;
    let content_type = [(header::CONTENT_TYPE, "application/cloudevents+json"), (header::LABELS, r#"{"x":"y"}"#)];
    let structured = Record { headers: content_type.into_iter().collect(), ..record(envelope) };
    let mut source = TopicSource { application: None, event_type: None, ..source(SourceFormat::Cloudevents) };
    for record in [&binary, &structured] {
        assert_eq!(told(&source, record), r#"other a.b e1 - {"x":"y"} {"n":5}"#);
    }
    source.application = Some("shop".to_owned());
    source.event_type = Some("n.{value:/n}".to_owned());
    source.id = Some("{key}".to_owned());
    source.time = Some("2026-11-22T10:30:00Z".to_owned());
    source.labels = [("z".to_owned(), "{topic}".to_owned())].into();
    for record in [&binary, &structured] {
        assert_eq!(told(&source, record), r#"shop n.5 k1 2026-11-22T10:30:00Z {"z":"crm.orders"} {"n":5}"#);
        let mapping = Mapping::compile(&source).unwrap();
        let at = at();
        let Mapped::Event(event) = mapping.map(record, &at, Against::default()) else { panic!("an event") };
        let once = |name: &str| event.headers.iter().filter(|(of, _)| *of == name.as_bytes()).count() == 1;
        for name in [header::CE_ID, header::CE_TYPE, header::CE_SOURCE, header::APPLICATION, header::LABELS] {
            assert!(once(name), "{name} in {:?}", event.headers);
        }
    }
}

#[test]
fn a_rejected_record_names_its_application_where_it_can() {
    let mut source = source(SourceFormat::Json);
    let named = |source: &TopicSource, record: &Record| {
        let (mapping, at) = (Mapping::compile(source).unwrap(), at());
        mapping.named_application(record, &at).map(Cow::into_owned)
    };
    assert_eq!(named(&source, &record(b"{")).as_deref(), Some("shop"));
    source.application = Some("{value:/app}".to_owned());
    assert_eq!(named(&source, &record(br#"{"app":"a"}"#)).as_deref(), Some("a"));
    assert_eq!(named(&source, &record(b"{")), None);
    source.application = Some("{key}".to_owned());
    assert_eq!(named(&source, &record(b"{")).as_deref(), Some("k1"));
}

#[test]
fn a_definition_is_refused_with_its_field_and_column() {
    let plain = source(SourceFormat::Json);
    let change = |change: &dyn Fn(&mut TopicSource)| {
        let mut source = plain.clone();
        change(&mut source);
        refused(&source)
    };
    let (field, column, message) = change(&|it| it.event_type = Some("a.{vlue:/x}".to_owned()));
    assert_eq!((field.as_str(), column), ("type", Some(3)), "{message}");
    let (field, column, _) = change(&|it| it.payload = Some("/a~x".to_owned()));
    assert_eq!((field.as_str(), column), ("payload", Some(3)));
    let (field, column, _) = change(&|it| drop(it.labels.insert("region".to_owned(), "}".to_owned())));
    assert_eq!((field.as_str(), column), ("labels.region", Some(1)));
    for (make, expected) in [
        ((&|it: &mut TopicSource| it.application = None) as &dyn Fn(&mut TopicSource), "application"),
        (&|it| it.event_type = None, "type"),
        (&|it| it.event_type = Some("a b".to_owned()), "type"),
        (&|it| it.default_type = Some(String::new()), "default_type"),
        (&|it| it.time_unit = Some(TimeUnit::S), "time_unit"),
        (&|it| it.labels = (0..11).map(|at| (at.to_string(), "x".to_owned())).collect(), "labels"),
        (&|it| it.id = Some("{schema}".to_owned()), "format"),
        (&|it| it.format = SourceFormat::Avro, "registry"),
        (&|it| (it.format, it.registry) = (SourceFormat::Hookbus, Some(Uuid::nil().into())), "registry"),
    ] {
        assert_eq!(change(make).0, expected);
    }
    let text = TopicSource { id: Some("{value:/id}".to_owned()), ..source(SourceFormat::Text) };
    assert_eq!(refused(&text).0, "format");
    let cloud = TopicSource { payload: Some("/data".to_owned()), ..source(SourceFormat::Cloudevents) };
    assert_eq!(refused(&cloud).0, "payload");
    let bare = TopicSource { application: None, event_type: None, ..source(SourceFormat::Cloudevents) };
    assert!(Mapping::compile(&bare).is_ok());
    assert_eq!(RejectReason::Unmapped.as_str(), "unmapped");
    assert_eq!(RejectedAt::Byte(7).to_string(), "byte 7");
}
