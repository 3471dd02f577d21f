//! `hookbus offsets show`: a block per role for people, one list for programs.

use std::collections::BTreeMap;

use anyhow::Result;
use chassis::config::Config;
use kafka::Connection;
use kafka::group::{self, GroupState, PartitionState, Standing};
use kafka::lag::UntoldLag;
use serde::Serialize;

use super::{count, named, topics_of};
use crate::cli::manage::Output;
use crate::cli::offsets::{GroupRole, ShowArgs};
use crate::commands::lanes;
use crate::screen;

const RUNBOOK: &str = "deploy/runbooks/no-committed-offset.md";

/// One partition, for programs.
#[derive(Debug, Serialize)]
struct Row<'a> {
    role: &'static str,
    group: &'a str,
    members: usize,
    topic: &'a str,
    partition: i32,
    log_start: i64,
    committed: Option<i64>,
    log_end: i64,
    lag: i64,
    /// Records that wait in lists, below the committed offset or above it; none if nothing is said of any.
    queued: Option<u64>,
    /// Kafka's time of nothing that waits in lists is older, Unix ms; none if nothing waits, or if the lists cannot be read.
    queued_since_ms: Option<i64>,
    standing: &'static str,
    stops: bool,
}

/// What is known of one role.
struct GroupSeen {
    role: GroupRole,
    group: String,
    members: Vec<group::Member>,
    missing: Vec<String>,
    states: Vec<PartitionState>,
    /// Of what nothing is known now, or not all.
    untold: Vec<UntoldLag>,
    /// By partition: Kafka's time of nothing that waits in lists is older, Unix ms.
    oldest_ms: BTreeMap<i32, i64>,
}

/// Prints it.
///
/// # Errors
/// Kafka cannot be reached or refuses.
pub(super) async fn run(connection: &Connection, config: &Config, args: &ShowArgs) -> Result<()> {
    let mut seen = Vec::new();
    for role in GroupRole::ALL.into_iter().filter(|role| args.role.is_none_or(|wanted| wanted == *role)) {
        seen.push(look(role, connection, config).await?);
    }
    match args.output {
        Output::Json => {
            for untold in seen.iter().flat_map(|seen| &seen.untold) {
                tracing::warn!("not known now: {}", untold.error);
            }
            let rows: Vec<Row<'_>> = seen.iter().flat_map(GroupSeen::rows).collect();
            Ok(screen::line(&serde_json::to_string_pretty(&rows)?)?)
        }
        Output::Table => {
            for (number, seen) in seen.iter().enumerate() {
                if number > 0 {
                    screen::line("")?;
                }
                seen.print(&config.topics.prefix)?;
            }
            Ok(())
        }
    }
}

async fn look(role: GroupRole, connection: &Connection, config: &Config) -> Result<GroupSeen> {
    let group = role.group(config);
    let topics = topics_of(role, connection, config).await?;
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let GroupState { partitions: states, untold } = group::state(connection, &group, &names).await?;
    let is_there = |topic: &String| {
        let is_told = states.iter().any(|state| *state.lag.partition.topic == **topic);
        is_told || untold.iter().any(|untold| *untold.topic == **topic)
    };
    let missing = topics.iter().filter(|topic| !is_there(topic)).cloned().collect();
    let members = group::members(connection, &group).await?;
    let is_queued = states.iter().any(|state| queued(state).is_some());
    let oldest_ms = if is_queued { oldest(connection, config).await } else { BTreeMap::new() };
    Ok(GroupSeen { role, group, members, missing, states, untold, oldest_ms })
}

/// Since when what waits in lists does. Offsets are told also where the lists cannot be read.
async fn oldest(connection: &Connection, config: &Config) -> BTreeMap<i32, i64> {
    match lanes::look(connection, config).await {
        Ok(seen) => seen.judged.iter().filter_map(|lists| Some((lists.partition, lists.oldest_ms?))).collect(),
        Err(error) => {
            tracing::warn!("since when deliveries wait in lists is not known: {error:#}");
            BTreeMap::new()
        }
    }
}

/// How many records of a partition wait in lists, if any do.
fn queued(state: &PartitionState) -> Option<u64> {
    state.lists().map(|lists| lists.queued).filter(|queued| *queued > 0)
}

