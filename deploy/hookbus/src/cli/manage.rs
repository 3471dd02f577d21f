//! The subcommands that talk to the management API.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::log::{EventExplainArgs, EventListArgs, EventShowArgs};

/// Which management API, and as whom.
#[derive(Args)]
pub(crate) struct Login {
    /// Base address of the management API, such as `https://hookbus.example.com`.
    #[arg(long, env = "HOOKBUS_URL", value_name = "URL", global = true, help_heading = "Management API")]
    pub(crate) url: Option<String>,
    /// Token: the admin key, a service token or an application secret. Better given by the variable: other programs of this
    /// machine can read a command line.
    #[arg(
        long,
        env = "HOOKBUS_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        global = true,
        help_heading = "Management API"
    )]
    pub(crate) token: Option<String>,
    /// File with the authority that signed the management API's certificate, as PEM. Without it those that this system trusts.
    #[arg(long, env = "HOOKBUS_CA", value_name = "FILE", global = true, help_heading = "Management API")]
    pub(crate) ca: Option<PathBuf>,
    /// Send the token to another host over plain HTTP, where everybody in between can read it.
    #[arg(long, env = "HOOKBUS_INSECURE", global = true, help_heading = "Management API")]
    pub(crate) insecure: bool,
    /// Folder of a running `hookbus dev`, whose `info.json` is used when neither address nor token is given.
    #[arg(long, default_value = "var/dev", value_name = "FOLDER", global = true, help_heading = "Management API")]
    pub(crate) dev_folder: PathBuf,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("url", &self.url).field("dev_folder", &self.dev_folder).finish_non_exhaustive()
    }
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs: what the API answered.
    Json,
}

/// What every command of one object has.
#[derive(Debug, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) login: Login,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Output::Table, global = true)]
    pub(crate) output: Output,
}

/// An application; needed where the token sees more than one.
#[derive(Debug, Args)]
pub(crate) struct OfApplication {
    /// Application: its id or uid. May be left out where the token sees only one.
    #[arg(long, short, value_name = "APPLICATION")]
    pub(crate) application: Option<String>,
}

/// `hookbus organization`
#[derive(Debug, Args)]
pub(crate) struct OrganizationArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: OrganizationCommand,
}

/// What to do with organizations.
#[derive(Debug, Subcommand)]
pub(crate) enum OrganizationCommand {
    /// List them.
    List,
    /// Make one.
    Create {
        /// Its name.
        name: String,
        /// An id of your own, usable wherever its id is.
        #[arg(long)]
        uid: Option<String>,
        /// One of `control.plans`: sets all of its limits.
        #[arg(long)]
        plan: Option<String>,
    },
    /// Delete one that is empty.
    Delete {
        /// Its id or uid.
        organization: String,
    },
}

/// `hookbus application`
#[derive(Debug, Args)]
pub(crate) struct ApplicationArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: ApplicationCommand,
}

/// What to do with applications.
#[derive(Debug, Subcommand)]
pub(crate) enum ApplicationCommand {
    /// List them.
    List {
        /// Only of this organization: its id or uid.
        #[arg(long)]
        organization: Option<String>,
    },
    /// Show one.
    Get {
        /// Its id or uid.
        application: String,
    },
    /// Make one, with a secret named `Default`.
    Create {
        /// Its name, 2 to 50 characters.
        name: String,
        /// Its organization: id or uid. May be left out where there is only one.
        #[arg(long)]
        organization: Option<String>,
        /// An id of your own, usable wherever its id is.
        #[arg(long)]
        uid: Option<String>,
    },
    /// Delete one with everything in it.
    Delete {
        /// Its id or uid.
        application: String,
    },
}

/// `hookbus event-type`
#[derive(Debug, Args)]
pub(crate) struct EventTypeArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Application: its id or uid. May be left out where the token sees only one.
    #[arg(long, short, value_name = "APPLICATION", global = true)]
    pub(crate) application: Option<String>,
    #[command(subcommand)]
    pub(crate) command: EventTypeCommand,
}

