//! What is written for each end.

use http::StatusCode;
use schemas::attempt::Response;
use schemas::control::Auth;
use schemas::delivery::Wait;
use schemas::header;
use schemas::topics::TopicSettings;

use super::*;
use crate::classify::{AttemptVerdict, NoAnswer, unanswered};
use crate::pool::{ConnectTimes, Protocol, Way};
use crate::request::Signed;
use crate::testing;

const NOW_MS: i64 = 10_000_000;

fn reporter() -> Reporter {
    let settings = TopicSettings::default();
    Reporter::new(settings.topics(), &settings.tiers, 40, Duration::from_secs(15))
}

fn attempt(status: u16) -> Attempt {
    let mut answer = Answer::of(AttemptVerdict::Delivered);
    answer.status = StatusCode::from_u16(status).ok();
    answer.headers.append("x-a", "1".parse().unwrap());
    answer.headers.append("x-a", "2".parse().unwrap());
    answer.headers.append("x-long", "y".repeat(40).parse().unwrap());
    answer.body = Bytes::from_static(b"bad \xff");
    answer.cut = Some(9);
    Attempt { started_ms: 1, elapsed_ms: 2, first_byte_ms: Some(1), target: 7, signed: Signed::default(), answer }
}

fn lifecycle(record: &OutRecord) -> Lifecycle<'_> {
    assert_eq!((&*record.topic, record.key.is_none()), ("hookbus.attempts", true));
    Lifecycle::decode(record.value.as_ref().unwrap()).unwrap()
}

#[test]
fn a_delivered_one_carries_its_exchange_cut_to_the_limit() {
    let delivery = testing::delivery("evt_1", 1);
    let records = reporter().outputs(&delivery, &End::Delivered, Some(&attempt(200)), NOW_MS).unwrap();
    assert_eq!(records.len(), 1);
    let lifecycle = lifecycle(&records[0]);
    let exchange = lifecycle.exchange.unwrap();
    assert_eq!((lifecycle.kind, exchange.status, exchange.target), (Kind::Delivered, Some(200), Some(7)));
    assert_eq!((exchange.first_byte_ms, exchange.due_ms, exchange.to), (Some(1), None, None));
    let response = Response::of(&records[0].headers, Some(&exchange));
    assert_eq!(response.head, [(Cow::Borrowed("x-a"), Cow::Borrowed("1, 2"))]);
    assert_eq!((&*response.body, response.cut), (&b"bad \xff"[..], Some(9)));
    assert!(exchange.headers.is_empty() && exchange.body.is_none(), "nothing of it stands in the index");
}

#[test]
fn an_attempt_says_what_it_went_over_when_it_was_due_and_where_its_payload_is() {
    let mut delivery = testing::delivery("evt_1", 1);
    delivery.hop.due_ms = 5;
    delivery.record = Some(RecordPlace { partition: 3, offset: 99 });
    let times = ConnectTimes { dns_ms: Some(1), connect_ms: Some(2), tls_ms: Some(3) };
    let to = "192.0.2.7:443".parse().unwrap();
    for is_kept in [false, true] {
        let mut attempt = attempt(200);
        attempt.answer.way = Some(Way { to, protocol: Some(Protocol::Http2), is_kept, times });
        let records = reporter().outputs(&delivery, &End::Delivered, Some(&attempt), NOW_MS).unwrap();
        let told = lifecycle(&records[0]);
        assert_eq!((told.record, told.event_source), (delivery.record, None), "the source is the gateway's");
        let exchange = told.exchange.unwrap();
        assert_eq!((exchange.due_ms, exchange.to, exchange.http.as_deref()), (Some(5), Some(to), Some("2")));
        let shown = (exchange.dns_ms, exchange.connect_ms, exchange.tls_ms);
        assert_eq!(shown, if is_kept { (None, None, None) } else { (Some(1), Some(2), Some(3)) });
    }
    // What was never answered has no head and no body.
    let silent = Attempt { answer: Answer::of(unanswered(NoAnswer::Timeout)), ..attempt(200) };
    let hop = Hop { attempt: 2, ..delivery.hop };
    let records = reporter().outputs(&delivery, &End::Retry(hop), Some(&silent), NOW_MS).unwrap();
    assert!(records[1].headers.is_empty());
}

