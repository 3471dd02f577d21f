//! A backlog of deliveries to an endpoint on this machine, signed both ways, 64 requests in flight.

use std::time::Duration;

use anyhow::Context;
use kafka::Offsets;
use testkit::Endpoint;
use testkit::endpoint::EndpointOptions;
use testkit::wait::eventually;

use super::{DONE_WITHIN, Scale};
use crate::meter::{Cost, Meter};
use crate::stage::{self, Plan, Stage};
use crate::table::{Aim, Table};
use crate::workload;

const COUNT: u32 = 150_000;
const IN_FLIGHT: u32 = 64;
const SUBSCRIPTIONS: u32 = 16;

pub(super) async fn measure(stage: &Stage, scale: Scale, table: &mut Table) -> anyhow::Result<()> {
    let endpoint = Endpoint::start_with(EndpointOptions { keep: false, ..EndpointOptions::default() })?;
    let count = scale.of(COUNT);
    let bare = if scale.ours_only { None } else { Some(bare(stage, &endpoint, count).await?) };
    let plan = Plan { types: 1, subscriptions: SUBSCRIPTIONS, url: endpoint.url("/ours") };
    let installation = stage.install(&plan).await?;
    // What is parked would not come back without it.
    let (retry, _) = installation.start("retry").await?;
    let (mut process, _) = installation.start("delivery").await?;
    process.pause()?;
    let topic = &installation.topics.deliveries;
    let (application, subscriptions) = (installation.application, &installation.subscriptions);
    workload::write_deliveries(&stage.connection, topic, application, subscriptions, count).await?;
    let meter = Meter::start(process.pid(), stage.broker())?;
    process.resume()?;
    let arrived = eventually("all deliveries to arrive", DONE_WITHIN, || async {
        (endpoint.count("/ours") >= u64::from(count)).then(kafka::clock::instant)
    });
    let arrived = arrived.await.with_context(|| format!("{} of {count}", endpoint.count("/ours")))?;
    stage::committed(&stage.connection, &installation.group("delivery"), topic).await?;
    let ours = meter.stop(count, arrived)?;
    stage::stop(process).await?;
    stage::stop(retry).await?;
    table.way[1] = Some(ours.cpu_seconds());
    table.add_costs("delivery, 64 in flight", "deliveries", ours, bare, Aim::None);
    let shortest = installation.topics.retry("5s");
    let parked = stage::end_of(&Offsets::start(&stage.connection)?, &shortest).await?;
    table.add("delivery, 64 in flight: parked or retried", f64::from(u32::try_from(parked)?), None, Aim::AtMost(0.0));
    let repeats = endpoint.count("/ours").saturating_sub(u64::from(count));
    anyhow::ensure!(repeats == 0, "{repeats} deliveries came twice");
    Ok(())
}

async fn bare(stage: &Stage, endpoint: &Endpoint, count: u32) -> anyhow::Result<Cost> {
    let (url, count_text, in_flight) = (endpoint.url("/bare"), count.to_string(), IN_FLIGHT.to_string());
    let arguments = ["--url", &url, "--count", &count_text, "--in-flight", &in_flight].map(str::to_owned);
    let output = stage.bare_to_its_end("delivery", &arguments).await?;
    let last = output.lines().last().context("the bare loop said nothing")?;
    let (wall, cpu) = last.split_once(' ').with_context(|| last.to_owned())?;
    let micros = |text: &str| anyhow::Ok(Duration::from_micros(text.parse()?));
    Ok(Cost { count, wall: micros(wall)?, cpu: micros(cpu)?, broker: None })
}
