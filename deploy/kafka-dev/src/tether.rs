//! Runs a program so that it cannot outlive the process that started it, however that one ends.
//!
//! Linux could do this with a parent-death signal, set between fork and exec, which is unsafe code in Rust. Here a
//! tiny shell stands between: it starts the program, says its id, and a second shell reads from a pipe whose only
//! writer is our process. When we are gone, by SIGKILL too, the read ends and the program is killed.
//! Works wherever there is `/bin/sh`.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// `$1` is the log file, the rest the command. Descriptor 3 is the pipe that ends with us.
const SCRIPT: &str = r#"
exec 3<&0
log=$1
shift
"$@" </dev/null 3<&- >>"$log" 2>&1 &
child=$!
echo "$child"
( read -r line <&3; kill -9 "$child" ) >/dev/null 2>&1 &
watch=$!
exec 3<&-
wait "$child"
status=$?
kill "$watch" 2>/dev/null
exit "$status"
"#;

/// What to run.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program, a path or a name on the `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Environment on top of ours.
    pub environment: Vec<(OsString, OsString)>,
    /// Output and errors are appended here.
    pub log_file: PathBuf,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A running program that is killed when this is dropped, and when our process ends.
#[derive(Debug)]
pub struct Tethered {
    shell: Child,
    pid: Pid,
    exit: Option<Exit>,
    /// Never written to: closing it is the message.
    _leash: ChildStdin,
}

// === impl Launch ===

impl Launch {
    /// A program without arguments, its output in a file.
    pub fn new(program: impl Into<PathBuf>, log_file: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), environment: Vec::new(), log_file: log_file.into() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs it.
    ///
    /// # Errors
    /// When there is no shell or no log file. A program that does not exist shows as [`Exit::Code`] 127.
    pub async fn spawn(&self) -> io::Result<Tethered> {
        create_parent(&self.log_file)?;
        let mut shell = Command::new("/bin/sh")
            .arg("-c")
            .arg(SCRIPT)
            .arg("tether")
            .arg(&self.log_file)
            .arg(&self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A Ctrl-C at the terminal reaches our process only, which then stops this one in its own time.
            .process_group(0)
            .spawn()?;
        let leash = shell.stdin.take().ok_or_else(|| io::Error::other("the shell has no input"))?;
        let output = shell.stdout.take().ok_or_else(|| io::Error::other("the shell has no output"))?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other(format!("the shell did not say a process id but {line:?}")))?;
        Ok(Tethered { shell, pid, exit: None, _leash: leash })
    }
}

fn create_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)
}

// === impl Exit ===

impl fmt::Display for Exit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(out, "exit code {code}"),
            Self::Signal(signal) => write!(out, "signal {signal}"),
        }
    }
}

// === impl Tethered ===

impl Tethered {
    /// The program's process id (not the shell's).
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends a signal to the program. One that has ended already is no error.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        match kill_process(self.pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        if self.exit.is_none() {
            self.exit = self.shell.try_wait()?.map(exit_of);
        }
        Ok(self.exit)
    }

    /// Asks it to end (SIGTERM), and kills it if it takes longer than `within`.
    ///
    /// # Errors
    /// When the system refuses a signal or cannot tell how it ended.
    pub async fn stop(&mut self, within: Duration) -> io::Result<Exit> {
        self.signal(Signal::TERM)?;
        // A paused process sees a signal only when it runs.
        self.signal(Signal::CONT)?;
        if let Ok(exit) = tokio::time::timeout(within, self.wait()).await {
            return exit;
        }
        self.signal(Signal::KILL)?;
        self.wait().await
    }

    /// Waits until it has ended. Cancel safe.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub async fn wait(&mut self) -> io::Result<Exit> {
        if let Some(exit) = self.exit {
            return Ok(exit);
        }
        // Not `Child::wait`: it would close standard input first, which it no longer has, so that is harmless here.
        let exit = exit_of(self.shell.wait().await?);
        self.exit = Some(exit);
        Ok(exit)
    }
}

/// The shell reports a program that a signal ended as 128 + the signal.
fn exit_of(status: std::process::ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) if code > 128 => Exit::Signal(code - 128),
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}

impl Drop for Tethered {
    fn drop(&mut self) {
        if matches!(self.try_wait(), Ok(None)) {
            // The leash, dropped next, does the same a moment later should this fail.
            kill_process(self.pid, Signal::KILL).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(folder: &tempfile::TempDir, script: &str) -> Launch {
        Launch::new("/bin/sh", folder.path().join("logs/out")).argument("-c").argument(script)
    }

    fn alive(pid: i32) -> bool {
        rustix::process::test_kill_process(Pid::from_raw(pid).unwrap()).is_ok()
    }

    #[tokio::test]
    async fn output_and_exit_code_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let launch = shell(&folder, "echo $GREETING; echo loud >&2; exit 7").variable("GREETING", "hello");
        assert_eq!(launch.spawn().await.unwrap().wait().await.unwrap(), Exit::Code(7));
        assert_eq!(std::fs::read_to_string(&launch.log_file).unwrap(), "hello\nloud\n");
    }

    #[tokio::test]
    async fn a_program_that_does_not_exist_ends_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let launch = Launch::new("/does/not/exist", folder.path().join("out"));
        assert_eq!(launch.spawn().await.unwrap().wait().await.unwrap(), Exit::Code(127));
    }

    #[tokio::test]
    async fn a_signal_is_reported_and_a_second_one_is_harmless() {
        let folder = tempfile::tempdir().unwrap();
        let mut program = shell(&folder, "exec sleep 60").spawn().await.unwrap();
        assert!(alive(program.pid()));
        program.signal(Signal::STOP).unwrap();
        program.signal(Signal::KILL).unwrap();
        assert_eq!(program.wait().await.unwrap(), Exit::Signal(9));
        program.signal(Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn a_program_ends_with_the_process_that_started_it() {
        let folder = tempfile::tempdir().unwrap();
        // What the kernel does for a parent that was killed: close the pipe, and nothing else.
        let mut program = shell(&folder, "exec sleep 60").spawn().await.unwrap();
        let Tethered { shell, _leash, .. } = &mut program;
        let closed = std::mem::replace(_leash, spare_pipe());
        drop(closed);
        let status = shell.wait().await.unwrap();
        assert_eq!(exit_of(status), Exit::Signal(9));
    }

    fn spare_pipe() -> ChildStdin {
        let mut other = Command::new("/bin/true").stdin(Stdio::piped()).spawn().unwrap();
        other.stdin.take().unwrap()
    }
}
