//! `curl` and `openssl s_client`, run as processes: what they ask, and what they say of it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::server::Certificates;

/// Neither takes longer; one that hangs must not hang the test.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// A way to call `curl`.
#[derive(Clone)]
pub(super) struct Curl {
    arguments: Vec<String>,
}

/// What `curl` said of its requests.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) succeeded: bool,
    /// A status each; 000 where there was no answer.
    statuses: Vec<String>,
    #[expect(dead_code, reason = "shown where an assertion fails")]
    complaints: String,
}

/// What `openssl s_client` said of a handshake.
pub(super) struct Shake {
    pub(super) succeeded: bool,
    /// The server's certificate, as PEM without white space.
    pub(super) shown: String,
    pub(super) said: String,
}

/// A session of `openssl s_client` that stays open.
pub(super) struct Session {
    child: Child,
}

// === impl Curl ===

impl Curl {
    /// Trusts the servers and shows nothing.
    pub(super) fn trusting(certificates: &Certificates) -> Self {
        Self::new(certificates, "server-ca.crt")
    }

    /// Trusts others.
    pub(super) fn distrusting(certificates: &Certificates) -> Self {
        Self::new(certificates, "strangers-ca.crt").showing(&certificates.own())
    }

    fn new(certificates: &Certificates, authority: &str) -> Self {
        let authority = certificates.path(authority).display().to_string();
        // The configuration and proxies of whoever runs the tests are none of ours.
        Self { arguments: vec![] }.with(&["-q", "-sS", "--noproxy", "*", "--max-time", "30", "--cacert", &authority])
    }

    pub(super) fn showing(self, [certificate, key]: &[PathBuf; 2]) -> Self {
        self.with(&["--cert", &certificate.display().to_string(), "--key", &key.display().to_string()])
    }

    pub(super) fn with(mut self, more: &[&str]) -> Self {
        self.arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        self
    }

    pub(super) async fn get(&self, url: &str) -> anyhow::Result<Answers> {
        self.ask(&[url]).await
    }

    /// Requests one after the other, over one connection where the server keeps it.
    pub(super) async fn ask(&self, urls: &[&str]) -> anyhow::Result<Answers> {
        let mut command = Command::new("curl");
        command.args(&self.arguments).args(["--write-out", "%{http_code}\n"]);
        for url in urls {
            command.args(["-o", "/dev/null", url]);
        }
        let output = tokio::time::timeout(ENDS_WITHIN, command.kill_on_drop(true).output());
        let output = output.await.context("curl does not end")?.context("curl cannot be run: apt-get install curl")?;
        let printed = String::from_utf8(output.stdout)?;
        Ok(Answers {
            succeeded: output.status.success(),
            statuses: printed.lines().map(str::to_owned).collect(),
            complaints: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

impl Answers {
    /// Whether each request, of one at least, was answered so.
    pub(super) fn all(&self, status: &str) -> bool {
        !self.statuses.is_empty() && self.statuses.iter().all(|answered| answered == status)
    }
}

// === impl Shake ===

impl Shake {
    pub(super) async fn with(certificates: &Certificates, port: u16, more: &[&str]) -> anyhow::Result<Self> {
        let mut command = s_client(certificates, port);
        command.args(more).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(ENDS_WITHIN, command.output()).await.context("openssl does not end")?;
        let output = output.context("openssl cannot be run: apt-get install openssl")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let shown: String = said
            .lines()
            .skip_while(|line| !line.contains("BEGIN CERTIFICATE"))
            .take_while(|line| !line.contains("END CERTIFICATE"))
            .chain(["-----END CERTIFICATE-----"])
            .collect();
        let shown = shown.split_whitespace().collect();
        Ok(Self { succeeded: output.status.success(), shown, said })
    }
}

fn s_client(certificates: &Certificates, port: u16) -> Command {
    let [certificate, key] = certificates.own();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-verify_ip", "127.0.0.1"]);
    command.args(["-verify_return_error", "-CAfile"]).arg(certificates.path("server-ca.crt"));
    command.arg("-cert").arg(certificate).arg("-key").arg(key);
    command
}

// === impl Session ===

impl Session {
    pub(super) fn open(certificates: &Certificates, port: u16) -> anyhow::Result<Self> {
        let mut command = s_client(certificates, port);
        command.arg("-quiet").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        Ok(Self { child: command.spawn().context("openssl cannot be run: apt-get install openssl")? })
    }

    /// One request of HTTP/1.1 without a token: the answer, to the end of its problem.
    pub(super) async fn ask(&mut self, path: &str) -> anyhow::Result<String> {
        let (Some(input), Some(output)) = (&mut self.child.stdin, &mut self.child.stdout) else {
            bail!("the session has no pipes")
        };
        input.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await?;
        input.flush().await?;
        let mut answer = Vec::new();
        let read = async {
            while !answer.trim_ascii_end().ends_with(b"}") {
                if output.read_buf(&mut answer).await? == 0 {
                    bail!("the session has ended: {}", String::from_utf8_lossy(&answer));
                }
            }
            Ok(())
        };
        tokio::time::timeout(ENDS_WITHIN, read).await.context("no answer")??;
        Ok(String::from_utf8(answer)?)
    }
}
