//! The request as a receiver sees it.

use std::collections::BTreeMap;

use http::HeaderMap;
use http_body_util::BodyExt;
use schemas::control;
use schemas::header;
use schemas::record::{Headers, Record};
use signing::{Secret, StandardHeaders, Verifier};

use super::*;
use crate::testing;

const NOW_MS: i64 = 1_700_000_000_123;

fn built(
    delivery: &Delivery,
    change: impl FnOnce(&mut control::Subscription, &vault::Vault),
) -> Result<(HeaderMap, Bytes, Request<()>), Verdict> {
    let vault = testing::vault();
    let mut object = testing::object(1, "https://example.com/hooks?a=b", &vault);
    change(&mut object, &vault);
    let subscription = testing::subscription(object, 1, &vault);
    let target = Target::new(&subscription, &Guard::new(false, Vec::new()))?;
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
    let mut broken = delivery;
    broken.payload = Bytes::from_static(b"{");
    assert!(matches!(built(&broken, envelope), Err(Verdict::Unwritable(_))));
}

#[test]
fn a_replay_says_so() {
    let delivery =
        changed(&testing::delivery("evt_1", 1), header::GENERATION, Uuid::from_u128(7).to_string().as_bytes());
    let (headers, ..) = built(&delivery, |_, _| {}).unwrap();
    assert_eq!(text(&headers, "x-hookbus-replay"), "true");
}

#[test]
fn what_cannot_be_written_says_why() {
    let delivery = changed(&testing::delivery("evt_1", 1), header::CONTENT_TYPE, b"text/\x01");
    assert_eq!(
        built(&delivery, |_, _| {}).unwrap_err(),
        Verdict::Unwritable("the header `content-type` cannot be written".to_owned())
    );
    let delivery = testing::delivery("evt_1", 1);
    let refused = built(&delivery, |object, _| object.target.url = "https://127.0.0.1/".to_owned());
    assert!(matches!(refused, Err(Verdict::Refused(_))), "{refused:?}");
    let unsigned = built(&delivery, |object, vault| {
        object.secrets[0].sealed = testing::seal(vault, testing::subscription_id(2), "of another subscription");
    });
    assert!(matches!(unsigned, Err(Verdict::Failed(_))), "a secret that does not open can be mended: {unsigned:?}");
}
