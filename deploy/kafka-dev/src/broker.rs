//! One Kafka node: format once, start, wait until it serves, stop.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use rustix::process::Signal;
use tokio::process::Command;

use crate::error::{tail_of, tail_of_file};
use crate::tether::{Exit, Launch, Tethered};
use crate::{BrokerOptions, KafkaDevError, fence, probe};

/// Any 16 bytes in base64; the same for all, so that a data folder fits every later start.
const CLUSTER_ID: &str = "SG9va2J1c0RldkthZmthMQ";
/// A broker that was killed with its parent has gone after this, and with it its lock.
const FREED_WITHIN: Duration = Duration::from_secs(3);
/// How often a starting broker is asked whether it serves.
const PROBE_EVERY: Duration = Duration::from_millis(50);
/// A clean stop flushes logs and takes 1 to 3 s; one that takes longer than this is stuck.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// A running Kafka. Dropping it kills it; [`Broker::stop`] is the friendly way.
#[derive(Debug)]
pub struct Broker {
    options: BrokerOptions,
    process: Tethered,
}

impl Broker {
    /// Starts Kafka and returns when it serves. Data that is there already is kept.
    ///
    /// # Errors
    /// Another Kafka runs on this storage, Java is missing, the storage cannot be formatted, a port is taken, or it does not serve in time; each with the
    /// end of what Kafka printed.
    pub async fn start(mut options: BrokerOptions) -> Result<Self, KafkaDevError> {
        options.choose_ports()?;
        let data_dir = &options.data_dir;
        std::fs::create_dir_all(data_dir).map_err(KafkaDevError::file("create", data_dir))?;
        options.data_dir = data_dir.canonicalize().map_err(KafkaDevError::file("find", data_dir))?;
        refuse_if_in_use(&options.storage()).await?;
        let properties = options.properties_file();
        std::fs::write(&properties, options.render()).map_err(KafkaDevError::file("write", &properties))?;
        if !options.storage().join("meta.properties").is_file() {
            format(&options, &properties).await?;
        } else if options.member.is_none() {
            // The other controllers of a cluster live on and do it meanwhile.
            fence::former_incarnation(&options).await?;
        }
        let process = launch(&options, &properties).spawn().await;
        let process = process.map_err(KafkaDevError::file("start kafka with the log", &options.log_file))?;
        let mut broker = Self { options, process };
        broker.serving().await?;
        Ok(broker)
    }

    /// Where clients connect.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.options.port
    }

    /// Where clients connect, as librdkafka wants it.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.options.port)
    }

    /// The id of the Java process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// What it runs with, ports chosen: [`Broker::start`] with these brings the same broker back.
    #[must_use]
    pub const fn options(&self) -> &BrokerOptions {
        &self.options
    }

    /// Freezes it (SIGSTOP): connections stay open, nothing answers.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn pause(&mut self) -> Result<(), KafkaDevError> {
        self.signal(Signal::STOP, "pause")
    }

    /// Lets it run again (SIGCONT).
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn resume(&mut self) -> Result<(), KafkaDevError> {
        self.signal(Signal::CONT, "resume")
    }

    /// Asks it to end (SIGTERM), waits, and kills it if it takes longer than 30 s.
    ///
    /// # Errors
    /// When it cannot be signalled or awaited.
    pub async fn stop(mut self) -> Result<Exit, KafkaDevError> {
        let exit = self.process.stop(STOP_WITHIN).await;
        exit.map_err(|source| self.failed("stop", source))
    }

    /// Ends it at once (SIGKILL).
    ///
    /// # Errors
    /// When it cannot be signalled or awaited.
    pub async fn kill(mut self) -> Result<Exit, KafkaDevError> {
        self.signal(Signal::KILL, "kill")?;
        let exit = self.process.wait().await;
        exit.map_err(|source| self.failed("await", source))
    }

    /// Waits until the broker has ended by itself: for whoever must say that Kafka is gone.
    ///
    /// # Errors
    /// When it cannot be awaited.
    pub async fn ended(&mut self) -> Result<Exit, KafkaDevError> {
        let exit = self.process.wait().await;
        exit.map_err(|source| self.failed("await", source))
    }

    fn signal(&mut self, signal: Signal, doing: &'static str) -> Result<(), KafkaDevError> {
        let sent = self.process.signal(signal);
        sent.map_err(|source| self.failed(doing, source))
    }

    fn failed(&self, doing: &'static str, source: std::io::Error) -> KafkaDevError {
        KafkaDevError::Process { doing, pid: self.pid(), source }
    }

    async fn serving(&mut self) -> Result<(), KafkaDevError> {
        let BrokerOptions { port, ready_within, log_file, .. } = &self.options;
        let serves = async {
            probe_until_it_serves(*port).await;
            Ok(())
        };
        comes_up(&mut self.process, (*port, *ready_within, log_file), serves).await
    }
}

