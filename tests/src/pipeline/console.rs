//! Kafka's own console tools, run from its Java packages: clients that are certainly not ours.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use kafka::{Connection, Offsets};
use kafka_dev::KAFKA_VERSION;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::Application;
use crate::broker;
use crate::wait::eventually;

/// A JVM starts, works and ends.
const WITHIN: Duration = Duration::from_secs(180);
/// Several tests may want the tools at once; one of them fetches.
static FETCHING: Mutex<()> = Mutex::const_new(());

/// Lines for the console producer: headers, key and value of events, separated by tabs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(String);

impl Lines {
    /// Adds an event as another system would write it: CloudEvents in binary mode, from a source of its own.
    pub fn push(&mut self, application: &Application, id: &str, event_type: &str, labels: &str, payload: &str) {
        let headers = [
            ("ce_specversion", "1.0"),
            ("ce_id", id),
            ("ce_type", event_type),
            ("ce_source", "/legacy"),
            ("content-type", "application/json"),
            ("hookbus-application", &application.id.to_string()),
            ("hookbus-labels", labels),
        ];
        let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        self.0.push_str(&format!("{}\t{id}\t{payload}\n", headers.join("~")));
    }
}

/// Writes lines to a topic with `kafka-console-producer`.
///
/// # Errors
/// The tools cannot be fetched, or the producer fails: with what it printed.
pub async fn produce(brokers: &str, topic: &str, lines: &Lines) -> anyhow::Result<()> {
    let arguments = [
        "org.apache.kafka.tools.ConsoleProducer",
        "--bootstrap-server",
        brokers,
        "--topic",
        topic,
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "parse.headers=true",
        "--reader-property",
        "headers.separator=~",
    ];
    run(&arguments, lines.0.as_bytes()).await
}

/// Deletes a topic with `kafka-topics`, and waits until the broker does not know it any more.
///
/// # Errors
/// As [`produce`]; or the topic stays.
pub async fn delete_topic(brokers: &str, topic: &str) -> anyhow::Result<()> {
    let arguments =
        ["org.apache.kafka.tools.TopicCommand", "--bootstrap-server", brokers, "--delete", "--topic", topic];
    run(&arguments, &[]).await?;
    is_known(brokers, topic, false).await
}

/// Creates a topic with `kafka-topics`, and waits until the broker knows it.
///
/// # Errors
/// As [`produce`]; or the topic does not come.
pub async fn create_topic(brokers: &str, topic: &str, partitions: u32, config: &[&str]) -> anyhow::Result<()> {
    let partitions = partitions.to_string();
    let mut arguments = vec!["org.apache.kafka.tools.TopicCommand", "--bootstrap-server", brokers, "--create"];
    arguments.extend(["--topic", topic, "--partitions", &partitions]);
    arguments.extend(config.iter().flat_map(|config| ["--config", *config]));
    run(&arguments, &[]).await?;
    is_known(brokers, topic, true).await
}

/// The controller answers before every broker goes by it.
async fn is_known(brokers: &str, topic: &str, wanted: bool) -> anyhow::Result<()> {
    let offsets = Offsets::start(&Connection::new(brokers, &BTreeMap::new())?)?;
    let what = format!("{topic}: known to the broker: {wanted}");
    let asked = || async { (offsets.topic_id(topic).await.ok()?.is_some() == wanted).then_some(()) };
    eventually(&what, WITHIN, asked).await
}

/// Changes a setting of a topic with `kafka-configs`: `max.message.bytes=4000`.
///
/// # Errors
/// As [`produce`].
pub async fn configure_topic(brokers: &str, topic: &str, setting: &str) -> anyhow::Result<()> {
    configure(brokers, &["--entity-type", "topics", "--entity-name", topic], setting).await
}

/// Sets a quota of every client of a broker that has none of its own: `producer_byte_rate=2000000`, in bytes per second.
///
/// # Errors
/// As [`produce`].
pub async fn throttle(brokers: &str, quota: &str) -> anyhow::Result<()> {
    configure(brokers, &["--entity-type", "clients", "--entity-default"], quota).await
}

/// Grants, denies or takes back permissions with `kafka-acls`.
///
/// # Errors
/// As [`produce`].
pub async fn acls(brokers: &str, rule: &[&str]) -> anyhow::Result<()> {
    let command = ["org.apache.kafka.tools.AclCommand", "--bootstrap-server", brokers];
    run(&[&command, rule].concat(), &[]).await
}

