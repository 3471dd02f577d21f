//! Backlogs of events through the fan-out, frozen while they are written.
//!
//! The fan-out and the bare loop take turns: what the broker and the machine do meanwhile meets both alike.

use std::sync::Arc;

use kafka::Offsets;
use kafka::clock::instant;
use testkit::Process;
use testkit::wait::eventually;

use super::{DONE_WITHIN, Scale};
use crate::compare::Against;
use crate::meter::{Cost, Meter};
use crate::stage::{self, Installation, Plan, SESSION_TIMEOUT, Stage};
use crate::table::{Aim, Table};
use crate::workload;

/// Deliveries that come out in a turn, and turns of each; the first is not counted: memory is touched for the first time.
const TURN: u32 = 50_000;
const TURNS: u32 = 5;
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
    let plan = plan(matches);
    let mut loops = vec![Copier::ours(stage.install(&plan).await?, &plan, matches).await?];
    if !scale.ours_only {
        loops.push(Copier::bare(stage, &plan, matches).await?);
    }
    let mut costs = vec![Cost::default(); loops.len()];
    for turn in 0..TURNS {
        for (copier, total) in loops.iter_mut().zip(&mut costs) {
            let cost = copier.copy(stage, scale.of(TURN / matches)).await?;
            if turn > 0 {
                *total += cost;
            }
        }
    }
    stage::stop(loops.swap_remove(0).process).await?;
    let (ours, bare) = (costs[0], costs.get(1).copied());
    if matches == 1 {
        table.fanout = Some((ours, bare));
    }
    if matches > 1 {
        table.add(format!("{title}: events/s"), ours.per_second(), bare.map(|bare| bare.per_second()), Aim::None);
    }
    let unit = if matches > 1 { "deliveries" } else { "events" };
    table.add_costs(title, unit, ours.times(matches), bare.map(|bare| bare.times(matches)), Aim::None);
    Ok(())
}

/// Ours and another `hookbus` in turns.
pub(super) async fn compare(stage: &Stage, scale: Scale, against: &Against, matches: u32) -> anyhow::Result<()> {
    let plan = plan(matches);
    let mut ours = Copier::ours(stage.install(&plan).await?, &plan, matches).await?;
    let theirs = stage.install_from(against.binary.clone(), &plan).await?;
    let mut theirs = Copier::ours(theirs, &plan, matches).await?;
    let count = scale.of(TURN / matches);
    against.measure(&mut ours, &mut theirs, async |copier: &mut Copier<'_>| copier.copy(stage, count).await).await?;
    stage::stop(ours.process).await?;
    stage::stop(theirs.process).await
}

fn plan(matches: u32) -> Plan {
    let types = if matches == 1 { TYPES } else { 1 };
    Plan { types, subscriptions: types * matches, url: "http://127.0.0.1:9/never".into(), ..Plan::default() }
}

/// Work for a broker that has done nothing yet: it compiles what it runs often.
pub(crate) async fn warm_up(stage: &Stage) -> anyhow::Result<()> {
    let plan = Plan { types: TYPES, ..Plan::default() };
    Copier::bare(stage, &plan, 1).await?.copy(stage, WARM_UP).await.map(drop)
}

/// A process that makes deliveries of events. Its end is its kill, if it is not stopped.
struct Copier<'a> {
    installation: Installation<'a>,
    group: String,
    process: Process,
    types: u32,
    matches: u32,
    /// Events so far.
    copied: u32,
}

impl<'a> Copier<'a> {
    async fn ours(installation: Installation<'a>, plan: &Plan, matches: u32) -> anyhow::Result<Self> {
        let (process, _) = installation.start("fanout").await?;
        let group = installation.group("fanout");
        Ok(Self { installation, group, process, types: plan.types, matches, copied: 0 })
    }

    async fn bare(stage: &'a Stage, plan: &Plan, matches: u32) -> anyhow::Result<Self> {
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
        Ok(Self { installation, group, process, types: plan.types, matches, copied: 0 })
    }

    /// One backlog.
    async fn copy(&mut self, stage: &Stage, count: u32) -> anyhow::Result<Cost> {
        let (topics, application) = (&self.installation.topics, self.installation.application);
        self.process.pause()?;
        let numbers = self.copied..self.copied + count;
        self.copied = numbers.end;
        let offsets = Offsets::start(&stage.connection)?;
        let written = stage::end_of(&offsets, &topics.deliveries).await?;
        workload::write_events(&stage.connection, &topics.events, application, numbers, self.types).await?;
        let meter = Meter::start(self.process.pid(), stage.broker())?;
        self.process.resume()?;
        all_written(&offsets, &topics.deliveries, written + i64::from(count) * i64::from(self.matches)).await?;
        stage::committed(&stage.connection, &self.group, &topics.events).await?;
        meter.stop(count, instant())
    }
}

/// Cheap to ask, so asked often; markers make it a little early, the committed offsets then decide.
async fn all_written(offsets: &Offsets, topic: &Arc<str>, expected: i64) -> anyhow::Result<()> {
    eventually("all deliveries to be written", DONE_WITHIN, || async {
        let end = stage::end_of(offsets, topic).await.ok()?;
        (end >= expected).then_some(())
    })
    .await
}
