//! The processes of a pipeline, by role and number.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use chassis::config::Config;
use kafka_dev::ports;
use schemas::planted::{self, PlantedBug};

use super::setup::{SETTINGS_FILE, ready_within};
use super::watch::Watch;
use crate::ledger::books::Overlap;
use crate::ledger::memory::{self, Measure};
use crate::supervisor::{Process, ProcessOptions, Trouble};

/// A SIGTERM drains within the grace period of 30 s, and then some for two busy cores.
const STOP_WITHIN: Duration = Duration::from_secs(90);

/// A role of the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The management API.
    Control,
    /// Events over HTTP.
    Gateway,
    /// Events times subscriptions.
    Fanout,
    /// Signed requests.
    Delivery,
    /// Delay topics.
    Retry,
}

/// All processes.
#[derive(Debug)]
pub struct Roles {
    launching: Launching,
    slots: BTreeMap<(Role, usize), Slot>,
    /// Addresses of processes that are another's: what a player plays.
    outside: BTreeMap<Role, String>,
}

/// What all processes have in common.
#[derive(Clone, Debug)]
pub(super) struct Launching {
    pub(super) binary: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) planted: Option<PlantedBug>,
    pub(super) proxied: BTreeMap<(Role, usize), String>,
    pub(super) environment: BTreeMap<Role, Vec<(String, String)>>,
    /// What stands behind the subcommand of a process.
    pub(super) arguments: BTreeMap<(Role, usize), Vec<String>>,
}

/// A place for a process, with ports that stay its own.
#[derive(Debug)]
struct Slot {
    admin_port: u16,
    listen_port: u16,
    process: Option<Process>,
}

// === impl Role ===

impl Role {
    /// In the order of their start.
    pub const ALL: [Self; 5] = [Self::Control, Self::Gateway, Self::Fanout, Self::Delivery, Self::Retry];

    /// Its subcommand.
    #[must_use]
    pub const fn command(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Gateway => "gateway",
            Self::Fanout => "fanout",
            Self::Delivery => "delivery",
            Self::Retry => "retry",
        }
    }

    /// The key of the address it listens on, if it does.
    const fn listen_variable(self) -> Option<&'static str> {
        match self {
            Self::Control => Some("HOOKBUS__CONTROL__LISTEN"),
            Self::Gateway => Some("HOOKBUS__GATEWAY__LISTEN"),
            Self::Fanout | Self::Delivery | Self::Retry => None,
        }
    }
}

// === impl Roles ===

impl Roles {
    pub(super) fn new(launching: Launching, counts: &BTreeMap<Role, usize>) -> anyhow::Result<Self> {
        let mut slots = BTreeMap::new();
        for (role, count) in counts {
            for number in 1..=*count {
                let slot = Slot { admin_port: ports::choose()?, listen_port: ports::choose()?, process: None };
                slots.insert((*role, number), slot);
            }
        }
        Ok(Self { launching, slots, outside: BTreeMap::new() })
    }

    /// No process of its own: these addresses are those of the roles.
    pub(super) fn outside(launching: Launching, outside: BTreeMap<Role, String>) -> Self {
        Self { launching, slots: BTreeMap::new(), outside }
    }

    /// Starts every process that does not run, and waits until all are ready.
    ///
    /// # Errors
    /// One is not ready in time, with the end of its log.
    pub async fn start_all(&mut self) -> anyhow::Result<()> {
        let stopped = self.slots.iter().filter(|(_, slot)| slot.process.is_none()).map(|(key, _)| *key);
        let stopped: Vec<(Role, usize)> = stopped.collect();
        for (role, number) in &stopped {
            self.launch(*role, *number).await?;
        }
        for (role, number) in stopped {
            self.ready(role, number).await?;
        }
        Ok(())
    }

