//! What many who write to the management API cost each other: many at once, a million subscriptions, and a neighbour that holds
//! 1,500 connections and never pauses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, ensure};
use http::Method;
use kafka::clock::instant;
use serde_json::{Value, json};
use testkit::http::Http;
use tokio::task::JoinSet;

use super::Scale;
use crate::stage::{self, ADMIN_KEY, Control, Plan, Stage, text};
use crate::table::{Aim, Table};

/// Who writes at once where many do.
const WRITERS: u32 = 32;
/// What each of them writes.
const WRITES: u32 = 100;
/// Subscriptions that are made in batches.
const SUBSCRIPTIONS: u32 = 1_000_000;
/// Subscriptions of a batch: the most there may be.
const BATCH: u32 = 1_000;
/// Tenants that make them: each stays below its share of memory.
const TENANTS: u32 = 8;
/// Batches under way at once.
const POSTERS: u32 = 4;
/// Connections of the neighbour, each with a request under way at all times.
const CONNECTIONS: u32 = 1_500;
/// Writes of the tenant that it must not harm, one after another.
const VICTIM_WRITES: u32 = 200;
/// Seconds that the million may take.
const MILLION_WITHIN: f64 = 600.0;

pub(super) async fn measure(stage: &Stage, scale: Scale, table: &mut Table) -> anyhow::Result<()> {
    let installation = stage.install(&Plan::default()).await?;
    let application = installation.application.to_string();
    let (first, one) = installation.start("control").await?;
    let (rate, p99) = many(&[one], &application, "alone", scale).await?;
    table.add("32 writers on 1 control plane: writes/s", rate, None, Aim::AtLeast(300.0));
    table.add("32 writers on 1 control plane: p99 ms", p99, None, Aim::None);
    let (second, other) = installation.start("control").await?;
    let (rate, p99) = many(&[one, other], &application, "contended", scale).await?;
    table.add("32 writers on 2 control planes: writes/s", rate, None, Aim::AtLeast(100.0));
    table.add("32 writers on 2 control planes: p99 ms", p99, None, Aim::None);
    stage::stop(second).await?;
    neighbour(one, table).await?;
    let seconds = million(one, scale.of(SUBSCRIPTIONS)).await?;
    table.add("1,000,000 subscriptions over the API: s", seconds, None, Aim::AtMost(MILLION_WITHIN));
    stage::stop(first).await
}

/// Writes per second of all writers together, and the 99th percentile in ms.
async fn many(addresses: &[SocketAddr], application: &str, name: &str, scale: Scale) -> anyhow::Result<(f64, f64)> {
    let began = instant();
    let mut writers = JoinSet::new();
    for (number, address) in (0..WRITERS).zip(addresses.iter().cycle()) {
        let (address, application, name) = (*address, application.to_owned(), format!("{name}{number}"));
        let count = scale.of(WRITES);
        writers.spawn(async move { event_types(address, ADMIN_KEY, &application, &name, count).await });
    }
    let mut times = Vec::new();
    while let Some(ended) = writers.join_next().await {
        times.extend(ended??);
    }
    let rate = f64::from(u32::try_from(times.len())?) / began.elapsed().as_secs_f64();
    Ok((rate, p99(times)?))
}

