//! How a pipeline is set up: brokers, roles, settings, a planted bug, a proxy in between.

mod played;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use kafka::Connection;
use schemas::planted::PlantedBug;
use schemas::topics::TopicSettings;
use tokio::process::{Child, Command};
use toml::Value;
use uuid::Uuid;

use super::roles::{Launching, Role, Roles};
use super::watch::Watch;
use super::{Pipeline, READY_WITHIN, producer, report};
use crate::broker::SharedKafka;
use crate::endpoint::{Endpoint, EndpointOptions, Secure};
use crate::environment;
use crate::http::Http;
use crate::proxy::Proxy;
use crate::supervisor::Settings;

/// Opens the management API of every test.
pub const ADMIN_KEY: &str = "testkit-admin-key-0123456789";
/// The organization that is there from the start.
const ORGANIZATION: &str = "0b5e55ed-0000-7000-8000-000000000001";
/// Any 32 bytes, in base64.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Its configuration, in its folder.
pub(crate) const SETTINGS_FILE: &str = "hookbus.toml";
/// A command of ours that talks to Kafka once.
const COMMAND_WITHIN: Duration = Duration::from_secs(180);

/// What to start.
#[derive(Debug)]
pub struct Setup {
    name: String,
    brokers: Option<String>,
    counts: BTreeMap<Role, usize>,
    settings: Settings,
    planted: Option<PlantedBug>,
    proxied: BTreeMap<(Role, usize), String>,
    environment: BTreeMap<Role, Vec<(String, String)>>,
    arguments: BTreeMap<(Role, usize), Vec<String>>,
    secure: Option<Secure>,
    prefix: String,
}

impl Setup {
    /// Every role once, few partitions, tiers from 1 s.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let counts = Role::ALL.into_iter().map(|role| (role, 1)).collect();
        let random = Uuid::new_v4().simple().to_string();
        let prefix = format!("t{}.", random.get(..10).unwrap_or_default());
        Self {
            name: name.to_owned(),
            brokers: None,
            counts,
            settings: defaults(&prefix),
            planted: None,
            proxied: BTreeMap::new(),
            environment: BTreeMap::new(),
            arguments: BTreeMap::new(),
            secure: None,
            prefix,
        }
    }

    /// So many processes of a role, from 0.
    #[must_use]
    pub fn roles(mut self, role: Role, count: usize) -> Self {
        self.counts.insert(role, count);
        self
    }

    /// Two processes of every role, and partitions for both.
    #[must_use]
    pub fn doubled(mut self) -> Self {
        self.counts.values_mut().for_each(|count| *count = 2);
        self.set("topics.partitions.events", 4).set("topics.partitions.deliveries", 4).set("topics.partitions.retry", 2)
    }

    /// One setting, by its dotted key.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.settings.set(key, value);
        self
    }

    /// Another Kafka than the shared one.
    #[must_use]
    pub fn on(mut self, brokers: impl Into<String>) -> Self {
        self.brokers = Some(brokers.into());
        self
    }

    /// One process of a role (from 1) talks to Kafka through a proxy.
    #[must_use]
    pub fn through(mut self, role: Role, number: usize, proxy: &Proxy) -> Self {
        self.proxied.insert((role, number), proxy.bootstrap());
        self
    }

    /// Environment of a role's processes, which wins over the settings. The ledger knows the settings alone: limits that are
    /// raised here are a planted bug.
    #[must_use]
    pub fn environment(mut self, role: Role, variables: Vec<(String, String)>) -> Self {
        self.environment.insert(role, variables);
        self
    }

    /// What stands behind the subcommand of one process of a role (from 1).
    #[must_use]
    pub fn arguments(mut self, role: Role, number: usize, arguments: &[&str]) -> Self {
        self.arguments.insert((role, number), arguments.iter().map(|&argument| argument.to_owned()).collect());
        self
    }

    /// The endpoint speaks TLS. Who is to trust it is set with `delivery.ca_file`.
    #[must_use]
    pub fn secure(mut self, secure: Secure) -> Self {
        self.secure = Some(secure);
        self
    }

    /// Plants a bug in every role.
    #[must_use]
    pub fn plant(mut self, bug: PlantedBug) -> Self {
        self.planted = Some(bug);
        self
    }

    /// Creates the topics, starts all roles and waits until they are ready.
    ///
    /// # Errors
    /// Kafka or the binary is missing, or a role does not get ready: with the end of its log.
    pub async fn start(self) -> anyhow::Result<Pipeline> {
        // What a test waits for holds the pipeline itself, not all that made it.
        let mut pipeline = Box::pin(self.topics_only()).await?;
        let started = pipeline.roles.start_all().await;
        if let Err(error) = started {
            pipeline.finished = true;
            let folder = pipeline.keep();
            return Err(error.context(format!("{}: logs in {folder}", pipeline.name)));
        }
        Ok(pipeline)
    }

    /// Creates the topics; roles are started by the test.
    ///
    /// # Errors
    /// As [`Setup::start`].
    pub async fn topics_only(mut self) -> anyhow::Result<Pipeline> {
        let brokers = match self.brokers.take() {
            Some(brokers) => brokers,
            None => SharedKafka::of_this_run()?.bootstrap,
        };
        let binary = environment::hookbus_binary()?;
        if self.planted.is_some() {
            can_plant(&binary).await?;
        }
        let folder = tempfile::Builder::new().prefix(&format!("hookbus-{}-", self.name)).tempdir()?;
        self.settings.set("kafka.brokers", brokers.as_str());
        self.settings.write(&folder.path().join(SETTINGS_FILE))?;
        let output = run(&binary, folder.path(), &[], &["topics", "ensure"]).await?;
        if !output.status.success() {
            bail!("{}: topics ensure: {}", self.name, String::from_utf8_lossy(&output.stderr));
        }
        let launching = Launching {
            binary: binary.clone(),
            folder: folder.path().to_owned(),
            planted: self.planted,
            proxied: std::mem::take(&mut self.proxied),
            environment: std::mem::take(&mut self.environment),
            arguments: std::mem::take(&mut self.arguments),
        };
        let roles = Roles::new(launching, &self.counts)?;
        self.pipeline(&brokers, roles, binary, folder)
    }

    /// The pipeline of these processes, its settings in its folder.
    fn pipeline(
        mut self,
        brokers: &str,
        roles: Roles,
        binary: std::path::PathBuf,
        folder: tempfile::TempDir,
    ) -> anyhow::Result<Pipeline> {
        report(&format!("{}: topics {}*, {}", self.name, self.prefix, folder.path().display()));
        let connection = Connection::new(brokers, &BTreeMap::new())?;
        let config = chassis::config::load(Some(&folder.path().join(SETTINGS_FILE)), std::iter::empty())?.config;
        let options = EndpointOptions { threads: 1, ..EndpointOptions::default() };
        let endpoint = match self.secure.take() {
            Some(secure) => Endpoint::start_secure(options, secure)?,
            None => Endpoint::start_with(options)?,
        };
        Ok(Pipeline {
            topics: TopicSettings { prefix: self.prefix, ..TopicSettings::default() }.topics(),
            producer: producer(&connection)?,
            connection,
            binary,
            organization: ORGANIZATION.to_owned(),
            watch: Watch::start(&config, roles.admin_ports()),
            config,
            roles,
            endpoint,
            http: Http::default(),
            told: super::ToldLog::default(),
            applications: BTreeMap::new(),
            subscriptions: Vec::new(),
            pings: Vec::new(),
            jobs: std::collections::BTreeSet::new(),
            hurried: std::collections::BTreeSet::new(),
            finished: false,
            name: self.name,
            folder: Some(folder),
        })
    }
}