/// What to do with event types.
#[derive(Debug, Subcommand)]
pub(crate) enum EventTypeCommand {
    /// List them.
    List,
    /// Show one, with its JSON Schema.
    Get {
        /// Its name, such as `invoice.paid`.
        name: String,
    },
    /// Declare one, or change it.
    Create {
        /// Its name, such as `invoice.paid`.
        name: String,
        /// For people.
        #[arg(long)]
        description: Option<String>,
        /// A file with the JSON Schema that payloads must fit.
        #[arg(long, value_name = "FILE")]
        schema: Option<PathBuf>,
        /// Still accepted, but should not be sent any more, from now on.
        #[arg(long)]
        deprecated: bool,
        /// The same from a moment on, such as `2027-01-01T00:00:00Z`; what is delivered of it says so at once.
        #[arg(long, value_name = "TIME")]
        deprecated_at: Option<String>,
        /// When it may be gone; six months later unless said.
        #[arg(long, value_name = "TIME")]
        sunset_at: Option<String>,
        /// It is not deprecated any more.
        #[arg(long, conflicts_with_all = ["deprecated", "deprecated_at", "sunset_at"])]
        reinstated: bool,
    },
    /// Delete one: events of it are refused from then on.
    Delete {
        /// Its name.
        name: String,
    },
}

/// `hookbus event`
#[derive(Debug, Args)]
pub(crate) struct EventArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: EventCommand,
}

/// What to do with events.
#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// Send one event. Its payload is JSON, from `--payload`, a file, or standard input.
    Send(SendArgs),
    /// List them, the newest first.
    List(EventListArgs),
    /// Show one, and everything that became of it.
    Show(EventShowArgs),
    /// Say why one went to its subscriptions, and why not to others.
    Explain(EventExplainArgs),
    /// Send one again: to all subscriptions that match it now, or to one.
    Replay(ReplayArgs),
    /// Erase one: its labels, metadata and address leave the delivery log, its payload and the answers to it are not read back any
    /// more, and it is not sent again. Copies in Kafka expire later; when, is printed.
    Erase(EventShowArgs),
}

/// `hookbus event replay`
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Its id, UUID or webhook id.
    pub(crate) event: String,
    #[command(flatten)]
    pub(crate) of: OfApplication,
    /// Only to this subscription, whether it matches or not: its id or uid.
    #[arg(long)]
    pub(crate) subscription: Option<String>,
}

/// `hookbus event send`
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// Its type, such as `invoice.paid`.
    #[arg(value_name = "TYPE")]
    pub(crate) event_type: String,
    #[command(flatten)]
    pub(crate) of: OfApplication,
    /// The payload, JSON.
    #[arg(long, short, value_name = "JSON", conflicts_with = "payload_file")]
    pub(crate) payload: Option<String>,
    /// A file with the payload; `-` is standard input.
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) payload_file: Option<PathBuf>,
    /// Its id: an event with the same id is accepted once.
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// A label, up to ten.
    #[arg(long = "label", short = 'l', value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
    /// Address of the gateway, where it is another than the management API's.
    #[arg(long, env = "HOOKBUS_GATEWAY_URL", value_name = "URL")]
    pub(crate) gateway_url: Option<String>,
}

/// `hookbus token`
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

/// Whose token: an application's secret, or an organization's service token.
#[derive(Debug, Args)]
pub(crate) struct OfToken {
    /// Secrets of this application: its id or uid.
    #[arg(long, short, value_name = "APPLICATION", conflicts_with = "organization")]
    pub(crate) application: Option<String>,
    /// Service tokens of this organization: its id or uid.
    #[arg(long, value_name = "ORGANIZATION")]
    pub(crate) organization: Option<String>,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// List them. Service tokens are masked.
    List {
        #[command(flatten)]
        of: OfToken,
    },
    /// Make one and print it. A service token is never shown again.
    Create {
        /// Its name.
        name: String,
        #[command(flatten)]
        of: OfToken,
        /// What it may do: `ingest` sends events and nothing else, `viewer` reads, `editor` changes.
        #[arg(long, value_name = "ROLE")]
        role: Option<String>,
        /// It opens nothing from then on: an RFC 3339 time such as `2027-01-01T00:00:00Z`.
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
    },
    /// Revoke one: within 2 s nobody accepts it any more.
    Revoke {
        /// An application secret itself, or the id of a service token.
        #[arg(value_name = "TOKEN")]
        revoked: String,
        #[command(flatten)]
        of: OfToken,
    },
}

/// `NAME=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
