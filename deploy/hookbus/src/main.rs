//! The `hookbus` binary: parse, configure, log, run one subcommand, end with its exit code.
//!
//! Exit codes: 0 done, 1 failed, 64 wrong configuration or command line. A second signal during a drain ends it with 1.

mod cli;
mod commands;
mod dev;
mod invariants;
mod process;
mod roles;
mod screen;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use chassis::config::{self, ConfigError, Loaded, Role};
use clap::Parser;

use crate::cli::{Cli, Command};

/// Deliveries are many small allocations that move between threads; measured, this one takes a sixth less CPU for them.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Wrong usage, as `sysexits.h` numbers it.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // TLS needs one provider for the whole process, chosen before the first connection.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return failed(&anyhow::anyhow!("a TLS provider was installed before main"));
    }
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn run(cli: Cli) -> Result<()> {
    let file = cli.config.as_deref();
    match cli.command {
        Command::Config { command } => commands::config::run(file, &command),
        Command::Gateway => role(Role::Gateway, file),
        Command::Fanout => role(Role::Fanout, file),
        Command::Delivery => role(Role::Delivery, file),
        Command::Retry => role(Role::Retry, file),
        Command::Control => role(Role::Control, file),
        Command::Dev(args) => runtime()?.block_on(dev::run(file, &args)),
        Command::Topics { command } => {
            let loaded = loaded(file)?;
            let connection = process::connection(&loaded.config)?;
            runtime()?.block_on(commands::topics::run(&connection, &loaded.config.topics, &command))
        }
        Command::Tail(args) => {
            let loaded = loaded(file)?;
            let connection = process::connection(&loaded.config)?;
            runtime()?.block_on(commands::tail::run(&connection, &loaded.config.topics, &args))
        }
    }
}

fn role(role: Role, file: Option<&Path>) -> Result<()> {
    let loaded = loaded(file)?;
    runtime()?.block_on(commands::role::run(role, &loaded))
}

fn loaded(file: Option<&Path>) -> Result<Loaded> {
    let loaded = config::load(file, config::environment())?;
    chassis::telemetry::init(&loaded.config.log)?;
    Ok(loaded)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}

#[expect(clippy::print_stderr, reason = "the last word of a failed command, where logs may not even be set up")]
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("hookbus: {error:#}");
    if error.chain().any(|cause| cause.is::<ConfigError>()) { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
}
