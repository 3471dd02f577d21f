//! The request as a receiver sees it.

use std::collections::BTreeMap;

use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use schemas::control::{self, BodyForm};
use schemas::header;
use schemas::record::{Headers, Record};
use signing::{Secret, StandardHeaders, Verifier};

use super::*;
use crate::client::Tls;
use crate::testing;

const NOW_MS: i64 = 1_700_000_000_123;

fn built(
    delivery: &Delivery,
    change: impl FnOnce(&mut control::Subscription, &vault::Vault),
) -> Result<(HeaderMap, Bytes, Request<()>), AttemptVerdict> {
    let vault = testing::vault();
    let mut object = testing::object(1, "https://example.com/hooks?a=b", &vault);
    change(&mut object, &vault);
    let subscription = testing::subscription(object, 1, &vault);
    let target = Target::new(&subscription, None, &::target::TargetPolicy::default(), &Tls::new(None).unwrap())?;
    let (parts, body) = build(delivery, &subscription, &target, NOW_MS)?.into_parts();
    let body = futures_now(body);
    Ok((parts.headers.clone(), body, Request::from_parts(parts, ())))
}

/// A full body is there at once.
fn futures_now(body: Full<Bytes>) -> Bytes {
    let mut body = std::pin::pin!(body.collect());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match body.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Ok(whole)) => whole.to_bytes(),
        std::task::Poll::Ready(Err(_)) | std::task::Poll::Pending => panic!("a full body is there at once"),
    }
}

fn changed(delivery: &Delivery, name: &str, value: &[u8]) -> Delivery {
    let mut headers = Headers::builder(20, 1_000);
    headers.copy_if(&delivery.headers, |other| other != name.as_bytes()).push(name, value);
    let value = Some(delivery.payload.clone());
    Delivery::decode(&Record { offset: 0, timestamp_ms: 0, key: None, value, headers: headers.build() }).unwrap()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).unwrap_or_else(|| panic!("{name} is missing")).to_str().unwrap()
}

#[test]
fn both_families_of_verifiers_accept_it_with_the_same_secret() {
    let delivery = testing::delivery("evt_1", 1);
    let (headers, body, request) = built(&delivery, |_, _| {}).unwrap();
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.uri(), "https://example.com/hooks?a=b");
    assert_eq!(body, delivery.payload);
    assert_eq!(body.as_ptr(), delivery.payload.as_ptr(), "the payload is not copied");
    assert_eq!(text(&headers, "webhook-id"), "evt_1");
    assert_eq!(text(&headers, "webhook-timestamp"), "1700000000");
    assert_eq!(text(&headers, "x-event-id"), "evt_1");
    assert_eq!(text(&headers, "x-event-type"), "invoice.paid");
    assert_eq!(text(&headers, "content-type"), "application/json");
    assert!(text(&headers, "user-agent").starts_with("Hookbus/"));
    assert_eq!(text(&headers, "x-hookbus-delivery-id"), delivery.id.to_string());
    assert_eq!(text(&headers, "x-hookbus-attempt"), "1");
    assert!(!headers.contains_key("x-hookbus-replay"));
    verify(&headers, &body);
}

fn verify(headers: &HeaderMap, body: &Bytes) {
    let verifier = Verifier::new(&Secret::parse(testing::SECRET).unwrap());
    let standard = StandardHeaders {
        id: text(headers, "webhook-id"),
        timestamp: text(headers, "webhook-timestamp"),
        signature: text(headers, "webhook-signature"),
    };
    let now_s = NOW_MS / 1_000;
    verifier.standard(&standard, &[body], now_s).unwrap();
    let received: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    verifier
        .hook0_v1(
            text(headers, "x-hook0-signature"),
            |name| received.iter().find(|(known, _)| *known == name).map(|(_, value)| *value),
            &[body],
            now_s,
        )
        .unwrap();
}

