//! What became of events, as the commands tell it out of the delivery log, over a whole pipeline.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::Expect;
use testkit::pipeline::{ADMIN_KEY, Event, Pipeline, Role, Setup};
use testkit::wait::eventually;

pub(crate) const SOON: Duration = Duration::from_secs(60);

/// What a command prints; `None`: it failed.
pub(crate) async fn printed(pipeline: &Pipeline, url: &str, arguments: &[&str]) -> Option<String> {
    let environment = [("HOOKBUS_URL", url), ("HOOKBUS_TOKEN", ADMIN_KEY)];
    let output = pipeline.command_with(&environment, arguments).await.unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

pub(crate) async fn told(pipeline: &Pipeline, url: &str, arguments: &[&str]) -> Option<Value> {
    let json = printed(pipeline, url, &[arguments, &["--output", "json"]].concat()).await?;
    Some(serde_json::from_str(&json).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_support_engineer_sees_what_was_sent_what_they_said_and_what_died() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new("logged").set("control.log.folder", folder.path().join("log").to_str().unwrap());
    let mut pipeline = setup.start().await.unwrap();
    let url = pipeline.roles().urls(Role::Control).swap_remove(0);
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let id = application.id.to_string();
    let works = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    let fails = pipeline.subscribe(&application, &["a.b"], json!({ "retry": "quick" })).await.unwrap();
    pipeline.endpoint().script(&fails.path, "503+text=no").unwrap();
    assert_eq!(pipeline.client().send(1, &application, &Event::new("evt_1", "a.b")).await.unwrap().status, 201);
    pipeline.endpoint().wait_for(&works.path, 1, SOON).await.unwrap();
    pipeline.endpoint().wait_for(&fails.path, 4, SOON).await.unwrap();

    let of = ["--application", id.as_str()];
    let dead = eventually("its death is in the log", SOON, || async {
        let rows = told(&pipeline, &url, &[&["deadletters", "list"], &of[..]].concat()).await?;
        rows.as_array().filter(|rows| rows.len() == 1).map(|rows| rows[0].clone())
    })
    .await
    .unwrap();
    assert_eq!(
        (&dead["reason"], &dead["attempts"], &dead["last_status"]),
        (&json!("schedule"), &json!(4), &json!(503))
    );
    let letter = dead["dead_letter_id"].as_str().unwrap();
    let tried = told(&pipeline, &url, &[&["deadletters", "show", letter], &of[..]].concat()).await.unwrap();
    assert_eq!(tried.as_array().unwrap().len(), 4, "{tried}");

    let show = printed(&pipeline, &url, &[&["event", "show", "evt_1"], &of[..]].concat()).await.unwrap();
    assert!(show.contains("evt_1") && show.contains("dead_lettered") && show.contains("delivered"), "{show}");
    let events = told(&pipeline, &url, &[&["event", "list"], &of[..]].concat()).await.unwrap();
    assert_eq!((events.as_array().unwrap().len(), &events[0]["matched"]), (1, &json!(2)), "{events}");
    let listed = [&["attempts", "--status", "failed", "--since", "1h"], &of[..]].concat();
    let attempts = told(&pipeline, &url, &listed).await.unwrap();
    assert_eq!(attempts.as_array().unwrap().len(), 4, "{attempts}");
    let attempt = attempts[0]["request_attempt_id"].as_str().unwrap();
    let one = told(&pipeline, &url, &[&["attempt", "show", attempt], &of[..]].concat()).await.unwrap();
    assert_eq!(one["response"]["body"], "no", "{one}");
    assert!(one["request"]["url"].as_str().unwrap().ends_with(&fails.path), "{one}");
    assert_eq!((&one["request"]["method"], &one["request"]["payload"]["state"]), (&json!("POST"), &json!("available")));

    let status = told(&pipeline, &url, &["log", "status"]).await.unwrap();
    assert_eq!((&status["days"][0]["whole"], &status["lost_records"]), (&json!(true), &json!(0)), "{status}");
    assert_eq!(told(&pipeline, &url, &["attempts", "--application", "nobody"]).await, None);
    pipeline.finish(Expect { dead: 1, ..Expect::default() }).await.unwrap();
}