/// The reference answer: nine headers and a body of 15 bytes.
#[test]
fn an_ordinary_attempt_takes_600_bytes_and_960_with_its_answer() {
    let mut delivery = Delivery::decode(&testing::record("01a20186-21cb-7749-81d0-b27446f73332", 1, i64::MAX)).unwrap();
    delivery.accepted_ms = 1_790_000_000_000;
    delivery.record = Some(RecordPlace { partition: 15, offset: 123_456_789 });
    let mut answer = Answer::of(AttemptVerdict::Delivered);
    answer.status = Some(StatusCode::OK);
    for (name, value) in [
        ("date", "Sun, 22 Nov 2026 01:02:03 GMT"),
        ("content-type", "application/json"),
        ("content-length", "15"),
        ("connection", "keep-alive"),
        ("server", "nginx/1.29.3"),
        ("x-request-id", "01a20186-21cb-7749-81d0-b27446f73332"),
        ("cache-control", "no-store"),
        ("strict-transport-security", "max-age=31536000"),
        ("vary", "accept-encoding"),
    ] {
        answer.headers.insert(name, value.parse().unwrap());
    }
    answer.body = Bytes::from_static(b"{\"received\":1}\n");
    let to = "203.0.113.117:443".parse().unwrap();
    let times = ConnectTimes::default();
    answer.way = Some(Way { to, protocol: Some(Protocol::Http1), is_kept: true, times });
    let mut headers = http::HeaderMap::new();
    headers.insert("webhook-signature", "v1,K5oZfzN95Zr8+/AAAAAA=".parse().unwrap());
    headers.insert("x-hook0-signature", "t=1,h=,v1=0123456789abcdef".parse().unwrap());
    let (first_byte_ms, signed) = (Some(28), Signed::of(&headers));
    let attempt =
        Attempt { started_ms: 1_790_000_000_040, elapsed_ms: 29, first_byte_ms, target: 123_456, signed, answer };
    let settings = TopicSettings::default();
    let reporter = Reporter::new(settings.topics(), &settings.tiers, 4_096, Duration::from_secs(15));
    let records = reporter.outputs(&delivery, &End::Delivered, Some(&attempt), 1_790_000_000_070).unwrap();
    let value = records[0].value.as_ref().map_or(0, Bytes::len);
    assert!(value <= 600, "{value} bytes: {:?}", records[0].value);
    assert_eq!(records[0].headers.len(), 2, "the whole head is kept");
    assert!(records[0].size() <= 960, "{} bytes", records[0].size());
}

#[test]
fn a_target_is_told_without_its_secrets() {
    let vault = testing::vault();
    let mut object = testing::object(1, "https://example.com/hooks", &vault);
    for (name, value) in [("X-Tenant", "a"), ("x-api-key", "hidden-1"), ("x-listed", "hidden-2")] {
        let sealed = testing::seal(&vault, testing::subscription_id(1), value);
        object.target.headers.insert(name.to_owned(), sealed);
    }
    object.target.secret_headers = vec!["x-listed".to_owned()];
    object.auth = Some(Auth::Bearer { token: testing::seal(&vault, testing::subscription_id(1), "hidden-3") });
    let subscription = testing::subscription(object, 812, &vault);
    let record = reporter().target(&subscription, NOW_MS).unwrap();
    let told = lifecycle(&record);
    assert_eq!((told.kind, told.subscription_id), (Kind::Target, Some(subscription.id())));
    let target = told.target.unwrap();
    assert_eq!((target.offset, &*target.method, &*target.url), (812, "POST", "https://example.com/hooks"));
    let headers: Vec<(&str, Option<&str>)> =
        target.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
    assert_eq!(headers, [("x-api-key", None), ("x-listed", None), ("x-tenant", Some("a"))]);
    assert_eq!((target.auth.as_deref(), target.timeout_ms), (Some("bearer"), 15_000));
    let text = String::from_utf8_lossy(record.value.as_ref().unwrap()).into_owned();
    assert!(!text.contains("hidden"), "{text}");
}