    /// Starts one process, or starts it again, and does not wait.
    ///
    /// # Errors
    /// It runs already, or cannot be started.
    pub async fn launch(&mut self, role: Role, number: usize) -> anyhow::Result<()> {
        let launching = self.launching.clone();
        let slot = self.slot(role, number)?;
        if let Some(process) = &mut slot.process {
            return process.restart().await;
        }
        let options = launching.options(role, number, slot);
        slot.process = Some(Process::start(options).await?);
        Ok(())
    }

    /// Waits until a process is ready.
    ///
    /// # Errors
    /// It is not in time, with the end of its log.
    pub async fn ready(&mut self, role: Role, number: usize) -> anyhow::Result<()> {
        self.process(role, number)?.ready(ready_within()).await
    }

    /// Starts one process, or starts it again, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Roles::launch`] and [`Roles::ready`].
    pub async fn start(&mut self, role: Role, number: usize) -> anyhow::Result<()> {
        self.launch(role, number).await?;
        self.ready(role, number).await
    }

    /// Ends one at once (SIGKILL).
    ///
    /// # Errors
    /// It does not run.
    pub async fn kill(&mut self, role: Role, number: usize) -> anyhow::Result<()> {
        self.process(role, number)?.kill().await?;
        Ok(())
    }

    /// Drains one (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// It does not end, or does not end well.
    pub async fn stop(&mut self, role: Role, number: usize) -> anyhow::Result<()> {
        let process = self.process(role, number)?;
        let exit = process.stop(STOP_WITHIN).await?;
        anyhow::ensure!(
            exit == kafka_dev::tether::Exit::Code(0),
            "{} ended with {exit} after SIGTERM\n{}",
            process.name(),
            process.log_tail()
        );
        Ok(())
    }

    /// One process.
    ///
    /// # Errors
    /// There is none, or it was never started.
    pub fn process(&mut self, role: Role, number: usize) -> anyhow::Result<&mut Process> {
        let slot = self.slot(role, number)?;
        slot.process.as_mut().with_context(|| format!("{}-{number} was never started", role.command()))
    }

    /// The addresses a role listens on, in order.
    #[must_use]
    pub fn urls(&self, role: Role) -> Vec<String> {
        let slots = self.slots.iter().filter(|((of, _), _)| *of == role);
        let own = slots.map(|(_, slot)| format!("http://127.0.0.1:{}", slot.listen_port));
        own.chain(self.outside.get(&role).cloned()).collect()
    }

    /// Where each process answers probes, whether it runs or not.
    pub(super) fn admin_ports(&self) -> impl Iterator<Item = ((Role, usize), u16)> {
        self.slots.iter().map(|(key, slot)| (*key, slot.admin_port))
    }

    /// What each process that was started has held at most, against its limits.
    pub(super) fn memory(&self, config: &Config, watch: &Watch) -> Vec<Measure> {
        let started = self.slots.iter().filter_map(|(key, slot)| Some((*key, slot.process.as_ref()?)));
        let measures = started.map(|(key, process)| {
            memory::measures(config, key.0, process.name(), process.resident(), &watch.most(key))
        });
        measures.flatten().collect()
    }

    /// When requests of a delivery worker that did not end well may overlap with those of the next owner.
    pub(super) fn overlaps(&self, attempt_timeout: Duration) -> Vec<Overlap> {
        let workers = self.slots.iter().filter(|((role, _), _)| *role == Role::Delivery);
        let troubles = workers.filter_map(|(_, slot)| Some(slot.process.as_ref()?.troubles()));
        troubles.flat_map(|troubles| overlaps(troubles, attempt_timeout)).collect()
    }

    /// The ends of all logs.
    #[must_use]
    pub fn log_tails(&self) -> String {
        let processes = self.slots.values().filter_map(|slot| slot.process.as_ref());
        processes.map(|process| format!("\n{}", process.log_tail())).collect()
    }

