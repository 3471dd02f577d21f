//! The worker, its two endpoints, and the load on the neighbours.

use std::time::Duration;

use anyhow::ensure;
use kafka::clock::instant;
use schemas::ids::SubscriptionId;
use serde_json::json;
use testkit::Process;

use crate::held::mib;
use crate::receiver::{RunningReceiver, Told};
use crate::stage::{self, Installation, Plan, Stage};
use crate::steady::Steady;
use crate::table::say;
use crate::workload;

/// Paths of the neighbours and of the dead one.
const NEIGHBOURS: &str = "/neighbours";
pub(super) const DEAD: &str = "/dead";
/// Neighbours, and deliveries a second of all of them.
const LANES: u32 = 15;
const PER_SECOND: u32 = 150;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// A worker that was killed is missed after its session.
const BACK_WITHIN: Duration = Duration::from_secs(120);
/// Nothing comes for so long: then nothing will.
const STANDSTILL: Duration = Duration::from_secs(420);
/// Deliveries of the dead one that stand in no list though it is dead: its window, and retries on their way back.
const UNLISTED: u32 = 1_500;

/// See the module.
pub(super) struct Scene<'a> {
    stage: &'a Stage,
    installation: Installation<'a>,
    worker: Process,
    retry: Process,
    neighbours: RunningReceiver,
    dead: RunningReceiver,
    load: Option<Steady>,
    most_mib: f64,
}

impl<'a> Scene<'a> {
    pub(super) async fn begin(stage: &'a Stage) -> anyhow::Result<Self> {
        let neighbours = RunningReceiver::start(stage, &[]).await?;
        let dead = RunningReceiver::start(stage, &["--closed"]).await?;
        // Probes fail for as long as it is dead, and each that does is a retry: none of them is to be hours away at the end.
        let retry = vec!["5s"; 60];
        let target = json!({ "type": "http", "method": "POST", "url": dead.url(DEAD), "headers": {} });
        let plan = Plan {
            types: 1,
            subscriptions: LANES,
            url: neighbours.url(NEIGHBOURS),
            others: vec![json!({ "target": target, "retry": retry })],
            partitions: Some(1),
            settings: stage::default_timeouts(),
        };
        let installation = stage.install(&plan).await?;
        let (retry, _) = installation.start("retry").await?;
        let (worker, _) = installation.start("delivery").await?;
        let mut scene = Self { stage, installation, worker, retry, neighbours, dead, load: None, most_mib: 0.0 };
        let neighbours = 0..scene.installation.subscriptions.len() - 1;
        scene.load = Some(Steady::endless(&stage.connection, &scene.installation, neighbours, PER_SECOND)?);
        // What is only at the beginning is not measured.
        scene.lasts(Duration::from_secs(10)).await?;
        Ok(scene)
    }

