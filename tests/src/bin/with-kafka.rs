//! Starts the one Kafka of a test run, runs a command with it, stops it: `with-kafka cargo test --workspace`.
//!
//! The broker is tethered to this process, so it is gone after a crash too, and its data with it.

use std::process::ExitCode;

use anyhow::{Context, bail};
use testkit::broker::{self, SharedKafka};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// More tests than this do not hold a proxy at the same time.
const PROXIED: usize = 6;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    // A leading `--` may divide our arguments from the command's, of which we have none.
    let first = arguments.next().filter(|first| first != "--").or_else(|| arguments.next());
    let Some(program) = first else { bail!("usage: with-kafka COMMAND [ARGUMENT...]") };
    let folder = tempfile::tempdir()?;
    let kafka = broker::start(folder.path(), PROXIED).await?;
    let child = Command::new(&program)
        .args(arguments)
        .envs(SharedKafka::of(&kafka).variables())
        .spawn()
        .with_context(|| format!("running {}", program.display()))?;
    let code = wait(child).await;
    // Nobody needs the data: no reason to wait for a friendly end.
    kafka.kill().await?;
    code
}

/// A Ctrl-C reaches the child by itself, and it decides; a SIGTERM reaches only us.
async fn wait(mut child: Child) -> anyhow::Result<ExitCode> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            status = child.wait() => {
                let code = status?.code().and_then(|code| u8::try_from(code).ok());
                return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
            }
            _ = interrupted.recv() => {}
            _ = terminated.recv() => child.start_kill()?,
        }
    }
}
