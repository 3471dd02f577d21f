//! `hookbus offsets`: where the roles' groups stand, and where they shall begin.

use clap::{Args, Subcommand, ValueEnum};

use super::manage::Output;

pub(crate) const OFFSETS_HELP: &str = "\
Examples:
  hookbus offsets show
  hookbus offsets show fanout --output json | jq '.[] | select(.stops)'
  hookbus offsets set fanout --topic events --to start
  hookbus offsets set delivery --topic deliveries --partition 3 --to 1042 --yes

deploy/runbooks/no-committed-offset.md says what to choose.";

/// `hookbus offsets`
#[derive(Debug, Args)]
pub(crate) struct OffsetsArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: OffsetsCommand,
}

/// What to do with the offsets.
#[derive(Debug, Subcommand)]
pub(crate) enum OffsetsCommand {
    /// Show log start, committed offset, log end and lag of every partition, what waits in lists and since when, and what keeps a
    /// role from starting.
    Show(ShowArgs),
    /// Set the committed offset of partitions. The role must not run.
    Set(SetArgs),
}

/// `hookbus offsets show`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Only of this role; without it of all that have a group.
    pub(crate) role: Option<GroupRole>,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// `hookbus offsets set`
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// Whose group.
    pub(crate) role: GroupRole,
    /// A topic that the role reads: `events`, `retry.10m`, or a full name.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: String,
    /// Only this partition, also if it has a committed offset; may be repeated. Without it every partition at which the role stops because it has none.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) partition: Vec<i32>,
    /// Where to go on: `start` reads everything that is kept, `end` skips everything that waits, or an offset between them.
    #[arg(long, value_name = "start|end|OFFSET")]
    pub(crate) to: To,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// The roles that read in a group, and the control planes' runner of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupRole {
    /// Events times subscriptions.
    Fanout,
    /// Signed requests.
    Delivery,
    /// Delay topics.
    Retry,
    /// Jobs, run by the control planes.
    Resends,
}

/// Where a partition goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// At the first record that is kept.
    Start,
    /// After the last one.
    End,
    /// At this offset.
    Offset(i64),
}

impl std::str::FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "start" => Ok(Self::Start),
            "end" => Ok(Self::End),
            number => match number.parse() {
                Ok(offset @ 0..) => Ok(Self::Offset(offset)),
                Ok(_) | Err(_) => Err("it is `start`, `end` or an offset from 0".to_owned()),
            },
        }
    }
}
