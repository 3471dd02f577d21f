//! Endpoints that harm whoever sends: what their neighbour notices, beside the same without them, and whether what they cost grows.
//!
//! ```text
//! calm: the neighbour alone -> every event for all of them, too: first half -> second half
//! ```
//!
//! Default configuration but for one partition, so that all of them share a window. The neighbour is a process of its own, and so are
//! all that are hostile together.

mod hanging;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kafka::clock::instant;
use serde_json::{Value, json};
use testkit::Process;
use testkit::endpoint::TestAuthority;
use testkit::hostile::{Cruelty, Hostile, HostileNeighbourhood};
use testkit::wait::eventually;

use super::Scale;
use crate::bare::READY;
use crate::held::{descriptors, mib, wide};
use crate::receiver::RunningReceiver;
use crate::stage::{self, Plan, Stage};
use crate::steady::Steady;
use crate::table::{Aim, Table, say};

/// Deliveries a second for the neighbour, and for all that are hostile together.
const PER_SECOND: u32 = 50;
const CALM: Duration = Duration::from_secs(60);
const BESIDE: Duration = Duration::from_secs(240);
/// Until all of them have shown what they do.
const WARM: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(500);
const STARTED_WITHIN: Duration = Duration::from_secs(30);
/// The neighbour beside them takes so many times as long at most.
const MOST: f64 = 1.2;
/// What the second half of the time may hold of what the first half did: it is flat.
const FLAT: f64 = 1.1;
const NEIGHBOUR: &str = "/neighbour";
/// How the hostile process says where they are.
const URL: &str = "url ";

/// `bench hostile-endpoints`
#[derive(Debug, Args)]
pub(crate) struct HostileEndpoints {
    /// Where the certificate of their authority is written, PEM.
    #[arg(long)]
    ca: PathBuf,
    /// So many that take requests and never answer, in place of one of each kind.
    #[arg(long)]
    silent: Option<u32>,
}

/// What the worker holds at most.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    descriptors: f64,
    mib: f64,
}

impl HostileEndpoints {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let authority = TestAuthority::new()?;
        std::fs::write(&self.ca, authority.pem())?;
        let silent = (0..self.silent.unwrap_or(0)).map(|_| Hostile::start(Cruelty::BlackHoleAfter(0)));
        let silent = silent.collect::<anyhow::Result<Vec<_>>>()?;
        let kinds = self.silent.is_none().then(|| HostileNeighbourhood::start(&authority)).transpose()?;
        let urls = silent.iter().map(|hostile| hostile.url("http"));
        for url in urls.chain(kinds.iter().flat_map(HostileNeighbourhood::urls)) {
            say(&format!("{URL}{url}"))?;
        }
        say(READY)?;
        std::future::pending().await
    }
}

pub(super) async fn measure(stage: &Stage, scale: Scale, table: &mut Table) -> anyhow::Result<()> {
    of_each_kind(stage, scale, table).await?;
    hanging::measure(stage, scale, table).await
}

/// A process of hostile endpoints, with further arguments.
async fn started(stage: &Stage, arguments: &[String]) -> anyhow::Result<(Process, PathBuf)> {
    let ca = stage.file("hostile.pem");
    let first = ["hostile-endpoints", "--ca", &ca.display().to_string()].map(str::to_owned);
    let hostile = stage.own_process("hostile", [&first[..], arguments].concat(), 0).await?;
    eventually("hostile endpoints", STARTED_WITHIN, || async { hostile.log().contains(READY).then_some(()) }).await?;
    Ok((hostile, ca))
}

async fn of_each_kind(stage: &Stage, scale: Scale, table: &mut Table) -> anyhow::Result<()> {
    let (hostile, ca) = started(stage, &[]).await?;
    let neighbour = RunningReceiver::start(stage, &[]).await?;
    let plan = Plan { partitions: Some(1), ..plan(&hostile, &neighbour, ca) };
    let installation = stage.install(&plan).await?;
    let (retry, _) = installation.start("retry").await?;
    let (worker, _) = installation.start("delivery").await?;
    let well = Steady::endless(&stage.connection, &installation, 0..1, PER_SECOND)?;
    lasts(&worker, WARM / 2).await?;
    neighbour.forget(NEIGHBOUR).await?;
    lasts(&worker, scale.lasts(CALM)).await?;
    let alone = neighbour.told(NEIGHBOUR).await?;
    let others = installation.subscriptions.len();
    let harm = Steady::endless(&stage.connection, &installation, 1..others, PER_SECOND)?;
    lasts(&worker, WARM).await?;
    neighbour.forget(NEIGHBOUR).await?;
    let first = lasts(&worker, scale.lasts(BESIDE) / 2).await?;
    let second = lasts(&worker, scale.lasts(BESIDE) / 2).await?;
    let beside = neighbour.told(NEIGHBOUR).await?;
    table.add("hostile endpoints: neighbour's p50 ms", beside.p50_ms, Some(alone.p50_ms), Aim::None);
    table.add("hostile endpoints: neighbour's p99 ms", beside.p99_ms, Some(alone.p99_ms), Aim::TimesBare(MOST));
    let (later, earlier) = (second.descriptors, Some(first.descriptors));
    table.add("hostile endpoints: descriptors, later and at first", later, earlier, Aim::TimesBare(FLAT));
    table.add("hostile endpoints: MiB, later and at first", second.mib, Some(first.mib), Aim::TimesBare(FLAT));
    let sent = u64::from(well.stop().await?);
    harm.stop().await?;
    let came = eventually("all of the neighbour's", STARTED_WITHIN, || async {
        let told = neighbour.told(NEIGHBOUR).await.ok()?;
        (told.distinct >= sent).then_some(told)
    });
    let told = came.await?;
    table.add("hostile endpoints: neighbour's that came twice", wide(told.count - sent), None, Aim::AtMost(0.0));
    stage::stop(worker).await?;
    stage::stop(retry).await
}

/// The neighbour, then all that are hostile.
fn plan(hostile: &Process, neighbour: &RunningReceiver, ca: PathBuf) -> Plan {
    let log = hostile.log();
    let subscription = |url: &str| -> Value {
        let target = json!({ "type": "http", "method": "POST", "url": url, "headers": {} });
        json!({ "target": target, "retry": ["1s", "1s", "5s", "20s", "20s"] })
    };
    let mut settings = stage::default_timeouts();
    settings.push(("delivery.ca_file", ca.display().to_string().into()));
    Plan {
        types: 1,
        subscriptions: 1,
        url: neighbour.url(NEIGHBOUR),
        others: log.lines().filter_map(|line| line.strip_prefix(URL)).map(subscription).collect(),
        partitions: None,
        settings,
    }
}

/// Lets this time pass, and looks at the worker meanwhile.
async fn lasts(worker: &Process, time: Duration) -> anyhow::Result<Held> {
    let (until, mut most) = (instant() + time, Held::default());
    while instant() < until {
        most.descriptors = most.descriptors.max(descriptors(worker)?);
        most.mib = most.mib.max(mib(worker)?);
        tokio::time::sleep(LOOK).await;
    }
    Ok(most)
}
