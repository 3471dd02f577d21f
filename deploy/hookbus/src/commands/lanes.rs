//! `hookbus lanes`: what waits in lists, whether that is what was committed, and what a person does about it.

mod accept;
mod release;
mod show;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chassis::config::Config;
use chassis::shutdown::Shutdown;
use delivery_worker::operator::{JudgedLists, OperatorDeps, OperatorProgress, judge};
use kafka::group::{self, GroupState};
use kafka::{Connection, ListsClaim, ListsRestorer, Offsets, RestoredLists};

use super::offsets::nobody_reads;
use crate::cli::lanes::LanesCommand;
use crate::cli::offsets::GroupRole;
use crate::screen;

const ROLE: GroupRole = GroupRole::Delivery;

/// What stands on `lanes`, and what was committed of it.
pub(in crate::commands) struct SeenLists {
    /// Partition by partition, as a takeover would read them.
    pub(in crate::commands) all: Vec<RestoredLists>,
    /// Whether they agree.
    pub(in crate::commands) judged: Vec<JudgedLists>,
}

/// Shows them, accepts them or empties them.
///
/// # Errors
/// Kafka cannot be reached or refuses, a delivery worker runs, nobody agreed, or the command line does not fit what is there.
pub(crate) async fn run(connection: &Connection, config: &Config, command: &LanesCommand) -> Result<()> {
    match command {
        LanesCommand::Show(args) => show::run(connection, config, args).await,
        LanesCommand::Accept(args) => accept::run(connection, config, args).await,
        LanesCommand::Release(args) => release::run(connection, config, args).await,
    }
}

/// Reads them. While a delivery worker writes them, lists and what was committed are not of one moment.
pub(in crate::commands) async fn look(connection: &Connection, config: &Config) -> Result<SeenLists> {
    let topics = config.topics.topics();
    let offsets = Offsets::start(connection)?;
    let lists = ListsRestorer::new(connection, offsets, topics.lanes, config.kafka.transaction_timeout);
    // What was committed first: it is in the lists then.
    let GroupState { partitions, untold } =
        group::state(connection, &ROLE.group(config), &[&topics.deliveries]).await?;
    // Lists are judged by what was committed with them: without it each would look wrong.
    if let Some(untold) = untold.into_iter().next() {
        return Err(untold.error).context("cannot read what was committed with the lists");
    }
    let claims: BTreeMap<i32, ListsClaim> =
        partitions.iter().filter_map(|state| Some((state.lag.partition.partition, state.lists()?))).collect();
    let all = lists.look_at_all(&claims).await.context("cannot read the lists")?;
    let judged = all.iter().map(|lists| judge(lists, claims.get(&lists.lease.partition.partition).copied())).collect();
    Ok(SeenLists { all, judged })
}

/// What changes lists is a delivery worker's to do while one runs.
async fn nobody_delivers(connection: &Connection, config: &Config) -> Result<()> {
    let group = ROLE.group(config);
    nobody_reads(&group::members(connection, &group).await?, ROLE, &group)
}

/// Asks unless somebody has agreed before.
fn agreed(is_agreed: bool, question: &str) -> Result<()> {
    if is_agreed {
        return Ok(());
    }
    match screen::confirm(&format!("{question} [y/N] "))? {
        Some(true) => Ok(()),
        Some(false) => bail!("nothing was changed"),
        None => Err(crate::usage("nothing was changed: there is nobody to ask; `--yes` agrees without asking")),
    }
}

/// What a task on lists stands on, and what ends it early.
fn deps(connection: &Connection, config: &Config) -> Result<(OperatorDeps, Shutdown)> {
    let (kafka, topics) = (config.kafka.clone(), config.topics.topics());
    let deps = OperatorDeps { connection: connection.clone(), kafka, topics, grace: config.shutdown.grace };
    Ok((deps, Shutdown::on_signals(Duration::ZERO).context("cannot listen for signals")?))
}

/// A task that did not come to its end says why, and that it goes on when it is run again.
fn ended(progress: &OperatorProgress, command: &str) -> Result<()> {
    if progress.is_done {
        return Ok(());
    }
    let why = match &progress.other {
        Some(other) => format!("{other} has joined the group: stop every delivery worker first"),
        None => "it was asked to stop, or its partitions were taken away".to_owned(),
    };
    bail!("not all partitions are done with: {why}. What was done stays done; `{command}` goes on")
}

/// The lists that a delivery worker would stop at, in words.
fn differing<'a>(config: &Config, judged: &'a [JudgedLists]) -> impl Iterator<Item = String> + 'a {
    let (lanes, deliveries) = (config.topics.topics().lanes, config.topics.topics().deliveries);
    judged.iter().filter(|lists| !lists.agrees()).map(move |lists| {
        let partition = lists.partition;
        let held = match &lists.held {
            Ok(held) => held.queued,
            Err(error) => return format!("{lanes}/{partition} cannot be read as lists: {error}"),
        };
        let claimed = lists.claimed.map_or(0, |claimed| claimed.queued);
        let claimed = if held == claimed { format!("{claimed} others") } else { claimed.to_string() };
        format!(
            "{lanes}/{partition} holds {held} entries, and {claimed} were committed with the offset of {deliveries}/{partition}"
        )
    })
}
