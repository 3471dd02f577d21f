//! `hookbus lanes`: what waits for its lane.

use clap::{Args, Subcommand};

use super::manage::Output;

pub(crate) const LANES_HELP: &str = "\
Examples:
  hookbus lanes show
  hookbus lanes show 0193b2f1-5d1e-7c31-9a55-0e4b5c6d7e8f
  hookbus lanes show --output json | jq 'max_by(.waiting)'";

/// `hookbus lanes`
#[derive(Debug, Args)]
pub(crate) struct LanesArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: LanesCommand,
}

/// What to do with the lanes.
#[derive(Debug, Subcommand)]
pub(crate) enum LanesCommand {
    /// Show every lane of which something waits, or that does not send as a new one would.
    Show(LanesShowArgs),
}

/// `hookbus lanes show`
#[derive(Debug, Args)]
pub(crate) struct LanesShowArgs {
    /// Only this subscription, by its id.
    pub(crate) subscription: Option<String>,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}
