//! `hookbus topics plan` and `hookbus topics ensure`.

use anyhow::{Result, bail};
use kafka::Connection;
use schemas::topics::TopicSettings;

use crate::cli::TopicsCommand;
use crate::screen;

/// Prints the plan, and carries it out if asked to.
///
/// # Errors
/// When Kafka cannot be reached, or an existing topic does not fit: then nothing is altered.
pub(crate) async fn run(connection: &Connection, settings: &TopicSettings, command: &TopicsCommand) -> Result<()> {
    let specs = settings.specs();
    let plan = match command {
        TopicsCommand::Plan => kafka::topics::plan(connection, &specs).await?,
        TopicsCommand::Ensure => kafka::topics::ensure(connection, &specs).await?,
    };
    screen::line(plan.to_string().trim_end())?;
    if !plan.differing.is_empty() {
        bail!(
            "{} of the topics that exist do not fit; nothing was altered. Change the topics or the configuration",
            plan.differing.len()
        );
    }
    Ok(())
}
