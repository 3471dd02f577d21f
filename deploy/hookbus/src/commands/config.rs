//! `hookbus config show`, `hookbus config reference` and `hookbus config schema`.

use std::path::Path;

use anyhow::Result;
use chassis::config;

use crate::cli::ConfigCommand;
use crate::screen;

/// Prints what was asked for.
///
/// # Errors
/// When the configuration is wrong: every problem names its key.
pub(crate) fn run(file: Option<&Path>, command: &ConfigCommand) -> Result<()> {
    let text = match command {
        ConfigCommand::Show => config::load(file, config::environment())?.show(),
        ConfigCommand::Reference => config::reference(),
        ConfigCommand::Schema => serde_json::to_string_pretty(&config::schema())?,
    };
    Ok(screen::line(text.trim_end())?)
}