/// Gives a user a password for SCRAM with `kafka-configs`.
///
/// # Errors
/// As [`produce`].
pub async fn scram_user(brokers: &str, user: &str, password: &str) -> anyhow::Result<()> {
    let credential = format!("SCRAM-SHA-512=[iterations=4096,password={password}]");
    configure(brokers, &["--entity-type", "users", "--entity-name", user], &credential).await
}

async fn configure(brokers: &str, entity: &[&str], setting: &str) -> anyhow::Result<()> {
    let mut arguments = vec!["kafka.admin.ConfigCommand", "--bootstrap-server", brokers, "--alter"];
    arguments.extend(entity);
    arguments.extend(["--add-config", setting]);
    run(&arguments, &[]).await
}

/// Deletes the records of one partition below an offset with `kafka-delete-records`: what retention does, at once.
///
/// # Errors
/// As [`produce`].
pub async fn delete_records(brokers: &str, topic: &str, partition: i32, before: i64) -> anyhow::Result<()> {
    let one = serde_json::json!({ "topic": topic, "partition": partition, "offset": before });
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), serde_json::json!({ "version": 1, "partitions": [one] }).to_string())?;
    let file = file.path().to_string_lossy();
    let arguments =
        ["org.apache.kafka.tools.DeleteRecordsCommand", "--bootstrap-server", brokers, "--offset-json-file", &file];
    run(&arguments, &[]).await
}

/// Deletes a consumer group without members, and its offsets with it, with `kafka-consumer-groups`.
///
/// # Errors
/// As [`produce`].
pub async fn delete_group(brokers: &str, group: &str) -> anyhow::Result<()> {
    let tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    run(&[tool, "--bootstrap-server", brokers, "--delete", "--group", group], &[]).await
}

/// Writes a script that is `kafka-acls`, for a shell that calls it.
///
/// # Errors
/// The tools cannot be fetched, or the file not written.
pub async fn acls_script(folder: &Path) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let class_path = class_path().await?;
    let java =
        "exec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx128m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn";
    let class_path = class_path.to_string_lossy();
    let script = folder.join("kafka-acls.sh");
    std::fs::write(
        &script,
        format!("#!/bin/sh\n{java} -cp '{class_path}' org.apache.kafka.tools.AclCommand \"$@\"\n"),
    )?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

async fn run(arguments: &[&str], input: &[u8]) -> anyhow::Result<()> {
    let class_path = class_path().await?;
    let mut java = Command::new("java")
        .arg("-cp")
        .arg(class_path)
        .args([
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xmx256m",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        ])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting java")?;
    let mut stdin = java.stdin.take().context("a piped input")?;
    let feed = async move {
        stdin.write_all(input).await?;
        stdin.shutdown().await
    };
    let (fed, output) = tokio::time::timeout(WITHIN, async { tokio::join!(feed, java.wait_with_output()) })
        .await
        .with_context(|| format!("{arguments:?} does not end"))?;
    let output = output?;
    let printed = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {printed}{}", String::from_utf8_lossy(&output.stdout));
    // The console producer says what it could not send, and ends well all the same.
    ensure!(!printed.contains("ERROR"), "{arguments:?}: {printed}");
    fed.context("writing to java")
}

/// Kafka's jars and, beside them, its tools.
async fn class_path() -> anyhow::Result<OsString> {
    let _one = FETCHING.lock().await;
    let jars = kafka_dev::prepare(&broker::cache(), |line| tracing::info!("{line}")).await?;
    let tools = tools().await?;
    let mut class_path = jars.class_path();
    class_path.push(":");
    class_path.push(tools);
    Ok(class_path)
}

async fn tools() -> anyhow::Result<PathBuf> {
    let cache = broker::cache().canonicalize()?;
    let jar = cache.join(format!("kafka-tools-{KAFKA_VERSION}.jar"));
    if jar.is_file() {
        return Ok(jar);
    }
    let aside = tempfile::tempdir_in(&cache)?;
    let output = Command::new("mvn")
        .args(["-q", "-B", "dependency:copy"])
        .arg(format!("-Dartifact=org.apache.kafka:kafka-tools:{KAFKA_VERSION}"))
        .arg(format!("-DoutputDirectory={}", aside.path().display()))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("running mvn")?;
    ensure!(output.status.success(), "fetching kafka-tools: {}", String::from_utf8_lossy(&output.stdout));
    // Renamed when it is whole; another process that was faster wrote the same.
    std::fs::rename(aside.path().join(format!("kafka-tools-{KAFKA_VERSION}.jar")), &jar)?;
    Ok(jar)
}
