//! `hookbus doctor` against set-ups with one fault each: the right code comes first, and where nothing is wrong none comes.

mod faults;
mod planted;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use testkit::pipeline::{Pipeline, Role, Setup, console};
use testkit::strict::{self, KindsOfListeners, Unsaid, user};
use testkit::{Expect, MovedClock};
use tokio::process::Command;

/// Wrong usage, as `sysexits.h` numbers it.
const USAGE: i32 = 64;
/// Most of a question's time is waiting for a broker that does not answer.
const AT_ONCE: usize = 6;

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

/// The first code of a set-up with these variables.
async fn first(pipeline: &Pipeline, environment: &[(&str, &str)], arguments: &[&str]) -> String {
    let Said { exit, codes, text } = doctor(pipeline, environment, arguments).await;
    if exit == USAGE {
        // Nothing was looked at: the message has the code.
        let at = text.find("HB-").unwrap_or_else(|| panic!("no code: {text}"));
        return text.get(at..).unwrap_or_default().chars().take(6).collect();
    }
    assert_eq!(exit, 1, "{text}");
    codes.first().unwrap_or_else(|| panic!("nothing is wrong: {text}")).clone()
}

async fn is_well(pipeline: &Pipeline, environment: &[(&str, &str)], arguments: &[&str]) {
    let said = doctor(pipeline, environment, arguments).await;
    assert_eq!((said.exit, said.codes), (0, Vec::new()), "{environment:?} {arguments:?}: {}", said.text);
}

/// Every fault by itself, on one Kafka that has nothing: first those of configuration, network, names, certificates, logins, rights
/// and host, several at once; then those that are planted in Kafka, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_named_first_and_none_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = KindsOfListeners::start(folder.path(), &["somebody"], faults::OF_THE_BROKER).await.unwrap();
    let pipeline = Setup::new("doctor").on(kafka.broker.bootstrap()).topics_only().await.unwrap();
    let clock = MovedClock::build().unwrap();
    clock.moved_by(250).unwrap();
    let stranger = faults::stranger().await;
    let files = faults::Files::new(folder.path(), &kafka).unwrap();
    let faults = faults::all(&kafka, &files, &clock, &stranger);

    let (healthy, shown) = (files.trusting(&kafka.tls), files.showing(&kafka.mutual, "client"));
    let (healthy, shown) = (borrowed(&healthy), borrowed(&shown));
    let one_away = format!("127.0.0.1:9,{}", kafka.broker.bootstrap());
    let one_away = [("HOOKBUS__KAFKA__BROKERS", one_away.as_str())];
    tokio::join!(
        is_well(&pipeline, &[], &[]),
        is_well(&pipeline, &[("HOOKBUS__TOPICS__PREFIX", "not-yet.")], &["--for-topics"]),
        // One broker of several is away: no upgrade has to wait for it.
        is_well(&pipeline, &one_away, &["--for-topics"]),
        is_well(&pipeline, &[], &["--role", "retry", "--target", "http://127.0.0.1:9/"]),
        is_well(&pipeline, &healthy, &[]),
        is_well(&pipeline, &shown, &[]),
    );
    let mut lanes: Vec<Vec<&faults::DoctorFault>> = vec![Vec::new(); AT_ONCE];
    faults.iter().enumerate().for_each(|(number, fault)| lanes[number % AT_ONCE].push(fault));
    let lane = async |faults: &[&faults::DoctorFault]| {
        for fault in faults {
            let found = first(&pipeline, &borrowed(&fault.environment), &fault.arguments).await;
            assert_eq!(found, fault.code, "{}", fault.what);
            testkit::pipeline::report(&format!("doctor: {found} first: {}", fault.what));
        }
    };
    let [one, two, three, four, five, six] = &lanes[..] else { panic!("{AT_ONCE} lanes") };
    tokio::join!(lane(one), lane(two), lane(three), lane(four), lane(five), lane(six));

    let planted = planted::one_after_the_other(&pipeline, &kafka.broker).await;
    assert!(faults.len() + planted >= 20, "{} and {planted}", faults.len());
    // Every code that was seen is explained.
    let explained = faults.iter().map(|fault| fault.code).chain(planted::CODES.iter().copied());
    for code in std::collections::BTreeSet::from_iter(explained) {
        let text = pipeline.command(&["explain", code]).await.unwrap();
        let text = String::from_utf8(text.stdout).unwrap();
        assert!(text.contains(code) && text.contains("**"), "{code}: {text}");
    }
    // The ledger has nothing to say of what was written here.
    pipeline.verdict(Expect::default(), Duration::from_secs(1)).await.unwrap();
    kafka.broker.kill().await.unwrap();
}

fn borrowed(environment: &[(String, String)]) -> Vec<(&str, &str)> {
    environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// What a role's own principal may not look at is no fault, and what `hookbus acls` prints is all it needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn each_role_is_well_with_the_rights_that_are_printed_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let users = ["control", "gateway", "fanout", "delivery", "retry", "operator"];
    let (broker, brokers) = strict::start(folder.path(), &users, Unsaid::Refused).await.unwrap();
    let pipeline = Setup::new("doctored").on(broker.bootstrap()).topics_only().await.unwrap();
    let as_user = async |name: &str, arguments: &[&str]| {
        let own = user(name, &brokers);
        doctor(&pipeline, &borrowed(&own), arguments).await
    };
    let said = as_user("delivery", &["--role", "delivery"]).await;
    assert_eq!(said.codes.first().map(String::as_str), Some("HB-014"), "{}", said.text);
    grant(&pipeline, folder.path()).await;
    // Descriptors and memory are the host's.
    for role in Role::ALL {
        let mut said = as_user(role.command(), &["--role", role.command()]).await;
        said.codes.retain(|code| code != "HB-036");
        assert_eq!(said.codes, [""; 0], "{}: {}", role.command(), said.text);
    }
    let said = as_user("operator", &[]).await;
    assert_eq!((said.exit, said.codes), (0, Vec::new()), "{}", said.text);
    let said = as_user("gateway", &["--role", "fanout"]).await;
    assert!(said.codes.iter().any(|code| code == "HB-014"), "a gateway is no fan-out: {}", said.text);
    pipeline.finish(Expect::default()).await.unwrap();
    broker.kill().await.unwrap();
}

/// Runs what `hookbus acls` prints.
async fn grant(pipeline: &Pipeline, folder: &Path) {
    let output = pipeline.command(&["acls", "--principal", "User:{role}"]).await.unwrap();
    let (admin, commands) = (folder.join("admin.properties"), folder.join("acls.sh"));
    std::fs::write(&admin, "").unwrap();
    std::fs::write(&commands, &output.stdout).unwrap();
    let shell = Command::new("sh")
        .arg(&commands)
        .env("KAFKA_ACLS", console::acls_script(folder).await.unwrap())
        .env("ADMIN", &admin)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(300), shell).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