#[test]
fn custom_headers_are_sent_and_signed() {
    let delivery = testing::delivery("evt_1", 1);
    let (headers, body, _) = built(&delivery, |object, vault| {
        let sealed = testing::seal(vault, object.subscription_id, " yes ");
        object.target.headers = BTreeMap::from([("X-Custom".to_owned(), sealed)]);
    })
    .unwrap();
    assert_eq!(text(&headers, "x-custom"), "yes");
    assert!(text(&headers, "x-hook0-signature").contains("h=content-type x-custom x-event-id x-event-type,"));
    verify(&headers, &body);
}

#[test]
fn a_deprecated_type_says_so_in_the_forms_of_its_rfcs_beside_the_signatures() {
    let deprecated = changed(&testing::delivery("evt_1", 1), header::DEPRECATION, b"1688169599999/1719792000000");
    let (headers, body, _) = built(&deprecated, |_, _| {}).unwrap();
    assert_eq!(text(&headers, "deprecation"), "@1688169599", "RFC 9745: a date of structured fields");
    assert_eq!(text(&headers, "sunset"), "Mon, 01 Jul 2024 00:00:00 GMT", "RFC 8594: an HTTP date");
    assert!(text(&headers, "x-hook0-signature").contains("h=content-type x-event-id x-event-type,"));
    verify(&headers, &body);
    let custom = |object: &mut control::Subscription, vault: &vault::Vault| {
        let sealed = testing::seal(vault, object.subscription_id, "my own");
        object.target.headers = BTreeMap::from([("sunset".to_owned(), sealed)]);
    };
    let (headers, body, _) = built(&deprecated, custom).unwrap();
    assert_eq!((text(&headers, "sunset"), headers.get_all("sunset").iter().count()), ("my own", 1));
    verify(&headers, &body);
    for text in ["", "soon", "1/", "9223372036854775807/-9223372036854775808"] {
        let strange = changed(&testing::delivery("evt_1", 1), header::DEPRECATION, text.as_bytes());
        let (headers, ..) = built(&strange, |_, _| {}).unwrap();
        assert!(!headers.contains_key("deprecation") && !headers.contains_key("sunset"), "{text}");
    }
    let (headers, ..) = built(&testing::delivery("evt_1", 1), |_, _| {}).unwrap();
    assert!(!headers.contains_key("deprecation") && !headers.contains_key("sunset"));
}

#[test]
fn an_id_that_is_not_plain_is_encoded_and_replaced_by_its_uuid() {
    let delivery = changed(&testing::delivery("evt_1", 1), header::CE_ID, "a b%ü".as_bytes());
    let (headers, body, _) = built(&delivery, |_, _| {}).unwrap();
    assert_eq!(text(&headers, "x-event-id"), "a%20b%25%C3%BC");
    let uuid = identity::event_uuid(delivery.application, delivery.event_source(), "a b%ü").to_string();
    assert_eq!(text(&headers, "webhook-id"), uuid);
    verify(&headers, &body);
    for (name, value) in [(header::CE_ID, "a.b"), (header::CE_SOURCE, "/elsewhere")] {
        let delivery = changed(&testing::delivery("evt_1", 1), name, value.as_bytes());
        let (headers, ..) = built(&delivery, |_, _| {}).unwrap();
        assert_eq!(text(&headers, "webhook-id").len(), 36);
    }
}

#[test]
fn webhook_id_is_the_one_of_schemas() {
    for (source, id) in [("/applications/x", "evt"), ("", ""), ("/elsewhere", "evt")] {
        let delivery = changed(&testing::delivery("evt_1", 1), header::CE_SOURCE, source.as_bytes());
        let delivery = changed(&delivery, header::CE_ID, id.as_bytes());
        let expected =
            identity::EventIdentity { application: delivery.application, source: source.to_owned(), id: id.to_owned() };
        assert_eq!(webhook_id(&delivery), expected.webhook_id());
    }
}

