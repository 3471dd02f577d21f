//! `hookbus replay`, `hookbus job` and `hookbus deadletters`: sending again.

use clap::{Args, Subcommand};

use super::log::DeadLettersListArgs;
use super::manage::{Common, OfApplication, pair};

pub(crate) const REPLAY_HELP: &str = "\
Examples:
  hookbus replay start --application shop --outcome failed --from 2026-11-29T10:00:00Z --dry-run
  hookbus replay start --application shop --event-type 'invoice.*' --from 2026-11-29T10:00:00Z --rate 50
  hookbus replay start --application shop evt_1042 evt_1043 --to-whom 0193b2f1-5d1e-7c31-9a55-0e4b5c6d7e8f";

pub(crate) const DEADLETTERS_HELP: &str = "\
Examples:
  hookbus deadletters list --application shop
  hookbus deadletters redrive --application shop --all --reason schedule --rate 50
  hookbus deadletters redrive 648aa157-7f28-5037-9af1-2c8364067bd2 --application shop
  hookbus deadletters discard --application shop --all --to 2026-11-01T00:00:00Z --why 'the shop has closed'";

/// `hookbus job`
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: JobCommand,
}

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// List them, newest first.
    List {
        #[command(flatten)]
        of: OfApplication,
        /// Those of an organization that are no application's, by its id or uid.
        #[arg(long, value_name = "ORGANIZATION", conflicts_with = "application")]
        organization: Option<String>,
        /// Only those of this kind: `replay`, `retry`, `redrive`, `discard`, `retry_rejected`, `backfill`.
        #[arg(long)]
        kind: Option<String>,
        /// Only those that stand so: `queued`, `running`, `paused`, `done`, `cancelled`, `failed`.
        #[arg(long)]
        state: Option<String>,
    },
    /// Show how far one is.
    Show {
        /// Its id.
        job: String,
    },
    /// Pause one: nothing more of it is written until it is resumed.
    Pause {
        /// Its id.
        job: String,
    },
    /// Let one go on that is paused.
    Resume {
        /// Its id.
        job: String,
    },
    /// Cancel one: nothing more of it is written.
    Cancel {
        /// Its id.
        job: String,
    },
}

/// `hookbus replay`
#[derive(Debug, Args)]
pub(crate) struct ReplaysArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: ReplaysCommand,
}

/// What to do with many events.
#[derive(Debug, Subcommand)]
pub(crate) enum ReplaysCommand {
    /// Send all that fit again, the oldest first.
    Start(StartArgs),
}

/// `hookbus replay start`
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// These events, by id, UUID or webhook id; without any those that the options name.
    #[arg(value_name = "EVENT")]
    pub(crate) events: Vec<String>,
    #[command(flatten)]
    pub(crate) of: OfApplication,
    /// Only of this event type or pattern; may be given several times.
    #[arg(long, value_name = "TYPE")]
    pub(crate) event_type: Vec<String>,
    /// Only those with this label; may be given several times.
    #[arg(long = "label", short = 'l', value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
    /// Only those that were accepted at this time or later: RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Only those that were accepted at this time or earlier.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Only those of which this became: `delivered`, `failed`, `waiting`, `unmatched`; may be given several times.
    #[arg(long, value_name = "WORD")]
    pub(crate) outcome: Vec<String>,
    /// With `--outcome`: only deliveries to this subscription, its id.
    #[arg(long, value_name = "ID")]
    pub(crate) subscription: Option<String>,
    /// With `--outcome`: only where the last answer had this status, `404`, or one of this class, `5xx`.
    #[arg(long, value_name = "STATUS")]
    pub(crate) http_status: Option<String>,
    /// To whom: `matching`, `same`, or one subscription, by id or uid.
    #[arg(long = "to-whom", value_name = "WHOM")]
    pub(crate) send_to: Option<String>,
    /// Deliveries in a second.
    #[arg(long, value_name = "PER_SECOND")]
    pub(crate) rate: Option<u32>,
    /// Only say what would be sent.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `hookbus deadletters`
#[derive(Debug, Args)]
pub(crate) struct DeadLettersArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: DeadLettersCommand,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List them, the newest first.
    List(DeadLettersListArgs),
    /// Show the attempts of one.
    Show {
        /// Its id, which is its delivery's.
        dead_letter: String,
        #[command(flatten)]
        of: OfApplication,
    },
    /// Send open ones again, once each.
    Redrive {
        #[command(flatten)]
        which: WhichLetters,
        /// Deliveries in a second.
        #[arg(long, value_name = "PER_SECOND")]
        rate: Option<u32>,
        /// Only say what would be sent.
        #[arg(long)]
        dry_run: bool,
    },
    /// Decide that open ones are not sent again.
    Discard {
        #[command(flatten)]
        which: WhichLetters,
        /// Why: it stands in the delivery log.
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// Only say what would be discarded.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which dead letters.
#[derive(Debug, Args)]
pub(crate) struct WhichLetters {
    /// Their ids.
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) of: OfApplication,
    /// All that are open and fit the options below.
    #[arg(long)]
    pub(crate) all: bool,
    /// Only of this subscription: its id.
    #[arg(long, requires = "all")]
    pub(crate) subscription: Option<String>,
    /// Only of this event type or pattern; may be given several times.
    #[arg(long, requires = "all", value_name = "TYPE")]
    pub(crate) event_type: Vec<String>,
    /// Only those that died of it: `schedule`, `max_age`, `refused`, `gone`, `aborted`, `unwritable`.
    #[arg(long, requires = "all")]
    pub(crate) reason: Option<String>,
    /// Only those that died at this time or later: RFC 3339.
    #[arg(long, requires = "all", value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Only those that died at this time or earlier.
    #[arg(long, requires = "all", value_name = "TIME")]
    pub(crate) to: Option<String>,
}
