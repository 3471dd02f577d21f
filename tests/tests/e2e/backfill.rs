//! A subscription that comes late gets the past: every event once, those that came while it was made too, whoever dies in the middle.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use testkit::Expect;
use testkit::pipeline::{Event, Pipeline, Role, Setup, Subscription, report};
use testkit::wait::eventually;

/// Events of before.
const PAST: u32 = 400;
const LONG: Duration = Duration::from_secs(180);

/// What a control plane answers, once it answers so.
async fn told(pipeline: &Pipeline, control: usize, path: &str, is_so: impl Fn(&Value) -> bool + Send + Sync) -> Value {
    eventually(path, LONG, || async {
        let answer = pipeline.manage(control, Method::GET, path, None).await.ok()?;
        (answer.status == 200).then(|| answer.json().ok()).flatten().filter(|value| is_so(value))
    })
    .await
    .unwrap()
}

fn counted(job: &Value, name: &str) -> u64 {
    job["counts"][name].as_u64().unwrap_or(0)
}

/// Asks for all of the past. The path of the job.
async fn ask(pipeline: &Pipeline, subscription: &Subscription) -> String {
    let path = format!("/subscriptions/{}/backfill", subscription.id);
    let body = json!({ "from": "earliest", "rate_per_second": 100 });
    let job = pipeline.managed(Method::POST, &path, Some(&body), 202).await.unwrap();
    format!("/jobs/{}", job["job_id"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_made_under_traffic_gets_every_event_once_while_its_runners_are_killed() {
    let mut pipeline = Setup::new("backfill").roles(Role::Control, 2).start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let past: Vec<Event> = (0..PAST).map(|number| Event::new(format!("past-{number}"), "a.b")).collect();
    pipeline.publish(&application, &past).await.unwrap();
    let load = pipeline.load(&application, "a.b", 50);
    // The fan-out is in the middle of it when the subscription comes.
    let fanout = pipeline.roles().process(Role::Fanout, 1).unwrap();
    let is_busy = || async {
        let accepted = fanout.metric("hookbus_fanout_accepted_total").await.ok()?;
        (accepted >= f64::from(PAST + 20)).then_some(())
    };
    eventually("the fan-out has accepted the past, and goes on", LONG, is_busy).await.unwrap();
    let subscription = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    let job = ask(&pipeline, &subscription).await;
    for (kill, written) in [(1, 60), (2, 220)] {
        told(&pipeline, 3 - kill, &job, |job| counted(job, "written") >= written || !job["ended_at"].is_null()).await;
        pipeline.roles().kill(Role::Control, kill).await.unwrap();
        pipeline.roles().start(Role::Control, kill).await.unwrap();
    }
    let ended = told(&pipeline, 1, &job, |job| !job["ended_at"].is_null()).await;
    assert_eq!((&ended["state"], &ended["percent"]), (&json!("done"), &json!(100)), "{ended}");
    let sent = load.stop().await.unwrap().accepted;

    let count = u64::from(PAST) + sent;
    let seen = pipeline.endpoint().wait_for(&subscription.path, count, LONG).await.unwrap();
    let ids: BTreeSet<&str> = seen.iter().filter_map(|seen| seen.header("x-event-id")).collect();
    assert_eq!((seen.len() as u64, ids.len() as u64), (count, count), "each once");
    let late = seen.iter().filter(|seen| seen.header("x-hookbus-backfill") == Some("true")).count() as u64;
    assert_eq!(late, counted(&ended, "written"));
    assert!(late > u64::from(PAST), "{ended}");
    assert!(seen.iter().all(|seen| seen.header("x-hookbus-replay").is_none()));

    // What it has got is known, however it came.
    let again = ask(&pipeline, &subscription).await;
    let again = told(&pipeline, 2, &again, |job| !job["ended_at"].is_null()).await;
    let existing = again["counts"]["skipped"]["existing"].as_u64();
    assert_eq!((&again["state"], counted(&again, "written")), (&json!("done"), 0), "{again}");
    assert!(existing >= Some(count), "{again}");
    report(&format!("backfill: {late} of {count} events came late, 2 kills of control planes, each arrived once"));
    pipeline.finish(Expect::default()).await.unwrap();
}
