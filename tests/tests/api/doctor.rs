//! `hookbus doctor` against set-ups with one fault each: the right code comes first, and where nothing is wrong none comes.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::clock;
use schemas::record::{Headers, OutRecord};
use schemas::status::Status;
use serde_json::{Value, json};
use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::pipeline::{Pipeline, Role, Setup, console};
use testkit::strict::{self, Unsaid, user};
use tokio::process::Command;

/// Wrong usage, as `sysexits.h` numbers it.
const USAGE: i32 = 64;

/// What it said.
struct Said {
    exit: i32,
    /// Of what is wrong, in order.
    codes: Vec<String>,
    text: String,
}

async fn doctor(pipeline: &Pipeline, environment: &[(&str, &str)], arguments: &[&str]) -> Said {
    let arguments = [&["doctor", "--output", "json"], arguments].concat();
    let output = pipeline.command_with(environment, &arguments).await.unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    let rows: Vec<Value> = serde_json::from_str(&stdout).unwrap_or_default();
    let wrong = rows.iter().filter(|row| row["state"] == "wrong");
    let codes = wrong.map(|row| row["code"].as_str().unwrap().to_owned()).collect();
    Said { exit: output.status.code().unwrap(), codes, text: format!("{stdout}{stderr}") }
}

/// The first code of a set-up with these variables, which is also explained.
async fn first(pipeline: &Pipeline, environment: &[(&str, &str)], arguments: &[&str]) -> String {
    let Said { exit, codes, text } = doctor(pipeline, environment, arguments).await;
    assert_eq!(exit, 1, "{text}");
    let first = codes.first().unwrap_or_else(|| panic!("nothing is wrong: {text}")).clone();
    let explained = pipeline.command(&["explain", &first]).await.unwrap();
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert!(explained.starts_with(&first) && explained.contains("**"), "{first}: {explained}");
    first
}

async fn is_well(pipeline: &Pipeline, environment: &[(&str, &str)], arguments: &[&str]) {
    let said = doctor(pipeline, environment, arguments).await;
    assert_eq!((said.exit, said.codes), (0, Vec::new()), "{arguments:?}: {}", said.text);
}

async fn write(pipeline: &Pipeline, topic: &Arc<str>, key: Option<String>, value: String) {
    let (key, value) = (key.map(Bytes::from), Some(Bytes::from(value)));
    let record = OutRecord { topic: Arc::clone(topic), partition: Some(0), key, value, headers: Headers::default() };
    pipeline.produce(&record).await.unwrap();
}

async fn says(pipeline: &Pipeline, instance: &str, at_ms: i64, version: &str) {
    let status = Status { version: Some(version.to_owned()), ..Status::new("fanout", instance, at_ms) };
    let value = String::from_utf8(status.encode().unwrap()).unwrap();
    write(pipeline, &pipeline.topics().status, Some(Status::key("fanout", instance)), value).await;
}

