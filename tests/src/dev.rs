//! `hookbus dev` of a test's own: every role in one process, one address for events and management, on the shared Kafka.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use http::Method;
use kafka_dev::ports;
use kafka_dev::tether::Exit;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use uuid::Uuid;

use crate::broker::SharedKafka;
use crate::environment;
use crate::http::{Answer, Http};
use crate::supervisor::{Process, ProcessOptions, Settings};
use crate::wait::eventually;

/// Topics, roles, the demo's objects: a few seconds, more beside other tests.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// A SIGTERM drains within the grace period of 30 s, and then some for two busy cores.
const STOP_WITHIN: Duration = Duration::from_secs(90);

/// A running `hookbus dev`.
#[derive(Debug)]
pub struct Dev {
    process: Process,
    info: Value,
    http: Http,
    folder: TempDir,
}

impl Dev {
    /// Starts it with these settings on top of its own, and waits until its demo objects are there.
    ///
    /// # Errors
    /// Kafka or the binary is missing, or it does not get ready: with the end of its log.
    pub async fn start(name: &str, settings: Settings) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("hookbus-{name}-")).tempdir()?;
        let admin_port = ports::choose()?;
        let file = folder.path().join("hookbus.toml");
        complete(settings, admin_port)?.write(&file)?;
        let shown = |path: &std::path::Path| path.display().to_string();
        let arguments = ["--config", &shown(&file), "dev", "--yes", "--folder", &shown(folder.path())];
        let options = ProcessOptions {
            name: name.to_owned(),
            binary: environment::hookbus_binary()?,
            arguments: arguments.map(str::to_owned).to_vec(),
            // Said here, it is a broker of the user's own to `dev`, which then starts none.
            environment: vec![("HOOKBUS__KAFKA__BROKERS".to_owned(), SharedKafka::of_this_run()?.bootstrap)],
            folder: folder.path().to_owned(),
            admin_port,
        };
        let mut process = Process::start(options).await?;
        process.ready(READY_WITHIN).await?;
        let path = folder.path().join("info.json");
        let read = || async { std::fs::read(&path).ok() };
        let info = eventually("info.json", READY_WITHIN, read).await.with_context(|| process.log_tail())?;
        Ok(Self { process, info: serde_json::from_slice(&info)?, http: Http::default(), folder })
    }

    /// An entry of `info.json`.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn info(&self, name: &str) -> anyhow::Result<&str> {
        self.info[name].as_str().with_context(|| format!("info.json has no {name}"))
    }

    /// The one address, with the prefix of every path.
    ///
    /// # Errors
    /// It did not say.
    pub fn base(&self) -> anyhow::Result<String> {
        Ok(format!("{}/api/v1", self.info("gateway_url")?))
    }

    /// One call of the API.
    ///
    /// # Errors
    /// No answer.
    pub async fn call(&self, token: &str, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        self.http.json(method, &format!("{}{path}", self.base()?), token, body).await
    }

    /// One with the admin key that must succeed.
    ///
    /// # Errors
    /// It does not: with the problem.
    pub async fn managed(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let answer = self.call(self.info("admin_key")?, method.clone(), path, body).await?;
        ensure!(answer.status.is_success(), "{method} {path}: {} {:?}", answer.status, answer.body);
        if answer.body.is_empty() { Ok(Value::Null) } else { answer.json() }
    }

    /// Runs a command of the binary over the same Kafka and topics: what it printed.
    ///
    /// # Errors
    /// It does not end well: with what it said.
    pub async fn command(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.prepared(arguments)?.output();
        let output = tokio::time::timeout(STOP_WITHIN, output).await.context("a command does not end")??;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs a command whose output nobody reads, from its first byte on: how it ended, and what it said about that.
    ///
    /// # Errors
    /// It does not end.
    pub async fn unread(&self, arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let output = self.prepared(arguments)?.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn()?;
        let output = tokio::time::timeout(STOP_WITHIN, output.wait_with_output());
        let output = output.await.context("a command that nobody reads does not end")??;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// A command of the binary over the same Kafka and topics.
    fn prepared(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(environment::hookbus_binary()?);
        command.arg("--config").arg(self.folder.path().join("hookbus.toml")).args(arguments);
        command.env("HOOKBUS__KAFKA__BROKERS", self.info("kafka_brokers")?).kill_on_drop(true);
        Ok(command)
    }

    /// Its process.
    #[must_use]
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The last lines it has printed.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// Ends it as Ctrl-C does: everything drains.
    ///
    /// # Errors
    /// It does not end, does not end well, or has seen an invariant broken.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let violations = self.process.metric("hookbus_invariant_violations_total").await?;
        ensure!(violations == 0.0, "{violations} violations\n{}", self.process.log_tail());
        let exit = self.process.stop(STOP_WITHIN).await?;
        ensure!(exit == Exit::Code(0), "ended with {exit}\n{}", self.process.log_tail());
        Ok(self.folder.close()?)
    }
}

fn complete(mut settings: Settings, admin_port: u16) -> anyhow::Result<Settings> {
    let random = Uuid::new_v4().simple().to_string();
    settings.set("topics.prefix", format!("d{}.", random.get(..10).unwrap_or_default()));
    for topic in ["events", "deliveries", "retry", "dead_letters", "attempts", "rejected", "retried", "seen"] {
        settings.set(&format!("topics.partitions.{topic}"), 1);
    }
    settings.set("topics.replication_factor", 1);
    settings.set("gateway.listen", format!("127.0.0.1:{}", ports::choose()?));
    settings.set("admin.listen", format!("127.0.0.1:{admin_port}"));
    Ok(settings)
}
