//! Both formats, what is filled in, and every refusal.

use schemas::header;
use schemas::record::{HeadersBuilder, Record, TopicPartition};

use super::*;

fn partition() -> TopicPartition {
    TopicPartition::new("orders", 3)
}

fn record(headers: &[(&str, &str)], value: &str) -> Record {
    let headers: Headers = headers.iter().copied().collect();
    Record { offset: 42, timestamp_ms: 1_700, key: None, value: Some(value.to_owned().into()), headers }
}

const BINARY: [(&str, &str); 6] = [
    (header::CE_SPECVERSION, "1.0"),
    (header::CE_ID, "evt_1"),
    (header::CE_TYPE, "invoice.paid"),
    (header::CE_SOURCE, "/billing"),
    (header::CONTENT_TYPE, "application/json"),
    (header::APPLICATION, "shop"),
];

fn with(extra: &[(&str, &str)]) -> Record {
    let headers: Vec<_> = BINARY.iter().chain(extra).copied().collect();
    record(&headers, "{ \"a\" : 1 }")
}

fn without(name: &str) -> Record {
    let headers: Vec<_> = BINARY.into_iter().filter(|(own, _)| *own != name).collect();
    record(&headers, "{}")
}

fn refused(record: &Record) -> (RejectReason, String) {
    let rejection = decode(record, &partition()).unwrap_err();
    (rejection.reason, rejection.detail.into_owned())
}

fn structured(envelope: &str) -> Record {
    record(
        &[(header::CONTENT_TYPE, "application/cloudevents+json; charset=utf-8"), (header::APPLICATION, "shop")],
        envelope,
    )
}

#[test]
fn a_binary_record_of_ours_passes_without_a_copy() {
    let record = with(&[(header::LABELS, "{}"), ("ce_region", "eu"), (header::IP, "203.0.113.7")]);
    let event = decode(&record, &partition()).unwrap();
    assert_eq!((&*event.application, &*event.id, &*event.event_type), ("shop", "evt_1", "invoice.paid"));
    assert_eq!((&*event.source, event.is_id_made, event.ip), ("/billing", false, Some("203.0.113.7")));
    assert_eq!(&event.payload[..], b"{ \"a\" : 1 }");
    assert_eq!(event.headers, record.headers);
}

#[test]
fn a_mark_of_a_made_id_is_read_in_both_formats_and_costs_no_copy() {
    let made = ("hookbus-id-made", "1");
    let record = with(&[made]);
    let event = decode(&record, &partition()).unwrap();
    assert!(event.is_id_made);
    // The same bytes, not equal ones: nothing was copied.
    let bytes = |headers: &Headers| headers.get(header::CE_ID).map(<[u8]>::as_ptr);
    assert_eq!(bytes(&event.headers), bytes(&record.headers));
    // What is copied for another reason leaves it out.
    let foreign = with(&[made, ("x-debug", "y")]);
    let foreign = decode(&foreign, &partition()).unwrap();
    assert!(foreign.is_id_made);
    assert_eq!(foreign.headers.get(made.0), None);
    let headers = [(header::CONTENT_TYPE, "application/cloudevents+json"), (header::APPLICATION, "shop"), made];
    let envelope = record_of_envelope(&headers);
    let structured = decode(&envelope, &partition()).unwrap();
    assert!(structured.is_id_made);
    assert_eq!((&*structured.id, structured.headers.get(made.0)), ("e1", None));
    for other in ["0", "", "true"] {
        assert!(!decode(&with(&[(made.0, other)]), &partition()).unwrap().is_id_made, "{other:?}");
    }
}

fn record_of_envelope(headers: &[(&str, &str)]) -> Record {
    record(headers, r#"{"id":"e1","type":"order.placed","source":"/shop"}"#)
}

#[test]
fn foreign_headers_do_not_travel_on() {
    let record =
        with(&[("hookbus-delivery", "x"), ("x-debug", "y"), (header::TRACEPARENT, "00-1"), (header::METADATA, "{}")]);
    let event = decode(&record, &partition()).unwrap();
    let names: Vec<_> = event.headers.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
    let kept = [header::TRACEPARENT, header::METADATA];
    assert_eq!(names, BINARY.iter().map(|(name, _)| *name).chain(kept).collect::<Vec<_>>());
}

#[test]
fn id_and_source_are_filled_in_and_stand_in_the_headers() {
    let record = with(&[(header::CE_ID, ""), (header::CE_SOURCE, "")]);
    let event = decode(&record, &partition()).unwrap();
    assert_eq!((&*event.id, &*event.source), ("orders-3-42-1700", "/topics/orders"));
    assert!(event.is_id_made);
    assert_eq!(event.headers.text(header::CE_ID), Some("orders-3-42-1700"));
    assert_eq!(event.headers.text(header::CE_SOURCE), Some("/topics/orders"));
    assert_eq!(event.headers.iter().filter(|(name, _)| *name == b"ce_id").count(), 1);
}

#[test]
fn control_characters_in_an_id_are_an_identity_in_a_type_they_are_not() {
    let odd = with(&[(header::CE_ID, "a\u{1}\n")]);
    assert_eq!(&*decode(&odd, &partition()).unwrap().id, "a\u{1}\n");
    let (reason, detail) = refused(&with(&[(header::CE_TYPE, "a\u{1}")]));
    assert_eq!(reason, RejectReason::InvalidAttribute);
    assert!(detail.contains("visible ASCII"), "{detail}");
}

#[test]
fn what_is_missing_or_wrong_is_said() {
    let tombstone = Record { value: None, ..with(&[]) };
    assert_eq!(refused(&tombstone).0, RejectReason::NullValue);
    let long = "i".repeat(MAX_ID_BYTES + 1);
    for (record, word) in [
        (without(header::APPLICATION), "names no application"),
        (without(header::CE_TYPE), "has no type"),
        (with(&[(header::CE_SPECVERSION, "0.3")]), "version `0.3`"),
        (with(&[(header::CE_ID, &long)]), "id is longer"),
        (with(&[(header::CE_SOURCE, &long)]), "source is longer"),
    ] {
        let (reason, detail) = refused(&record);
        assert_eq!(reason, RejectReason::InvalidAttribute);
        assert!(detail.contains(word), "{detail}");
    }
    let mut builder = HeadersBuilder::default();
    builder.copy_if(&with(&[]).headers, |_| true).push(header::CE_ID, b"\xff");
    let record = Record { headers: builder.build(), ..with(&[]) };
    assert!(refused(&record).1.contains("`ce_id` is not UTF-8"));
}

#[test]
fn a_structured_payload_is_the_slice_of_the_envelope() {
    let record = structured(
        r#"{"specversion":"1.0","id":"e1","type":"order.placed","source":"/shop","time":"2026-11-22T00:00:00Z",
            "data" : { "b":1,  "a":"\u00e9" },"region":"eu","attempt":3,"none":null}"#,
    );
    let event = decode(&record, &partition()).unwrap();
    assert_eq!(&event.payload[..], br#"{ "b":1,  "a":"\u00e9" }"#);
    assert_eq!(event.content_type.as_deref(), Some("application/json"));
    let pairs: Vec<_> = event.headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    let expected = [
        ("ce_specversion", "1.0"),
        ("ce_id", "e1"),
        ("ce_type", "order.placed"),
        ("ce_source", "/shop"),
        ("hookbus-application", "shop"),
        ("ce_time", "2026-11-22T00:00:00Z"),
        ("content-type", "application/json"),
        ("ce_attempt", "3"),
        ("ce_region", "eu"),
        ("hookbus-extension-types", r#"{"attempt":"number"}"#),
    ];
    assert_eq!(pairs, expected.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())));
}

