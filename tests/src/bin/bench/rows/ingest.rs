//! Requests into the gateway: 64 connections, 1 KB events, 201 after the broker's acknowledgement.
//!
//! The gateway and the bare server take turns: what the broker, its compilers and the machine do meanwhile meets both alike.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use kafka::clock::instant;
use testkit::supervisor::Process;

use super::Scale;
use crate::load::Load;
use crate::meter::{Compilers, Cost, Meter};
use crate::stage::{self, Installation, Plan, Stage};
use crate::table::{self, Aim, Table};

const CONNECTIONS: u32 = 64;
const WARM_UP: u32 = 60_000;
/// The broker compiles for longer than a fixed warm-up takes, but is not waited for beyond so many more of them.
const LONGEST_WARM_UP: u32 = 10;
/// Requests of a turn, and turns of each.
const TURN: u32 = 25_000;
const TURNS: u32 = 6;

/// A server under load.
struct Server {
    process: Process,
    load: Arc<Load>,
}

pub(super) async fn measure(stage: &Stage, scale: Scale, table: &mut Table) -> anyhow::Result<()> {
    let plan = Plan { types: 1, ..Plan::default() };
    let installation = stage.install(&plan).await?;
    let mut servers = vec![Server::gateway(&installation).await?];
    if !scale.ours_only {
        servers.push(Server::bare(stage, &installation).await?);
    }
    let mut compilers = Compilers::of(stage.broker())?;
    for round in 0..=LONGEST_WARM_UP {
        for server in &servers {
            server.load.run(scale.of(WARM_UP), CONNECTIONS).await?;
        }
        // The first look is at the start too.
        if compilers.rest()? && round > 0 {
            break;
        }
        if round == LONGEST_WARM_UP {
            table::say_still_compiling()?;
        }
    }
    let mut costs = vec![Cost::default(); servers.len()];
    for _ in 0..TURNS {
        for (server, cost) in servers.iter().zip(&mut costs) {
            let meter = Meter::start(server.process.pid(), stage.broker())?;
            let count = scale.of(TURN);
            server.load.run(count, CONNECTIONS).await?;
            *cost += meter.stop(count, instant())?;
        }
    }
    stage::stop(servers.swap_remove(0).process).await?;
    table.add_costs("ingest, 64 connections", "requests", costs[0], costs.get(1).copied(), Aim::TimesBare(1.3));
    Ok(())
}

impl Server {
    async fn gateway(installation: &Installation<'_>) -> anyhow::Result<Self> {
        let (process, address) = installation.start("gateway").await?;
        Ok(Self { process, load: Load::new(address, installation.token.as_str()) })
    }

    async fn bare(stage: &Stage, installation: &Installation<'_>) -> anyhow::Result<Self> {
        let port = kafka_dev::ports::choose()?;
        let mut arguments = stage.brokers().to_vec();
        arguments.extend(["--topic", &installation.topics.rejected, "--port", &port.to_string()].map(str::to_owned));
        let process = stage.bare("ingest", &arguments).await?;
        let load = Load::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), installation.token.as_str());
        Ok(Self { process, load })
    }
}
