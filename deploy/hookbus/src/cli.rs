//! The command line: one subcommand per role, and what a person needs around them.

pub(crate) mod apply;
pub(crate) mod backfill;
pub(crate) mod doctor;
pub(crate) mod fanout;
pub(crate) mod jobs;
pub(crate) mod lanes;
pub(crate) mod log;
pub(crate) mod manage;
pub(crate) mod offsets;
pub(crate) mod operate;
pub(crate) mod registry;
pub(crate) mod rejected;
pub(crate) mod size;
pub(crate) mod source;
pub(crate) mod subscription;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const SUBSCRIPTION_HELP: &str = "\
Examples:
  hookbus subscription list --application shop
  hookbus subscription create https://example.com/hooks --application shop --event-type 'order.**' --uid warehouse
  hookbus subscription pause warehouse --application shop
  hookbus subscription list --application shop --output json | jq '.[].target.url'";

const EVENT_HELP: &str = "\
Examples:
  hookbus event send invoice.paid --application shop --payload '{\"amount\": 12900}' --label env=test
  cat order.json | hookbus event send order.shipped.v2 --application shop --id evt_1042 --payload-file -
  hookbus event show evt_1042 --application shop
  hookbus event list --application shop --event-type 'order.**' --since 1h

  hookbus event replay evt_1042 --application shop";

const TOKEN_HELP: &str = "\
Examples:
  hookbus token list --application shop
  hookbus token create billing --application shop --role ingest
  hookbus token create ci --organization acme --role editor --expires-at 2027-01-01T00:00:00Z
  hookbus token revoke 0193b2f1-5d1e-7c31-9a55-0e4b5c6d7e8f --organization acme";

