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
use crate::compare::Against;
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
    let mut worker = Worker::start("/ours", plan(&endpoint, "/ours"), async |plan| stage.install(&plan).await).await?;
    let (ours, bare) = worker.take_turns(stage, &endpoint, &[Bare::usual(Vec::new())], scale, TURNS).await?;
    let bare = bare.first().copied();
    table.delivery = Some((ours, bare));
    table.add_costs("delivery, 64 in flight", "deliveries", ours, bare, Aim::None);
    let parked = worker.stop(stage, &endpoint).await?;
    table.add("delivery, 64 in flight: parked or retried", f64::from(u32::try_from(parked)?), None, Aim::AtMost(0.0));
    Ok(())
}

/// Ours and another `hookbus` in turns.
pub(super) async fn compare(stage: &Stage, scale: Scale, against: &Against) -> anyhow::Result<()> {
    let endpoint = Endpoint::start_with(EndpointOptions { keep: false, ..EndpointOptions::default() })?;
    let binary = &against.binary;
    let mut ours = Worker::start("/ours", plan(&endpoint, "/ours"), async |plan| stage.install(&plan).await).await?;
    let theirs = async |plan| stage.install_from(binary.clone(), &plan).await;
    let mut theirs = Worker::start("/theirs", plan(&endpoint, "/theirs"), theirs).await?;
    let count = scale.of(TURN);
    let turn = async |worker: &mut Worker<'_>| worker.send(stage, &endpoint, count).await;
    against.measure(&mut ours, &mut theirs, turn).await?;
    for worker in [ours, theirs] {
        let path = worker.path;
        let parked = worker.stop(stage, &endpoint).await?;
        anyhow::ensure!(parked == 0, "{parked} deliveries to {path} were parked or retried");
    }
    Ok(())
}

/// As many in flight as the bare loop has.
fn plan(endpoint: &Endpoint, path: &str) -> Plan {
    let settings = vec![("delivery.concurrency", IN_FLIGHT.into())];
    Plan { types: 1, subscriptions: SUBSCRIPTIONS, url: endpoint.url(path), settings, ..Plan::default() }
}

/// How the bare client sends.
#[derive(Clone, Debug)]
pub(super) struct Bare {
    pub(super) in_flight: u32,
    /// Told to it where that is not plain HTTP/1.1.
    pub(super) speaks: Vec<String>,
}

impl Bare {
    /// As many in flight as are enough to keep everybody busy, and no more.
    pub(super) fn usual(speaks: Vec<String>) -> Self {
        Self { in_flight: IN_FLIGHT, speaks }
    }
}

/// The worker and how many deliveries it was given.
pub(super) struct Worker<'a> {
    installation: Installation<'a>,
    process: Process,
    /// What is parked would not come back without it.
    retry: Process,
    path: &'static str,
    sent: u32,
}

impl<'a> Worker<'a> {
    pub(super) async fn start(
        path: &'static str,
        plan: Plan,
        install: impl AsyncFnOnce(Plan) -> anyhow::Result<Installation<'a>>,
    ) -> anyhow::Result<Self> {
        let installation = install(plan).await?;
        let (retry, _) = installation.start("retry").await?;
        let (process, _) = installation.start("delivery").await?;
        Ok(Self { installation, process, retry, path, sent: 0 })
    }

    /// One backlog.
    async fn send(&mut self, stage: &Stage, endpoint: &Endpoint, count: u32) -> anyhow::Result<Cost> {
        let Installation { topics, application, subscriptions, .. } = &self.installation;
        self.process.pause()?;
        let events = (self.sent..self.sent + count, workload::event_id as fn(u32) -> String);
        self.sent += count;
        workload::write_deliveries(&stage.connection, &topics.deliveries, *application, subscriptions, events).await?;
        let meter = Meter::start(self.process.pid(), stage.broker())?;
        self.process.resume()?;
        let (expected, path) = (u64::from(self.sent), self.path);
        let arrived = eventually("all deliveries to arrive", DONE_WITHIN, || async {
            (endpoint.count(path) >= expected).then(kafka::clock::instant)
        });
        let arrived = arrived.await.with_context(|| format!("{} of {expected}", endpoint.count(path)))?;
        stage::committed(&stage.connection, &self.installation.group("delivery"), &topics.deliveries).await?;
        meter.stop(count, arrived)
    }

    /// It and bare clients in turns. The first turn is not counted.
    pub(super) async fn take_turns(
        &mut self,
        stage: &Stage,
        endpoint: &Endpoint,
        bare: &[Bare],
        scale: Scale,
        turns: u32,
    ) -> anyhow::Result<(Cost, Vec<Cost>)> {
        let bare = if scale.ours_only { &[] } else { bare };
        let count = scale.of(TURN);
        let (mut ours, mut theirs) = (Cost::default(), vec![Cost::default(); bare.len()]);
        for turn in 0..turns {
            let cost = self.send(stage, endpoint, count).await?;
            if turn == 0 {
                // The bare client warms itself up.
                continue;
            }
            ours += cost;
            for (cost, bare) in theirs.iter_mut().zip(bare) {
                *cost += send_bare(stage, &endpoint.url("/bare"), bare, count).await?;
            }
        }
        Ok((ours, theirs))
    }

    /// How many deliveries went to their lane's list: the endpoint could have taken them.
    pub(super) async fn listed(&self) -> anyhow::Result<f64> {
        self.process.metric("hookbus_delivery_listed_total").await
    }

    /// Ends it; each delivery must have come once. Returns how many were parked or retried.
    pub(super) async fn stop(self, stage: &Stage, endpoint: &Endpoint) -> anyhow::Result<i64> {
        stage::stop(self.process).await?;
        stage::stop(self.retry).await?;
        let repeats = endpoint.count(self.path).saturating_sub(u64::from(self.sent));
        anyhow::ensure!(repeats == 0, "{repeats} deliveries to {} came twice", self.path);
        stage::end_of(&Offsets::start(&stage.connection)?, &self.installation.topics.retry("5s")).await
    }
}

/// One backlog of a bare client.
pub(super) async fn send_bare(stage: &Stage, url: &str, bare: &Bare, count: u32) -> anyhow::Result<Cost> {
    let (count_text, in_flight) = (count.to_string(), bare.in_flight.to_string());
    let arguments = ["--url", url, "--count", &count_text, "--in-flight", &in_flight].map(str::to_owned);
    let arguments = [&arguments, bare.speaks.as_slice()].concat();
    let output = stage.bare_to_its_end("delivery", &arguments).await?;
    let last = output.lines().last().context("the bare loop said nothing")?;
    let (wall, cpu) = last.split_once(' ').with_context(|| last.to_owned())?;
    let micros = |text: &str| anyhow::Ok(Duration::from_micros(text.parse()?));
    Ok(Cost { count, wall: micros(wall)?, cpu: micros(cpu)?, broker: None })
}