    pub(super) const fn stage(&self) -> &'a Stage {
        self.stage
    }

    pub(super) const fn installation(&self) -> &Installation<'a> {
        &self.installation
    }

    /// The subscription that is dead.
    pub(super) fn dead_subscription(&self) -> SubscriptionId {
        self.installation.subscriptions[self.installation.subscriptions.len() - 1]
    }

    pub(super) fn dead_url(&self, path: &str) -> String {
        self.dead.url(path)
    }

    /// 99th percentile of the neighbours over this time, ms.
    pub(super) async fn neighbours(&mut self, time: Duration) -> anyhow::Result<f64> {
        self.forget_neighbours().await?;
        self.lasts(time).await?;
        self.neighbours_p99().await
    }

    pub(super) async fn forget_neighbours(&self) -> anyhow::Result<()> {
        self.neighbours.forget(NEIGHBOURS).await
    }

    pub(super) async fn neighbours_p99(&self) -> anyhow::Result<f64> {
        let told = self.neighbours.told(NEIGHBOURS).await?;
        say(&format!("    neighbours: p50 {} ms, p99 {} ms, at most {} ms", told.p50_ms, told.p99_ms, told.most_ms))?;
        Ok(told.p99_ms)
    }

    /// Writes so many for the dead one, and waits until they are listed. Returns the neighbours' 99th percentile meanwhile, ms.
    pub(super) async fn list(&mut self, count: u32) -> anyhow::Result<f64> {
        self.forget_neighbours().await?;
        let began = instant();
        let Installation { topics, application, .. } = &self.installation;
        let (of, events) = ([self.dead_subscription()], (0..count, workload::timed_id as fn(u32) -> String));
        workload::write_deliveries(&self.stage.connection, &topics.deliveries, *application, &of, events).await?;
        let wrote = began.elapsed();
        let least = f64::from(count.saturating_sub(UNLISTED));
        let until = instant() + STANDSTILL;
        while self.worker.metric("hookbus_delivery_queued").await? < least {
            ensure!(instant() < until, "{count} deliveries for a dead endpoint are not listed within {STANDSTILL:?}");
            self.look().await?;
        }
        let (wrote, all) = (wrote.as_secs_f64(), began.elapsed().as_secs_f64());
        say(&format!("    {count} were written in {wrote:.0} s, and listed {all:.0} s after the first"))?;
        self.neighbours_p99().await
    }

    /// Kills the worker so many times, each once it works again; where so many are to come, a tenth of them further each time.
    pub(super) async fn kill(&mut self, times: u32, of: Option<u32>) -> anyhow::Result<()> {
        for _ in 0..times {
            if let Some(count) = of {
                let told = self.told().await?.distinct;
                let next = told + u64::from(count / 12);
                self.came(u32::try_from(next)?.min(count)).await?;
            }
            self.worker.kill().await?;
            self.worker.restart().await?;
            self.worker.ready(BACK_WITHIN).await?;
        }
        Ok(())
    }

    /// Waits until the neighbours have what was written for them while nobody delivered: how late that is says nothing about what comes
    /// after it.
    pub(super) async fn level(&mut self) -> anyhow::Result<()> {
        let (began, until) = (instant(), instant() + STANDSTILL);
        while let Some(written) = self.load.as_ref().map(|load| u64::from(load.next())) {
            let came = self.neighbours.told(NEIGHBOURS).await?.distinct;
            if came + u64::from(PER_SECOND) >= written {
                break;
            }
            ensure!(instant() < until, "{came} of {written} have come to the neighbours within {STANDSTILL:?}");
            self.look().await?;
        }
        say(&format!("    neighbours are level again after {:.0} s", began.elapsed().as_secs_f64()))?;
        Ok(())
    }

    pub(super) async fn heal(&self) -> anyhow::Result<()> {
        self.dead.open().await
    }

    pub(super) async fn told(&self) -> anyhow::Result<Told> {
        self.dead.told(DEAD).await
    }

    /// Waits until so many different ones have come.
    pub(super) async fn came(&mut self, count: u32) -> anyhow::Result<()> {
        let (mut before, mut since) = (0, instant());
        loop {
            let told = self.told().await?;
            if told.distinct >= u64::from(count) {
                return Ok(());
            }
            if told.count > before {
                (before, since) = (told.count, instant());
            }
            ensure!(since.elapsed() < STANDSTILL, "{} of {count} have come, and no more do", told.distinct);
            self.look().await?;
        }
    }

    /// Lets this time pass.
    pub(super) async fn lasts(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = instant() + time;
        while instant() < until {
            self.look().await?;
        }
        Ok(())
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        self.most_mib = self.most_mib.max(self.mib()?);
        tokio::time::sleep(LOOK).await;
        Ok(())
    }

    /// What the worker holds now.
    pub(super) fn mib(&self) -> anyhow::Result<f64> {
        mib(&self.worker)
    }

    /// The most it held at any look.
    pub(super) const fn most_mib(&self) -> f64 {
        self.most_mib
    }

    /// Ends it; each of the neighbours' has come.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        let sent = match self.load.take() {
            Some(load) => u64::from(load.stop().await?),
            None => 0,
        };
        let until = instant() + BACK_WITHIN;
        while self.neighbours.told(NEIGHBOURS).await?.distinct < sent {
            ensure!(instant() < until, "not all of {sent} have come to the neighbours");
            self.look().await?;
        }
        stage::stop(self.worker).await?;
        stage::stop(self.retry).await
    }
}
