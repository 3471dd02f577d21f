//! What one can do to all others, each beside the same without him: nobody with connections, a tenant with an editor's token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use http::Method;
use kafka::clock::instant;
use serde_json::{Value, json};
use testkit::http::Http;
use testkit::supervisor::{Process, resident_now};
use testkit::wait::eventually;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::population::{BATCH, Population};
use super::{Tenant, event_types, gateway, p99, tenant};
use crate::rows::Scale;
use crate::stage::{ADMIN_KEY, Control, Installation};
use crate::table::{Aim, Table, say};

/// Connections that say nothing: as many as a control plane serves.
const SILENT: usize = 1_000;
/// Connections of the neighbour, each with a request under way at all times.
const CONNECTIONS: u32 = 1_500;
/// Writes of the tenant that must not be harmed, one after another.
const VICTIM_WRITES: u32 = 200;
/// From the beginning of one to that of the next: what a token may always do, so that its own pace refuses none.
const VICTIM_PACE: Duration = Duration::from_millis(50);
/// What organizations may have in memory by default, MiB: `control.application_bytes`.
const APPLICATION_MIB: f64 = 256.0;
/// Subscriptions of the application that is deleted.
const DELETED: u32 = 100_000;
/// The heaviest subscriptions that are tried, and how many in a request.
const HEAVY: usize = 1_000;
const HEAVY_AT_ONCE: usize = 20;
/// Deleting them takes less.
const GONE_WITHIN: Duration = Duration::from_secs(300);
/// Before a refusal because of the pace is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// What is attacked: a control plane over many subscriptions, and a tenant that goes on with its work.
pub(super) struct Scene<'a> {
    pub(super) installation: &'a Installation<'a>,
    pub(super) process: &'a Process,
    pub(super) control: Control,
    pub(super) victim: Tenant,
    pub(super) scale: Scale,
}

/// All of them, one after the other; one that could not be measured leaves the others.
pub(super) async fn all(scene: &Scene<'_>, table: &mut Table) {
    for (name, ended) in [
        ("silent connections", silent(scene, table).await),
        ("a neighbour of 1,500 connections", neighbour(scene, table).await),
        ("an application that is deleted", deletion(scene, table).await),
        ("the heaviest subscriptions", memory(scene, table).await),
        ("readers of the metrics that do not read", gateway::readers(scene, table).await),
        ("the costliest payloads", gateway::payloads(scene, table).await),
    ] {
        if let Err(error) = ended {
            table.failed(name, &error);
        }
    }
}

impl Scene<'_> {
    /// The victim's writes, with its own token: it has a share of everything as any tenant has. The 99th percentile in ms.
    pub(super) async fn writes(&self, name: &str) -> anyhow::Result<f64> {
        let (address, count) = (self.control.address, (VICTIM_WRITES, Some(VICTIM_PACE)));
        event_types(address, &self.victim, name, count).await.and_then(p99)
    }

    async fn subscriptions(&self) -> anyhow::Result<f64> {
        self.process.metric("hookbus_catalog_subscriptions").await
    }

    /// Seconds until a deletion has ended, as the number of subscriptions tells.
    async fn gone(&self, before: f64) -> anyhow::Result<f64> {
        let began = instant();
        let gone = || async { self.subscriptions().await.ok().filter(|now| *now < before + 0.5) };
        eventually("subscriptions to be gone", GONE_WITHIN, gone).await?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// Deletes an application. The seconds until that is answered.
    async fn delete(&self, application: &str) -> anyhow::Result<f64> {
        let url = format!("http://{}/api/v1/applications/{application}", self.control.address);
        let began = instant();
        let answer = self.control.http.json(Method::DELETE, &url, ADMIN_KEY, None).await?;
        ensure!(answer.status.is_success(), "{} {:?}", answer.status, answer.body);
        Ok(began.elapsed().as_secs_f64())
    }
}

/// Connections of nobody that never say anything.
async fn silent(scene: &Scene<'_>, table: &mut Table) -> anyhow::Result<()> {
    let alone = scene.writes("before-silence").await?;
    let mut open = Vec::new();
    for _ in 0..SILENT {
        open.push(TcpStream::connect(scene.control.address).await?);
    }
    let beside = scene.writes("beside-silence").await?;
    drop(open);
    table.add("write p99 beside 1,000 silent connections, ms", beside, Some(alone), Aim::TimesBare(2.0));
    Ok(())
}