/// Milliseconds of writes that are made one after another.
async fn event_types(
    address: SocketAddr,
    token: &str,
    application: &str,
    name: &str,
    count: u32,
) -> anyhow::Result<Vec<f64>> {
    let http = Http::default();
    let url = format!("http://{address}/api/v1/event_types");
    let mut times = Vec::new();
    for number in 0..count {
        let body = json!({ "application_id": application, "name": format!("tenants.{name}.v{number}") });
        let began = instant();
        let answer = http.json(Method::POST, &url, token, Some(&body)).await?;
        ensure!(answer.status.is_success(), "{}: {:?}", answer.status, answer.body);
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(times)
}

/// A tenant's writes alone, and beside one that has 1,500 connections, all of them writing as fast as they are answered.
async fn neighbour(address: SocketAddr, table: &mut Table) -> anyhow::Result<()> {
    let control = Control { http: Http::default(), address };
    let victim = tenant(&control, "victim").await?;
    let attacker = Arc::new(tenant(&control, "attacker").await?);
    let alone = p99(event_types(address, ADMIN_KEY, &victim.application, "quiet", VICTIM_WRITES).await?)?;
    let (is_over, answers, refused) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut connections = JoinSet::new();
    for number in 0..CONNECTIONS {
        let (attacker, is_over) = (Arc::clone(&attacker), Arc::clone(&is_over));
        let (answers, refused) = (Arc::clone(&answers), Arc::clone(&refused));
        connections.spawn(async move {
            let http = Http::default();
            let url = format!("http://{address}/api/v1/event_types");
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
    let beside = event_types(address, ADMIN_KEY, &victim.application, "beside", VICTIM_WRITES).await.and_then(p99);
    is_over.store(true, Ordering::Relaxed);
    connections.join_all().await;
    crate::table::say(&format!(
        "    the neighbour had {} answers, {} of them refusals",
        answers.load(Ordering::Relaxed),
        refused.load(Ordering::Relaxed)
    ))?;
    table.add("write p99 beside a neighbour of 1,500 connections, ms", beside?, Some(alone), Aim::TimesBare(2.0));
    Ok(())
}

/// An organization's application with a token of its own.
#[derive(Debug)]
struct Tenant {
    application: String,
    token: String,
}

async fn tenant(control: &Control, name: &str) -> anyhow::Result<Tenant> {
    let organization = control.post("organizations", &json!({ "name": name })).await?;
    let organization = text(&organization, "organization_id")?;
    let application = json!({ "organization_id": organization, "name": name });
    let application = text(&control.post("applications", &application).await?, "application_id")?;
    let secret = control.post("application_secrets", &json!({ "application_id": application, "name": name })).await?;
    Ok(Tenant { token: text(&secret, "token")?, application })
}

/// Seconds for a million, from as many as this.
async fn million(address: SocketAddr, count: u32) -> anyhow::Result<f64> {
    let control = Control { http: Http::default(), address };
    let mut tenants = Vec::new();
    for number in 0..TENANTS {
        let tenant = tenant(&control, &format!("tenant{number}")).await?;
        let event_type = json!({ "application_id": tenant.application, "name": "million.thing.made" });
        control.post("event_types", &event_type).await?;
        tenants.push(tenant.application);
    }
    let batches = count.div_ceil(BATCH);
    let tenants = Arc::new(tenants);
    let began = instant();
    let mut posters = JoinSet::new();
    for first in 0..POSTERS {
        let (tenants, control) = (Arc::clone(&tenants), Control { http: Http::default(), address });
        posters.spawn(async move {
            for batch in (first..batches).step_by(POSTERS as usize) {
                let application = &tenants[batch as usize % tenants.len()];
                let one = |number: u32| subscription(batch * BATCH + number);
                let body = json!({
                    "application_id": application,
                    "subscriptions": (0..BATCH).map(one).collect::<Vec<Value>>(),
                });
                let made = control.post("subscriptions:batch", &body).await?;
                let results = made["results"].as_array().context("a batch has results")?;
                let failed = results.iter().find(|result| result["status"] != 201);
                ensure!(failed.is_none(), "{failed:?}");
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = posters.join_next().await {
        ended??;
    }
    Ok(began.elapsed().as_secs_f64() * f64::from(SUBSCRIPTIONS) / f64::from(batches * BATCH))
}

fn subscription(number: u32) -> Value {
    json!({
        "is_enabled": true,
        "event_types": ["million.thing.made"],
        "labels": { "customer": format!("c{number}") },
        "target": { "type": "http", "method": "POST", "url": "http://127.0.0.1:9/", "headers": {} },
    })
}

/// The 99th percentile.
fn p99(mut times: Vec<f64>) -> anyhow::Result<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).copied().context("nothing was written")
}
