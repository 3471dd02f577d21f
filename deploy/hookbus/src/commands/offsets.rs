//! `hookbus offsets`: where each role's group stands in its topics, and setting by hand where it goes on (rule W8).

mod change;
mod show;

use anyhow::{Context, Result, bail};
use chassis::config::{Config, Role};
use kafka::Connection;
use kafka::group::{self, GroupState, Member};
use kafka::lag::UntoldLag;
use schemas::topics::Topics;

use self::change::Change;
use crate::cli::offsets::{GroupRole, OffsetsCommand, SetArgs};
use crate::screen;

/// Shows or sets.
///
/// # Errors
/// Kafka cannot be reached or refuses, the command line does not fit what is there, or nobody agreed.
pub(crate) async fn run(connection: &Connection, config: &Config, command: &OffsetsCommand) -> Result<()> {
    match command {
        OffsetsCommand::Show(args) => show::run(connection, config, args).await,
        OffsetsCommand::Set(args) => set(connection, config, args).await,
    }
}

async fn set(connection: &Connection, config: &Config, args: &SetArgs) -> Result<()> {
    if !args.role.stops() {
        let name = args.role.name();
        return Err(crate::usage(format!(
            "{name} needs no offsets: whoever takes a partition over reads all of it, and goes on where each job is"
        )));
    }
    let (role, group) = (args.role, args.role.group(config));
    let topics = topics_of(role, connection, config).await?;
    let topic = resolve(role, &topics, &config.topics.prefix, &args.topic)?;
    let GroupState { partitions: states, untold } = group::state(connection, &group, &[&topic]).await?;
    if states.is_empty() && untold.is_empty() {
        return Err(crate::usage(format!("there is no topic `{topic}`; `hookbus topics ensure` creates it")));
    }
    for UntoldLag { partition, error, .. } in untold {
        let is_shown = |number: i32| states.iter().any(|state| state.lag.partition.partition == number);
        if partition.is_none_or(|number| args.partition.contains(&number) && !is_shown(number)) {
            return Err(error).context("nothing was changed");
        }
        screen::line(&format!("! not known now: {error}"))?;
    }
    let changes = change::plan(&states, &args.partition, args.to)?;
    if changes.is_empty() {
        screen::line(&format!(
            "nothing to do: every partition of {topic} has a committed offset; `--partition N` sets it all the same"
        ))?;
        return Ok(());
    }
    nobody_reads(&group::members(connection, &group).await?, role, &group)?;
    screen::line(&format!("{} (group {group}), topic {topic}:", role.name()))?;
    for line in change::explain(role, &changes) {
        screen::line(&line)?;
    }
    if !args.yes {
        let question = format!("Set {}? [y/N] ", count(changes.len(), "offset"));
        match screen::confirm(&question)? {
            Some(true) => {}
            Some(false) => bail!("nothing was changed"),
            None => {
                return Err(crate::usage("nothing was changed: there is nobody to ask; `--yes` agrees without asking"));
            }
        }
        // A worker may have come and gone while the question stood on the screen.
        if let Some(lag) = change::moved(&changes, &group::state(connection, &group, &[&topic]).await?.partitions) {
            bail!(
                "nothing was changed: {group} has committed to {} since the plan was made; look again",
                lag.partition
            );
        }
    }
    let offsets: Vec<_> = changes.iter().map(Change::offset).collect();
    if let Err(error) = group::set_offsets(connection, &group, &offsets, config.kafka.transaction_timeout).await {
        // Kafka itself refuses while there are members; whoever came meanwhile is told by name.
        nobody_reads(&group::members(connection, &group).await?, role, &group)?;
        return Err(error).context("it is not known what was changed: `hookbus offsets show`");
    }
    screen::line(&format!("{} set; start the {} role again", count(offsets.len(), "offset"), role.name()))?;
    Ok(())
}

/// A worker that runs would go on from where it is and overwrite what is set.
pub(in crate::commands) fn nobody_reads(members: &[Member], role: GroupRole, group: &str) -> Result<()> {
    if members.is_empty() {
        return Ok(());
    }
    let (who, name) = (named(members), role.name());
    bail!(
        "nothing was changed: {group} has {}: {who}; stop every {name} worker first (one that was killed leaves the group \
         after kafka.session_timeout_ms)",
        count(members.len(), "live member")
    )
}

