//! A receiver's process, and what it is asked.

use std::time::Duration;

use testkit::Process;
use testkit::http::Http;

use super::tally::Told;
use crate::stage::Stage;

/// Starting takes less.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running one; it ends with this.
#[derive(Debug)]
pub(crate) struct RunningReceiver {
    process: Process,
    port: u16,
    http: Http,
}

impl RunningReceiver {
    /// Starts one, with further arguments.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn start(stage: &Stage, arguments: &[&str]) -> anyhow::Result<Self> {
        let (port, control) = (kafka_dev::ports::choose()?, kafka_dev::ports::choose()?);
        let ports = ["receiver", "--port", &port.to_string(), "--control", &control.to_string()].map(str::to_owned);
        let arguments = ports.into_iter().chain(arguments.iter().map(|argument| (*argument).to_owned()));
        let mut process = stage.own_process("receiver", arguments.collect(), control).await?;
        process.ready(READY_WITHIN).await?;
        Ok(Self { process, port, http: Http::default() })
    }

    /// A URL there.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Where it listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// What came at a path.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) async fn told(&self, path: &str) -> anyhow::Result<Told> {
        let answer = self.ask("/told", path).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// How long events took is counted anew.
    ///
    /// # Errors
    /// As [`Self::told`].
    pub(crate) async fn forget(&self, path: &str) -> anyhow::Result<()> {
        self.ask("/forget", path).await.map(|_empty| ())
    }

    /// It takes connections from now on.
    ///
    /// # Errors
    /// As [`Self::told`].
    pub(crate) async fn open(&self) -> anyhow::Result<()> {
        self.ask("/open", "").await.map(|_empty| ())
    }

    async fn ask(&self, what: &str, path: &str) -> anyhow::Result<bytes::Bytes> {
        let answer = self.http.get(&self.process.admin_url(&format!("{what}?{path}"))).await?;
        anyhow::ensure!(answer.status.is_success(), "{what}?{path}: {}", answer.status);
        Ok(answer.body)
    }
}