fn defaults(prefix: &str) -> Settings {
    let mut settings = Settings::default();
    settings.set("topics.prefix", prefix);
    for (topic, partitions) in [
        ("events", 2),
        ("deliveries", 2),
        ("retry", 1),
        ("dead_letters", 1),
        ("attempts", 1),
        ("rejected", 1),
        ("retried", 1),
        ("seen", 1),
    ] {
        settings.set(&format!("topics.partitions.{topic}"), partitions);
    }
    settings.set("retry.tiers", vec!["1s", "5s", "20s", "2m", "10m"]);
    settings.set("delivery.allow_http", true).set("delivery.allow_networks", vec!["127.0.0.0/8"]);
    // Scripts that fail every delivery once would open the circuit, and what comes then waits for its probe.
    settings.set("delivery.breaker_failures", 10_000);
    settings.set("control.admin_key", ADMIN_KEY).set("control.organization_id", ORGANIZATION);
    settings.set("security.encryption_keys", vec![format!("k1:{KEY}")]).set("security.lookup_key", KEY);
    settings.set("log.format", "text").set("log.level", "info");
    settings
}

/// Runs the binary with a folder's configuration to its end.
pub(super) async fn run(
    binary: &Path,
    folder: &Path,
    environment: &[(&str, &str)],
    arguments: &[&str],
) -> anyhow::Result<Output> {
    let running = Command::new(binary)
        .arg("--config")
        .arg(folder.join(SETTINGS_FILE))
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(COMMAND_WITHIN, running).await;
    let ended = ended.with_context(|| format!("hookbus {} does not end", arguments.join(" ")))?;
    ended.with_context(|| format!("running {}", binary.display()))
}

/// Starts the binary and leaves it running.
pub(super) fn spawn(binary: &Path, folder: &Path, arguments: &[&str], stdout: Stdio) -> anyhow::Result<Child> {
    let mut command = Command::new(binary);
    command.arg("--config").arg(folder.join(SETTINGS_FILE)).args(arguments);
    let spawned = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).kill_on_drop(true).spawn();
    spawned.with_context(|| format!("running {}", binary.display()))
}

/// A binary built alone has no planted bugs: with it every scene of theirs would pass or fail for no reason.
async fn can_plant(binary: &Path) -> anyhow::Result<()> {
    let output = Command::new(binary).arg("--version").output().await.context("asking for the version")?;
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(
        version.contains("planted-bugs"),
        "{} ({}) has no planted bugs: build it together with the testkit, `cargo build -p hookbus -p testkit`",
        binary.display(),
        version.trim()
    );
    Ok(())
}

/// For tests that start roles one by one.
pub(super) const fn ready_within() -> Duration {
    READY_WITHIN
}
