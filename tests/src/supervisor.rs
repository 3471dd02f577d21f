//! Runs roles as processes of their own, as production does, and does to them what production does to processes.
//!
//! A process is killed when its [`Process`] is dropped, and with the test however that ends (see [`kafka_dev::tether`]).
//! Its output goes to a file; every error shows the end of it.

mod settings;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use kafka::clock::now_ms;
use kafka_dev::tether::{Exit, Launch, Tethered};
use rustix::process::Signal;

pub use self::settings::Settings;
use crate::http::Http;
use crate::wait::eventually;

/// Lines of its log an error shows.
const TAIL_LINES: usize = 40;

/// The unit of `/proc/<pid>/stat`: the same on every Linux, whatever the kernel's own clock does.
const TICKS_PER_SECOND: u64 = 100;

/// What to run, and where it says how it is.
#[derive(Clone, Debug)]
pub struct ProcessOptions {
    /// What it is called in messages and file names: `delivery-1`.
    pub name: String,
    /// The binary.
    pub binary: PathBuf,
    /// Its arguments: the role, and what follows.
    pub arguments: Vec<String>,
    /// Environment on top of ours.
    pub environment: Vec<(String, String)>,
    /// Its output is appended here, in `<name>.log`.
    pub folder: PathBuf,
    /// Its admin port on 127.0.0.1.
    pub admin_port: u16,
}

/// A running role.
#[derive(Debug)]
pub struct Process {
    options: ProcessOptions,
    log_file: PathBuf,
    running: Tethered,
    http: Http,
    /// Resident at most, of those of its processes that have been ended.
    resident: u64,
    troubles: Vec<Trouble>,
}

/// What was done to a process that it does not notice, Unix ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// SIGKILL.
    Killed(i64),
    /// SIGSTOP.
    Frozen(i64),
    /// SIGCONT.
    Thawed(i64),
}

impl Process {
    /// Starts it; [`Process::ready`] waits until it works.
    ///
    /// # Errors
    /// When its log file cannot be made.
    pub async fn start(options: ProcessOptions) -> anyhow::Result<Self> {
        let log_file = options.folder.join(format!("{}.log", options.name));
        let running = launch(&options, &log_file).spawn().await;
        let running = running.with_context(|| format!("starting {}", options.name))?;
        Ok(Self { options, log_file, running, http: Http::default(), resident: 0, troubles: Vec::new() })
    }

    /// Starts it again after its end, with the same options.
    ///
    /// # Errors
    /// It has not ended, or as [`Process::start`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        if self.running.try_wait()?.is_none() {
            bail!("{} is still running", self.options.name);
        }
        self.running = launch(&self.options, &self.log_file).spawn().await?;
        Ok(())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.running.pid()
    }

    /// A URL on its admin port.
    #[must_use]
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.options.admin_port)
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// It ended, or is not ready in time: with what is missing and the end of its log.
    pub async fn ready(&mut self, within: Duration) -> anyhow::Result<()> {
        let url = self.admin_url("/readyz");
        let http = self.http.clone();
        let asking = eventually("readiness", within, || async {
            http.get(&url).await.is_ok_and(|answer| answer.status.is_success()).then_some(())
        });
        let outcome = tokio::select! {
            exit = self.running.wait() => Err(anyhow::anyhow!("it ended with {}", exit?)),
            ready = asking => ready,
        };
        let Err(error) = outcome else { return Ok(()) };
        let missing = match self.http.get(&url).await {
            Ok(answer) => String::from_utf8_lossy(&answer.body).into_owned(),
            Err(error) => format!("{error:#}"),
        };
        let error = error.context(format!("/readyz: {missing}\n{}", self.log_tail()));
        Err(error.context(format!("{} is not ready", self.options.name)))
    }

    /// Freezes it (SIGSTOP): connections stay open, nothing moves.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.troubles.push(Trouble::Frozen(now_ms()));
        self.signal(Signal::STOP)
    }

    /// Lets it run again (SIGCONT).
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)?;
        self.troubles.push(Trouble::Thawed(now_ms()));
        Ok(())
    }

    /// Asks it to end (SIGTERM) and does not wait.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        self.resident = self.resident();
        self.signal(Signal::TERM)
    }

    /// Ends it at once (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub async fn kill(&mut self) -> anyhow::Result<Exit> {
        self.resident = self.resident();
        self.troubles.push(Trouble::Killed(now_ms()));
        self.signal(Signal::KILL)?;
        Ok(self.running.wait().await?)
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Errors
    /// It does not end in time; the end of its log says what it was doing.
    pub async fn stop(&mut self, within: Duration) -> anyhow::Result<Exit> {
        self.terminate()?;
        self.ended(within).await
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It does not end in time.
    pub async fn ended(&mut self, within: Duration) -> anyhow::Result<Exit> {
        match tokio::time::timeout(within, self.running.wait()).await {
            Ok(exit) => Ok(exit?),
            Err(_) => bail!("{} runs on after {within:?}\n{}", self.options.name, self.log_tail()),
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn exit(&mut self) -> anyhow::Result<Option<Exit>> {
        Ok(self.running.try_wait()?)
    }

    /// One number from `/metrics`: the sum over all series of this name.
    ///
    /// # Errors
    /// The process does not answer, or there is no such metric.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let answer = self.http.get(&self.admin_url("/metrics")).await?;
        let text = String::from_utf8_lossy(&answer.body);
        sum_of(&text, name).with_context(|| format!("{} has no metric {name}", self.options.name))
    }

    /// CPU time it has used, user and system.
    ///
    /// # Errors
    /// It has ended, or this is not Linux.
    pub fn cpu_time(&self) -> anyhow::Result<Duration> {
        cpu_time(self.pid())
    }

    /// Resident memory at its highest, in bytes, over its restarts. What has ended by itself is not counted.
    #[must_use]
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        resident(&status).unwrap_or(0).max(self.resident)
    }

    /// What was done to it, in order.
    #[must_use]
    pub fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// All it has printed.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log_file).map_or_else(|error| error.to_string(), |log| String::from_utf8_lossy(&log).into())
    }

    /// The last lines it has printed, with a heading.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        format!("the end of {}:\n{}", self.log_file.display(), tail.join("\n"))
    }

    fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        self.running.signal(signal).with_context(|| format!("sending {signal:?} to {}", self.options.name))
    }
}

