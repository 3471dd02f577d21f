//! `hookbus topics plan` and `hookbus topics ensure`.

use anyhow::{Result, bail};
use chassis::config::Config;
use kafka::Connection;
use kafka::group::{self, Beginning};
use kafka::topics::Plan;
use schemas::record::TopicPartition;

use super::offsets::topics_of;
use crate::cli::TopicsCommand;
use crate::cli::offsets::GroupRole;
use crate::screen;

/// Prints the plan, and carries it out if asked to.
///
/// # Errors
/// When Kafka cannot be reached, or an existing topic does not fit: then nothing is altered.
pub(crate) async fn run(connection: &Connection, config: &Config, command: &TopicsCommand) -> Result<()> {
    let specs = config.topics.specs();
    let plan = match command {
        TopicsCommand::Plan => kafka::topics::plan(connection, &specs).await?,
        TopicsCommand::Ensure => kafka::topics::ensure(connection, &specs).await?,
    };
    screen::line(plan.to_string().trim_end())?;
    if let TopicsCommand::Ensure = command {
        for line in begin(connection, config, &plan).await? {
            screen::line(&line)?;
        }
    }
    if !plan.differing.is_empty() {
        bail!(
            "{} of the topics that exist do not fit; nothing was altered. Change the topics or the configuration",
            plan.differing.len()
        );
    }
    if !plan.unseen.is_empty() {
        bail!(
            "HB-014: whether {} of the topics fit is not known, this principal may not describe their settings; `hookbus acls --role \
             operator` prints what to grant",
            plan.unseen.len()
        );
    }
    Ok(())
}

/// Commits offset 0 for the groups of the roles in what was created or never had a record; a line for each thing that was
/// done or is to be done. The control plane's groups are not among them: they read old reports, and jobs, again without harm, and
/// so begin at the log's start by themselves.
pub(crate) async fn begin(connection: &Connection, config: &Config, plan: &Plan) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for role in GroupRole::ALL.into_iter().filter(|role| role.stops()) {
        let group = role.group(config);
        let topics = topics_of(role, connection, config).await?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let timeout = config.kafka.transaction_timeout;
        let beginning = group::begin(connection, &group, &names, &plan.created, timeout).await?;
        lines.extend(told(role, &group, &config.topics.prefix, &beginning));
    }
    Ok(lines)
}

/// What was done for one group, in words.
fn told(role: GroupRole, group: &str, prefix: &str, beginning: &Beginning) -> Vec<String> {
    let role = role.name();
    let Beginning { begun, left_to_members, unknown } = beginning;
    let mut lines = Vec::new();
    if !begun.is_empty() {
        lines.push(format!("> {role} (group {group}) begins at offset 0 of {}", listed(begun)));
    }
    if !left_to_members.is_empty() {
        lines.push(format!(
            "> {role} (group {group}) runs, and begins at offset 0 by itself of {}; let it find them, if need be with a \
             restart under this configuration, before anything is written there (`hookbus offsets show {role}`)",
            listed(left_to_members)
        ));
    }
    let mut topics: Vec<&str> = unknown.iter().map(|partition| &*partition.topic).collect();
    topics.dedup();
    for topic in topics {
        let of_it: Vec<TopicPartition> =
            unknown.iter().filter(|partition| &*partition.topic == topic).cloned().collect();
        lines.push(format!(
            "! {role} (group {group}) HAS NO COMMITTED OFFSET in {}, which had records before: the role stops. Choose where it goes \
             on (deploy/runbooks/no-committed-offset.md): hookbus offsets set {role} --topic {} --to start|end|OFFSET",
            listed(&of_it),
            topic.strip_prefix(prefix).unwrap_or(topic)
        ));
    }
    lines
}

/// One partition by name, several by their number and their topics.
fn listed(partitions: &[TopicPartition]) -> String {
    if let [partition] = partitions {
        return partition.to_string();
    }
    let mut topics: Vec<&str> = partitions.iter().map(|partition| &*partition.topic).collect();
    topics.dedup();
    format!("{} partitions of {}", partitions.len(), topics.join(", "))
}
