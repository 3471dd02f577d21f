//! 100,000 subscriptions on 10,000 origins that have had a delivery each and then nothing to do: what a lane that is idle takes, what a
//! second of it costs, and what the way there cost in TLS handshakes and descriptors.
//!
//! ```text
//! nothing yet -> one delivery each, paced -> connections have ended: idle -> one for each origin
//! ```
//!
//! Origins are names that a name server of the bench's own knows, all of one receiver's process with TLS.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use kafka::clock::instant;
use schemas::ids::SubscriptionId;
use serde_json::{Value, json};
use testkit::Process;
use testkit::dns::{NameServer, Reply};
use testkit::endpoint::TestAuthority;
use testkit::http::Http;
use testkit::supervisor::resident_now;

use super::Scale;
use crate::held::{descriptors, wide};
use crate::receiver::RunningReceiver;
use crate::stage::{self, Control, Installation, Plan, Stage, text};
use crate::steady::{Steady, SteadyPlan};
use crate::table::{Aim, Table, say};

const SUBSCRIPTIONS: u32 = 100_000;
const ORIGINS: u32 = 10_000;
/// Of one request.
const BATCH: u32 = 1_000;
/// Deliveries a second: handshakes of both sides share the machine's processors.
const PER_SECOND: u32 = 400;
/// Connections that nobody uses end within a minute.
const ENDED: Duration = Duration::from_secs(75);
/// How long idleness is looked at.
const LOOK: Duration = Duration::from_secs(30);
const BYTES_EACH: f64 = 1_024.0;
/// A second with idle lanes costs so many times one without: nothing walks them.
const MOST: f64 = 1.5;
/// Nothing comes for so long: then nothing will.
const STANDSTILL: Duration = Duration::from_secs(120);
const DOMAIN: &str = "idle.example";
const PATH: &str = "/idle";

/// A worker that does nothing.
#[derive(Clone, Copy, Debug)]
struct Rest {
    bytes: f64,
    /// CPU of a second.
    cpu_ms: f64,
}

pub(super) async fn measure(stage: &Stage, scale: Scale, table: &mut Table) -> anyhow::Result<()> {
    let (names, authority) = (NameServer::start()?, TestAuthority::new()?);
    names.answers(&format!("*.{DOMAIN}"), Reply::addresses(&["127.0.0.1"]).ttl(300));
    let (certificate, key) = authority.issue(&[&format!("*.{DOMAIN}")])?;
    let ca = file(stage, "idle.pem", &authority.pem())?;
    let (certificate, key) = (file(stage, "idle.crt", &certificate)?, file(stage, "idle.key", &key)?);
    let receiver = RunningReceiver::start(stage, &["--certificate", &certificate, "--key", &key]).await?;
    let mut settings = stage::default_timeouts();
    settings.push(("delivery.ca_file", ca.into()));
    settings.push(("delivery.dns_servers", vec![names.address().to_string()].into()));
    let installation = stage.install(&Plan { types: 1, settings, ..Plan::default() }).await?;
    let (count, origins) = (scale.of(SUBSCRIPTIONS), scale.of(ORIGINS));
    let all = subscribe(&installation, (count, origins), receiver.port()).await?;
    // What a handshake came too late for is sent again.
    let (retry, _) = installation.start("retry").await?;
    let (worker, _) = installation.start("delivery").await?;
    let before = Rest::of(&worker).await?;
    let descriptors = deliver(stage, &installation, (&worker, &receiver), &all, 0).await?;
    let first = receiver.told(PATH).await?;
    tokio::time::sleep(ENDED).await;
    let after = Rest::of(&worker).await?;
    let lanes = worker.metric("hookbus_delivery_lanes").await?;
    ensure!(lanes + 0.5 > f64::from(count), "{lanes} lanes of {count}");
    deliver(stage, &installation, (&worker, &receiver), &all[..usize::try_from(origins)?], count).await?;
    let second = receiver.told(PATH).await?;
    let what = format!("{count} idle subscriptions on {origins} origins");
    let each = (after.bytes - before.bytes) / f64::from(count);
    table.add(format!("{what}: bytes each"), each, None, Aim::AtMost(BYTES_EACH));
    table.add(format!("{what}: CPU ms a second"), after.cpu_ms, Some(before.cpu_ms), Aim::TimesBare(MOST));
    table.add(format!("{what}: TLS handshakes, one delivery each"), wide(first.handshakes), None, Aim::None);
    let (again, resumed) = (second.handshakes - first.handshakes, second.resumed - first.resumed);
    table.add(format!("{what}: TLS handshakes a while later"), wide(again), None, Aim::None);
    table.add(format!("{what}: of them resumed"), wide(resumed), None, Aim::None);
    table.add(format!("{what}: descriptors at most"), descriptors, None, Aim::None);
    stage::stop(worker).await?;
    stage::stop(retry).await
}

