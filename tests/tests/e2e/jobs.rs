//! Sending again to an endpoint that hangs: so much is under way and no more, nobody else is held up, and cancelling ends it.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use testkit::Expect;
use testkit::pipeline::{Event, Pipeline, Setup};
use testkit::wait::eventually;

const SOON: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(180);
/// What a job may have under way of one subscription.
const BOUND: usize = 500;
/// Requests to an endpoint that has not answered yet.
const IN_FLIGHT: u64 = 4;

async fn told(pipeline: &Pipeline, path: &str, is_so: impl Fn(&Value) -> bool + Send + Sync) -> Value {
    eventually(path, LONG, || async {
        let answer = pipeline.manage(1, Method::GET, path, None).await.ok()?;
        (answer.status == 200).then(|| answer.json().ok()).flatten().filter(|value| is_so(value))
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_to_an_endpoint_that_hangs_is_bounded_and_what_is_queued_of_it_ends_with_it() {
    const EVENTS: usize = 560;
    let mut pipeline = Setup::new("bounded").start().await.unwrap();
    let application = pipeline.application(&["a.b", "c.d"]).await.unwrap();
    let works = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    let event = |number: usize| Event::new(format!("evt_{number}"), "a.b");
    pipeline.publish(&application, &(0..EVENTS).map(event).collect::<Vec<_>>()).await.unwrap();
    let count = u64::try_from(EVENTS).unwrap();
    pipeline.endpoint().wait_for(&works.path, count, SOON).await.unwrap();
    let hangs = pipeline.subscribe(&application, &["c.d"], json!({})).await.unwrap();
    pipeline.endpoint().script(&hangs.path, "hang").unwrap();
    let events = format!("/events?limit=1&application_id={}", application.id);
    told(&pipeline, &events, |rows| rows.as_array().is_some_and(|rows| !rows.is_empty())).await;
    let body = json!({
        "application_id": application.id, "filter": { "from": "2020-01-01T00:00:00Z" },
        "to": { "subscription_id": hangs.id }, "rate_per_second": 125,
    });
    let job = pipeline.job("/replays", &body).await.unwrap();
    let path = format!("/jobs/{}", job["job_id"].as_str().unwrap());
    let waits = told(&pipeline, &path, |job| job["state"] == "waiting").await;
    let why = format!("{BOUND} of its deliveries to subscription {} are under way: it goes on as they end", hangs.id);
    assert_eq!((&waits["waiting_for"], &waits["counts"]["written"]), (&json!(why), &json!(BOUND)), "{waits}");
    pipeline.publish(&application, &(EVENTS..EVENTS + 50).map(event).collect::<Vec<_>>()).await.unwrap();
    pipeline.endpoint().wait_for(&works.path, count + 50, SOON).await.unwrap();

    pipeline.managed(Method::POST, &format!("{path}/cancel"), Some(&json!({})), 200).await.unwrap();
    told(&pipeline, &path, |job| job["state"] == "cancelled" && !job["ended_at"].is_null()).await;
    let before = pipeline.endpoint().count(&hangs.path);
    pipeline.endpoint().script(&hangs.path, "204").unwrap();
    let outcome = {
        pipeline.settled(LONG).await.unwrap();
        let after = pipeline.endpoint().count(&hangs.path);
        assert!(after - before <= IN_FLIGHT, "{before} requests before, {after} after it was cancelled");
        pipeline.finish_within(Expect { cancelled: None, ..Expect::default() }, LONG).await.unwrap()
    };
    let cancelled = outcome.audit.counts.cancelled;
    assert!(
        cancelled + usize::try_from(IN_FLIGHT).unwrap() >= BOUND && cancelled <= BOUND,
        "{cancelled} are cancelled"
    );
}