#[test]
fn a_retry_goes_to_the_longest_tier_that_fits_and_never_below_the_shortest_until_it_is_due() {
    let delivery = testing::delivery("evt_1", 1);
    for (wait_ms, topic, keyed) in [
        (0, "hookbus.deliveries", true),
        (3_000, "hookbus.retry.5s", false),
        (5_000, "hookbus.retry.5s", false),
        (119_999, "hookbus.retry.20s", false),
        (100 * 3_600_000, "hookbus.retry.12h", false),
    ] {
        let hop = Hop { attempt: 2, due_ms: NOW_MS + wait_ms, wait: Wait::Retry, ..delivery.hop };
        let records = reporter().outputs(&delivery, &End::Retry(hop), Some(&attempt(500)), NOW_MS).unwrap();
        assert_eq!((&*records[0].topic, records[0].key.is_some()), (topic, keyed), "{wait_ms}");
        let record = &records[0];
        let again = Record {
            offset: 0,
            timestamp_ms: 0,
            key: None,
            value: record.value.clone(),
            headers: record.headers.clone(),
        };
        assert_eq!(Delivery::decode(&again).unwrap().hop, hop);
        let lifecycle = lifecycle(&records[1]);
        assert_eq!((lifecycle.kind, lifecycle.attempt), (Kind::Attempted, Some(1)));
        assert_eq!(lifecycle.due_ms, Some(hop.due_ms));
    }
}

#[test]
fn a_death_says_why_and_how_often_it_was_tried() {
    let delivery = testing::delivery("evt_1", 1);
    let gone = End::Died { reason: DeathReason::Gone, detail: "410".into(), endpoint_gone: true };
    let records = reporter().outputs(&delivery, &gone, Some(&attempt(410)), NOW_MS).unwrap();
    assert_eq!(records.len(), 3);
    let headers = &records[0].headers;
    assert_eq!(headers.text(header::REASON), Some("gone"));
    assert_eq!((headers.text(header::ATTEMPT), headers.text(header::LAST_STATUS)), (Some("1"), Some("410")));
    assert_eq!(lifecycle(&records[1]).kind, Kind::DeadLettered);
    assert_eq!(lifecycle(&records[2]).kind, Kind::EndpointGone);
    let old = reporter().outputs(&delivery, &End::too_old(), None, NOW_MS).unwrap();
    assert_eq!(old[0].headers.text(header::ATTEMPT), Some("0"), "none was made");
}

#[test]
fn a_death_while_it_waits_says_how_the_last_attempt_ended() {
    let delivery = testing::delivery("evt_1", 1);
    let hop = Hop { attempt: 2, due_ms: NOW_MS + 5_000, wait: Wait::Retry, ..delivery.hop };
    let mut failed = attempt(503);
    failed.answer.detail = Some("head: timed out after 15000 ms".into());
    let retry = reporter().outputs(&delivery, &End::Retry(hop), Some(&failed), NOW_MS).unwrap().remove(0);
    let record =
        |out: OutRecord| Record { offset: 0, timestamp_ms: 0, key: out.key, value: out.value, headers: out.headers };
    let waiting = Delivery::decode(&record(retry)).unwrap();
    // It is put off once more without an attempt, then it is too old.
    let put_off = reporter().outputs(&waiting, &End::PassedOn, None, NOW_MS).unwrap().remove(0);
    let waiting = Delivery::decode(&record(put_off)).unwrap();
    let dead = reporter().outputs(&waiting, &End::too_old(), None, NOW_MS).unwrap();
    let headers = &dead[0].headers;
    assert_eq!((headers.text(header::ATTEMPT), headers.text(header::LAST_STATUS)), (Some("1"), Some("503")));
    let last = "status 503: head: timed out after 15000 ms";
    assert_eq!(headers.text(header::LAST_ERROR), Some(last));
    let told = lifecycle(&dead[1]).detail.unwrap();
    assert_eq!(told, format!("older than the subscription's max_age; the last attempt ended with {last}"));
    // Another attempt takes the place of the former one.
    let again =
        reporter().outputs(&waiting, &End::died(DeathReason::Schedule, "x"), Some(&attempt(410)), NOW_MS).unwrap();
    let headers = &again[0].headers;
    assert_eq!(
        (headers.text(header::LAST_STATUS), headers.text(header::LAST_ERROR)),
        (Some("410"), Some("status 410"))
    );
    assert_eq!(headers.iter().filter(|(name, _)| *name == header::LAST_STATUS.as_bytes()).count(), 1);
}