/// Webhooks from Kafka: signed, retried, logged, with Kafka as the only state.
#[derive(Debug, Parser)]
#[command(name = "hookbus", version = crate::version::TEXT.as_str(), propagate_version = true)]
pub(crate) struct Cli {
    /// Configuration file; without it `./hookbus.toml` if it is there. `HOOKBUS__SECTION__KEY` variables win over it.
    #[arg(long, short, global = true, env = "HOOKBUS_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take events over HTTP and publish them to the events topic.
    Gateway,
    /// Match events with subscriptions and write deliveries.
    Fanout(fanout::FanoutArgs),
    /// Send signed requests and record what came of them.
    Delivery,
    /// Hold deliveries until they are due.
    Retry,
    /// Serve the management API, the only writer of the control topic.
    Control,
    /// Run everything in one process, with Kafka and a demo receiver, and show what happens.
    Dev(DevArgs),
    /// Make an application beside an installation that runs, send it an event, and verify what is delivered.
    Demo(operate::DemoArgs),
    /// Make the keys that an installation needs, each in a file of a folder; what is there stays.
    Keys(operate::KeysArgs),
    /// Create and verify Hookbus's topics.
    Topics {
        /// What to do with them.
        #[command(subcommand)]
        command: TopicsCommand,
    },
    /// Show how far the roles have read, and set where they go on.
    #[command(after_help = offsets::OFFSETS_HELP)]
    Offsets(offsets::OffsetsArgs),
    /// Show what waits for its lane: how much, since when, and until when nothing is sent; mend its lists, or empty them.
    #[command(after_help = lanes::LANES_HELP)]
    Lanes(lanes::LanesArgs),
    /// Print the records of a topic as text.
    Tail(TailArgs),
    /// Make organizations, applications, event types and subscriptions what YAML files say.
    #[command(after_help = apply::APPLY_HELP)]
    Apply(apply::ApplyArgs),
    /// Write what is there as YAML files that `apply` reads.
    #[command(after_help = apply::EXPORT_HELP)]
    Export(apply::ExportArgs),
    /// Tenants.
    Organization(manage::OrganizationArgs),
    /// Scopes of events.
    Application(manage::ApplicationArgs),
    /// What may be sent.
    EventType(manage::EventTypeArgs),
    /// Who receives what.
    #[command(after_help = SUBSCRIPTION_HELP)]
    Subscription(subscription::SubscriptionArgs),
    /// Topics of others that are read as they are, and how their records become events.
    #[command(after_help = source::SOURCE_HELP)]
    Source(source::SourceArgs),
    /// Schema registries: where the schemas of records are asked for.
    #[command(after_help = registry::REGISTRY_HELP)]
    Registry(registry::RegistryArgs),
    /// Send events, once or again, and see what became of them.
    #[command(after_help = EVENT_HELP)]
    Event(manage::EventArgs),
    /// List attempts to deliver, the newest first.
    #[command(after_help = log::ATTEMPTS_HELP)]
    Attempts(log::AttemptsArgs),
    /// Show an attempt to deliver.
    Attempt(log::AttemptArgs),
    /// Show how the delivery log is doing, and compare it with its topic.
    Log(log::LogArgs),
    /// Dead letters: send them again, or never.
    #[command(name = "deadletters", after_help = jobs::DEADLETTERS_HELP)]
    DeadLetters(jobs::DeadLettersArgs),
    /// Records of topics that could not be used: why, and once more.
    #[command(after_help = rejected::REJECTED_HELP)]
    Rejected(rejected::RejectedArgs),
    /// Send many events again.
    #[command(after_help = jobs::REPLAY_HELP)]
    Replay(jobs::ReplaysArgs),
    /// Give a subscription the events of before it was there.
    #[command(after_help = backfill::BACKFILL_HELP)]
    Backfill(backfill::BackfillArgs),
    /// What is being sent again, and how far that is.
    Job(jobs::JobArgs),
    /// Application secrets and service tokens.
    #[command(after_help = TOKEN_HELP)]
    Token(manage::TokenArgs),
    /// Look whether this configuration, this host and Kafka can work together, and say what is wrong.
    #[command(after_help = doctor::DOCTOR_HELP)]
    Doctor(doctor::DoctorArgs),
    /// Print what a code such as `HB-020` means and what to do; without one, all codes.
    Explain {
        /// The code of an error or of a line of `hookbus doctor`.
        code: Option<String>,
    },
    /// Say whether the process beside this one is ready: asks the configured admin port, and ends with 0 or 1.
    Ready,
    /// Show how the running gateways, fan-outs, delivery workers and retry schedulers are doing.
    Status(operate::StatusArgs),
    /// Show what waits for its retry: how much per tier, and when the next of it moves.
    Retries(operate::RetriesArgs),
    /// Show who changed what.
    #[command(after_help = operate::AUDIT_HELP)]
    Audit(operate::AuditArgs),
    /// Print what each role must be allowed to do in Kafka.
    #[command(after_help = operate::ACLS_HELP)]
    Acls(operate::AclsArgs),
    /// Say what an installation needs for so many events: processes, partitions, memory, disks and networks.
    #[command(after_help = size::SIZE_HELP)]
    Size(size::SizeArgs),
    /// Show the configuration.
    Config {
        /// What to show.
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

/// `hookbus dev`
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Where Kafka's data, keys and `info.json` live between starts.
    #[arg(long, default_value = "var/dev", value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// Create missing topics on a configured broker without asking.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `hookbus topics`
#[derive(Debug, Subcommand)]
pub(crate) enum TopicsCommand {
    /// Create what is missing; fail with a readable difference if something that exists does not fit. Alters nothing.
    Ensure,
    /// Say what `ensure` would do. Changes nothing.
    Plan,
}

/// `hookbus config`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the effective values, secrets masked, and where each comes from.
    Show,
    /// Print every key with its doc, as Markdown.
    Reference,
    /// Print what a configuration file may hold, as JSON Schema: for editors, and for whoever makes such files.
    Schema,
}

/// `hookbus tail`
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// A topic: `attempts`, `retry.10m`, or a full name.
    pub(crate) topic: String,
    /// Where to begin.
    #[arg(long, value_enum, default_value_t = TailFrom::End)]
    pub(crate) from: TailFrom,
    /// Stop at the end instead of waiting for more.
    #[arg(long)]
    pub(crate) no_follow: bool,
    /// Stop after this many records.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Show records of aborted and open transactions too.
    #[arg(long)]
    pub(crate) uncommitted: bool,
    /// Print at most this many bytes of each value.
    #[arg(long, default_value_t = 4_096, value_name = "BYTES")]
    pub(crate) cut: usize,
}

/// Where `tail` begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TailFrom {
    /// At the first record that is still there.
    Beginning,
    /// After the last one.
    End,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_revoked_is_not_the_token_that_revokes_it() {
        let arguments = ["hookbus", "token", "revoke", "x", "--application", "a", "--token", "t"];
        let cli = Cli::try_parse_from(arguments).unwrap();
        let Command::Token(args) = cli.command else { panic!("another command") };
        assert_eq!(args.common.login.token.as_deref(), Some("t"));
        assert!(matches!(args.command, manage::TokenCommand::Revoke { revoked, .. } if revoked == "x"));
    }
}
