//! One pod at work: its process, its probes, and its end by SIGTERM, as a kubelet has it.
//!
//! ```text
//! start --> not ready <--probes--> ready --end--> leaving: SIGTERM, the grace period, SIGKILL
//! ```
//!
//! What a kubelet would mend (a container that ends by itself, or is not alive) is an incident here: the release is at fault.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chassis::tasks;
use kafka::clock::instant;
use kafka_dev::tether::{Exit, Launch, Tethered};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::pod::{ContainerPlan, PodIdentity, Probe, ProbeQuestion, Surroundings};
use crate::http::Http;

/// Lines of its log an incident shows.
const TAIL_LINES: usize = 30;
/// Containers that have to end, such as those of a job, do so within this.
const COMMAND_WITHIN: Duration = Duration::from_secs(180);

/// What went wrong, in order. Clones are the same list.
#[derive(Clone, Debug, Default)]
pub(super) struct Incidents(watch::Sender<Vec<String>>);

/// How a pod is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PodState {
    /// Its probe has not said yes, or not lately.
    NotReady,
    /// It has.
    Ready,
    /// It was told to end, at this time.
    Leaving(Instant),
}

/// A pod whose process runs.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    plan: ContainerPlan,
    log_file: PathBuf,
    state: watch::Sender<PodState>,
    leave: CancellationToken,
    ended: JoinHandle<()>,
    incidents: Incidents,
    _probing: DropGuard,
}

/// The process and those who watch it.
struct Kubelet {
    name: String,
    process: Tethered,
    grace: Duration,
    log_file: PathBuf,
    state: watch::Sender<PodState>,
    leave: CancellationToken,
    incidents: Incidents,
}

// === impl Incidents ===

impl Incidents {
    pub(super) fn note(&self, what: String) {
        self.0.send_modify(|all| all.push(what));
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// Waits for the first.
    pub(super) async fn any(&self) {
        // The sender is ours: it cannot be gone.
        drop(self.0.subscribe().wait_for(|all| !all.is_empty()).await);
    }
}

// === impl Pod ===

impl Pod {
    /// Starts the process of a pod of one container.
    pub(super) async fn start(
        binary: &Path,
        template: &serde_json::Value,
        identity: PodIdentity,
        beside: &Surroundings,
        incidents: &Incidents,
    ) -> anyhow::Result<Self> {
        let plans = ContainerPlan::of_pod(template, &identity, beside)?;
        let [(plan, false)] = &plans[..] else {
            bail!("{}: one container is played, not {}", identity.name, plans.len())
        };
        let (plan, name) = (plan.clone(), identity.name);
        let log_file = log_file(&identity.folder);
        let process = launch(binary, &plan, &log_file).await.with_context(|| format!("starting {name}"))?;
        let (state, leave, probing) =
            (watch::Sender::new(PodState::NotReady), CancellationToken::new(), CancellationToken::new());
        let kubelet = Kubelet {
            name: name.clone(),
            process,
            grace: plan.grace,
            log_file: log_file.clone(),
            state: state.clone(),
            leave: leave.clone(),
            incidents: incidents.clone(),
        };
        let asked = |probe: Probe| Asked {
            probe,
            http: Http::default(),
            binary: binary.to_owned(),
            environment: plan.environment.clone(),
        };
        if let Some(probe) = plan.readiness.clone().map(asked) {
            drop(tasks::spawn("readiness", watch_readiness(probe, state.clone(), probing.clone())));
        }
        if let Some(probe) = plan.liveness.clone().map(asked) {
            let what = format!("{name} is not alive: a kubelet would restart it");
            drop(tasks::spawn(
                "liveness",
                watch_liveness(probe, what, incidents.clone(), leave.clone(), probing.clone()),
            ));
        }
        let ended = tasks::spawn("kubelet", kubelet.run(probing.clone()));
        let incidents = incidents.clone();
        Ok(Self { name, plan, log_file, state, leave, ended, incidents, _probing: probing.drop_guard() })
    }

    /// How it is doing, for whoever has to know.
    pub(super) fn state(&self) -> watch::Receiver<PodState> {
        self.state.subscribe()
    }

    /// One of its ports.
    pub(super) fn port(&self, name: &str) -> Option<SocketAddr> {
        self.plan.ports.get(name).copied()
    }

    /// Waits until its probe has said yes.
    pub(super) async fn ready(&self, within: Duration) -> anyhow::Result<()> {
        let mut state = self.state.subscribe();
        let ready = state.wait_for(|state| *state == PodState::Ready);
        let outcome = tokio::select! {
            ready = tokio::time::timeout(within, ready) => matches!(ready, Ok(Ok(_))),
            () = self.incidents.any() => false,
        };
        ensure!(outcome, "{} is not ready: {:?}\n{}", self.name, self.incidents.all(), self.log_tail());
        Ok(())
    }

    /// Tells it to end: SIGTERM, and SIGKILL after its grace period.
    pub(super) fn end(&self) {
        self.state.send_if_modified(|state| match state {
            PodState::Leaving(_) => false,
            PodState::NotReady | PodState::Ready => {
                *state = PodState::Leaving(instant());
                true
            }
        });
        self.leave.cancel();
    }

    /// Waits until it is gone.
    pub(super) async fn gone(self) -> anyhow::Result<()> {
        self.ended.await.with_context(|| self.name)
    }

