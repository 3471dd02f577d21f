//! A backlog of events through the fan-out, frozen while it is written.

use std::sync::Arc;

use kafka::Offsets;
use kafka::clock::instant;
use testkit::Process;
use testkit::wait::eventually;

use super::{DONE_WITHIN, Scale};
use crate::meter::{Cost, Meter};
use crate::stage::{self, Installation, Plan, SESSION_TIMEOUT, Stage};
use crate::table::{Aim, Table};
use crate::workload;

/// Deliveries that come out.
const DELIVERIES: u32 = 150_000;
/// Events of the warm-up.
const WARM_UP: u32 = 240_000;
/// Event types where each event matches one subscription: deliveries then spread over the partitions.
const TYPES: u32 = 16;

pub(super) async fn measure(
    stage: &Stage,
    scale: Scale,
    table: &mut Table,
    title: &str,
    matches: u32,
) -> anyhow::Result<()> {
    let types = if matches == 1 { TYPES } else { 1 };
    let plan = Plan { types, subscriptions: types * matches, url: "http://127.0.0.1:9/never".into() };
    let count = scale.of(DELIVERIES / matches);
    let bare = if scale.ours_only { None } else { Some(bare(stage, count, &plan, matches).await?) };
    let installation = stage.install(&plan).await?;
    let (process, _) = installation.start("fanout").await?;
    let group = installation.group("fanout");
    let backlog = Backlog { installation: &installation, group, matches, types, count };
    let (ours, process) = backlog.run(stage, process).await?;
    stage::stop(process).await?;
    if matches == 1 {
        table.way[0] = Some(ours.cpu_seconds());
    }
    if matches > 1 {
        table.add(format!("{title}: events/s"), ours.per_second(), bare.map(|bare| bare.per_second()), Aim::None);
    }
    let unit = if matches > 1 { "deliveries" } else { "events" };
    table.add_costs(title, unit, ours.times(matches), bare.map(|bare| bare.times(matches)), Aim::None);
    Ok(())
}

/// Work for a broker that has done nothing yet: it compiles what it runs often.
pub(crate) async fn warm_up(stage: &Stage) -> anyhow::Result<()> {
    let plan = Plan { types: TYPES, subscriptions: 0, url: String::new() };
    bare(stage, WARM_UP, &plan, 1).await.map(drop)
}

async fn bare(stage: &Stage, count: u32, plan: &Plan, matches: u32) -> anyhow::Result<Cost> {
    let installation = stage.install(plan).await?;
    let group = installation.group("bare");
    let topics = &installation.topics;
    let mut arguments = stage.brokers().to_vec();
    let timeout = SESSION_TIMEOUT.as_millis().to_string();
    let rest =
        ["--from", &topics.events, "--to", &topics.deliveries, "--group", &group, "--session-timeout-ms", &timeout];
    arguments.extend(rest.map(str::to_owned));
    arguments.extend(["--matches".to_owned(), matches.to_string()]);
    let process = stage.bare("fanout", &arguments).await?;
    let backlog = Backlog { installation: &installation, group, matches, types: plan.types, count };
    // The end of `process` is its kill.
    backlog.run(stage, process).await.map(|(cost, _)| cost)
}

struct Backlog<'a> {
    installation: &'a Installation<'a>,
    group: String,
    matches: u32,
    types: u32,
    count: u32,
}

impl Backlog<'_> {
    async fn run(&self, stage: &Stage, mut process: Process) -> anyhow::Result<(Cost, Process)> {
        let (topics, application) = (&self.installation.topics, self.installation.application);
        process.pause()?;
        workload::write_events(&stage.connection, &topics.events, application, self.count, self.types).await?;
        let meter = Meter::start(process.pid(), stage.broker())?;
        process.resume()?;
        self.all_written(stage, &topics.deliveries).await?;
        stage::committed(&stage.connection, &self.group, &topics.events).await?;
        let cost = meter.stop(self.count, instant())?;
        Ok((cost, process))
    }

    /// Cheap to ask, so asked often; markers make it a little early, the committed offsets then decide.
    async fn all_written(&self, stage: &Stage, topic: &Arc<str>) -> anyhow::Result<()> {
        let offsets = Offsets::start(&stage.connection)?;
        let expected = i64::from(self.count) * i64::from(self.matches);
        eventually("all deliveries to be written", DONE_WITHIN, || async {
            let end = stage::end_of(&offsets, topic).await.ok()?;
            (end >= expected).then_some(())
        })
        .await
    }
}
