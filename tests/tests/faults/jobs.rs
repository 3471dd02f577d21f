//! Sending again, end to end: once each, whoever dies in the middle, and whatever the subscription's state.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use testkit::Expect;
use testkit::pipeline::{Application, Pipeline, Role, Setup, Subscription, report};
use testkit::wait::eventually;

use crate::scenes::{SOON, send};

/// Dead letters that are sent again.
const DEAD: usize = 240;
const LONG: Duration = Duration::from_secs(180);

fn names(from: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{from}-{number}"))
}

/// An application with a subscription whose deliveries die at their first failure.
async fn dying(setup: Setup) -> (Pipeline, Application, Subscription) {
    let mut pipeline = setup.start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let subscription = pipeline.subscribe(&application, &["a.b"], json!({ "retry": [] })).await.unwrap();
    (pipeline, application, subscription)
}

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
    job["counts"][name].as_u64().unwrap()
}

/// Two control planes; the one that runs the job is killed while it does, twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_sent_again_once_each_while_their_runner_is_killed() {
    let (mut pipeline, application, subscription) = dying(Setup::new("redrive").roles(Role::Control, 2)).await;
    pipeline.endpoint().script(&subscription.path, "500").unwrap();
    send(&pipeline, &application, names("dead", DEAD)).await;
    let count = u64::try_from(DEAD).unwrap();
    pipeline.endpoint().wait_for(&subscription.path, count, SOON).await.unwrap();
    pipeline.settled(LONG).await.unwrap();
    pipeline.endpoint().script(&subscription.path, "204").unwrap();
    let body = json!({ "application_id": application.id, "filter": {}, "rate_per_second": 40 });
    let job = pipeline.job("/dead_letters:redrive", &body).await.unwrap();
    let path = format!("/jobs/{}", job["job_id"].as_str().unwrap());
    for (kill, written) in [(1, count / 6), (2, count / 2)] {
        let other = 3 - kill;
        told(&pipeline, other, &path, |job| counted(job, "written") >= written).await;
        pipeline.roles().kill(Role::Control, kill).await.unwrap();
        pipeline.roles().start(Role::Control, kill).await.unwrap();
    }
    let job = told(&pipeline, 1, &path, |job| !job["ended_at"].is_null()).await;
    assert_eq!((&job["state"], counted(&job, "written")), (&json!("done"), count), "{job}");
    let seen = pipeline.endpoint().wait_for(&subscription.path, 2 * count, SOON).await.unwrap();
    let again = seen.iter().filter(|seen| seen.header("x-hookbus-replay") == Some("redrive")).count();
    assert_eq!((seen.len(), again), (2 * DEAD, DEAD));
    let open = format!("/dead_letters?application_id={}", application.id);
    told(&pipeline, 1, &open, |rows| rows.as_array().is_some_and(Vec::is_empty)).await;
    report(&format!("redrive: {DEAD} dead letters, 2 kills of a control plane, each arrived once more"));
    pipeline.finish_within(Expect { dead: DEAD, ..Expect::default() }, LONG).await.unwrap();
}

/// One try, whatever the schedule and the subscription's state; an event once more, to who matches it now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_is_one_try_and_a_replay_is_a_delivery() {
    let (mut pipeline, application, subscription) = dying(Setup::new("again")).await;
    pipeline.endpoint().script(&subscription.path, "500").unwrap();
    send(&pipeline, &application, names("evt", 1)).await;
    pipeline.endpoint().wait_for(&subscription.path, 1, SOON).await.unwrap();
    let attempts = format!("/request_attempts?application_id={}", application.id);
    let failed = told(&pipeline, 1, &attempts, |rows| rows[0]["status"]["type"] == "failed").await;
    let retry = format!("/request_attempts/{}/retry", failed[0]["request_attempt_id"].as_str().unwrap());
    let own = json!({ "application_id": application.id });
    // Paused, and its endpoint fails: it is tried all the same, once.
    pipeline.pause(&application, &subscription, true).await.unwrap();
    pipeline.job(&retry, &own).await.unwrap();
    let seen = pipeline.endpoint().wait_for(&subscription.path, 2, SOON).await.unwrap();
    assert_eq!((seen[1].header("x-hookbus-replay"), seen[1].attempt()), (Some("retry"), Some(1)));
    pipeline.settled(SOON).await.unwrap();
    let tried = told(&pipeline, 1, &attempts, |rows| rows[0]["made_by"] == "retry").await;
    assert_eq!((&tried[0]["status"]["type"], &tried[1]["made_by"]), (&json!("failed"), &Value::Null), "{tried}");
    pipeline.endpoint().script(&subscription.path, "204").unwrap();
    pipeline.pause(&application, &subscription, false).await.unwrap();
    pipeline.replay("evt-0", &own).await.unwrap();
    let named = json!({ "application_id": application.id, "subscription_id": subscription.id, "replay_id": "mine" });
    let first = pipeline.replay("evt-0", &named).await.unwrap();
    assert_eq!(pipeline.replay("evt-0", &named).await.unwrap(), first, "nothing more is sent");
    let seen = pipeline.endpoint().wait_for(&subscription.path, 4, SOON).await.unwrap();
    assert!(seen[2..].iter().all(|seen| seen.header("x-hookbus-replay") == Some("replay")));
    pipeline.settled(SOON).await.unwrap();
    assert_eq!(pipeline.endpoint().count(&subscription.path), 4);
    let dead = told(&pipeline, 1, &format!("/dead_letters?state=healed&application_id={}", application.id), |rows| {
        rows.as_array().is_some_and(|rows| rows.len() == 1)
    })
    .await;
    assert_eq!(dead[0]["state"], "healed", "it was delivered since");
    pipeline.finish(Expect { dead: 1, ..Expect::default() }).await.unwrap();
}
