//! What is answered where a log does not have everything yet, and where an attempt is named in two ways.

use super::log::{Traffic, written};
use super::*;

/// Every way to name one thing of the log, and what is asked for by `POST`.
async fn answers(api: &Api, token: &str, [event, attempt, letter]: [&str; 3]) -> Vec<(String, u16, Value)> {
    let mut all = Vec::new();
    for path in [
        format!("/events/{event}?payload=false"),
        format!("/events/{event}/timeline"),
        format!("/events/{event}/explain"),
        format!("/request_attempts/{attempt}"),
        format!("/request_attempts/{attempt}/request"),
        format!("/responses/{attempt}"),
    ] {
        let (status, body) = api.get(token, &path).await;
        all.push((path, status, body));
    }
    for (path, body) in [
        (format!("/events/{event}/replay"), value!({})),
        (format!("/request_attempts/{attempt}/retry"), value!({})),
        ("/dead_letters:redrive".to_owned(), value!({"dead_letter_ids": [letter]})),
        ("/dead_letters:discard".to_owned(), value!({"dead_letter_ids": [letter], "reason": "old"})),
    ] {
        let (status, body) = api.post(token, &path, body).await;
        all.push((path, status, body));
    }
    all
}

#[tokio::test]
async fn what_is_not_in_a_log_that_is_not_whole_may_come_and_is_not_said_to_be_absent() {
    let (api, tenant, subscription) = written().await;
    let absent = Uuid::from_u128(77).to_string();
    let unknown = ["evt_nope", &absent, &absent];
    let noon = 1_795_953_600_000;
    for (whole_from_ms, behind_ms, why) in
        [(Some(noon), 0, "whole from 2026-11-29T12:00:00Z on"), (None, 11_500, "it is 11 s behind")]
    {
        api.app.log().filled(whole_from_ms, behind_ms);
        for (path, status, problem) in answers(&api, &tenant.token, unknown).await {
            assert_eq!((status, &problem["code"]), (503, &value!("log_behind")), "{path}: {problem}");
            assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
        }
        let traffic = Traffic::new(&tenant.id, &subscription);
        let attempt = delivery_log::attempt_id(traffic.delivery("evt_a"), 1);
        for path in ["/events/evt_a/timeline".to_owned(), format!("/request_attempts/{attempt}")] {
            assert_eq!(api.get(&tenant.token, &path).await.0, 200, "what is there is given: {path}");
        }
        assert_eq!(api.get(&tenant.token, "/request_attempts/no-id").await.0, 404, "what is no id is nowhere");
    }
    api.app.log().filled(None, 0);
    let whole = answers(&api, &tenant.token, unknown).await;
    let statuses: Vec<u16> = whole.iter().map(|(_, status, _)| *status).collect();
    assert_eq!(statuses, [404, 404, 200, 404, 404, 404, 404, 404, 409, 409], "{whole:?}");
}

#[tokio::test]
async fn attempts_of_a_delivery_are_of_the_event_that_is_named_too() {
    let (api, tenant, subscription) = written().await;
    let delivery = Traffic::new(&tenant.id, &subscription).delivery("evt_b");
    for (more, count) in [
        ("&event_id=evt_b".to_owned(), 2),
        ("&event_id=evt_a".to_owned(), 0),
        (format!("&event_id=evt_b&subscription_id={subscription}"), 2),
        (format!("&subscription_id={}", Uuid::from_u128(5)), 0),
    ] {
        let (status, rows) = api.get(&tenant.token, &format!("/request_attempts?delivery_id={delivery}{more}")).await;
        assert_eq!((status, rows.as_array().unwrap().len()), (200, count), "{more}: {rows}");
    }
    let path = format!("/request_attempts?event_id=evt_b&subscription_id={}", Uuid::from_u128(5));
    assert_eq!(api.get(&tenant.token, &path).await, (200, value!([])));
}