fn launch(options: &ProcessOptions, log_file: &Path) -> Launch {
    let mut launch = Launch::new(&options.binary, log_file);
    launch.arguments = options.arguments.iter().map(Into::into).collect();
    launch.environment = options.environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    launch
}

/// CPU time a process has used, user and system, from `/proc/<pid>/stat`.
///
/// # Errors
/// There is no such process, or no `/proc`.
pub fn cpu_time(pid: i32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("reading {stat:?}"))?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// CPU time that the threads of a process used whose name has this in it. Those that have ended are not counted.
///
/// # Errors
/// As [`cpu_time`].
pub fn threads_cpu_time(pid: i32, name: &str) -> anyhow::Result<Duration> {
    let folder = format!("/proc/{pid}/task");
    let mut ticks = 0;
    for thread in std::fs::read_dir(&folder).with_context(|| folder.clone())? {
        // A thread that has just ended has nothing to read.
        let Ok(stat) = std::fs::read_to_string(thread?.path().join("stat")) else { continue };
        let is_named =
            stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).is_some_and(|(it, _)| it.contains(name));
        if is_named {
            ticks += cpu_ticks(&stat).with_context(|| format!("reading {stat:?}"))?;
        }
    }
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// Bytes of a process' memory that are resident now.
///
/// # Errors
/// As [`cpu_time`].
pub fn resident_now(pid: i32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid}"))?;
    kilobytes(&status, "VmRSS:").with_context(|| format!("process {pid} has no memory"))
}

/// Bytes of this process' memory that were resident at most since [`forget_peak`].
///
/// # Errors
/// As [`cpu_time`].
pub fn own_peak() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("this process")?;
    resident(&status).context("this process has no memory")
}

/// Forgets how much memory this process had at most: others of its tests may have had more.
///
/// # Errors
/// There is no `/proc`, or it may not be written.
pub fn forget_peak() -> anyhow::Result<()> {
    // What proc(5) takes for it.
    std::fs::write("/proc/self/clear_refs", "5").context("forgetting the peak of this process")
}

/// Fields 14 and 15. The second field is the name, in parentheses, and may hold spaces and parentheses itself.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// `VmHWM` of `/proc/<pid>/status`, in bytes. A process that has ended has none.
fn resident(status: &str) -> Option<u64> {
    kilobytes(status, "VmHWM:")
}

/// A line of `/proc/<pid>/status`, in bytes.
fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let kilobytes = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(kilobytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}

/// The sum over all series of a metric in Prometheus' text format.
pub(crate) fn sum_of(metrics: &str, name: &str) -> Option<f64> {
    let series = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        (rest.starts_with([' ', '{'])).then_some(rest)?.rsplit(' ').next()?.parse::<f64>().ok()
    });
    series.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_ticks_are_found_behind_any_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1037 0 0 0 120 30 0 0 20 0 5 0 1 2 3";
        assert_eq!(cpu_ticks(stat), Some(150));
        assert!(cpu_time(i32::try_from(std::process::id()).unwrap()).is_ok());
    }

    #[test]
    fn the_resident_peak_is_read_in_bytes() {
        assert_eq!(resident("VmPeak:\t  9 kB\nVmHWM:\t   1234 kB\nVmRSS:\t 5 kB\n"), Some(1234 * 1_024));
        assert_eq!(resident("Name:\tx\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn series_of_one_name_are_summed_and_longer_names_left_alone() {
        let metrics = "# HELP a_total x\na_total{b=\"c d\"} 2\na_total{b=\"e\"} 3\na_total_more 9\nb 1.5\n";
        assert_eq!(sum_of(metrics, "a_total"), Some(5.0));
        assert_eq!(sum_of(metrics, "b"), Some(1.5));
        assert_eq!(sum_of(metrics, "c"), None);
    }

    #[tokio::test]
    async fn a_process_that_ends_instead_of_getting_ready_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let options = ProcessOptions {
            name: "role-1".into(),
            binary: "/bin/sh".into(),
            arguments: vec!["-c".into(), "echo cannot find $WHAT; exit 64".into()],
            environment: vec![("WHAT".into(), "the topics".into())],
            folder: folder.path().into(),
            admin_port: kafka_dev::ports::choose().unwrap(),
        };
        let mut process = Process::start(options).await.unwrap();
        let error = format!("{:#}", process.ready(Duration::from_secs(60)).await.unwrap_err());
        assert!(error.contains("role-1") && error.contains("exit code 64"), "{error}");
        assert!(error.contains("cannot find the topics"), "{error}");
        process.restart().await.unwrap();
        assert_eq!(process.ended(Duration::from_secs(60)).await.unwrap(), Exit::Code(64));
        assert_eq!(process.log(), "cannot find the topics\ncannot find the topics\n");
    }
}
