//! How a subscription is doing and what waits for its retry, as the API and the command line tell it over a whole pipeline.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use testkit::Expect;
use testkit::pipeline::{ADMIN_KEY, Event, Pipeline, Role, Subscription};
use testkit::wait::eventually;

const SOON: Duration = Duration::from_secs(60);

async fn health(pipeline: &Pipeline, of: &Subscription) -> Value {
    pipeline.managed(Method::GET, &format!("/subscriptions/{}/health", of.id), None, 200).await.unwrap()
}

/// A command that must succeed; what it prints.
async fn printed(pipeline: &Pipeline, url: &str, arguments: &[&str]) -> String {
    let environment = [("HOOKBUS_URL", url), ("HOOKBUS_TOKEN", ADMIN_KEY)];
    let output = pipeline.command_with(&environment, arguments).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_paused_subscription_is_told_until_its_worker_leaves() {
    let mut pipeline = Pipeline::start("lane-health").await.unwrap();
    let url = pipeline.roles().urls(Role::Control).swap_remove(0);
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let paused = pipeline.subscribe(&application, &["a.b"], json!({ "is_paused": true })).await.unwrap();
    let works = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    for number in 0..3 {
        let event = Event::new(format!("evt_{number}"), "a.b");
        assert_eq!(pipeline.client().send(1, &application, &event).await.unwrap().status, 201);
    }
    pipeline.endpoint().wait_for(&works.path, 3, SOON).await.unwrap();
    let waits = eventually("three wait", SOON, || async {
        Some(health(&pipeline, &paused).await).filter(|it| it["waiting"] == 3)
    })
    .await
    .unwrap();
    assert_eq!(
        (&waits["circuit"], &waits["in_flight"], &waits["is_paused"]),
        (&json!("closed"), &json!(0), &json!(true))
    );
    assert!(waits["as_of"].is_string() && waits["backlog_age_ms"].is_i64(), "{waits}");
    let went = eventually("three went", SOON, || async {
        Some(health(&pipeline, &works).await).filter(|it| it["window"]["attempts"] == 3)
    })
    .await
    .unwrap();
    assert_eq!((&went["window"]["success_rate"], &went["waiting"]), (&json!(1.0), &json!(0)), "{went}");
    assert!(went["last_success_at"].is_string() && went["failing_since"].is_null(), "{went}");

    let shown = printed(&pipeline, &url, &["subscription", "health", &paused.id.to_string()]).await;
    let waiting = shown.lines().find(|line| line.starts_with("waiting")).unwrap_or_default();
    assert!(waiting.ends_with(" 3") && shown.contains("closed"), "{shown}");

    pipeline.roles().stop(Role::Delivery, 1).await.unwrap();
    let left = eventually("nobody tells", SOON, || async {
        Some(health(&pipeline, &paused).await).filter(|it| it["as_of"].is_null())
    })
    .await
    .unwrap();
    assert_eq!(
        (&left["circuit"], &left["in_flight"], &left["waiting"]),
        (&json!("unknown"), &Value::Null, &Value::Null)
    );
    let shown = printed(&pipeline, &url, &["subscription", "health", &paused.id.to_string()]).await;
    assert!(shown.lines().any(|line| line.starts_with("in flight ") && line.ends_with("unknown")), "{shown}");
    pipeline.finish(Expect { waiting: 3, ..Expect::default() }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_retry_is_told_with_its_time() {
    let mut pipeline = Pipeline::start("retries").await.unwrap();
    let url = pipeline.roles().urls(Role::Control).swap_remove(0);
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let fails = pipeline.subscribe(&application, &["a.b"], json!({ "retry": ["20s"] })).await.unwrap();
    pipeline.endpoint().script(&fails.path, "500 204").unwrap();
    let before = kafka::clock::now_ms();
    assert_eq!(pipeline.client().send(1, &application, &Event::new("evt_1", "a.b")).await.unwrap().status, 201);
    pipeline.endpoint().wait_for(&fails.path, 1, SOON).await.unwrap();
    let row = eventually("it waits", SOON, || async {
        let rows: Value =
            serde_json::from_str(&printed(&pipeline, &url, &["retries", "--output", "json"]).await).unwrap();
        rows.as_array()?.iter().find(|row| row["waiting"] == 1).cloned()
    })
    .await
    .unwrap();
    assert_eq!(
        (&row["tier"], &row["delay_ms"], &row["is_at_most"]),
        (&json!("20s"), &json!(20_000), &json!(false)),
        "{row}"
    );
    let next_ms = row["next_ms"].as_i64().unwrap();
    assert!(next_ms >= before + 20_000, "{next_ms} is before {before} and the wait");
    let shown = printed(&pipeline, &url, &["retries"]).await;
    assert!(shown.starts_with("TIER") && shown.lines().any(|line| line.starts_with("20s")), "{shown}");
    assert!(!shown.contains("NO RETRY SCHEDULER"), "{shown}");
    pipeline.endpoint().wait_for(&fails.path, 2, SOON).await.unwrap();
    pipeline.roles().stop(Role::Retry, 1).await.unwrap();
    let shown = printed(&pipeline, &url, &["retries"]).await;
    assert!(shown.contains("NO RETRY SCHEDULER RUNS"), "{shown}");
    let output = pipeline.command_with(&[("HOOKBUS__KAFKA__BROKERS", "127.0.0.1:1")], &["retries"]).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("Kafka at 127.0.0.1:1"), "{said}");
    pipeline.finish(Expect::default()).await.unwrap();
}
