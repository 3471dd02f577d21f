//! The `hookbus` binary: parse, configure, log, run one subcommand, end with its exit code.
//!
//! Exit codes: 0 done, also when whoever read the answer has seen enough (`hookbus status | head -3`), 1 failed, 64 wrong
//! configuration or command line. A second signal during a drain ends it with 1.

mod cli;
mod codes;
mod commands;
mod dev;
mod host;
mod invariants;
mod listeners;
mod management;
mod output;
mod process;
mod roles;
mod screen;
mod usage;
mod version;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use chassis::config::{self, Loaded, Role};
use clap::Parser;
use fanout_worker::Intakes;

use crate::cli::log::LogCommand;
use crate::cli::offsets::OffsetsCommand;
use crate::cli::{Cli, Command, TopicsCommand};
use crate::codes::Code;
use crate::screen::ScreenError;
pub(crate) use crate::usage::{Usage, usage};

/// Deliveries are many small allocations that move between threads; measured, this one takes a sixth less CPU for them. It is
/// librdkafka's too (the feature in Cargo.toml): glibc's took a sixth of the fan-out.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What the allocator is told: the first byte of its options. By default all that is free goes back to the system within ten seconds, to
/// be mapped and cleared again for the next batches: clearing pages was a sixth of the fan-out. A minute is longer than a worker
/// waits between two bursts. What has 8 MiB and more still goes back at once: kept, buffers of fetched batches took the fan-out
/// to 1.4 times what its configuration allows, with events of 100 KiB.
#[expect(unsafe_code, reason = "the allocator looks for its options under this name before `main`")]
// SAFETY: nothing else has this name, and what the allocator reads is a pointer to text that ends with NUL.
#[unsafe(export_name = "malloc_conf")]
static ALLOCATOR_OPTIONS: &u8 = &c"dirty_decay_ms:60000".to_bytes_with_nul()[0];

/// Wrong usage, as `sysexits.h` numbers it.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return told_by_clap(&told),
    };
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
        Command::Gateway => role(Role::Gateway, Intakes::Both, file),
        Command::Fanout(args) => role(Role::Fanout, args.intakes(), file),
        Command::Delivery => role(Role::Delivery, Intakes::Both, file),
        Command::Retry => role(Role::Retry, Intakes::Both, file),
        Command::Control => role(Role::Control, Intakes::Both, file),
        Command::Dev(args) => runtime()?.block_on(dev::run(file, &args)),
        Command::Demo(args) => {
            let loaded = loaded(file)?;
            runtime()?.block_on(commands::demo::run(&loaded.config, &args))
        }
        Command::Keys(args) => commands::keys::run(&args),
        Command::Topics { command } => topics(&command, file),
        Command::Offsets(args) => offsets(&args.command, file),
        Command::Lanes(args) => {
            let loaded = loaded(file)?;
            let connection = process::connection(&loaded.config)?;
            with_kafka(runtime()?.block_on(commands::lanes::run(&connection, &loaded.config, &args.command)), &loaded)
        }
        Command::Apply(args) => runtime()?.block_on(commands::apply::run(&args)),
        Command::Export(args) => runtime()?.block_on(commands::export::run(&args)),
        Command::Organization(args) => runtime()?.block_on(commands::organization::run(&args)),
        Command::Application(args) => runtime()?.block_on(commands::application::run(&args)),
        Command::EventType(args) => runtime()?.block_on(commands::event_type::run(&args)),
        Command::Subscription(args) => runtime()?.block_on(commands::subscription::run(&args)),
        Command::Source(args) => runtime()?.block_on(commands::source::run(&args)),
        Command::Registry(args) => runtime()?.block_on(commands::registry::run(&args)),
        Command::Event(args) => runtime()?.block_on(commands::event::run(&args)),
        Command::Attempts(args) => runtime()?.block_on(commands::logged::attempts(&args)),
        Command::Attempt(args) => runtime()?.block_on(commands::logged::attempt(&args)),
        Command::Log(args) => log(&args.command, file),
        Command::DeadLetters(args) => runtime()?.block_on(commands::deadletters::run(&args)),
        Command::Rejected(args) => runtime()?.block_on(commands::rejected::run(&args)),
        Command::Replay(args) => runtime()?.block_on(commands::replay::run(&args)),
        Command::Backfill(args) => runtime()?.block_on(commands::backfill::run(&args)),
        Command::Job(args) => runtime()?.block_on(commands::job::run(&args)),
        Command::Token(args) => runtime()?.block_on(commands::token::run(&args)),
        Command::Audit(args) => {
            let loaded = loaded(file)?;
            let connection = process::connection(&loaded.config)?;
            with_kafka(runtime()?.block_on(commands::audit::run(&connection, &loaded.config.topics, &args)), &loaded)
        }
        Command::Doctor(args) => doctor(&args, file),
        Command::Size(args) => commands::size::run(file, &args),
        Command::Explain { code } => commands::explain::run(code.as_deref()),
        Command::Ready => commands::ready::run(&config::load(file, config::environment())?.config.admin),
        Command::Status(args) => {
            let loaded = loaded(file)?;
            let connection = process::connection(&loaded.config)?;
            with_kafka(runtime()?.block_on(commands::status::run(&connection, &loaded.config.topics, &args)), &loaded)
        }
        Command::Retries(args) => {
            let loaded = loaded(file)?;
            let connection = process::connection(&loaded.config)?;
            with_kafka(runtime()?.block_on(commands::retries::run(&connection, &loaded.config, &args)), &loaded)
        }
        Command::Acls(args) => commands::acls::run(&config::load(file, config::environment())?.config, &args),
        Command::Tail(args) => {
            let loaded = loaded(file)?;
            let connection = process::connection(&loaded.config)?;
            with_kafka(runtime()?.block_on(commands::tail::run(&connection, &loaded.config.topics, &args)), &loaded)
        }
    }
}

