//! What leaves the delivery log before its time: erased events, what an application does not keep, and all of it.

use std::collections::BTreeMap;

use super::log::{Traffic, written};
use super::*;

/// Every answer in which something of an event could stand, by its path.
async fn answers(api: &Api, token: &str, (event, attempt): (&str, &str)) -> BTreeMap<String, (u16, Value)> {
    let mut all = BTreeMap::new();
    for path in [
        "/events".to_owned(),
        format!("/events/{event}"),
        format!("/events/{event}?payload=false"),
        format!("/events/{event}/timeline"),
        format!("/events/{event}/explain"),
        "/request_attempts".to_owned(),
        format!("/request_attempts/{attempt}"),
        format!("/request_attempts/{attempt}/request"),
        format!("/responses/{attempt}"),
        "/dead_letters".to_owned(),
    ] {
        let answer = api.get(token, &path).await;
        all.insert(path, answer);
    }
    for path in [format!("/events/{event}/replay"), format!("/request_attempts/{attempt}/retry")] {
        let answer = api.post(token, &path, value!({})).await;
        all.insert(path, answer);
    }
    all
}

#[tokio::test]
async fn what_is_erased_is_in_no_answer_and_cannot_be_read_back_or_sent_again() {
    let (api, tenant, subscription) = written().await;
    let attempt = delivery_log::attempt_id(Traffic::new(&tenant.id, &subscription).delivery("evt_d"), 1).to_string();
    let named = ("evt_d", attempt.as_str());
    let before = answers(&api, &tenant.token, named).await;
    let mentions = |all: &BTreeMap<String, (u16, Value)>| {
        let told = all.iter().filter(|(_, (_, body))| body.to_string().contains("color"));
        told.map(|(path, _)| path.clone()).collect::<Vec<_>>()
    };
    assert_eq!(mentions(&before), ["/events", "/events/evt_d/timeline", "/events/evt_d?payload=false"]);
    let (status, headers, _) = api.exchange_as(&tenant.token, (Method::DELETE, "/events/evt_d"), &[], None).await;
    assert_eq!(status, 204);
    let until: Timestamp = headers["hookbus-erased-until"].to_str().unwrap().parse().unwrap();
    let kept_ms = until.as_millisecond() - chassis::clock::now_ms();
    assert!(kept_ms > 30 * 86_400_000 - 60_000, "copies are kept for 30 days and more: {kept_ms}");
    let after = answers(&api, &tenant.token, named).await;
    let mine: Vec<String> = mentions(&after);
    assert_eq!(mine, ["/events"], "of the others");
    let (_, rows) = &after["/events"];
    let erased = rows.as_array().unwrap().iter().find(|row| row["event_id"] == "evt_d").unwrap();
    assert_eq!((&erased["labels"], &erased["event_type_name"]), (&value!({}), &value!("invoice.paid")));
    assert_eq!(after["/events/evt_d?payload=false"].1["payload_state"], "erased");
    let refused = |path: &str| (after[path].0, after[path].1["code"].as_str().unwrap_or_default().to_owned());
    for path in [
        "/events/evt_d".to_owned(),
        format!("/request_attempts/{attempt}/request"),
        format!("/responses/{attempt}"),
        "/events/evt_d/replay".to_owned(),
        format!("/request_attempts/{attempt}/retry"),
    ] {
        assert_eq!(refused(&path), (404, "erased".to_owned()), "{path}");
    }
    for path in ["/events/evt_d/explain", "/dead_letters"] {
        assert_eq!(after[path].0, 200, "what became of it stays: {path}");
    }
    let other = api.get(&tenant.token, "/events/evt_a?payload=false").await.1;
    assert_eq!((&other["labels"]["color"], &other["payload_state"]), (&value!("red"), &value!("expired")));
    assert_eq!(api.delete(&tenant.token, "/events/evt_d").await, 204, "once more changes nothing");
    assert_eq!(api.delete(&tenant.token, "/events/evt_nope").await, 404);
}

#[tokio::test]
async fn a_dry_run_erases_nothing() {
    let (api, tenant, _) = written().await;
    assert_eq!(api.delete(&tenant.token, "/events/evt_a?dry_run=true").await, 204);
    assert_eq!(api.get(&tenant.token, "/events/evt_a?payload=false").await.1["labels"]["color"], "red");
}

