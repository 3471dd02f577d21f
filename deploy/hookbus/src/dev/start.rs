//! The order in which `hookbus dev` brings things up and takes them down.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use ::kafka::{From, Tail, TailEvent, TailOptions};
use anyhow::{Context, Result, bail};
use chassis::clock::now_ms;
use chassis::config::{self, Preset};
use chassis::shutdown::Shutdown;
use kafka_dev::Broker;
use schemas::attempt::Lifecycle;
use signing::{Secret, Verifier};
use tokio::net::TcpListener;

use crate::cli::DevArgs;
use crate::dev::demo::{self, APPLICATION, Demo};
use crate::dev::info::Info;
use crate::dev::keys::Keys;
use crate::dev::{feed, kafka, receiver};
use crate::listeners;
use crate::management::{Management, Trust};
use crate::process::{self, Process};
use crate::roles::{self, Directory};
use crate::screen;

/// Names a broker of the user's own.
const BROKERS: &str = "HOOKBUS__KAFKA__BROKERS";
/// Where the receiver listens if it can.
const RECEIVER: &str = "127.0.0.1:8090";

/// Runs everything until Ctrl-C.
///
/// # Errors
/// The step that failed, and what to do about it.
pub(crate) async fn run(file: Option<&Path>, args: &DevArgs) -> Result<()> {
    fs::create_dir_all(&args.folder).with_context(|| format!("cannot create {}", args.folder.display()))?;
    let folder = args.folder.canonicalize()?;
    let keys = Keys::in_folder(&folder)?;
    let own = config::environment().any(|(name, value)| name == BROKERS && !value.is_empty());
    let outcome = if own {
        let outcome = with_kafka(file, args, &folder, &keys, None).await;
        Info::remove(&folder);
        outcome
    } else {
        over_own_kafka(file, args, &folder, &keys).await
    };
    if outcome.is_ok() {
        screen::progress("==> stopped; the next start continues where this one ended")?;
    }
    outcome
}

/// Runs over the development broker, and ends when that ends: nothing would come of waiting for it.
async fn over_own_kafka(file: Option<&Path>, args: &DevArgs, folder: &Path, keys: &Keys) -> Result<()> {
    let mut broker = start_kafka(folder).await?;
    let bootstrap = broker.bootstrap();
    let outcome = tokio::select! {
        outcome = with_kafka(file, args, folder, keys, Some(&bootstrap)) => outcome,
        ended = broker.ended() => {
            Info::remove(folder);
            let log = folder.join("kafka.log");
            bail!("Kafka ended by itself ({:?}), see {}; start again, its data is kept", ended?, log.display());
        }
    };
    Info::remove(folder);
    screen::progress("==> stopping Kafka")?;
    broker.stop().await.context("Kafka did not stop")?;
    outcome
}

async fn start_kafka(folder: &Path) -> Result<Broker> {
    screen::line(&format!("==> starting Kafka {} (its data stays in {})", kafka_dev::KAFKA_VERSION, folder.display()))?;
    let broker = kafka::start(folder).await?;
    screen::line(&format!("    Kafka serves on {}", broker.bootstrap()))?;
    Ok(broker)
}

async fn with_kafka(
    file: Option<&Path>,
    args: &DevArgs,
    folder: &Path,
    keys: &Keys,
    bootstrap: Option<&str>,
) -> Result<()> {
    let loaded = config::load_over(&preset(keys, folder, bootstrap), file, config::environment())?;
    chassis::telemetry::init(&loaded.config.log)?;
    if loaded.config.gateway.tls.is_some() || loaded.config.admin.tls.is_some() {
        return Err(crate::usage(
            "`hookbus dev` serves plain HTTP on loopback: take `tls_certificate` out of its configuration",
        ));
    }
    create_topics(&loaded.config, bootstrap.is_some() || args.yes).await?;
    let mut process = Process::start(&loaded)?;
    let directory = Directory::of_control(&process)?;
    let listener = listeners::listen(&mut process, loaded.config.gateway.listen, "gateway.listen").await?;
    let base = format!("http://{}", listener.local_addr()?);
    let control = roles::control(&process, &directory).await?;
    roles::gateway(&process, &directory, listener, Some(roles::as_fallback(&control)))?;
    roles::fanout(&process, &directory, fanout_worker::Intakes::Both);
    roles::delivery(&process, &directory);
    roles::retry(&process);
    process.wired();
    screen::line("==> all roles run: gateway, control, fanout, delivery, retry")?;
    let receiver = bind(RECEIVER).await?;
    let receiver_url = format!("http://{}/", receiver.local_addr()?);
    let demo = tokio::select! {
        demo = make_demo(&process, &base, keys, &receiver_url) => demo?,
        () = process.shutdown.requested() => return process.join().await,
    };
    let verifier = Arc::new(Verifier::new(&Secret::parse(&demo.signing_secret)?));
    process.tasks.spawn("receiver", receiver::run(receiver, verifier, process.shutdown.clone()));
    let tail = Tail::start(&process.connection, follow(&process))?;
    process.tasks.spawn("feed", show(tail, process.shutdown.clone()));
    let info = information(&process, &base, keys, &demo, &receiver_url);
    info.write(folder)?;
    welcome(&info, folder)?;
    process.join().await
}

