//! What many who write to the management API cost each other: many at once, a million subscriptions, and one tenant, or nobody's
//! connections, against all others.
//!
//! ```text
//! 32 writers on one control plane, on two --> 200,000 subscriptions over the API --> each attack, and its victim with and without
//! it --> the rest of the million
//! ```

mod attacks;
mod gateway;
mod population;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use http::Method;
use kafka::clock::instant;
use serde_json::json;
use testkit::http::Http;
use tokio::task::JoinSet;

use self::attacks::Scene;
use self::population::{BATCH, Population};
use super::Scale;
use crate::stage::{self, ADMIN_KEY, Control, Plan, Stage, text};
use crate::table::{Aim, Table};

/// Who writes at once where many do.
const WRITERS: u32 = 32;
/// What each of them writes.
const WRITES: u32 = 100;
/// Subscriptions that are made in batches.
const SUBSCRIPTIONS: u32 = 1_000_000;
/// Of these there are so many when one turns against the others.
const STANDING: u32 = 200_000;
/// Seconds that the million may take.
const MILLION_WITHIN: f64 = 600.0;

pub(super) async fn measure(stage: &Stage, scale: Scale, table: &mut Table) -> anyhow::Result<()> {
    let installation = stage.install(&Plan::default()).await?;
    let (first, one) = installation.start("control").await?;
    let operator = Tenant { application: installation.application.to_string(), token: ADMIN_KEY.to_owned() };
    let (rate, p99) = many(&[one], &operator, "alone", scale).await?;
    table.add("32 writers on 1 control plane: writes/s", rate, None, Aim::AtLeast(300.0));
    table.add("32 writers on 1 control plane: p99 ms", p99, None, Aim::None);
    let (second, other) = installation.start("control").await?;
    let (rate, p99) = many(&[one, other], &operator, "contended", scale).await?;
    table.add("32 writers on 2 control planes: writes/s", rate, None, Aim::AtLeast(100.0));
    table.add("32 writers on 2 control planes: p99 ms", p99, None, Aim::None);
    stage::stop(second).await?;
    let population = Population::open(one).await?;
    let [standing, all] = [STANDING, SUBSCRIPTIONS].map(|usual| scale.of(usual).div_ceil(BATCH));
    let mut seconds = population.make(0..standing).await?;
    let control = Control { http: Http::default(), address: one };
    let victim = tenant(&control, "victim").await?;
    attacks::all(&Scene { installation: &installation, process: &first, control, victim, scale }, table).await;
    seconds += population.make(standing..all).await?;
    let of_a_million = seconds * f64::from(SUBSCRIPTIONS) / f64::from(all * BATCH);
    table.add("1,000,000 subscriptions over the API: s", of_a_million, None, Aim::AtMost(MILLION_WITHIN));
    stage::stop(first).await
}

/// Writes per second of all writers together, and the 99th percentile in ms.
async fn many(addresses: &[SocketAddr], whose: &Tenant, name: &str, scale: Scale) -> anyhow::Result<(f64, f64)> {
    let began = instant();
    let mut writers = JoinSet::new();
    for (number, address) in (0..WRITERS).zip(addresses.iter().cycle()) {
        let (address, whose, name) = (*address, whose.clone(), format!("{name}{number}"));
        let count = scale.of(WRITES);
        writers.spawn(async move { event_types(address, &whose, &name, (count, None)).await });
    }
    let mut times = Vec::new();
    while let Some(ended) = writers.join_next().await {
        times.extend(ended??);
    }
    let rate = f64::from(u32::try_from(times.len())?) / began.elapsed().as_secs_f64();
    Ok((rate, p99(times)?))
}

/// Milliseconds of writes that are made one after another, each begun no earlier than so long after the one before.
async fn event_types(
    address: SocketAddr,
    whose: &Tenant,
    name: &str,
    (count, pace): (u32, Option<Duration>),
) -> anyhow::Result<Vec<f64>> {
    let http = Http::default();
    let url = format!("http://{address}/api/v1/event_types");
    let mut times = Vec::new();
    for number in 0..count {
        let body = json!({ "application_id": whose.application, "name": format!("tenants.{name}.v{number}") });
        let began = instant();
        let answer = http.json(Method::POST, &url, &whose.token, Some(&body)).await?;
        ensure!(answer.status.is_success(), "{}: {:?}", answer.status, answer.body);
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
        if let Some(pace) = pace {
            tokio::time::sleep(pace.saturating_sub(began.elapsed())).await;
        }
    }
    Ok(times)
}

/// An organization's application with an editor's token of its own.
#[derive(Clone, Debug)]
struct Tenant {
    application: String,
    token: String,
}

async fn tenant(control: &Control, name: &str) -> anyhow::Result<Tenant> {
    let organization = control.post("organizations", &json!({ "name": name })).await?;
    let organization = text(&organization, "organization_id")?;
    let application = json!({ "organization_id": organization, "name": name });
    let application = text(&control.post("applications", &application).await?, "application_id")?;
    let secret = json!({ "application_id": application, "name": name, "role": "editor" });
    Ok(Tenant { token: text(&control.post("application_secrets", &secret).await?, "token")?, application })
}

/// The 99th percentile.
fn p99(mut times: Vec<f64>) -> anyhow::Result<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).copied().context("nothing was measured")
}