    /// Violations that running processes have counted themselves, a line each.
    pub async fn violations_counted(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        for process in self.slots.values_mut().filter_map(|slot| slot.process.as_mut()) {
            match process.exit() {
                Ok(None) => {}
                // A process that was killed or stopped by its test has nothing to say any more.
                Ok(Some(_)) => continue,
                Err(error) => found.push(format!("{}: {error:#}", process.name())),
            }
            match process.metric("hookbus_invariant_violations_total").await {
                Ok(count) if count > 0.0 => {
                    found.push(format!("{} has counted {count} violations itself", process.name()));
                }
                Ok(_) => {}
                Err(error) => found.push(format!("{}: {error:#}", process.name())),
            }
        }
        found
    }

    fn slot(&mut self, role: Role, number: usize) -> anyhow::Result<&mut Slot> {
        let slot = self.slots.get_mut(&(role, number));
        slot.with_context(|| format!("this pipeline has no {}-{number}", role.command()))
    }
}

/// From each fault to one attempt timeout after the end of what was begun before it.
fn overlaps(troubles: &[Trouble], attempt_timeout: Duration) -> Vec<Overlap> {
    let timeout_ms = i64::try_from(attempt_timeout.as_millis()).unwrap_or(i64::MAX);
    let after = |at_ms: i64| at_ms.saturating_add(timeout_ms);
    let mut found = Vec::new();
    for (at, trouble) in troubles.iter().enumerate() {
        match *trouble {
            Trouble::Killed(at_ms) => found.push(Overlap { from_ms: at_ms, until_ms: after(at_ms), frozen: false }),
            Trouble::Frozen(from_ms) => {
                let until_ms = match troubles.get(at + 1) {
                    Some(Trouble::Thawed(at_ms) | Trouble::Killed(at_ms)) => after(*at_ms),
                    Some(Trouble::Frozen(_)) | None => i64::MAX,
                };
                found.push(Overlap { from_ms, until_ms, frozen: true });
            }
            Trouble::Thawed(_) => {}
        }
    }
    found
}

// === impl Launching ===

impl Launching {
    fn options(&self, role: Role, number: usize, slot: &Slot) -> ProcessOptions {
        let address = |port: u16| format!("127.0.0.1:{port}");
        let mut environment = vec![
            ("HOOKBUS__ADMIN__LISTEN".to_owned(), address(slot.admin_port)),
            ("HOOKBUS__KAFKA__SLOT".to_owned(), number.to_string()),
        ];
        if role == Role::Control {
            let folder = self.folder.join(format!("log-{number}")).display().to_string();
            environment.push(("HOOKBUS__CONTROL__LOG__FOLDER".to_owned(), folder));
        }
        environment.extend(role.listen_variable().map(|name| (name.to_owned(), address(slot.listen_port))));
        environment.extend(self.planted.map(|bug| (planted::VARIABLE.to_owned(), bug.name().to_owned())));
        let proxied = self.proxied.get(&(role, number)).cloned();
        environment.extend(proxied.map(|brokers| ("HOOKBUS__KAFKA__BROKERS".to_owned(), brokers)));
        environment.extend(self.environment.get(&role).into_iter().flatten().cloned());
        let settings = self.folder.join(SETTINGS_FILE).display().to_string();
        let mut arguments = vec!["--config".to_owned(), settings, role.command().to_owned()];
        arguments.extend(self.arguments.get(&(role, number)).into_iter().flatten().cloned());
        ProcessOptions {
            name: format!("{}-{number}", role.command()),
            binary: self.binary.clone(),
            arguments,
            environment,
            folder: self.folder.clone(),
            admin_port: slot.admin_port,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_last_one_timeout_beyond_a_kill_or_a_thaw() {
        let troubles = [Trouble::Killed(100), Trouble::Frozen(200), Trouble::Thawed(300), Trouble::Frozen(400)];
        let found = overlaps(&troubles, Duration::from_millis(50));
        let found: Vec<_> = found.iter().map(|it| (it.from_ms, it.until_ms, it.frozen)).collect();
        assert_eq!(found, [(100, 150, false), (200, 350, true), (400, i64::MAX, true)]);
    }
}
