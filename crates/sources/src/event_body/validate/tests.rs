//! The field rules, one table per outcome, and the property that payloads are slices of the body.

use proptest::prelude::*;
use schemas::problem::Code;

use schemas::time::is_rfc3339;

use super::*;
use crate::event_body::parse;

const LIMIT: usize = 699_050;

fn outcome(json: &str) -> Result<Event<'static>, Refused> {
    let body: &'static Bytes = Box::leak(Box::new(Bytes::copy_from_slice(json.as_bytes())));
    let text = parse::utf8(body)?;
    let raw = parse::event(text)?;
    event(&raw, body, LIMIT)
}

fn with(more: &str) -> String {
    format!(r#"{{"event_type":"invoice.paid","payload":{{"a":1}}{more}}}"#)
}

fn refused(json: &str) -> Refused {
    outcome(json).expect_err(json)
}

#[test]
fn the_least_event_is_a_type_and_a_payload() {
    let event = outcome(&with("")).unwrap();
    assert_eq!(event.payload, r#"{"a":1}"#);
    assert_eq!(event.content_type, JSON);
    assert_eq!((event.id, event.application, event.occurred_at, event.ordering_key), (None, None, None, None));
}

#[test]
fn every_field_arrives() {
    let event = outcome(&with(
        r#","application_id":"c0ea6ffa-1972-4435-b434-ec9e93d38f42","event_id":"evt_Wqb1k73rXprtTm7Qdlr38G",
           "occurred_at":"2026-11-22T10:30:00.5+01:00","labels":{"environment":"prod\u0075ction"},
           "metadata":{"a":"","b":"x"},"ordering_key":"k\u00e9","payload_content_type":"application/json""#,
    ))
    .unwrap();
    assert_eq!(event.id.as_deref(), Some("evt_Wqb1k73rXprtTm7Qdlr38G"));
    assert_eq!(event.occurred_at.as_deref(), Some("2026-11-22T10:30:00.5+01:00"));
    assert_eq!(event.labels["environment"], "production");
    assert_eq!(event.metadata.len(), 2);
    assert_eq!(event.ordering_key.as_deref(), Some("k\u{e9}"));
}

#[test]
fn null_is_an_absent_option_but_a_payload() {
    let event = outcome(
        r#"{"event_type":"a.b","payload":null,"event_id":null,"labels":null,"metadata":null,"occurred_at":null}"#,
    )
    .unwrap();
    assert_eq!(event.payload, "null");
    assert_eq!(event.id, None);
}

#[test]
fn string_payloads_are_decoded_by_their_content_type() {
    let of = |payload: &str, content_type: &str| {
        let json = format!(r#"{{"event_type":"a.b","payload":{payload},"payload_content_type":"{content_type}"}}"#);
        outcome(&json).map(|event| (event.payload, event.content_type.into_owned()))
    };
    assert_eq!(of(r#""{ \"a\": 1}""#, JSON).unwrap(), (Bytes::from(r#"{ "a": 1}"#), JSON.to_owned()));
    assert_eq!(of(r#""5""#, JSON).unwrap().0, "5");
    assert_eq!(of(r#""plain""#, TEXT).unwrap(), (Bytes::from("plain"), TEXT.to_owned()));
    assert_eq!(of(r#""AP8=""#, BASE64).unwrap(), (Bytes::from_static(b"\x00\xff"), BINARY.to_owned()));
    let id = |payload: &str, content_type: &str| of(payload, content_type).unwrap_err().id;
    assert_eq!(id(r#""{""#, JSON), "EventInvalidJsonPayload");
    assert_eq!(id(r#""A""#, BASE64), "EventInvalidBase64Payload");
    assert_eq!(id(r#""x""#, "image/png"), "EventInvalidPayloadContentType");
    assert_eq!(id("{}", TEXT), "EventInvalidPayloadContentType");
    assert_eq!(id("null", BASE64), "EventInvalidPayloadContentType");
    assert_eq!(refused(r#"{"event_type":"a.b","payload":"x"}"#).status, 422);
}

#[test]
fn what_is_no_event_at_all_is_a_400() {
    for bad in
        ["", " ", "{", "[]", "null", "\"x\"", "{}x", "{\"payload\":}", "{\"payload\":01}", "{'a':1}", "\u{feff}{}"]
    {
        let problem = refused(bad);
        assert_eq!((problem.id, problem.status), ("JsonPayload", 400), "{bad}");
    }
    assert_eq!(parse::utf8(b"{\"payload\":\"\xff\"}").unwrap_err().id, "JsonPayload");
    let long = refused(&format!("\"{}\"", "x".repeat(1_000_000)));
    assert!(long.detail.len() < 500, "the body is not echoed");
}

#[test]
fn fields_outside_their_rule_are_named() {
    let long = |bytes: usize| "x".repeat(bytes);
    for (more, field) in [
        (r#","event_id":"""#.to_owned(), "event_id"),
        (r#","event_id":"a b""#.to_owned(), "event_id"),
        (r#","event_id":"\u00e9""#.to_owned(), "event_id"),
        (r#","event_id":7"#.to_owned(), "event_id"),
        (format!(r#","event_id":"{}""#, long(129)), "event_id"),
        (r#","occurred_at":"yesterday""#.to_owned(), "occurred_at"),
        (r#","labels":[]"#.to_owned(), "labels"),
        (r#","labels":{"a":1}"#.to_owned(), "labels"),
        (r#","labels":{"":"x"}"#.to_owned(), "labels"),
        (r#","labels":{"a":""}"#.to_owned(), "labels"),
        (format!(r#","labels":{{"a":"{}"}}"#, long(51)), "labels"),
        (r#","metadata":{"a":{}}"#.to_owned(), "metadata"),
        (r#","ordering_key":"""#.to_owned(), "ordering_key"),
        (format!(r#","ordering_key":"{}""#, long(257)), "ordering_key"),
        (r#","application_id":1"#.to_owned(), "application_id"),
        (r#","payload":2"#.to_owned(), "payload"),
        (r#","payload_content_type":{}"#.to_owned(), "payload_content_type"),
    ] {
        let problem = refused(&with(&more));
        assert_eq!(problem.status, 422, "{more}");
        let tree = problem.validation.unwrap();
        assert_eq!(tree.as_object().unwrap().keys().collect::<Vec<_>>(), [field], "{more}");
    }
    let pairs = |count: usize| (0..count).map(|at| format!("\"k{at}\":\"v\"")).collect::<Vec<_>>().join(",");
    assert!(outcome(&with(&format!(",\"labels\":{{{}}}", pairs(10)))).is_ok());
    assert_eq!(refused(&with(&format!(",\"labels\":{{{}}}", pairs(11)))).status, 422);
    assert!(outcome(&with(&format!(",\"metadata\":{{{}}}", pairs(50)))).is_ok());
    assert_eq!(refused(&with(&format!(",\"metadata\":{{{}}}", pairs(51)))).status, 422);
}

#[test]
fn event_types_need_two_to_six_plain_parts() {
    for bad in [r#""invoice""#, r#""a..b""#, r#""a.b c""#, "1", "null", r#""a.b.c.d.e.f.g""#] {
        let problem = refused(&format!(r#"{{"event_type":{bad},"payload":1}}"#));
        assert_eq!(problem.status, 422, "{bad}");
    }
    let huge = refused(&format!(r#"{{"event_type":"{}","payload":1}}"#, "a.".repeat(100_000)));
    assert!(huge.detail.len() < 500, "the type is not echoed");
}

#[test]
fn unknown_fields_are_named_with_the_nearest_known_one() {
    let problem = refused(&with(r#","event_typ":1"#));
    assert_eq!((problem.status, problem.code), (422, Some(Code::UnknownField)));
    assert!(problem.detail.contains("event_typ:") && problem.detail.contains("`event_type`"), "{}", problem.detail);
    let many = (0..1_000).map(|at| format!(",\"u{at}\":1")).collect::<String>();
    assert!(refused(&with(&many)).detail.len() < 4_000, "not all of them are echoed");
}

#[test]
fn payloads_have_a_size_and_a_depth() {
    let sized = |size: usize| format!(r#"{{"event_type":"a.b","payload":["{}"]}}"#, "x".repeat(size - 4));
    assert!(outcome(&sized(LIMIT)).is_ok());
    let problem = refused(&sized(LIMIT + 1));
    assert_eq!((problem.status, problem.code), (413, Some(Code::PayloadTooLarge)));
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let payload = |payload: &str| format!(r#"{{"event_type":"a.b","payload":{payload}}}"#);
    assert!(outcome(&payload(&deep(json::MAX_DEPTH))).is_ok());
    let problem = refused(&payload(&deep(100_000)));
    assert_eq!((problem.id, problem.status, problem.code), ("Validation", 400, Some(Code::TooDeep)));
    let quoted = serde_json::to_string(&deep(100_000)).unwrap();
    let string = format!(r#"{{"event_type":"a.b","payload":{quoted},"payload_content_type":"application/json"}}"#);
    assert_eq!(refused(&string).code, Some(Code::TooDeep));
    assert_eq!(refused(&deep(100_000)).id, "JsonPayload");
    assert_eq!(refused(&with(&format!(",\"other\":{}", deep(100_000)))).status, 422);
}

#[test]
fn times_are_rfc_3339_with_a_zone() {
    for good in [
        "2026-11-22T10:30:00Z",
        "2026-11-22t10:30:00.123456789z",
        "2024-02-29T23:59:59+14:00",
        "1969-01-01T00:00:00-00:30",
    ] {
        assert!(is_rfc3339(good), "{good}");
    }
    for bad in [
        "2026-11-22T10:30:00",
        "2026-11-22 10:30:00Z",
        "2026-11-22",
        "2025-02-29T00:00:00Z",
        "2026-11-22T25:00:00Z",
        "2026-11-22T10:30Z",
        "2026-11-22T10:30:00.Z",
        "2026-11-22T10:30:00+0100",
        "2026-11-22T10:30:00Z[Europe/Paris]",
        "20261122T103000Z",
        "\u{663}026-11-22T10:30:00Z",
        "",
    ] {
        assert!(!is_rfc3339(bad), "{bad}");
    }
}

#[test]
fn batches_hold_one_to_limit_events() {
    assert_eq!(parse::batch(r#"{"events":[1, {} ]}"#, 2).unwrap().len(), 2);
    for (bad, status) in [
        (r#"{"events":[]}"#, 422),
        (r#"{"events":[1,2,3]}"#, 422),
        (r#"{"events":{}}"#, 422),
        (r#"{"event":[1]}"#, 422),
        ("{}", 422),
        ("[]", 400),
        (r#"{"events":[1}"#, 400),
    ] {
        assert_eq!(parse::batch(bad, 2).unwrap_err().status, status, "{bad}");
    }
}

/// JSON as people write it: odd spacing, escapes, exponents, keys twice.
fn odd_json() -> impl Strategy<Value = String> {
    let space = prop::sample::select(vec!["", " ", "\n\t", "  \r\n"]);
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("-0.0e+10".to_owned()),
        Just("12345678901234567890123".to_owned()),
        Just(r#""\ud800 \/ \u0041""#.to_owned()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        any::<i64>().prop_map(|number| number.to_string()),
    ];
    scalar.prop_recursive(4, 32, 4, move |inner| {
        let spaced =
            (space.clone(), inner, space.clone()).prop_map(|(before, value, after)| format!("{before}{value}{after}"));
        let list = prop::collection::vec(spaced.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(",")));
        let members = prop::collection::vec((prop::sample::select(vec!["a", "a", "\\u0062"]), spaced), 0..4);
        let object = members.prop_map(|members| {
            let members: Vec<String> = members.iter().map(|(key, value)| format!(" \"{key}\" :{value}")).collect();
            format!("{{{}}}", members.join(","))
        });
        prop_oneof![list, object]
    })
}

proptest! {
    #[test]
    fn a_payload_is_the_very_bytes_of_the_body(payload in odd_json(), before in "[ \n\t]{0,3}", after in "[ \n\t]{0,3}") {
        prop_assume!(!payload.starts_with('"'));
        let json = format!(r#"{{"event_type":"a.b","payload":{before}{payload}{after},"event_id":"x"}}"#);
        let body = Bytes::from(json);
        let raw = parse::event(parse::utf8(&body).unwrap()).unwrap();
        let event = event(&raw, &body, LIMIT).unwrap();
        prop_assert_eq!(&event.payload[..], payload.as_bytes());
        prop_assert!(body.as_ptr_range().contains(&event.payload.as_ptr()), "not copied");
    }

    #[test]
    fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let body = Bytes::from(body);
        if let Ok(raw) = parse::utf8(&body).and_then(parse::event) {
            let _outcome = event(&raw, &body, LIMIT);
        }
    }

    #[test]
    fn no_field_value_panics(field in prop::sample::select(&FIELDS[..]), value in odd_json()) {
        let body = Bytes::from(with(&format!(",\"{field}\":{value}")));
        let raw = parse::event(parse::utf8(&body).unwrap()).unwrap();
        let _outcome = event(&raw, &body, LIMIT);
    }
}
