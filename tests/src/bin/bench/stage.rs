//! What a run stands on: a Kafka of its own, installations (a prefix, its topics, an application), and processes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use kafka::{Connection, Offsets};
use kafka_dev::{Broker, BrokerOptions};
use schemas::ids::{ApplicationId, SubscriptionId};
use schemas::topics::{TopicSettings, Topics};
use serde_json::{Value, json};
use testkit::http::Http;
use testkit::supervisor::{Process, ProcessOptions, Settings};
use testkit::wait::eventually;
use testkit::{broker, environment};

use crate::{bare, workload};

/// Long enough for a worker that is frozen while its backlog is written.
pub(crate) const SESSION_TIMEOUT: Duration = Duration::from_secs(60);
/// Starting anything takes less.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// A bare loop that reads a million objects first, on a slow day.
const BARE_WITHIN: Duration = Duration::from_secs(300);
/// Ending takes less.
const STOP_WITHIN: Duration = Duration::from_secs(40);
/// For open transactions of a group that has none.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// After a start, before anything is asked of it.
const SETTLING: Duration = Duration::from_secs(1);
pub(crate) const ADMIN_KEY: &str = "bench-admin-key-0123456789";
pub(crate) const ORGANIZATION: &str = "0b5e55ed-0000-7000-8000-000000000001";

/// The broker and where everything is kept.
#[derive(Debug)]
pub(crate) struct Stage {
    folder: PathBuf,
    broker: Broker,
    pub(crate) connection: Connection,
    installations: AtomicU32,
}

/// One prefix with everything below it.
#[derive(Debug)]
pub(crate) struct Installation<'a> {
    stage: &'a Stage,
    /// What its roles are started from.
    binary: PathBuf,
    pub(crate) name: String,
    pub(crate) topics: Topics,
    config: PathBuf,
    pub(crate) application: ApplicationId,
    pub(crate) token: String,
    pub(crate) subscriptions: Vec<SubscriptionId>,
}

/// Subscriptions of an installation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Event types; each subscription takes the next of them in turn.
    pub(crate) types: u32,
    /// Subscriptions.
    pub(crate) subscriptions: u32,
    /// Where they point.
    pub(crate) url: String,
    /// Fields of further subscriptions to the first type, each beside or in place of the usual ones.
    pub(crate) others: Vec<Value>,
    /// Partitions of `deliveries`, where that is not the default.
    pub(crate) partitions: Option<i32>,
    /// Settings of the roles beside the usual ones.
    pub(crate) settings: Vec<(&'static str, toml::Value)>,
}

// === impl Stage ===

impl Stage {
    /// Starts Kafka, compiled well and not quickly: this one is for measuring.
    pub(crate) async fn open(folder: &Path) -> anyhow::Result<Self> {
        let jars = kafka_dev::prepare(&broker::cache(), |line| tracing::info!("{line}")).await?;
        let options = BrokerOptions::new(jars, folder.join("kafka"), folder.join("kafka.log"));
        let broker = Broker::start(options).await?;
        let connection = Connection::new(&broker.bootstrap(), &std::collections::BTreeMap::new())?;
        Ok(Self { folder: folder.to_owned(), broker, connection, installations: AtomicU32::new(0) })
    }

