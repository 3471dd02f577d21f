//! The subcommands that read the delivery log: `event list` and `show`, `attempts`, `attempt`, `deadletters`, and `log` itself.

use clap::{Args, Subcommand};

use super::manage::{Common, OfApplication, Output, pair};

pub(crate) const ATTEMPTS_HELP: &str = "\
Examples:
  hookbus attempts --application shop --status failed --since 1h
  hookbus attempts --application shop --event evt_1042
  hookbus attempts --application shop --status failed --follow
  hookbus attempts --subscription 0193b2f1-5d1e-7c31-9a55-0e4b5c6d7e8f --http-status 5xx --output json";

/// Which part of a list is printed.
#[derive(Debug, Args)]
pub(crate) struct PartOfList {
    /// At most so many, the newest.
    #[arg(long, short = 'n', default_value_t = 50, value_name = "N")]
    pub(crate) limit: usize,
    /// Only what happened since then: `2h`, `7d`, or a time such as `2026-11-22T00:00:00Z`.
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,
}

/// `hookbus event list`
#[derive(Debug, Args)]
pub(crate) struct EventListArgs {
    #[command(flatten)]
    pub(crate) of: OfApplication,
    #[command(flatten)]
    pub(crate) part: PartOfList,
    /// Only those of this type, or of types that this pattern matches; may be given more than once.
    #[arg(long = "event-type", value_name = "TYPE")]
    pub(crate) event_types: Vec<String>,
    /// Only those with this label; may be given more than once.
    #[arg(long = "label", short = 'l', value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
    /// Only those with this source.
    #[arg(long)]
    pub(crate) source: Option<String>,
}

/// `hookbus event show`
#[derive(Debug, Args)]
pub(crate) struct EventShowArgs {
    /// Its id, its UUID or its `webhook-id`.
    pub(crate) event: String,
    #[command(flatten)]
    pub(crate) of: OfApplication,
}

/// `hookbus event explain`
#[derive(Debug, Args)]
pub(crate) struct EventExplainArgs {
    /// Its id, its UUID or its `webhook-id`.
    pub(crate) event: String,
    #[command(flatten)]
    pub(crate) of: OfApplication,
    /// Only this subscription: its id.
    #[arg(long, value_name = "ID")]
    pub(crate) subscription: Option<String>,
}

/// `hookbus attempts`
#[derive(Debug, Args)]
pub(crate) struct AttemptsArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) of: OfApplication,
    #[command(flatten)]
    pub(crate) part: PartOfList,
    /// Only those to this subscription: its id.
    #[arg(long, value_name = "ID")]
    pub(crate) subscription: Option<String>,
    /// Only those of this event: its id, UUID or `webhook-id`.
    #[arg(long, value_name = "ID")]
    pub(crate) event: Option<String>,
    /// `waiting`, `successful` or `failed`.
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// A status of the answer, `404`, or a class of them, `5xx`.
    #[arg(long, value_name = "STATUS")]
    pub(crate) http_status: Option<String>,
    /// What the request failed with, a word such as `timeout`.
    #[arg(long, value_name = "WORD")]
    pub(crate) error: Option<String>,
    /// Go on with what comes, one line each, until it is interrupted.
    #[arg(long, short)]
    pub(crate) follow: bool,
}

/// `hookbus attempt`
#[derive(Debug, Args)]
pub(crate) struct AttemptArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: AttemptCommand,
}

/// What to do with one attempt.
#[derive(Debug, Subcommand)]
pub(crate) enum AttemptCommand {
    /// Show it, with what was sent and what came back.
    Show {
        /// Its id.
        attempt: String,
        #[command(flatten)]
        of: OfApplication,
    },
}

/// `hookbus deadletters list`
#[derive(Debug, Args)]
pub(crate) struct DeadLettersListArgs {
    #[command(flatten)]
    pub(crate) of: OfApplication,
    #[command(flatten)]
    pub(crate) part: PartOfList,
    /// Only those of this subscription: its id.
    #[arg(long, value_name = "ID")]
    pub(crate) subscription: Option<String>,
    /// Only those that died of it: `schedule`, `max_age`, `refused`, `gone`, `aborted` or `unwritable`.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Those that stand so: `open`, `healed`, `redriven`, `discarded`, `expired`.
    #[arg(long, default_value = "open")]
    pub(crate) state: String,
}

/// `hookbus log`
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    #[command(subcommand)]
    pub(crate) command: LogCommand,
}

/// What to do with the delivery log.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Show its days, and how far it is behind its topic. Asks the management API, with the admin key.
    Status(Common),
    /// Throw it away and have it made again from its topic, the newest day first; `log status` tells how far that is. Asks the
    /// management API, with the admin key: the replica that answers makes its own, unless all share one in PostgreSQL.
    Rebuild(Common),
    /// Compare it with its topic, and name the first difference. Run it where the control plane runs: it reads the folder of
    /// `control.log.folder`, or the PostgreSQL of `control.log.postgres_url`, beside it, and Kafka.
    Check {
        /// How to print.
        #[arg(long, short, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}