#[test]
fn structured_text_and_base64_become_their_bytes() {
    let envelope = |rest: &str| structured(&format!(r#"{{"specversion":"1.0","id":"e1","type":"a.b",{rest}}}"#));
    let payload = |rest: &str| {
        let record = envelope(rest);
        let event = decode(&record, &partition()).unwrap();
        (event.payload.to_vec(), event.content_type.map(Cow::into_owned))
    };
    let xml = r#""datacontenttype":"application/xml","data":"<a>\n</a>""#;
    assert_eq!(payload(xml), (b"<a>\n</a>".to_vec(), Some("application/xml".into())));
    assert_eq!(payload(r#""data":"text""#).0, b"\"text\"");
    assert_eq!(payload(r#""data_base64":"AAEC""#), (vec![0, 1, 2], Some("application/octet-stream".into())));
    assert_eq!(payload(r#""subject":"x""#), (Vec::new(), None));
}

#[test]
fn a_time_that_is_none_is_left_out_and_said() {
    let binary = with(&[(header::CE_TIME, "yesterday"), ("ce_region", "eu")]);
    let structured =
        structured(r#"{"id":"e1","source":"/s","type":"a.b","time":"2026-11-22T10:30:00+24:00","region":"eu"}"#);
    for record in [&binary, &structured] {
        let event = decode(record, &partition()).unwrap();
        assert_eq!(event.time, None);
        assert_eq!(event.headers.get(header::CE_TIME), None, "no endpoint gets it");
        assert_eq!(event.headers.text("ce_region"), Some("eu"));
        assert!(event.note.as_deref().unwrap().contains("not an RFC 3339 time"), "{:?}", event.note);
    }
    let empty = with(&[(header::CE_TIME, "")]);
    assert_eq!(decode(&empty, &partition()).unwrap().note, None, "nothing was said");
}

#[test]
fn the_application_may_be_an_attribute_as_over_http() {
    let binary = record(&[(header::CE_TYPE, "a.b"), ("ce_hookbusapplication", "shop")], "{}");
    let envelope = r#"{"type":"a.b","hookbusapplication":"shop"}"#;
    let structured = record(&[(header::CONTENT_TYPE, "application/cloudevents+json")], envelope);
    for record in [&binary, &structured] {
        let event = decode(record, &partition()).unwrap();
        assert_eq!(event.application, "shop");
        assert_eq!(event.headers.text(header::APPLICATION), Some("shop"));
        assert_eq!(event.headers.get("ce_hookbusapplication"), None);
    }
}

#[test]
fn broken_envelopes_are_refused() {
    let deep = format!(r#"{{"type":"a.b","data":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(decode(&structured(&deep), &partition()).is_ok(), "nobody looks into the data");
    for (envelope, reason) in [
        ("{", RejectReason::Undecodable),
        ("[]", RejectReason::Undecodable),
        (r#"{"type":"a.b","data":1,"data_base64":"AA=="}"#, RejectReason::Undecodable),
        (r#"{"type":"a.b","data_base64":"?"}"#, RejectReason::Undecodable),
        (r#"{"type":["a.b"]}"#, RejectReason::InvalidAttribute),
        (r#"{"id":"e1"}"#, RejectReason::InvalidAttribute),
        (r#"{"type":"a.b","specversion":"2.0"}"#, RejectReason::InvalidAttribute),
        (r#"{"type":"a.b","a b":1}"#, RejectReason::InvalidAttribute),
    ] {
        assert_eq!(refused(&structured(envelope)).0, reason, "{envelope}");
    }
    let batch = record(&[(header::CONTENT_TYPE, "Application/CloudEvents-batch+json")], "[]");
    assert_eq!(refused(&batch).1, "application/cloudevents-batch+json is not supported");
}