    /// Ends Kafka; nobody needs its data.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.broker.kill().await?;
        Ok(())
    }

    /// Process id of the broker.
    pub(crate) fn broker(&self) -> i32 {
        self.broker.pid()
    }

    /// A bare loop, once it says that it is ready.
    pub(crate) async fn bare(&self, name: &str, arguments: &[String]) -> anyhow::Result<Process> {
        let process = self.bare_started(name, arguments).await?;
        let ready =
            eventually("a bare loop", BARE_WITHIN, || async { process.log().contains(bare::READY).then_some(()) });
        ready.await.with_context(|| process.log_tail())?;
        Ok(process)
    }

    /// A bare loop that ends by itself, and what it printed.
    pub(crate) async fn bare_to_its_end(&self, name: &str, arguments: &[String]) -> anyhow::Result<String> {
        let mut process = self.bare_started(name, arguments).await?;
        let exit = process.ended(Duration::from_secs(120)).await?;
        if exit != kafka_dev::tether::Exit::Code(0) {
            bail!("the bare loop {name} ended with {exit}\n{}", process.log_tail());
        }
        Ok(process.log())
    }

    async fn bare_started(&self, name: &str, arguments: &[String]) -> anyhow::Result<Process> {
        let arguments = ["bare", name].into_iter().map(str::to_owned).chain(arguments.iter().cloned());
        self.own_process(&format!("bare-{name}"), arguments.collect(), 0).await
    }

    /// The benchmark in a process of its own, which does what these arguments say.
    pub(crate) async fn own_process(
        &self,
        name: &str,
        arguments: Vec<String>,
        admin_port: u16,
    ) -> anyhow::Result<Process> {
        let number = self.installations.fetch_add(1, Ordering::Relaxed);
        let options = ProcessOptions {
            name: format!("{name}-{number}"),
            binary: std::env::current_exe()?,
            arguments,
            environment: Vec::new(),
            folder: self.folder.clone(),
            admin_port,
        };
        Process::start(options).await
    }

    /// A file of the run.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Arguments that tell a bare loop where Kafka is.
    pub(crate) fn brokers(&self) -> [String; 2] {
        ["--brokers".to_owned(), self.connection.brokers().to_owned()]
    }

    /// Makes topics, an application, event types and subscriptions under a new prefix, of the `hookbus` beside the bench.
    pub(crate) async fn install(&self, plan: &Plan) -> anyhow::Result<Installation<'_>> {
        self.install_from(environment::hookbus_binary()?, plan).await
    }

    /// As [`Self::install`], of any `hookbus`.
    pub(crate) async fn install_from(&self, binary: PathBuf, plan: &Plan) -> anyhow::Result<Installation<'_>> {
        let name = format!("bench{}", self.installations.fetch_add(1, Ordering::Relaxed));
        let mut topics = TopicSettings { prefix: format!("{name}."), ..TopicSettings::default() };
        topics.partitions.insert("retry".to_owned(), 1);
        topics.partitions.extend(plan.partitions.map(|count| ("deliveries".to_owned(), count)));
        let created = kafka::topics::ensure(&self.connection, &topics.specs()).await?.created;
        for (role, topic) in [("fanout", topics.topics().events), ("delivery", topics.topics().deliveries)] {
            let group = format!("{name}.{role}");
            kafka::group::begin(&self.connection, &group, &[&topic], &created, BEGIN_TIMEOUT).await?;
        }
        let config = self.folder.join(format!("{name}.toml"));
        let mut settings = self.settings(&name);
        if let Some(count) = plan.partitions {
            settings.set("topics.partitions.deliveries", count);
        }
        for (key, value) in &plan.settings {
            settings.set(key, value.clone());
        }
        settings.write(&config)?;
        let mut installation = Installation {
            stage: self,
            binary,
            name,
            topics: topics.topics(),
            config,
            application: ApplicationId(uuid::Uuid::nil()),
            token: String::new(),
            subscriptions: Vec::new(),
        };
        installation.fill(plan).await?;
        Ok(installation)
    }

    fn settings(&self, name: &str) -> Settings {
        let key = STANDARD.encode([7; 32]);
        let mut settings = Settings::default();
        settings
            .set("kafka.brokers", self.connection.brokers())
            .set("kafka.slot", "1")
            .set("kafka.session_timeout_ms", i64::try_from(SESSION_TIMEOUT.as_millis()).expect("a minute"))
            .set("topics.prefix", format!("{name}."))
            .set("topics.partitions.retry", 1)
            .set("security.encryption_keys", format!("bench:{key}"))
            .set("security.lookup_key", key)
            .set("control.admin_key", ADMIN_KEY)
            .set("control.organization_id", ORGANIZATION)
            .set("delivery.allow_http", true)
            .set("delivery.allow_networks", vec!["127.0.0.0/8"])
            .set("log.format", "text");
        settings
    }
}

// === impl Installation ===

