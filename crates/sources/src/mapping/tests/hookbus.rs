//! The body of `POST /event` as a record.

use super::*;

fn source() -> TopicSource {
    TopicSource { application: None, event_type: None, ..super::source(SourceFormat::Hookbus) }
}

#[test]
fn both_forms_are_events_and_the_payload_is_byte_for_byte() {
    let own = br#"{"application_id":"shop","event_type":"order.placed","event_id":"e1","payload": { "a" : 1.0 },
        "occurred_at":"2026-11-22T10:30:00Z","labels":{"region":"eu"},"metadata":{"m":"n"}}"#;
    let expected = r#"shop order.placed e1 2026-11-22T10:30:00Z {"region":"eu"} { "a" : 1.0 }"#;
    assert_eq!(told(&source(), &record(own)), expected);
    let hook0 = br#"{"application_id":"shop","event_type":"order.placed","event_id":"e1","payload":"{ \"a\": 1 }",
        "payload_content_type":"application/json","occurred_at":"2026-11-22T10:30:00Z","labels":{}}"#;
    assert_eq!(told(&source(), &record(hook0)), r#"shop order.placed e1 2026-11-22T10:30:00Z  { "a": 1 }"#);
    let (mapping, at, record) = (Mapping::compile(&source()).unwrap(), at(), record(own));
    let Mapped::Event(event) = mapping.map(&record, &at, Against::default()) else { panic!("an event") };
    assert_eq!(event.headers.get(header::METADATA), Some(br#"{"m":"n"}"#.as_slice()));
    assert_eq!(event.content_type.as_deref(), Some("application/json"));
    let bytes = br#"{"application_id":"shop","event_type":"a.b","payload":"AP8=","payload_content_type":"application/octet-stream+base64"}"#;
    let record = self::record(bytes);
    let Mapped::Event(event) = mapping.map(&record, &at, Against::default()) else { panic!("an event") };
    assert_eq!((&event.payload[..], event.content_type.as_deref()), (&b"\0\xff"[..], Some("application/octet-stream")));
}

#[test]
fn an_event_is_in_order_with_what_its_body_says() {
    let (mapping, at) = (Mapping::compile(&source()).unwrap(), at());
    let keys = [r#","ordering_key":"customer-7""#, ""].map(|key| {
        let value = format!(r#"{{"application_id":"shop","event_type":"a.b","payload":1{key}}}"#);
        let record = record(value.as_bytes());
        let Mapped::Event(event) = mapping.map(&record, &at, Against::default()) else { panic!("an event") };
        event.ordering_key.map(Cow::into_owned)
    });
    assert_eq!(keys, [Some("customer-7".to_owned()), None]);
}

#[test]
fn templates_override_what_the_body_says_and_fill_in_what_it_does_not() {
    let mut source = source();
    source.application = Some("{key}".to_owned());
    source.event_type = Some("{value:/metadata/kind}".to_owned());
    source.default_type = Some("some.thing".to_owned());
    let bare = br#"{"payload":1}"#;
    assert_eq!(told(&source, &record(bare)), "k1 some.thing - -  1");
    let typed = br#"{"event_type":"a.b","payload":1,"metadata":{"kind":"c.d"}}"#;
    assert_eq!(told(&source, &record(typed)), "k1 c.d - -  1");
}

#[test]
fn bodies_that_the_gateway_refuses_are_rejected() {
    for (value, expected) in [
        ("{", "undecodable: "),
        (r#"{"event_type":"a.b"}"#, "invalid_attribute: payload: must be there"),
        (r#"{"payload":1}"#, "invalid_attribute: event_type: must be there"),
        (r#"{"event_type":"a","payload":1}"#, "invalid_attribute: event_type"),
        (
            r#"{"event_type":"a.b","payload":1,"event_typ":"x"}"#,
            "invalid_attribute: event_typ: is not known, did you mean",
        ),
        (r#"{"event_type":"a.b","payload":1}"#, "invalid_attribute: the source says no application"),
        (r#"{"event_type":"a.b","payload":"{","payload_content_type":"application/json"}"#, "undecodable: "),
    ] {
        let told = told(&source(), &record(value.as_bytes()));
        assert!(told.starts_with(expected), "{value}: {told}");
    }
    let mapping = Mapping::compile(&source()).unwrap();
    let (record, at) = (record(br#"{"application_id":"shop","event_type":"a"}"#), at());
    assert_eq!(mapping.named_application(&record, &at).as_deref(), Some("shop"));
}
