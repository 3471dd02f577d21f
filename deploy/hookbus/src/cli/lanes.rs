//! `hookbus lanes`: what waits for its lane.

use clap::{Args, Subcommand};

use super::manage::Output;

pub(crate) const LANES_HELP: &str = "\
Examples:
  hookbus lanes show
  hookbus lanes show 0193b2f1-5d1e-7c31-9a55-0e4b5c6d7e8f
  hookbus lanes show --output json | jq 'max_by(.waiting)'
  hookbus lanes accept
  hookbus lanes release --yes

`accept` and `release` write as a delivery worker does: run them with its configuration and permissions, while none runs.
deploy/runbooks/lists-differ.md and deploy/runbooks/rollback.md say when.";

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
    /// Go on with what the lists hold where something else was committed of them, at which delivery workers stop. None may run.
    Accept(AgreedArgs),
    /// Write what waits in lists to the end of `deliveries` once more and empty the lists, so that an older release can go on.
    /// No delivery worker may run. Stopped at any point, it goes on when it is run again.
    Release(AgreedArgs),
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

/// `hookbus lanes accept` and `hookbus lanes release`
#[derive(Debug, Args)]
pub(crate) struct AgreedArgs {
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}
