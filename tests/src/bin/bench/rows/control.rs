//! How long a write to the management API takes, one after another, and what a fight over the writer's place leaves of it.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use http::Method;
use kafka::clock::instant;
use serde_json::json;
use testkit::http::Http;
use tokio::task::JoinSet;

use super::Scale;
use crate::stage::{self, ADMIN_KEY, Plan, Stage};
use crate::table::{Aim, Table};

const WRITES: u32 = 300;
const CONTENDED: u32 = 100;
const WRITERS: u32 = 4;

pub(super) async fn measure(stage: &Stage, scale: Scale, table: &mut Table) -> anyhow::Result<()> {
    let installation = stage.install(&Plan::default()).await?;
    let application = installation.application.to_string();
    let (first, one) = installation.start("control").await?;
    let mut times = writes(one, &application, "alone", scale.of(WRITES)).await?;
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times.get(times.len() * share / 100).copied().context("nothing was written");
    table.add("control write, one after another: p50 ms", at(50)?, None, Aim::None);
    table.add("control write, one after another: p99 ms", at(99)?, None, Aim::None);
    let (second, other) = installation.start("control").await?;
    let began = instant();
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let (address, application) = (if number % 2 == 0 { one } else { other }, application.clone());
        let count = scale.of(CONTENDED);
        writers.spawn(async move { writes(address, &application, &format!("w{number}"), count).await });
    }
    let mut contended = Vec::new();
    while let Some(ended) = writers.join_next().await {
        contended.extend(ended??);
    }
    let rate = f64::from(u32::try_from(contended.len())?) / began.elapsed().as_secs_f64();
    contended.sort_by(f64::total_cmp);
    table.add("4 writers on 2 control planes: writes/s", rate, None, Aim::None);
    let p99 = contended.get(contended.len() * 99 / 100).copied().context("nothing was written")?;
    table.add("4 writers on 2 control planes: p99 ms", p99, None, Aim::None);
    stage::stop(first).await?;
    stage::stop(second).await
}

/// Milliseconds of each.
async fn writes(address: SocketAddr, application: &str, name: &str, count: u32) -> anyhow::Result<Vec<f64>> {
    let http = Http::default();
    let url = format!("http://{address}/api/v1/event_types");
    let mut times = Vec::new();
    for number in 0..count {
        let body = json!({ "application_id": application, "name": format!("bench.{name}.v{number}") });
        let began = instant();
        let answer = http.json(Method::POST, &url, ADMIN_KEY, Some(&body)).await?;
        ensure!(answer.status.is_success(), "{}: {:?}", answer.status, answer.body);
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(times)
}