/// Writes a file of the run.
fn file(stage: &Stage, name: &str, text: &str) -> anyhow::Result<String> {
    let path = stage.file(name);
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// Makes the subscriptions, each at the next origin.
async fn subscribe(
    installation: &Installation<'_>,
    (count, origins): (u32, u32),
    port: u16,
) -> anyhow::Result<Vec<SubscriptionId>> {
    let (process, address) = installation.start("control").await?;
    let control = Control { http: Http::default(), address };
    let application = installation.application.to_string();
    let mut made = Vec::new();
    for first in (0..count).step_by(BATCH as usize) {
        let url = |number: u32| format!("https://o{}.{DOMAIN}:{port}{PATH}", number % origins);
        let one = |number: u32| stage::subscription(&application, 0, &url(number));
        let all: Vec<Value> = (first..count.min(first + BATCH)).map(one).collect();
        let body = json!({ "application_id": application, "subscriptions": all });
        let answer = control.post("subscriptions:batch", &body).await?;
        for result in answer["results"].as_array().context("a batch has results")? {
            ensure!(result["status"] == 201, "{result}");
            made.push(text(&result["subscription"], "subscription_id")?.parse()?);
        }
    }
    say(&format!("    {} subscriptions are there", made.len()))?;
    stage::stop(process).await?;
    Ok(made)
}

/// One delivery for each of them, paced, until all have come. Returns how many descriptors the worker had at most.
async fn deliver(
    stage: &Stage,
    installation: &Installation<'_>,
    (worker, receiver): (&Process, &RunningReceiver),
    subscriptions: &[SubscriptionId],
    first: u32,
) -> anyhow::Result<f64> {
    let end = first + u32::try_from(subscriptions.len())?;
    let plan = SteadyPlan {
        topic: Arc::clone(&installation.topics.deliveries),
        application: installation.application,
        subscriptions: subscriptions.to_vec(),
        per_second: PER_SECOND,
        first,
        end,
    };
    let writing = Steady::start(&stage.connection, plan)?;
    let (mut most, mut before, mut since) = (0.0_f64, 0, instant());
    loop {
        let told = receiver.told(PATH).await?;
        most = most.max(descriptors(worker)?);
        if told.distinct >= u64::from(end) {
            break;
        }
        if told.distinct > before {
            (before, since) = (told.distinct, instant());
        }
        ensure!(since.elapsed() < STANDSTILL, "{} of {end} have come, and no more do", told.distinct);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    writing.ended().await?;
    Ok(most)
}

impl Rest {
    async fn of(worker: &Process) -> anyhow::Result<Self> {
        let (cpu, began) = (worker.cpu_time()?, instant());
        tokio::time::sleep(LOOK).await;
        let used = worker.cpu_time()?.saturating_sub(cpu);
        let cpu_ms = used.as_secs_f64() * 1_000.0 / began.elapsed().as_secs_f64();
        Ok(Self { bytes: wide(resident_now(worker.pid())?), cpu_ms })
    }
}