#[test]
fn an_endpoint_that_works_again_says_since_when_it_had_failed() {
    let delivery = testing::delivery("evt_1", 1);
    let record = reporter().recovered(&delivery, NOW_MS - 600_000, NOW_MS).unwrap();
    let told = lifecycle(&record);
    assert_eq!((told.kind, told.failing_since_ms), (Kind::Recovered, Some(NOW_MS - 600_000)));
    assert_eq!((told.subscription_id, told.application_id), (Some(delivery.subscription), Some(delivery.application)));
}

#[test]
fn what_does_not_fit_its_topic_dies_and_keeps_its_coordinates() {
    let mut delivery = testing::delivery("evt_1", 1);
    delivery.payload = Bytes::from(vec![b'x'; 1_048_000]);
    let hop = Hop { attempt: 2, due_ms: NOW_MS + 5_000, wait: Wait::Retry, ..delivery.hop };
    let records = reporter().outputs(&delivery, &End::Retry(hop), Some(&attempt(500)), NOW_MS).unwrap();
    assert_eq!(&*records[0].topic, "hookbus.dead-letters");
    assert_eq!(records[0].headers.text(header::REASON), Some("unwritable"));
    assert_eq!(records[0].headers.text(header::ORIGIN), Some("hookbus.events/0/7"));
    assert!(records[0].batch_size() < 1_048_588);
}

#[test]
fn what_is_no_delivery_is_rejected_with_its_coordinates() {
    let from = TopicPartition::new("hookbus.deliveries", 3);
    let record = Record { offset: 9, timestamp_ms: 0, key: None, value: None, headers: Headers::default() };
    let records = reporter().rejected(&from, &record, "nothing", NOW_MS).unwrap();
    assert_eq!(records[0].headers.text(header::ORIGIN), Some("hookbus.deliveries/3/9"));
    assert_eq!(records[0].headers.text(header::REASON), Some("null_value"));
    let told = lifecycle(&records[1]);
    assert_eq!((told.kind, told.origin.as_deref()), (Kind::Rejected, Some("hookbus.deliveries/3/9")));
    // Whose it is is told where its headers say so, whatever else is wrong with it.
    let record = Record { value: None, ..testing::record("evt_1", 1, i64::MAX) };
    let records = reporter().rejected(&from, &record, "nothing", NOW_MS).unwrap();
    assert_eq!(lifecycle(&records[1]).application_id, Some(testing::APPLICATION));
}

#[test]
fn an_output_kafka_never_takes_ends_in_rejected_and_its_delivery_dies() {
    let delivery = testing::delivery("evt_1", 1);
    let hop = delivery.to_hop(Arc::from("hookbus.retry.5s"), None, delivery.hop, None);
    let from = TopicPartition::new("hookbus.deliveries", 3);
    let records = reporter().unwritable(hop, (&from, 9), "too large", NOW_MS).unwrap();
    assert_eq!(&*records[0].topic, "hookbus.rejected");
    assert_eq!(lifecycle(&records[1]).record, Some(RecordPlace { partition: 3, offset: 9 }));
    assert_eq!(lifecycle(&records[1]).delivery_id, Some(delivery.id));
}

#[test]
fn an_attempt_reads_as_one_line() {
    let mut broken = attempt(200);
    broken.answer.error = Some(NoAnswer::Reset);
    assert_eq!(broken.to_string(), "status 200, then reset");
    let none = Attempt { answer: Answer::of(unanswered(NoAnswer::Unsigned)), ..attempt(200) };
    assert_eq!(none.to_string(), "unsigned");
    let refused = Attempt { answer: Answer::of(AttemptVerdict::Aborted), ..none };
    assert_eq!(refused.to_string(), "not sent");
}

#[test]
fn one_attempt_that_failed_is_told_and_is_no_dead_letter() {
    let delivery = testing::once("evt_1", 1);
    let end = End::died(DeathReason::Schedule, "one attempt was asked for, and it failed");
    let records = reporter().outputs(&delivery, &end, Some(&attempt(500)), NOW_MS).unwrap();
    let [record] = &records[..] else { panic!("{records:?}") };
    let told = lifecycle(record);
    assert_eq!((told.kind, told.made_by.as_deref(), told.attempt), (Kind::TriedOnce, Some("retry"), Some(1)));
    assert_eq!((told.reason.as_deref(), told.exchange.unwrap().status), (Some("schedule"), Some(500)));
}
