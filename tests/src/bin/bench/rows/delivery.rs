//! Backlogs of deliveries to an endpoint on this machine, signed both ways, 64 requests in flight.
//!
//! The worker and the bare client take turns: what the machine does meanwhile meets both alike.

use std::time::Duration;

use anyhow::Context;
use kafka::Offsets;
use testkit::endpoint::EndpointOptions;
use testkit::wait::eventually;
use testkit::{Endpoint, Process};

use super::{DONE_WITHIN, Scale};
use crate::meter::{Cost, Meter};
use crate::stage::{self, Installation, Plan, Stage};
use crate::table::{Aim, Table};
use crate::workload;

/// Deliveries of a turn, and turns of each; the first is not counted: memory is touched for the first time.
const TURN: u32 = 50_000;
const TURNS: u32 = 5;
const IN_FLIGHT: u32 = 64;
const SUBSCRIPTIONS: u32 = 16;

pub(super) async fn measure(stage: &Stage, scale: Scale, table: &mut Table) -> anyhow::Result<()> {
    let endpoint = Endpoint::start_with(EndpointOptions { keep: false, ..EndpointOptions::default() })?;
    let plan = Plan { types: 1, subscriptions: SUBSCRIPTIONS, url: endpoint.url("/ours") };
    let installation = stage.install(&plan).await?;
    // What is parked would not come back without it.
    let (retry, _) = installation.start("retry").await?;
    let (process, _) = installation.start("delivery").await?;
    let mut worker = Worker { installation, process, sent: 0 };
    let count = scale.of(TURN);
    let (mut ours, mut bare) = (Cost::default(), None);
    for turn in 0..TURNS {
        let cost = worker.send(stage, &endpoint, count).await?;
        if turn == 0 {
            // The bare client warms itself up.
            continue;
        }
        ours += cost;
        if !scale.ours_only {
            *bare.get_or_insert_default() += send_bare(stage, &endpoint, count).await?;
        }
    }
    let Worker { installation, process, sent } = worker;
    stage::stop(process).await?;
    stage::stop(retry).await?;
    table.delivery = Some((ours, bare));
    table.add_costs("delivery, 64 in flight", "deliveries", ours, bare, Aim::None);
    let shortest = installation.topics.retry("5s");
    let parked = stage::end_of(&Offsets::start(&stage.connection)?, &shortest).await?;
    table.add("delivery, 64 in flight: parked or retried", f64::from(u32::try_from(parked)?), None, Aim::AtMost(0.0));
    let repeats = endpoint.count("/ours").saturating_sub(u64::from(sent));
    anyhow::ensure!(repeats == 0, "{repeats} deliveries came twice");
    Ok(())
}

/// The worker and how many deliveries it was given.
struct Worker<'a> {
    installation: Installation<'a>,
    process: Process,
    sent: u32,
}

impl Worker<'_> {
    /// One backlog.
    async fn send(&mut self, stage: &Stage, endpoint: &Endpoint, count: u32) -> anyhow::Result<Cost> {
        let Installation { topics, application, subscriptions, .. } = &self.installation;
        self.process.pause()?;
        let numbers = self.sent..self.sent + count;
        self.sent = numbers.end;
        workload::write_deliveries(&stage.connection, &topics.deliveries, *application, subscriptions, numbers).await?;
        let meter = Meter::start(self.process.pid(), stage.broker())?;
        self.process.resume()?;
        let expected = u64::from(self.sent);
        let arrived = eventually("all deliveries to arrive", DONE_WITHIN, || async {
            (endpoint.count("/ours") >= expected).then(kafka::clock::instant)
        });
        let arrived = arrived.await.with_context(|| format!("{} of {expected}", endpoint.count("/ours")))?;
        stage::committed(&stage.connection, &self.installation.group("delivery"), &topics.deliveries).await?;
        meter.stop(count, arrived)
    }
}

async fn send_bare(stage: &Stage, endpoint: &Endpoint, count: u32) -> anyhow::Result<Cost> {
    let (url, count_text, in_flight) = (endpoint.url("/bare"), count.to_string(), IN_FLIGHT.to_string());
    let arguments = ["--url", &url, "--count", &count_text, "--in-flight", &in_flight].map(str::to_owned);
    let output = stage.bare_to_its_end("delivery", &arguments).await?;
    let last = output.lines().last().context("the bare loop said nothing")?;
    let (wall, cpu) = last.split_once(' ').with_context(|| last.to_owned())?;
    let micros = |text: &str| anyhow::Ok(Duration::from_micros(text.parse()?));
    Ok(Cost { count, wall: micros(wall)?, cpu: micros(cpu)?, broker: None })
}