    /// What it has printed.
    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log_file).unwrap_or_default()).into_owned()
    }

    /// The last lines it has printed, with a heading.
    pub(super) fn log_tail(&self) -> String {
        log_tail(&self.log_file)
    }
}

/// Runs all containers of a pod to their end, one after the other.
pub(super) async fn run_to_end(
    binary: &Path,
    template: &serde_json::Value,
    identity: &PodIdentity,
    beside: &Surroundings,
) -> anyhow::Result<()> {
    for (plan, _) in ContainerPlan::of_pod(template, identity, beside)? {
        let log_file = log_file(&identity.folder);
        let mut process = launch(binary, &plan, &log_file).await?;
        let exit = tokio::time::timeout(COMMAND_WITHIN, process.wait()).await;
        let exit = exit.with_context(|| format!("{} {:?} does not end", identity.name, plan.arguments))??;
        let said = || format!("{} {:?} ended with {exit}\n{}", identity.name, plan.arguments, log_tail(&log_file));
        ensure!(exit == Exit::Code(0), said());
    }
    Ok(())
}

fn log_file(folder: &Path) -> PathBuf {
    folder.with_extension("log")
}

fn log_tail(log_file: &Path) -> String {
    let log = std::fs::read(log_file).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    format!("the end of {}:\n{}", log_file.display(), lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

async fn launch(binary: &Path, plan: &ContainerPlan, log_file: &Path) -> anyhow::Result<Tethered> {
    plan.lay_out()?;
    let mut launch = Launch::new(binary, log_file);
    launch.arguments = plan.arguments.iter().map(Into::into).collect();
    launch.environment = plan.environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Ok(launch.spawn().await?)
}

// === impl Kubelet ===

impl Kubelet {
    /// Until the process has ended, or nobody has the pod any more: then it is killed.
    async fn run(self, dropped: CancellationToken) {
        dropped.run_until_cancelled(self.keep()).await;
    }

    async fn keep(mut self) {
        let left = self.leave.clone();
        tokio::select! {
            exit = self.process.wait() => self.surprise(&exit),
            () = left.cancelled() => self.end().await,
        }
    }

    fn surprise(&self, exit: &std::io::Result<Exit>) {
        self.state.send_replace(PodState::NotReady);
        self.incidents.note(format!("{} ended by itself: {exit:?}\n{}", self.name, log_tail(&self.log_file)));
    }

    async fn end(&mut self) {
        if let Err(error) = self.process.signal(Signal::TERM) {
            self.incidents.note(format!("{}: SIGTERM: {error}", self.name));
        }
        match tokio::time::timeout(self.grace, self.process.wait()).await {
            Ok(Ok(Exit::Code(0))) => {}
            Ok(exit) => {
                let tail = log_tail(&self.log_file);
                self.incidents.note(format!("{} did not end well after SIGTERM: {exit:?}\n{tail}", self.name));
            }
            Err(_elapsed) => {
                let tail = log_tail(&self.log_file);
                self.incidents.note(format!("{} had to be killed after {:?}\n{tail}", self.name, self.grace));
                drop(self.process.signal(Signal::KILL));
                drop(self.process.wait().await);
            }
        }
    }
}

/// A probe, and what it takes to ask.
struct Asked {
    probe: Probe,
    http: Http,
    binary: PathBuf,
    environment: BTreeMap<String, String>,
}

impl Asked {
    /// Whether the answer is a yes.
    async fn is_well(&self) -> bool {
        tokio::time::timeout(self.probe.timeout, self.answer()).await.unwrap_or(false)
    }

    async fn answer(&self) -> bool {
        match &self.probe.asks {
            ProbeQuestion::Get(url) => self.http.get(url).await.is_ok_and(|answer| answer.status.is_success()),
            ProbeQuestion::Run(arguments) => {
                let mut command = tokio::process::Command::new(&self.binary);
                command.args(arguments).env_clear().envs(&self.environment).kill_on_drop(true);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                command.status().await.is_ok_and(|status| status.success())
            }
        }
    }
}

fn turns(every: Duration) -> tokio::time::Interval {
    let mut turns = tokio::time::interval(every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns
}

async fn watch_readiness(asked: Asked, state: watch::Sender<PodState>, stop: CancellationToken) {
    let (probe, mut failed, mut turns) = (&asked.probe, 0, turns(asked.probe.every));
    while stop.run_until_cancelled(turns.tick()).await.is_some() {
        let well = asked.is_well().await;
        failed = if well { 0 } else { failed + 1 };
        state.send_if_modified(|state| {
            let next = match *state {
                PodState::NotReady if well => PodState::Ready,
                PodState::Ready if failed >= probe.failures => PodState::NotReady,
                same @ (PodState::NotReady | PodState::Ready | PodState::Leaving(_)) => same,
            };
            next != std::mem::replace(state, next)
        });
    }
}

/// Until it leaves: a pod that ends is not asked whether it is alive.
async fn watch_liveness(
    asked: Asked,
    what: String,
    incidents: Incidents,
    leave: CancellationToken,
    stop: CancellationToken,
) {
    let (mut failed, mut turns) = (0, turns(asked.probe.every));
    // The first question comes after a period: a process that has just been started listens nowhere yet.
    turns.tick().await;
    while leave.run_until_cancelled(turns.tick()).await.is_some() && !stop.is_cancelled() {
        let well = asked.is_well().await;
        failed = if well { 0 } else { failed + 1 };
        if failed == asked.probe.failures && !leave.is_cancelled() {
            incidents.note(what.clone());
        }
    }
}