impl Installation<'_> {
    /// Starts a role and waits until it is ready. The address is that of its HTTP port, if it has one.
    pub(crate) async fn start(&self, role: &str) -> anyhow::Result<(Process, SocketAddr)> {
        let (mut process, address) = self.launch(role).await?;
        process.ready(READY_WITHIN).await?;
        // What a start leaves to be done in the background is not measured.
        tokio::time::sleep(SETTLING).await;
        process.ready(READY_WITHIN).await?;
        Ok((process, address))
    }

    /// Starts a role and does not wait.
    pub(crate) async fn launch(&self, role: &str) -> anyhow::Result<(Process, SocketAddr)> {
        let (admin_port, port) = (kafka_dev::ports::choose()?, kafka_dev::ports::choose()?);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut environment = vec![
            ("HOOKBUS__ADMIN__LISTEN".to_owned(), format!("127.0.0.1:{admin_port}")),
            // Two of a role at once are two slots.
            ("HOOKBUS__KAFKA__SLOT".to_owned(), port.to_string()),
        ];
        if let "gateway" | "control" = role {
            environment.push((format!("HOOKBUS__{}__LISTEN", role.to_uppercase()), address.to_string()));
        }
        if role == "control" {
            let folder = self.stage.folder.join(format!("log-{port}")).display().to_string();
            environment.push(("HOOKBUS__CONTROL__LOG__FOLDER".to_owned(), folder));
        }
        let binary = self.binary.clone();
        let arguments = vec!["--config".to_owned(), self.config.to_string_lossy().into_owned(), role.to_owned()];
        let name = format!("{}-{role}", self.name);
        let folder = self.stage.folder.clone();
        let options = ProcessOptions { name, binary, arguments, environment, folder, admin_port };
        Ok((Process::start(options).await?, address))
    }

    /// Creates everything through the control plane, which is needed no longer afterwards.
    async fn fill(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let (mut process, address) = self.start("control").await?;
        let control = Control { http: Http::default(), address };
        let application =
            control.post("applications", &json!({ "organization_id": ORGANIZATION, "name": "bench" })).await?;
        let application = text(&application, "application_id")?;
        self.application = application.parse()?;
        let secret = json!({ "application_id": application, "name": "bench" });
        self.token = text(&control.post("application_secrets", &secret).await?, "token")?;
        for number in 0..plan.types {
            let event_type = json!({ "application_id": application, "name": workload::event_type(number) });
            control.post("event_types", &event_type).await?;
        }
        for number in 0..plan.subscriptions {
            let subscription = subscription(&application, number % plan.types, &plan.url);
            self.subscribe(&control, &subscription).await?;
        }
        for other in &plan.others {
            let mut subscription = subscription(&application, 0, &plan.url);
            let fields = other.as_object().context("fields of a subscription")?;
            fields.iter().for_each(|(name, value)| subscription[name] = value.clone());
            self.subscribe(&control, &subscription).await?;
        }
        process.stop(STOP_WITHIN).await?;
        Ok(())
    }

    async fn subscribe(&mut self, control: &Control, subscription: &Value) -> anyhow::Result<()> {
        let made = control.post("subscriptions", subscription).await?;
        self.subscriptions.push(text(&made, "subscription_id")?.parse()?);
        Ok(())
    }

    /// The consumer group of a role.
    pub(crate) fn group(&self, role: &str) -> String {
        format!("{}.{role}", self.name)
    }
}

/// As long as nobody sets it: for workers that are not frozen, and may be killed.
pub(crate) fn default_timeouts() -> Vec<(&'static str, toml::Value)> {
    vec![("kafka.session_timeout_ms", 8_000.into())]
}

/// A subscription to one of the event types.
pub(crate) fn subscription(application: &str, event_type: u32, url: &str) -> Value {
    json!({
        "application_id": application,
        "is_enabled": true,
        "event_types": [workload::event_type(event_type)],
        "labels": {},
        "target": { "type": "http", "method": "POST", "url": url, "headers": {} },
    })
}

/// Ends a role the friendly way, so that the next one finds the machine quiet.
pub(crate) async fn stop(mut process: Process) -> anyhow::Result<()> {
    let exit = process.stop(STOP_WITHIN).await?;
    if exit != kafka_dev::tether::Exit::Code(0) {
        bail!("{} ended with {exit}\n{}", process.name(), process.log_tail());
    }
    Ok(())
}

/// Offsets in all partitions of a topic: records and transaction markers.
pub(crate) async fn end_of(offsets: &Offsets, topic: &Arc<str>) -> anyhow::Result<i64> {
    Ok(offsets.ends(topic).await?.values().sum())
}

/// Waits until a group has committed everything there is in a topic (up to one transaction marker per partition).
pub(crate) async fn committed(connection: &Connection, group: &str, topic: &Arc<str>) -> anyhow::Result<()> {
    eventually("a group to commit everything", Duration::from_secs(120), || async {
        let lags = kafka::lag::of_group(connection, group, &[topic]).await.ok()?;
        (!lags.is_empty()
            && lags.iter().all(|lag| lag.log_end == lag.log_start || (lag.committed.is_some() && lag.offsets() <= 1)))
        .then_some(())
    })
    .await
}

/// The management API of a control plane, asked by the operator.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    pub(crate) http: Http,
    pub(crate) address: SocketAddr,
}

impl Control {
    /// What a `POST` makes. `path`: below `/api/v1/`.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let answer = self.http.json(Method::POST, &url, ADMIN_KEY, Some(body)).await?;
        if !answer.status.is_success() {
            bail!("POST {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        answer.json()
    }
}

/// A text of an object.
pub(crate) fn text(object: &Value, field: &str) -> anyhow::Result<String> {
    let value = object.get(field).and_then(Value::as_str).with_context(|| format!("no {field} in {object}"))?;
    Ok(value.to_owned())
}