fn doctor(args: &cli::doctor::DoctorArgs, file: Option<&Path>) -> Result<()> {
    let loaded = loaded(file)?;
    let connection = process::connection(&loaded.config)?;
    with_kafka(runtime()?.block_on(commands::doctor::run(&connection, &loaded.config, args)), &loaded)
}

fn topics(command: &TopicsCommand, file: Option<&Path>) -> Result<()> {
    let loaded = loaded(file)?;
    let connection = process::connection(&loaded.config)?;
    with_kafka(runtime()?.block_on(commands::topics::run(&connection, &loaded.config, command)), &loaded)
}

fn offsets(command: &OffsetsCommand, file: Option<&Path>) -> Result<()> {
    let loaded = loaded(file)?;
    let connection = process::connection(&loaded.config)?;
    with_kafka(runtime()?.block_on(commands::offsets::run(&connection, &loaded.config, command)), &loaded)
}

fn log(command: &LogCommand, file: Option<&Path>) -> Result<()> {
    match command {
        LogCommand::Status(common) => runtime()?.block_on(commands::log::status(common)),
        LogCommand::Rebuild(common) => runtime()?.block_on(commands::log::rebuild(common)),
        LogCommand::Check { output } => {
            let loaded = loaded(file)?;
            let connection = process::connection(&loaded.config)?;
            with_kafka(runtime()?.block_on(commands::log::check(&connection, &loaded.config, *output)), &loaded)
        }
    }
}

/// A variable of the environment, where a file or an argument names it.
pub(crate) fn variables(name: &str) -> Option<String> {
    config::environment().find(|(known, _)| known == name).map(|(_, value)| value)
}

fn role(role: Role, intakes: Intakes, file: Option<&Path>) -> Result<()> {
    let loaded = loaded(file)?;
    let done = runtime()?.block_on(commands::role::run(role, intakes, &loaded));
    // What ends a role has a code, whatever it is.
    done.map_err(
        |error| if Code::of(&error).is_some() { error } else { error.context("HB-030: the role cannot start") },
    )
}

fn loaded(file: Option<&Path>) -> Result<Loaded> {
    let loaded = config::load(file, config::environment())?;
    chassis::telemetry::init(&loaded.config.log)?;
    Ok(loaded)
}

/// Says which Kafka was asked: librdkafka's own words name it only in the log.
fn with_kafka(done: Result<()>, loaded: &Loaded) -> Result<()> {
    done.map_err(|error| {
        let of_kafka = error.chain().any(|cause| cause.is::<kafka::KafkaError>());
        if of_kafka {
            error.context(format!("Kafka at {} (kafka.brokers)", loaded.config.kafka.brokers))
        } else {
            error
        }
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}

#[expect(clippy::print_stderr, reason = "the last word of a failed command, where logs may not even be set up")]
fn failed(error: &anyhow::Error) -> ExitCode {
    let is_unread = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref::<ScreenError>(), Some(ScreenError::Closed))
    };
    if error.chain().any(is_unread) {
        return ExitCode::SUCCESS;
    }
    eprintln!("hookbus: {error:#}");
    let code = Code::of(error);
    if let Some(code) = code.filter(|code| *code != Code::CommandLine) {
        eprintln!("hookbus: {code}: {}; `hookbus explain {code}` says what to do", code.title());
    }
    if code.is_some_and(Code::is_of_user) { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
}

/// Help and versions are answers; what clap cannot read is wrong usage.
fn told_by_clap(told: &clap::Error) -> ExitCode {
    let printed = told.print();
    match (told.use_stderr(), printed) {
        (true, _) => ExitCode::from(USAGE),
        (false, Ok(())) => ExitCode::SUCCESS,
        (false, Err(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        (false, Err(_unwritten)) => ExitCode::FAILURE,
    }
}