/// The code that is named first, the environment that is wrong, and arguments.
type ConfiguredFault = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_the_configuration_is_named_first_and_none_where_there_is_none() {
    let pipeline = Setup::new("doctor").topics_only().await.unwrap();
    is_well(&pipeline, &[], &[]).await;
    is_well(&pipeline, &[], &["--role", "retry", "--target", "http://127.0.0.1:9/"]).await;
    is_well(&pipeline, &[("HOOKBUS__TOPICS__PREFIX", "not-yet.")], &["--for-topics"]).await;
    let faults: [ConfiguredFault; 8] = [
        ("HB-003", &[("HOOKBUS__SECURITY__LOOKUP_KEY", "short")], &[]),
        ("HB-010", &[("HOOKBUS__KAFKA__BROKERS", "no-such-broker.invalid:9092")], &[]),
        ("HB-011", &[("HOOKBUS__KAFKA__BROKERS", "127.0.0.1:1")], &[]),
        ("HB-015", &[("HOOKBUS__TOPICS__PREFIX", "nowhere.")], &[]),
        ("HB-016", &[("HOOKBUS__TOPICS__PARTITIONS__EVENTS", "3")], &[]),
        ("HB-016", &[("HOOKBUS__TOPICS__PARTITIONS__EVENTS", "3")], &["--for-topics"]),
        ("HB-017", &[("HOOKBUS__TOPICS__REPLICATION_FACTOR", "3")], &[]),
        ("HB-037", &[], &["--target", "https://10.0.0.1/hooks"]),
    ];
    for (code, environment, arguments) in faults {
        assert_eq!(first(&pipeline, environment, arguments).await, code, "{environment:?} {arguments:?}");
    }
    let unusable =
        [("HB-001", "HOOKBUS__KAFKA__SESSION_TIMEOUT_MS", "soon"), ("HB-005", "HOOKBUS__KAFKA__PROPERTIES__ACKS", "1")];
    for (code, name, value) in unusable {
        let said = doctor(&pipeline, &[(name, value)], &[]).await;
        assert!(said.exit == USAGE && said.text.contains(code), "{name}: {} {}", said.exit, said.text);
    }
    pipeline.finish(Expect::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_what_is_in_kafka_is_named_first() {
    let pipeline = Setup::new("doctors").topics_only().await.unwrap();
    let (topics, now_ms) = (pipeline.topics().clone(), clock::now_ms());
    says(&pipeline, "1", now_ms, "0.1.0").await;
    is_well(&pipeline, &[], &[]).await;
    says(&pipeline, "2", now_ms, "0.2.0").await;
    assert_eq!(first(&pipeline, &[], &[]).await, "HB-034", "two versions");
    says(&pipeline, "2", now_ms - 600_000, "0.2.0").await;
    assert_eq!(first(&pipeline, &[], &[]).await, "HB-035", "one has fallen silent");
    let sealed = json!({ "kid": "gone", "nonce": "AAAAAAAAAAAAAAAA", "ct": "AAAA" });
    let subscription = json!({ "secrets": [{ "sealed": sealed }] }).to_string();
    write(&pipeline, &topics.control, Some("subscription/a/b".to_owned()), subscription).await;
    assert_eq!(first(&pipeline, &[], &[]).await, "HB-025", "a key is gone");
    write(&pipeline, &topics.events, None, "no event".to_owned()).await;
    let shown = pipeline.command(&["offsets", "show", "fanout", "--output", "json"]).await.unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&shown.stdout).unwrap();
    let brokers = SharedKafka::of_this_run().unwrap().bootstrap;
    console::delete_group(&brokers, rows[0]["group"].as_str().unwrap()).await.unwrap();
    assert_eq!(first(&pipeline, &[], &[]).await, "HB-020", "the group is gone");
    console::configure_topic(&brokers, &topics.rejected, "retention.ms=3600000").await.unwrap();
    assert_eq!(first(&pipeline, &[], &[]).await, "HB-016", "what comes first is told first");
    // The ledger has nothing to say of what was written here.
    pipeline.verdict(Expect::default(), Duration::from_secs(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn each_fault_of_a_login_or_a_right_is_named_first() {
    let folder = tempfile::tempdir().unwrap();
    let users = ["control", "gateway", "fanout", "delivery", "retry", "operator"];
    let (broker, brokers) = strict::start(folder.path(), &users, Unsaid::Refused).await.unwrap();
    let pipeline = Setup::new("doctored").on(broker.bootstrap()).topics_only().await.unwrap();
    let environment = |name: &str| user(name, &brokers);
    let as_user = async |name: &str, change: &[(&str, &str)], arguments: &[&str]| {
        let own = environment(name);
        let own = own.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let all: Vec<(&str, &str)> = own.chain(change.iter().copied()).collect();
        doctor(&pipeline, &all, arguments).await
    };
    let password = [("HOOKBUS__KAFKA__PROPERTIES__SASL_PASSWORD", "wrong")];
    let said = as_user("delivery", &password, &[]).await;
    assert_eq!(said.codes.first().map(String::as_str), Some("HB-013"), "{}", said.text);
    let plain = [("HOOKBUS__KAFKA__PROPERTIES__SECURITY_PROTOCOL", "PLAINTEXT")];
    let said = as_user("delivery", &plain, &[]).await;
    assert_eq!(said.codes.first().map(String::as_str), Some("HB-018"), "{}", said.text);
    let said = as_user("delivery", &[], &["--role", "delivery"]).await;
    assert_eq!(said.codes.first().map(String::as_str), Some("HB-014"), "{}", said.text);

    let output = pipeline.command(&["acls", "--principal", "User:{role}"]).await.unwrap();
    let (admin, commands) = (folder.path().join("admin.properties"), folder.path().join("acls.sh"));
    std::fs::write(&admin, "").unwrap();
    std::fs::write(&commands, &output.stdout).unwrap();
    let shell = Command::new("sh")
        .arg(&commands)
        .env("KAFKA_ACLS", console::acls_script(folder.path()).await.unwrap())
        .env("ADMIN", &admin)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(300), shell).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A role's own principal may not look at everything that the operator may; that is no fault. Descriptors are the host's.
    for role in Role::ALL {
        let mut said = as_user(role.command(), &[], &["--role", role.command()]).await;
        said.codes.retain(|code| code != "HB-036");
        assert_eq!(said.codes, [""; 0], "{}: {}", role.command(), said.text);
    }
    let said = as_user("operator", &[], &[]).await;
    assert_eq!((said.exit, said.codes), (0, Vec::new()), "{}", said.text);
    let said = as_user("gateway", &[], &["--role", "fanout"]).await;
    assert!(said.codes.iter().any(|code| code == "HB-014"), "a gateway is no fan-out: {}", said.text);
    pipeline.finish(Expect::default()).await.unwrap();
    broker.kill().await.unwrap();
}