fn preset(keys: &Keys, folder: &Path, bootstrap: Option<&str>) -> Preset {
    let mut preset = keys
        .lay_over(Preset::new("hookbus dev"))
        .with("gateway.listen", free("127.0.0.1:8080"))
        .with("admin.listen", free("127.0.0.1:9090"))
        .with("retry.tiers", "1s 5s 20s 2m 10m 1h 4h 12h")
        .with("delivery.allow_http", "true")
        .with("delivery.allow_networks", "127.0.0.0/8, ::1/128")
        .with("kafka.slot", "dev")
        .with("control.log.folder", folder.join("log").to_string_lossy())
        .with("log.format", "text")
        .with("log.level", "warn,hookbus::refused=debug");
    if let Some(bootstrap) = bootstrap {
        preset = preset.with("kafka.brokers", bootstrap).with("topics.replication_factor", "1");
    }
    preset
}

/// The usual address, or one the system chooses if another program has it.
fn free(usual: &str) -> String {
    let taken = usual.parse::<SocketAddr>().is_ok_and(|address| !kafka_dev::ports::is_free(address.port()));
    if taken { "127.0.0.1:0".to_owned() } else { usual.to_owned() }
}

async fn bind(usual: &str) -> Result<TcpListener> {
    TcpListener::bind(free(usual)).await.context("no port for the demo receiver")
}

/// On a broker of the user's own, nothing is created before they agree.
async fn create_topics(config: &config::Config, agreed: bool) -> Result<()> {
    let connection = process::connection(config)?;
    let specs = config.topics.specs();
    if !agreed {
        let plan = ::kafka::topics::plan(&connection, &specs).await?;
        screen::line(&format!("==> on {}:\n{}", connection.brokers(), plan.to_string().trim_end()))?;
        if !plan.is_settled() {
            match screen::confirm("Create these topics? [y/N] ")? {
                Some(true) => {}
                Some(false) => bail!("nothing was created; `--yes` agrees without asking"),
                None => bail!("there is nobody to ask; pass `--yes` to create the topics"),
            }
        }
    }
    let plan = ::kafka::topics::ensure(&connection, &specs).await?;
    for line in crate::commands::topics::begin(&connection, config, &plan).await? {
        screen::line(&line)?;
    }
    if !plan.differing.is_empty() {
        bail!("these topics exist and do not fit, and nothing was altered:\n{plan}");
    }
    screen::line(&format!("==> {} topics are there", specs.len()))?;
    Ok(())
}

async fn make_demo(process: &Process, base: &str, keys: &Keys, receiver_url: &str) -> Result<Demo> {
    while !process.health.is_ready() {
        // A role that fails requests the shutdown, which ends this wait.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let management = Management::new(base, keys.admin_key.as_str(), &Trust::default())?;
    let organization = process.config.control.organization_id.to_string();
    demo::ensure(&management, &organization, receiver_url).await.context("the demo objects could not be created")
}

fn follow(process: &Process) -> TailOptions {
    TailOptions {
        topic: process.topics.attempts.to_string(),
        partitions: None,
        from: From::End,
        committed: true,
        eof: false,
        fetch_wait_ms: 100,
    }
}

async fn show(mut tail: Tail, shutdown: Shutdown) -> Result<()> {
    loop {
        let event = tokio::select! {
            event = tail.next() => event?,
            () = shutdown.requested() => return Ok(()),
        };
        let TailEvent::Record { partition, record } = event else { continue };
        let value = record.value.unwrap_or_default();
        match Lifecycle::decode(&value) {
            Ok(lifecycle) => {
                if let Some(line) = feed::line(&lifecycle, now_ms()) {
                    screen::line(&line)?;
                }
            }
            Err(error) => {
                tracing::warn!(partition, offset = record.offset, %error, "a lifecycle record cannot be read");
            }
        }
    }
}

fn information(process: &Process, base: &str, keys: &Keys, demo: &Demo, receiver_url: &str) -> Info {
    Info {
        gateway_url: base.to_owned(),
        control_url: base.to_owned(),
        metrics_url: format!("http://{}/metrics", process.admin_address()),
        kafka_brokers: process.connection.brokers().to_owned(),
        admin_key: keys.admin_key.clone(),
        organization_id: process.config.control.organization_id.to_string(),
        application_id: APPLICATION.to_owned(),
        application_secret: demo.application_secret.clone(),
        receiver_url: receiver_url.to_owned(),
    }
}

fn welcome(info: &Info, folder: &Path) -> Result<()> {
    let Info { gateway_url, application_secret, receiver_url, metrics_url, kafka_brokers, .. } = info;
    screen::line(&format!(
        r#"
    gateway and management API  {gateway_url}
    token of the demo app       {application_secret}
    receiver (verifies)         {receiver_url}
    metrics                     {metrics_url}
    Kafka                       {kafka_brokers}
    all of it, for scripts      {}

Paste this in another terminal:

curl -i {gateway_url}/api/v1/event \
  -H 'Authorization: Bearer {application_secret}' -H 'Content-Type: application/json' \
  -d '{{
    "application_id": "{APPLICATION}",
    "event_type": "invoice.paid",
    "event_id": "evt_Wqb1k73rXprtTm7Qdlr38G",
    "payload": {{ "invoice": "in_1042", "amount": 12900, "currency": "EUR" }},
    "labels": {{ "environment": "production" }}
  }}'

Every event, delivery, retry and dead letter is a line below. Ctrl-C drains and stops.
"#,
        folder.join("info.json").display()
    ))?;
    Ok(())
}
