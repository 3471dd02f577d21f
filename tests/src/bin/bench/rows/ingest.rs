//! Requests into the gateway: 64 connections, 1 KB events, 201 after the broker's acknowledgement.

use std::net::{Ipv4Addr, SocketAddr};

use kafka::clock::instant;

use super::Scale;
use crate::load::Load;
use crate::meter::{Cost, Meter};
use crate::stage::{self, Plan, Stage};
use crate::table::{Aim, Table};

const CONNECTIONS: u32 = 64;
const WARM_UP: u32 = 60_000;
const COUNT: u32 = 100_000;

pub(super) async fn measure(stage: &Stage, scale: Scale, table: &mut Table) -> anyhow::Result<()> {
    let plan = Plan { types: 1, subscriptions: 0, url: String::new() };
    let installation = stage.install(&plan).await?;
    let mut bare = None;
    if !scale.ours_only {
        let port = kafka_dev::ports::choose()?;
        let mut arguments = stage.brokers().to_vec();
        arguments.extend(["--topic", &installation.topics.rejected, "--port", &port.to_string()].map(str::to_owned));
        let process = stage.bare("ingest", &arguments).await?;
        let load = Load::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), installation.token.as_str());
        bare = Some(run(stage, scale, &load, process.pid()).await?);
    }
    let (process, address) = installation.start("gateway").await?;
    let load = Load::new(address, installation.token.as_str());
    let ours = run(stage, scale, &load, process.pid()).await?;
    stage::stop(process).await?;
    table.add_costs("ingest, 64 connections", "requests", ours, bare, Aim::TimesBare(1.3));
    Ok(())
}

async fn run(stage: &Stage, scale: Scale, load: &std::sync::Arc<Load>, process: i32) -> anyhow::Result<Cost> {
    load.run(scale.of(WARM_UP), CONNECTIONS).await?;
    let count = scale.of(COUNT);
    let meter = Meter::start(process, stage.broker())?;
    load.run(count, CONNECTIONS).await?;
    meter.stop(count, instant())
}
