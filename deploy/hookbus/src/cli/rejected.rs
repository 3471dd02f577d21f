//! `hookbus rejected`: records of topics that could not be used.

use clap::{Args, Subcommand};

use super::manage::Common;

pub(crate) const REJECTED_HELP: &str = "\
Examples:
  hookbus rejected list --source orders --reason invalid_attribute
  hookbus rejected show 3-120
  hookbus rejected retry 3-120 3-121
  hookbus rejected retry --source orders --from 2026-11-29T10:00:00Z";

/// `hookbus rejected`
#[derive(Debug, Args)]
pub(crate) struct RejectedArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: RejectedCommand,
}

/// What to do with rejected records.
#[derive(Debug, Subcommand)]
pub(crate) enum RejectedCommand {
    /// List them, the newest first.
    List {
        #[command(flatten)]
        which: RejectedWhich,
        /// At most so many.
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: usize,
    },
    /// Show one with its key, value and headers.
    Show {
        /// Its id, as the list shows it.
        rejected: String,
    },
    /// Have them planned again, by what their source is now; prints the job.
    Retry {
        /// These, by their ids; without any those that the options name.
        #[arg(value_name = "ID", conflicts_with_all = ["source", "reason", "from", "to"])]
        ids: Vec<String>,
        #[command(flatten)]
        which: RejectedWhich,
        /// Records in a second.
        #[arg(long, value_name = "PER_SECOND")]
        rate: Option<u32>,
    },
}

/// What rejected records have in common.
#[derive(Debug, Args)]
pub(crate) struct RejectedWhich {
    /// Only those that came through this source, by id or uid.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    /// Only those of this reason.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Only those that were rejected at this time or later: RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Only those that were rejected at this time or earlier.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
}

// === impl RejectedWhich ===

impl RejectedWhich {
    /// As the API calls them.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [("source_id", &self.source), ("reason", &self.reason), ("from", &self.from), ("to", &self.to)];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}