/// A tenant that has 1,500 connections, all of them writing as fast as they are answered.
async fn neighbour(scene: &Scene<'_>, table: &mut Table) -> anyhow::Result<()> {
    let attacker = Arc::new(tenant(&scene.control, "attacker").await?);
    let alone = scene.writes("quiet").await?;
    let (is_over, answers, refused) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let url = format!("http://{}/api/v1/event_types", scene.control.address);
    let mut connections = JoinSet::new();
    for number in 0..CONNECTIONS {
        let (attacker, is_over, url) = (Arc::clone(&attacker), Arc::clone(&is_over), url.clone());
        let (answers, refused) = (Arc::clone(&answers), Arc::clone(&refused));
        connections.spawn(async move {
            let http = Http::default();
            let mut written = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                let name = format!("attack.c{number}.v{written}");
                let body = json!({ "application_id": attacker.application, "name": name });
                // What refuses the neighbour is what is measured: only an answer of any kind is expected.
                let answer = http.json(Method::POST, &url, &attacker.token, Some(&body)).await;
                answers.fetch_add(1, Ordering::Relaxed);
                written += 1;
                if answer.is_ok_and(|answer| answer.status.is_success()) {
                    continue;
                }
                refused.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
    }
    let beside = scene.writes("beside").await;
    is_over.store(true, Ordering::Relaxed);
    connections.join_all().await;
    let [answers, refused] = [answers, refused].map(|count| count.load(Ordering::Relaxed));
    say(&format!("    the neighbour had {answers} answers, {refused} of them refusals"))?;
    table.add("write p99 beside a neighbour of 1,500 connections, ms", beside?, Some(alone), Aim::TimesBare(2.0));
    Ok(())
}

/// A tenant that deletes all it has.
async fn deletion(scene: &Scene<'_>, table: &mut Table) -> anyhow::Result<()> {
    let before = scene.subscriptions().await?;
    let (large, application) = Population::of_one(scene.control.address, "large").await?;
    large.make(0..scene.scale.of(DELETED).div_ceil(BATCH)).await?;
    let alone = scene.writes("before-deletion").await?;
    let answered = scene.delete(&application).await?;
    let (beside, gone) = tokio::join!(scene.writes("beside-deletion"), scene.gone(before));
    table.add("an application of 100,000 subscriptions is deleted: s", answered, None, Aim::AtMost(1.0));
    table.add("write p99 while its subscriptions go, ms", beside?, Some(alone), Aim::TimesBare(1.2));
    table.add("until they are gone, s", gone?, None, Aim::None);
    Ok(())
}

/// A tenant that makes the heaviest subscriptions there may be, until it may make no more.
async fn memory(scene: &Scene<'_>, table: &mut Table) -> anyhow::Result<()> {
    let attacker = tenant(&scene.control, "heavy").await?;
    let before = scene.subscriptions().await?;
    let mib = || -> anyhow::Result<f64> {
        let kib = u32::try_from(resident_now(scene.process.pid())? / 1_024)?;
        Ok(f64::from(kib) / 1_024.0)
    };
    let empty = mib()?;
    let url = format!("http://{}/api/v1/subscriptions:batch", scene.control.address);
    let (mut made, mut refusal) = (0, None);
    while made < HEAVY && refusal.is_none() {
        let subscriptions: Vec<Value> = (made..made + HEAVY_AT_ONCE).map(heavy).collect();
        let body = json!({ "application_id": attacker.application, "subscriptions": subscriptions });
        let answer = scene.control.http.json(Method::POST, &url, &attacker.token, Some(&body)).await?;
        let shown = answer.json()?;
        if shown["id"] == "RateLimited" {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        ensure!(answer.status.is_success(), "{} {shown}", answer.status);
        let results = shown["results"].as_array().context("a batch has results")?;
        made += results.iter().filter(|result| result["status"] == 201).count();
        refusal = results.iter().find(|result| result["status"] != 201).map(|it| it["problem"]["detail"].to_string());
    }
    let full = mib()?;
    say(&format!("    {made} of the heaviest subscriptions were made, then: {refusal:?}"))?;
    scene.delete(&attacker.application).await?;
    scene.gone(before).await?;
    table.add("MiB that a tenant's heaviest subscriptions take", full - empty, None, Aim::AtMost(APPLICATION_MIB));
    let left = mib()? - empty;
    table.add("MiB of them that are left when they are gone", left, None, Aim::AtMost(APPLICATION_MIB / 4.0));
    Ok(())
}

/// With as much as a subscription may have.
fn heavy(number: usize) -> Value {
    let patterns: Vec<String> = (0..100).map(|pattern| format!("heavy{number}.{pattern}.a.b.*")).collect();
    let metadata: serde_json::Map<String, Value> =
        (0..50).map(|field| (format!("field{field}"), Value::from("x".repeat(100)))).collect();
    json!({
        "is_enabled": true,
        "event_types": patterns,
        "labels": { "number": number.to_string() },
        "metadata": metadata,
        "target": { "type": "http", "method": "POST", "url": "http://127.0.0.1:9/", "headers": {} },
    })
}