#[tokio::test]
async fn while_a_log_is_made_nobody_can_say_that_an_older_event_was_not_erased() {
    let (api, tenant, _) = written().await;
    let noon = 1_795_953_600_000;
    api.app.log().filled(Some(noon + 2_000), 0);
    let of = async |event: &str| {
        let (status, problem) = api.get(&tenant.token, &format!("/events/{event}")).await;
        (status, problem["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(of("evt_b").await, (503, "log_behind".to_owned()));
    assert_eq!(of("evt_c").await, (404, "expired".to_owned()), "its day is whole");
    api.app.log().filled(None, 0);
    assert_eq!(of("evt_b").await, (404, "expired".to_owned()));
}

#[tokio::test]
async fn an_application_says_for_how_long_its_log_is_kept() {
    let (api, tenant, _) = written().await;
    let path = format!("/applications/{}", tenant.id);
    let shown = async || api.get(ADMIN, &path).await.1;
    let before = shown().await;
    assert_eq!(
        (&before["log_retention_days"], &before["quotas"]["days_of_events_retention_limit"]),
        (&Value::Null, &value!(i32::MAX))
    );
    for bad in [value!(0), value!(3_651), value!("7"), value!(1.5)] {
        assert_eq!(api.patch(&tenant.token, &path, value!({ "log_retention_days": bad })).await.0, 422);
    }
    let (status, _) = api.patch(&tenant.token, &path, value!({"log_retention_days": 3_650})).await;
    assert_eq!(status, 200);
    assert_eq!(shown().await["quotas"]["days_of_events_retention_limit"], 3_650);
    let count = async || api.get(&tenant.token, "/events").await.1.as_array().map(Vec::len);
    assert_eq!(count().await, Some(4));
    let (_, renamed) = api.put(&tenant.token, &path, value!({"name": "renamed"})).await;
    assert_eq!(renamed["log_retention_days"], 3_650, "what is not given keeps its value");
    let (_, cleared) = api.patch(&tenant.token, &path, value!({"log_retention_days": null})).await;
    assert_eq!(cleared.get("log_retention_days"), None);
}

#[tokio::test]
async fn an_application_says_how_long_an_id_is_a_repeat_up_to_what_the_installation_remembers() {
    let (api, tenant, _) = written().await;
    let path = format!("/applications/{}", tenant.id);
    assert_eq!(api.get(ADMIN, &path).await.1.get("dedup_window_ms"), None);
    // The test's installation remembers for a day.
    for bad in [value!(-1), value!(86_400_001), value!(2_592_000_001_u64), value!("1"), value!(0.5)] {
        let (status, problem) = api.patch(&tenant.token, &path, value!({ "dedup_window_ms": bad })).await;
        assert_eq!((status, problem["validation"]["dedup_window_ms"].is_array()), (422, true), "{problem}");
    }
    let more = value!({"name": "n", "dedup_window_ms": 86_400_001});
    assert_eq!(api.post(ADMIN, "/applications", more).await.0, 422, "nor as it is made");
    for good in [0, 86_400_000] {
        let (status, shown) = api.patch(&tenant.token, &path, value!({ "dedup_window_ms": good })).await;
        assert_eq!((status, &shown["dedup_window_ms"]), (200, &value!(good)));
    }
    let (_, renamed) = api.put(&tenant.token, &path, value!({"name": "renamed"})).await;
    assert_eq!(renamed["dedup_window_ms"], 86_400_000, "what is not given keeps its value");
    let (_, cleared) = api.patch(&tenant.token, &path, value!({"dedup_window_ms": null})).await;
    assert_eq!(cleared.get("dedup_window_ms"), None);
}

#[tokio::test]
async fn a_log_that_is_made_again_is_empty_and_says_so() {
    let (api, tenant, _) = written().await;
    let (status, dry) = api.call(ADMIN, Method::DELETE, "/log?dry_run=true", None).await;
    assert_eq!((status, dry["days"].as_array().map(Vec::len)), (202, Some(1)), "{dry}");
    assert_eq!((&dry["whole_from"], &dry["days_left"]), (&Value::Null, &value!(0)));
    let (status, shown) = api.call(ADMIN, Method::DELETE, "/log", None).await;
    assert_eq!((status, &shown["days"]), (202, &value!([])), "{shown}");
    api.app.log().filled(Some(1_795_953_600_000), 0);
    let (_, shown) = api.get(ADMIN, "/log").await;
    assert_eq!(shown["whole_from"], "2026-11-29T12:00:00Z");
    assert_eq!(api.delete(&tenant.token, "/log").await, 403);
}
