//! `make bench`: how fast Hookbus is, each number beside a bare loop of the same libraries in the same run.
//!
//! ```text
//! bench (load, endpoint, clock)  -->  one role of `hookbus`, or one bare loop (`bench bare ...`)  -->  a Kafka of its own
//! ```
//!
//! What is measured is always a process of its own, its CPU time read from `/proc`: load, endpoint and broker are not
//! in it, though they share the machine. A worker is started, frozen until its backlog is written, and measured from
//! the moment it runs again, so that starting costs are not in it either. Aims are printed with their margin; nothing
//! here fails because something is slow.

mod bare;
mod compare;
mod held;
mod load;
mod meter;
mod receiver;
mod rows;
mod stage;
mod steady;
mod table;
mod workload;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use self::bare::Bare;
use self::compare::Against;
use self::receiver::Receiver;
use self::rows::{HostileEndpoints, Row, Scale};
use self::stage::Stage;
use self::table::Table;

/// Measures Hookbus beside bare loops of the same libraries.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure; without it everything but `dead`, `hostile` and `idle`, which take a quarter of an hour each.
    #[arg(value_enum)]
    rows: Vec<Row>,
    /// Share of the usual amount of work: 0.1 is a quick look, 1 takes about four minutes on two cores.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Leave the bare loops out.
    #[arg(long, conflicts_with = "against")]
    ours_only: bool,
    /// Measure this `hookbus` too, in turns with the one beside the bench, and print what ours costs of it: `fanout`,
    /// `fanout100` and `delivery`, the only rows there are then.
    #[arg(long, value_name = "HOOKBUS")]
    against: Option<PathBuf>,
    /// Rounds of `--against`: each has two turns of both.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000), requires = "against")]
    rounds: u32,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What the benchmark starts itself with.
#[derive(Debug, Subcommand)]
enum Command {
    /// One bare loop, in a process of its own.
    #[command(subcommand, hide = true)]
    Bare(Bare),
    /// An endpoint, in a process of its own.
    #[command(hide = true)]
    Receiver(Receiver),
    /// Endpoints that harm whoever sends, in a process of their own.
    #[command(hide = true)]
    HostileEndpoints(HostileEndpoints),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.command {
        Some(Command::Bare(bare)) => runtime.block_on(bare.run()),
        Some(Command::Receiver(receiver)) => runtime.block_on(receiver.run()),
        Some(Command::HostileEndpoints(endpoints)) => runtime.block_on(endpoints.run()),
        None => runtime.block_on(measure(arguments)),
    }
}

async fn measure(arguments: Arguments) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let scale = Scale { factor: arguments.scale.clamp(0.01, 10.0), ours_only: arguments.ours_only };
    let against = arguments.against.map(|binary| Against { binary, rounds: arguments.rounds });
    let all = if against.is_some() { Row::COMPARED.to_vec() } else { Row::ALL.to_vec() };
    let rows = if arguments.rows.is_empty() { all } else { arguments.rows };
    let stage = Stage::open(folder.path()).await?;
    let mut table = Table::default();
    table::say("warming Kafka up ...")?;
    rows::warm_up(&stage).await?;
    for row in rows {
        table::say(&format!("measuring {} ...", row.title()))?;
        let before = kafka::clock::instant();
        let measured = match &against {
            Some(against) => row.compare(&stage, scale, against).await,
            None => row.measure(&stage, scale, &mut table).await,
        };
        if let Err(error) = measured {
            // The other rows are worth having; the end of the run says that this one is missing.
            table.failed(row.title(), &error);
        }
        table::say(&format!("    took {:.0} s", before.elapsed().as_secs_f64()))?;
    }
    stage.close().await?;
    table.print()
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn what_is_compared_has_no_bare_loops_to_leave_out() {
        let error = |arguments: &[&str]| Arguments::try_parse_from(arguments).unwrap_err();
        let both = error(&["bench", "fanout", "--ours-only", "--against", "other"]);
        assert_eq!(both.kind(), ErrorKind::ArgumentConflict);
        let text = both.to_string();
        assert!(text.contains("--ours-only") && text.contains("--against"), "{text}");
        assert_eq!(error(&["bench", "--rounds", "3"]).kind(), ErrorKind::MissingRequiredArgument);
        assert!(Arguments::try_parse_from(["bench", "fanout", "--against", "other", "--rounds", "3"]).is_ok());
    }
}