fn named(members: &[Member]) -> String {
    let named: Vec<String> =
        members.iter().map(|member| format!("{} at {}", shown(&member.client_id), shown(&member.host))).collect();
    named.join(", ")
}

/// What other clients call themselves does not steer the terminal.
fn shown(text: &str) -> String {
    screen::text(text.as_bytes(), 100)
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// What the role's group reads, as the role itself does, in full names.
pub(in crate::commands) async fn topics_of(
    role: GroupRole,
    connection: &Connection,
    config: &Config,
) -> Result<Vec<String>> {
    let topics = config.topics.topics();
    Ok(match role {
        GroupRole::Fanout => vec![topics.events.to_string(), topics.retried.to_string()],
        GroupRole::Delivery => vec![topics.deliveries.to_string()],
        GroupRole::Retry => {
            let mut tiers = group::topics_with_prefix(connection, &topics.retry_prefix).await?;
            tiers.retain(|topic| is_tier(&topics, topic));
            tiers
        }
        GroupRole::Resends => vec![topics.jobs.to_string()],
    })
}

/// Whether the retry scheduler's pattern finds it: removed tiers still drain.
fn is_tier(topics: &Topics, topic: &str) -> bool {
    topics.tier_of(topic).is_some_and(|tier| {
        let unit = tier.trim_start_matches(|digit: char| digit.is_ascii_digit());
        unit.len() < tier.len() && matches!(unit, "ms" | "s" | "m" | "h" | "d")
    })
}

/// A full name is taken as it is, a short one gets the prefix.
fn resolve(role: GroupRole, topics: &[String], prefix: &str, name: &str) -> Result<String> {
    let wanted = [format!("{prefix}{name}"), name.to_owned()];
    if let Some(topic) = topics.iter().find(|topic| wanted.contains(topic)) {
        return Ok(topic.clone());
    }
    let known = if topics.is_empty() { "no topic that exists".to_owned() } else { topics.join(", ") };
    Err(crate::usage(format!("{} does not read `{name}` in its group; it reads {known}", role.name())))
}

// === impl GroupRole ===

impl GroupRole {
    pub(in crate::commands) const ALL: [Self; 4] = [Self::Fanout, Self::Delivery, Self::Retry, Self::Resends];

    /// `None`: it is a part of the control plane.
    fn role(self) -> Option<Role> {
        match self {
            Self::Fanout => Some(Role::Fanout),
            Self::Delivery => Some(Role::Delivery),
            Self::Retry => Some(Role::Retry),
            Self::Resends => None,
        }
    }

    pub(in crate::commands) fn name(self) -> &'static str {
        self.role().map_or("resends", Role::name)
    }

    pub(in crate::commands) fn group(self, config: &Config) -> String {
        self.role().map_or_else(|| control_plane::job_names(&config.kafka).1, |role| config.kafka.group(role))
    }

    /// Whether it stops where it does not know how far it is (rule W8).
    pub(in crate::commands) fn stops(self) -> bool {
        self.role().is_some()
    }
}

#[cfg(test)]
mod tests {
    use schemas::topics::TopicSettings;

    use super::*;

    #[test]
    fn topics_are_named_in_short_or_in_full() {
        let topics = ["hookbus.retry.5s".to_owned(), "hookbus.retry.10m".to_owned()];
        for name in ["retry.10m", "hookbus.retry.10m"] {
            assert_eq!(resolve(GroupRole::Retry, &topics, "hookbus.", name).unwrap(), "hookbus.retry.10m");
        }
        let refused = resolve(GroupRole::Retry, &topics, "hookbus.", "events").unwrap_err();
        assert!(refused.is::<crate::Usage>() && refused.to_string().contains("it reads hookbus.retry.5s"), "{refused}");
    }

    #[test]
    fn delay_topics_are_those_the_scheduler_reads() {
        let topics = TopicSettings::default().topics();
        for (name, is) in [("retry.10m", true), ("retry.250ms", true), ("retry.m", false), ("retry.10m.old", false)] {
            assert_eq!(is_tier(&topics, &format!("hookbus.{name}")), is, "{name}");
        }
        assert!(!is_tier(&topics, "hookbus.events"));
    }
}
