//! `hookbus acls` against a Kafka that refuses everything else: each role with its own user and exactly the printed permissions.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use testkit::Expect;
use testkit::pipeline::{Event, Pipeline, Role, Setup, console};
use testkit::strict::{self, Unsaid, user};
use testkit::wait::eventually;
use tokio::process::Command;

/// The operator is no role, but a user.
const USERS: [&str; 6] = ["control", "gateway", "fanout", "delivery", "retry", "operator"];
/// Two dozen Java programs, one after another.
const GRANTED_WITHIN: Duration = Duration::from_secs(300);

async fn grant(pipeline: &Pipeline) {
    let output = pipeline.command(&["acls", "--principal", "User:{role}"]).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let admin = pipeline.folder().join("admin.properties");
    std::fs::write(&admin, "").unwrap();
    let commands = pipeline.folder().join("acls.sh");
    std::fs::write(&commands, &output.stdout).unwrap();
    let shell = Command::new("sh")
        .arg(&commands)
        .env("KAFKA_ACLS", console::acls_script(pipeline.folder()).await.unwrap())
        .env("ADMIN", &admin)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(GRANTED_WITHIN, shell).await.unwrap().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{text}");
}

async fn as_user(pipeline: &Pipeline, brokers: &str, name: &str, arguments: &[&str]) -> (bool, String) {
    let variables = user(name, brokers);
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let output = pipeline.command_with(&variables, arguments).await.unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (output.status.success(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn every_role_works_with_exactly_the_permissions_that_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, brokers) = strict::start(folder.path(), &USERS, Unsaid::Refused).await.unwrap();
    let mut setup = Setup::new("acls").on(broker.bootstrap());
    for role in Role::ALL {
        setup = setup.environment(role, user(role.command(), &brokers));
    }
    let mut pipeline = setup.topics_only().await.unwrap();
    let (may, text) = as_user(&pipeline, &brokers, "operator", &["topics", "plan"]).await;
    assert!(!may || text.contains("+ "), "nothing is granted yet: {text}");
    grant(&pipeline).await;
    pipeline.roles().start_all().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let recovers = pipeline.subscribe(&application, &["a.b"], json!({ "retry": "quick" })).await.unwrap();
    pipeline.endpoint().script(&recovers.path, "500x2 204").unwrap();
    let dies = pipeline.subscribe(&application, &["a.b"], json!({ "retry": [] })).await.unwrap();
    pipeline.endpoint().script(&dies.path, "410").unwrap();
    let client = pipeline.client();
    assert_eq!(client.send(1, &application, &Event::new("evt_1", "a.b")).await.unwrap().status, 201);
    pipeline.settled(Duration::from_secs(60)).await.unwrap();

    let (may, text) = as_user(&pipeline, &brokers, "operator", &["topics", "ensure"]).await;
    assert!(may, "{text}");
    let (may, text) = as_user(&pipeline, &brokers, "operator", &["audit"]).await;
    assert!(may && text.contains("subscription.create"), "{text}");
    let (may, text) = as_user(&pipeline, &brokers, "delivery", &["audit"]).await;
    assert!(!may, "delivery workers read no audit: {text}");
    let (pipeline_, operator) = (&pipeline, &brokers);
    let shown = eventually("every role may say how it is doing", Duration::from_secs(60), || async move {
        let (may, text) = as_user(pipeline_, operator, "operator", &["status"]).await;
        let told = ["gateway", "fanout", "delivery", "retry"].iter().all(|role| text.contains(&format!("\n{role} ")));
        (may && told).then_some(text)
    });
    shown.await.unwrap();
    let (may, text) = as_user(&pipeline, &brokers, "operator", &["offsets", "show"]).await;
    assert!(may && text.contains("1 live member"), "{text}");
    pipeline.roles().stop(Role::Delivery, 1).await.unwrap();
    let (may, text) = as_user(&pipeline, &brokers, "operator", &["lanes", "release", "--yes"]).await;
    assert!(may && text.contains("released: the lists are empty"), "{text}");
    pipeline.roles().stop(Role::Retry, 1).await.unwrap();
    let retry = ["offsets", "set", "retry", "--topic", "retry.10m", "--partition", "0", "--to", "end", "--yes"];
    let (may, text) = as_user(&pipeline, &brokers, "operator", &retry).await;
    assert!(may && text.contains("1 offset set"), "{text}");
    pipeline.finish(Expect { dead: 1, ..Expect::default() }).await.unwrap();
    broker.kill().await.unwrap();
}

/// Adds or removes a refusal of everything that a gateway's producer needs to begin.
async fn refuse_producers(pipeline: &Pipeline, bootstrap: &str, change: &str) {
    let script = console::acls_script(pipeline.folder()).await.unwrap();
    for resource in [&["--operation", "Write", "--topic", "*"][..], &["--operation", "IdempotentWrite", "--cluster"]] {
        let acls = Command::new(&script)
            .args(["--bootstrap-server", bootstrap, change, "--deny-principal", "User:gateway", "--force"])
            .args(resource)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(GRANTED_WITHIN, acls).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_gateway_whose_producer_was_refused_takes_events_once_it_is_granted() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, brokers) = strict::start(folder.path(), &USERS, Unsaid::Refused).await.unwrap();
    let mut setup = Setup::new("refused").on(broker.bootstrap());
    for role in Role::ALL {
        setup = setup.environment(role, user(role.command(), &brokers));
    }
    let mut pipeline = setup.topics_only().await.unwrap();
    grant(&pipeline).await;
    refuse_producers(&pipeline, &broker.bootstrap(), "--add").await;
    for role in Role::ALL {
        pipeline.roles().launch(role, 1).await.unwrap();
    }
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Gateway) {
        pipeline.roles().ready(role, 1).await.unwrap();
    }
    let gateway = &*pipeline.roles().process(Role::Gateway, 1).unwrap();
    let replaced = eventually("a new producer, in vain", Duration::from_secs(60), || async move {
        gateway.metric("hookbus_gateway_producers_replaced_total").await.ok().filter(|replaced| *replaced >= 1.0)
    });
    replaced.await.unwrap();
    refuse_producers(&pipeline, &broker.bootstrap(), "--remove").await;
    pipeline.roles().ready(Role::Gateway, 1).await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    let client = pipeline.client();
    assert_eq!(client.send(1, &application, &Event::new("evt_1", "a.b")).await.unwrap().status, 201);
    pipeline.settled(Duration::from_secs(60)).await.unwrap();
    pipeline.finish(Expect::default()).await.unwrap();
    broker.kill().await.unwrap();
}