/// A word for programs.
fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Committed => "committed",
        Standing::New => "new",
        Standing::Missing => "missing",
        Standing::Lost(_) => "below_log_start",
        Standing::Beyond => "beyond_log_end",
        Standing::Cut(_) => "log_cut",
        Standing::Recreated => "recreated",
    }
}

/// A remark for people; what needs them is in capitals.
fn remark(role: GroupRole, state: &PartitionState, oldest_ms: Option<i64>) -> String {
    let since = oldest_ms.map(|at_ms| format!(", the oldest since {}", screen::time(at_ms))).unwrap_or_default();
    let queued = queued(state).map(|queued| format!("{queued} wait in lists{since}")).unwrap_or_default();
    let standing = if state.standing.stops() && !role.stops() {
        "no offset of its own: it reads all of the partition".to_owned()
    } else {
        of_standing(state.standing)
    };
    let separator = if standing.is_empty() || queued.is_empty() { "" } else { "; " };
    format!("{standing}{separator}{queued}")
}

fn of_standing(standing: Standing) -> String {
    match standing {
        Standing::Committed => String::new(),
        Standing::New => "no records yet: begins at 0".to_owned(),
        Standing::Missing => "NO COMMITTED OFFSET: the role stops".to_owned(),
        Standing::Lost(lost) => format!("BELOW LOG START: up to {lost} records lost to retention"),
        Standing::Beyond => "BEYOND LOG END: the role stops".to_owned(),
        Standing::Cut(at) => format!("LOG CUT at {at} or below, other records stand there now: the role stops"),
        Standing::Recreated => "topic created anew since: begins at its start".to_owned(),
    }
}

// === impl GroupSeen ===

impl GroupSeen {
    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.states.iter().map(|state @ PartitionState { lag, standing }| Row {
            role: self.role.name(),
            group: &self.group,
            members: self.members.len(),
            topic: &lag.partition.topic,
            partition: lag.partition.partition,
            log_start: lag.log_start,
            committed: lag.committed,
            log_end: lag.log_end,
            lag: lag.records_behind(),
            queued: state.lists().map(|lists| lists.queued),
            queued_since_ms: queued(state).and_then(|_some| self.oldest_of(state)),
            standing: word(*standing),
            stops: self.stops(*standing),
        })
    }

    fn stops(&self, standing: Standing) -> bool {
        self.role.stops() && standing.stops()
    }

    fn oldest_of(&self, state: &PartitionState) -> Option<i64> {
        self.oldest_ms.get(&state.lag.partition.partition).copied()
    }

    fn print(&self, prefix: &str) -> Result<()> {
        let members = match &*self.members {
            [] => "no live members".to_owned(),
            members => format!("{}: {}", count(members.len(), "live member"), named(members)),
        };
        screen::line(&format!("{} (group {}), {members}", self.role.name(), self.group))?;
        for topic in &self.missing {
            screen::line(&format!("{topic} does not exist"))?;
        }
        for untold in &self.untold {
            screen::line(&format!("! not known now: {}", untold.error))?;
        }
        let title = ["TOPIC", "PARTITION", "LOG START", "COMMITTED", "LOG END", "LAG", ""].map(str::to_owned);
        let row = |state: &PartitionState| {
            let lag = &state.lag;
            let committed = lag.committed.map_or_else(|| "none".to_owned(), |committed| committed.to_string());
            let numbers = [lag.log_start, lag.log_end, lag.records_behind()].map(|number| number.to_string());
            let [start, end, behind] = numbers;
            let (topic, number) = (lag.partition.topic.to_string(), lag.partition.partition.to_string());
            [topic, number, start, committed, end, behind, remark(self.role, state, self.oldest_of(state))]
        };
        let rows: Vec<[String; 7]> = std::iter::once(title).chain(self.states.iter().map(row)).collect();
        screen::columns(&rows)?;
        if let Some(stops) = self.states.iter().find(|state| self.stops(state.standing)) {
            let (role, partition) = (self.role.name(), &stops.lag.partition);
            let topic = partition.topic.strip_prefix(prefix).unwrap_or(&partition.topic);
            // A partition that has an offset is only meant when it is named.
            let which =
                stops.lag.committed.map(|_| format!(" --partition {}", partition.partition)).unwrap_or_default();
            screen::line(&format!(
                "Choose where to go on ({RUNBOOK}): hookbus offsets set {role} --topic {topic}{which} --to start|end|OFFSET"
            ))?;
        }
        Ok(())
    }
}