#[test]
fn an_envelope_holds_the_payload_byte_for_byte() {
    let delivery = testing::delivery("evt_\"1", 1);
    let envelope = |object: &mut control::Subscription, _: &vault::Vault| {
        object.body = BodyForm::Envelope;
        object.api_version = Some("2026-01-01".to_owned());
    };
    let (headers, body, _) = built(&delivery, envelope).unwrap();
    let expected = r#"{"event_id":"evt_\"1","event_type":"invoice.paid","api_version":"2026-01-01","created_at":"2026-11-22T01:02:03Z","data":{"a": 1}}"#;
    assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
    verify(&headers, &body);
    let text = changed(&delivery, header::CONTENT_TYPE, b"text/plain");
    let (_, body, _) = built(&text, envelope).unwrap();
    assert!(std::str::from_utf8(&body).unwrap().ends_with(r#","data":"{\"a\": 1}"}"#));
    let mut empty = delivery.clone();
    empty.payload = Bytes::new();
    let (_, body, _) = built(&empty, envelope).unwrap();
    assert!(std::str::from_utf8(&body).unwrap().ends_with(r#","data":null}"#), "an event without data");
    let mut broken = delivery;
    broken.payload = Bytes::from_static(b"{");
    assert!(matches!(built(&broken, envelope), Err(AttemptVerdict::Unwritable(_))));
}

#[test]
fn a_cloudevent_holds_json_byte_for_byte_and_the_rest_in_base64() {
    let structured = |object: &mut control::Subscription, _: &vault::Vault| object.body = BodyForm::Cloudevents;
    let delivery = changed(&testing::delivery("evt_\"1", 1), "ce_subject", "käse".as_bytes());
    let delivery = changed(&delivery, "ce_Not-A-Name", b"x");
    let delivery = changed(&delivery, "ce_count", b"03");
    let delivery = changed(&delivery, "ce_level", b"3");
    let delivery = changed(&delivery, "ce_urgent", b"true");
    let types = r#"{"count":"number","level":"number","urgent":"boolean"}"#;
    let delivery = changed(&delivery, header::EXTENSION_TYPES, types.as_bytes());
    let (headers, body, _) = built(&delivery, structured).unwrap();
    assert_eq!(text(&headers, "content-type"), "application/cloudevents+json");
    let source = delivery.event_source();
    let expected = format!(
        r#"{{"specversion":"1.0","id":"evt_\"1","source":"{source}","type":"invoice.paid","time":"2026-11-22T01:02:03Z","subject":"käse","count":"03","level":3,"urgent":true,"datacontenttype":"application/json","data":{{"a": 1}}}}"#
    );
    assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
    verify(&headers, &body);

    let mut binary = changed(&delivery, header::CONTENT_TYPE, b"application/octet-stream");
    binary.payload = Bytes::from_static(b"\x00\xff{");
    let (headers, body, _) = built(&binary, structured).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["data_base64"], &body["data"]), (&"AP97".into(), &serde_json::Value::Null));
    assert_eq!(body["datacontenttype"], "application/octet-stream");
    assert_eq!(text(&headers, "content-type"), "application/cloudevents+json");

    let mut empty = changed(&delivery, header::CE_TIME, b"yesterday");
    empty.payload = Bytes::new();
    let (_, body, _) = built(&empty, structured).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body.get("data"), None);
    assert_eq!(body["time"], "1970-01-01T00:00:01Z", "what is no time is the time of acceptance");
    let mut broken = delivery;
    broken.payload = Bytes::from_static(b"{");
    assert!(matches!(built(&broken, structured), Err(AttemptVerdict::Unwritable(_))));
}

#[test]
fn while_a_rotation_overlaps_both_secrets_sign_and_hook0_keeps_the_old_one() {
    let delivery = testing::delivery("evt_1", 1);
    let new = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let rotated = |expires_ms: i64| {
        move |object: &mut control::Subscription, vault: &vault::Vault| {
            let sealed = testing::seal(vault, object.subscription_id, new);
            object.secrets[0].expires_ms = Some(expires_ms);
            object.secrets.insert(0, control::SigningSecret { sealed, expires_ms: None });
        }
    };
    let verifies = |headers: &HeaderMap, body: &Bytes, secret: &str, signature: &str| {
        let timestamp = text(headers, "webhook-timestamp");
        let standard = StandardHeaders { id: text(headers, "webhook-id"), timestamp, signature };
        Verifier::new(&Secret::parse(secret).unwrap()).standard(&standard, &[body], NOW_MS / 1_000).is_ok()
    };
    let (headers, body, _) = built(&delivery, rotated(NOW_MS + 1)).unwrap();
    let signatures: Vec<&str> = text(&headers, "webhook-signature").split(' ').collect();
    assert_eq!(signatures.len(), 2);
    assert!(verifies(&headers, &body, new, signatures[0]) && verifies(&headers, &body, testing::SECRET, signatures[1]));
    // `verify` checks Hook0's signature with the old secret.
    verify(&headers, &body);

    let (headers, body, _) = built(&delivery, rotated(NOW_MS)).unwrap();
    let signature = text(&headers, "webhook-signature");
    assert!(
        !signature.contains(' ') && verifies(&headers, &body, new, signature),
        "its time is over at this very moment"
    );
    let hook0 = Verifier::new(&Secret::parse(new).unwrap());
    let received: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let value_of = |name: &str| received.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    hook0.hook0_v1(text(&headers, "x-hook0-signature"), value_of, &[&body], NOW_MS / 1_000).unwrap();
}

#[test]
fn auth_is_not_signed_and_wins_over_a_custom_header() {
    let delivery = testing::delivery("evt_1", 1);
    let (headers, body, _) = built(&delivery, |object, vault| {
        let seal = |text| testing::seal(vault, object.subscription_id, text);
        object.target.headers = BTreeMap::from([("Authorization".to_owned(), seal("Basic custom"))]);
        object.auth = Some(control::Auth::Bearer { token: seal("t0ken") });
    })
    .unwrap();
    assert!(!headers.contains_key("authorization"), "it is added when the request is sent");
    assert!(text(&headers, "x-hook0-signature").contains("h=content-type x-event-id x-event-type,"));
    verify(&headers, &body);
}

#[test]
fn a_replay_says_so() {
    let delivery =
        changed(&testing::delivery("evt_1", 1), header::GENERATION, Uuid::from_u128(7).to_string().as_bytes());
    let (headers, ..) = built(&delivery, |_, _| {}).unwrap();
    assert_eq!(text(&headers, "x-hookbus-replay"), "true");
    let (headers, ..) = built(&testing::once("evt_1", 1), |_, _| {}).unwrap();
    assert_eq!(text(&headers, "x-hookbus-replay"), "retry", "its maker says what it is");
}

#[test]
fn a_backfill_says_so_and_is_no_replay() {
    let delivery = changed(&testing::delivery("evt_1", 1), header::MADE_BY, b"backfill");
    let (headers, ..) = built(&delivery, |_, _| {}).unwrap();
    assert_eq!(text(&headers, "x-hookbus-backfill"), "true");
    assert!(!headers.contains_key("x-hookbus-replay"));
    let (headers, ..) = built(&testing::delivery("evt_1", 1), |_, _| {}).unwrap();
    assert!(!headers.contains_key("x-hookbus-backfill"));
}

#[test]
fn a_ping_is_no_replay() {
    let made_by = Uuid::from_u128(7).to_string();
    let delivery = changed(&testing::delivery(&made_by, 1), header::GENERATION, made_by.as_bytes());
    assert!(delivery.generation.0.is_some());
    let (headers, ..) = built(&delivery, |_, _| {}).unwrap();
    assert!(!headers.contains_key("x-hookbus-replay"));
}

#[test]
fn what_cannot_be_written_says_why() {
    let delivery = changed(&testing::delivery("evt_1", 1), header::CONTENT_TYPE, b"text/\x01");
    assert_eq!(
        built(&delivery, |_, _| {}).unwrap_err(),
        AttemptVerdict::Unwritable("the header `content-type` cannot be written".to_owned())
    );
    let delivery = testing::delivery("evt_1", 1);
    let refused = built(&delivery, |object, _| object.target.url = "https://127.0.0.1/".to_owned());
    assert!(matches!(refused, Err(AttemptVerdict::Refused(_))), "{refused:?}");
    let unsigned = built(&delivery, |object, vault| {
        object.secrets[0].sealed = testing::seal(vault, testing::subscription_id(2), "of another subscription");
    });
    assert!(
        matches!(unsigned, Err(AttemptVerdict::Failed(_))),
        "a secret that does not open can be mended: {unsigned:?}"
    );
}