/// Kafka would say so itself, below fifty lines of Java. One whose parent was killed is on its way out, and waited for.
async fn refuse_if_in_use(storage: &Path) -> Result<(), KafkaDevError> {
    let freed = async {
        let mut turns = tokio::time::interval(PROBE_EVERY);
        loop {
            turns.tick().await;
            if !is_in_use(storage)? {
                return Ok(());
            }
        }
    };
    let freed = tokio::time::timeout(FREED_WITHIN, freed).await;
    freed.unwrap_or_else(|_elapsed| Err(KafkaDevError::InUse { path: storage.to_owned() }))
}

/// Whether somebody has the lock that Kafka holds on a file of its storage as long as it runs.
fn is_in_use(storage: &Path) -> Result<bool, KafkaDevError> {
    let path = storage.join(".lock");
    let file = match std::fs::OpenOptions::new().write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(KafkaDevError::file("open", &path)(error)),
    };
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        // Closing the file gives it back.
        Ok(()) => Ok(false),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(true),
        Err(error) => Err(KafkaDevError::file("lock", &path)(error.into())),
    }
}

/// Waits until a node on this port is `ready`, at most so long.
///
/// # Errors
/// It ended or was not ready in time, with the end of this log; or what `ready` met.
pub(crate) async fn comes_up(
    process: &mut Tethered,
    (port, within, log): (u16, Duration, &Path),
    ready: impl Future<Output = Result<(), KafkaDevError>>,
) -> Result<(), KafkaDevError> {
    let (pid, told) = (process.pid(), || (log.to_owned(), tail_of_file(log)));
    tokio::select! {
        exit = process.wait() => {
            let exit = exit.map_err(|source| KafkaDevError::Process { doing: "await", pid, source })?;
            let (log, tail) = told();
            Err(KafkaDevError::Ended { exit, log, tail })
        }
        ready = tokio::time::timeout(within, ready) => ready.unwrap_or_else(|_elapsed| {
            let (log, tail) = told();
            Err(KafkaDevError::NotReady { port, waited: within, log, tail })
        }),
    }
}

async fn probe_until_it_serves(port: u16) {
    let mut turns = tokio::time::interval(PROBE_EVERY);
    loop {
        turns.tick().await;
        // Any failure means "not yet": whether it ever will be is the deadline's business.
        if matches!(probe::serves(port).await, Ok(true)) {
            return;
        }
    }
}

pub(crate) fn java_arguments(options: &BrokerOptions) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["-cp".into(), options.jars.class_path()];
    arguments.extend(
        ["-XX:+UseSerialGC", "-Djava.awt.headless=true", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
            .map(OsString::from),
    );
    arguments.push("-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS".into());
    // Its hundreds of lines of settings help nobody; what goes wrong is a warning.
    arguments.push("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".into());
    if options.quick {
        arguments.push("-XX:TieredStopAtLevel=1".into());
    }
    arguments
}

async fn format(options: &BrokerOptions, properties: &Path) -> Result<(), KafkaDevError> {
    let output = Command::new("java")
        .args(java_arguments(options))
        .arg("-XX:TieredStopAtLevel=1")
        .args(["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config"])
        .arg(properties)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| KafkaDevError::ToolMissing { program: "java".into(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(KafkaDevError::Format { path: options.storage(), tail: tail_of(&text) })
}

fn launch(options: &BrokerOptions, properties: &Path) -> Launch {
    let mut launch = Launch::new("java", &options.log_file);
    launch.arguments = java_arguments(options);
    let heap = options.heap_mib;
    // The small heap from the start: touched once, it stays; a growing one collects again and again.
    launch
        .argument(format!("-Xmx{heap}m"))
        .argument(format!("-Xms{}m", heap.min(256)))
        .argument("kafka.Kafka")
        .argument(properties)
}
