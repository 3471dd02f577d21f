//! Roles that speak TLS on all their ports, and the files they speak it with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use kafka_dev::ports;
use kafka_dev::tether::Exit;
use testkit::endpoint::TestAuthority;
use testkit::environment;
use testkit::pipeline::{Pipeline, Role};
use testkit::supervisor::{Process, ProcessOptions};
use testkit::wait::eventually;

use super::SOON;
use super::tools::Curl;

/// A SIGTERM drains within the grace period of 30 s, and then some for two busy cores.
const STOP_WITHIN: Duration = Duration::from_secs(90);

/// A folder of files: what servers show, what clients show, and whom either trusts.
pub(super) struct Certificates {
    folder: PathBuf,
    authority: TestAuthority,
}

/// A role of its own process, beside those of a pipeline.
pub(super) struct Secured {
    process: Process,
    pub(super) listen: u16,
    pub(super) admin: u16,
}

// === impl Certificates ===

impl Certificates {
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        let (authority, clients, strangers) = (TestAuthority::new()?, TestAuthority::new()?, TestAuthority::new()?);
        let certificates = Self { folder: folder.to_owned(), authority };
        certificates.write("server-ca.crt", &certificates.authority.pem())?;
        certificates.write("client-ca.crt", &clients.pem())?;
        certificates.write("strangers-ca.crt", &strangers.pem())?;
        for (name, issuer) in [("client", &clients), ("stranger", &strangers)] {
            certificates.pair(name, issuer)?;
        }
        certificates.renew()?;
        Ok(certificates)
    }

    /// A new certificate and key for the servers, over the former ones.
    pub(super) fn renew(&self) -> anyhow::Result<()> {
        self.pair("server", &self.authority)
    }

    /// The certificate that is in the servers' file, as PEM.
    pub(super) fn current(&self) -> String {
        let text = std::fs::read_to_string(self.path("server.crt")).expect("it was written");
        text.split_whitespace().collect()
    }

    /// Trusts the servers and shows a certificate that they trust.
    pub(super) fn curl(&self) -> Curl {
        Curl::trusting(self).showing(&self.own())
    }

    pub(super) fn own(&self) -> [PathBuf; 2] {
        [self.path("client.crt"), self.path("client.key")]
    }

    pub(super) fn strangers(&self) -> [PathBuf; 2] {
        [self.path("stranger.crt"), self.path("stranger.key")]
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn pair(&self, name: &str, issuer: &TestAuthority) -> anyhow::Result<()> {
        let (certificate, key) = issuer.issue(&["localhost", "127.0.0.1"])?;
        self.write(&format!("{name}.crt"), &certificate)?;
        self.write(&format!("{name}.key"), &key)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(self.path(name), text)?)
    }
}

// === impl Secured ===

impl Secured {
    /// Starts a role over the topics of a pipeline that only talks to those who show a certificate; whether it is ready only TLS can
    /// tell.
    pub(super) async fn start(pipeline: &Pipeline, files: &Certificates, role: Role) -> anyhow::Result<Self> {
        let shown = [("CERTIFICATE", "server.crt"), ("KEY", "server.key"), ("CLIENT_CA", "client-ca.crt")];
        Self::launch(pipeline, files, role, &shown).await
    }

    /// The same for one that talks to whoever knows it.
    pub(super) async fn open(pipeline: &Pipeline, files: &Certificates, role: Role) -> anyhow::Result<Self> {
        Self::launch(pipeline, files, role, &[("CERTIFICATE", "server.crt"), ("KEY", "server.key")]).await
    }

    async fn launch(
        pipeline: &Pipeline,
        files: &Certificates,
        role: Role,
        tls: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let (listen, admin) = (ports::choose()?, ports::choose()?);
        let section = role.command().to_uppercase();
        let name = format!("{}-tls", role.command());
        let shown = |file: &str| files.path(file).display().to_string();
        let mut environment = vec![
            (format!("HOOKBUS__{section}__LISTEN"), format!("127.0.0.1:{listen}")),
            ("HOOKBUS__ADMIN__LISTEN".to_owned(), format!("127.0.0.1:{admin}")),
            ("HOOKBUS__KAFKA__SLOT".to_owned(), name.clone()),
            ("HOOKBUS__CONTROL__LOG__FOLDER".to_owned(), shown(&format!("log-{name}"))),
        ];
        for section in [section.as_str(), "ADMIN"] {
            for (key, file) in tls {
                environment.push((format!("HOOKBUS__{section}__TLS_{key}"), shown(file)));
            }
        }
        let options = ProcessOptions {
            name,
            binary: environment::hookbus_binary()?,
            arguments: vec!["--config".to_owned(), shown("hookbus.toml"), role.command().to_owned()],
            environment,
            folder: pipeline.folder().to_owned(),
            admin_port: admin,
        };
        Ok(Self { process: Process::start(options).await?, listen, admin })
    }

    /// Waits until it says over TLS that it is ready.
    pub(super) async fn ready(&self, certificates: &Certificates) {
        let ready = || async {
            let answers = certificates.curl().get(&self.admin_url("/readyz")).await.ok()?;
            answers.all("200").then_some(())
        };
        let ready = eventually("ready over TLS", SOON, ready).await;
        ready.unwrap_or_else(|error| panic!("{error:#}\n{}", self.log()));
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.listen)
    }

    pub(super) fn admin_url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.admin)
    }

    pub(super) fn log(&self) -> String {
        self.process.log()
    }

    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        let exit = self.process.stop(STOP_WITHIN).await?;
        ensure!(exit == Exit::Code(0), "ended with {exit}\n{}", self.process.log_tail());
        Ok(())
    }
}
