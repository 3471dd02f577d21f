//! 30 of 100 endpoints take requests and never answer: what the other 70 notice.

use std::time::Duration;

use super::{CALM, NEIGHBOUR, WARM, lasts, plan, started};
use crate::receiver::RunningReceiver;
use crate::rows::Scale;
use crate::stage::{self, Plan, Stage};
use crate::steady::Steady;
use crate::table::{Aim, Table};

const WELL: u32 = 70;
const SILENT: u32 = 30;
/// Deliveries a second of each.
const EACH: u32 = 3;
const BESIDE: Duration = Duration::from_secs(90);
const MOST: f64 = 1.2;

pub(super) async fn measure(stage: &Stage, scale: Scale, table: &mut Table) -> anyhow::Result<()> {
    let (silent, ca) = started(stage, &["--silent".to_owned(), SILENT.to_string()]).await?;
    let neighbour = RunningReceiver::start(stage, &[]).await?;
    let plan = Plan { subscriptions: WELL, ..plan(&silent, &neighbour, ca) };
    let installation = stage.install(&plan).await?;
    let (retry, _) = installation.start("retry").await?;
    let (worker, _) = installation.start("delivery").await?;
    let (well, all) = (usize::try_from(WELL)?, installation.subscriptions.len());
    let served = Steady::endless(&stage.connection, &installation, 0..well, WELL * EACH)?;
    lasts(&worker, WARM / 2).await?;
    neighbour.forget(NEIGHBOUR).await?;
    lasts(&worker, scale.lasts(CALM)).await?;
    let alone = neighbour.told(NEIGHBOUR).await?;
    let hang = Steady::endless(&stage.connection, &installation, well..all, SILENT * EACH)?;
    lasts(&worker, WARM).await?;
    neighbour.forget(NEIGHBOUR).await?;
    lasts(&worker, scale.lasts(BESIDE)).await?;
    let beside = neighbour.told(NEIGHBOUR).await?;
    let what = format!("{SILENT} of {} endpoints hang: p99 ms of the others", WELL + SILENT);
    table.add(what, beside.p99_ms, Some(alone.p99_ms), Aim::TimesBare(MOST));
    served.stop().await?;
    hang.stop().await?;
    // Requests that hang are let go with the process: nobody waits for them here.
    drop(worker);
    stage::stop(retry).await
}
