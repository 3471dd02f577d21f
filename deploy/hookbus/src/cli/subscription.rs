//! `hookbus subscription`.

use clap::{Args, Subcommand};

use super::manage::{Common, OfApplication, pair};

/// `hookbus subscription`
#[derive(Debug, Args)]
pub(crate) struct SubscriptionArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: SubscriptionCommand,
}

/// One subscription.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Its id, or its uid together with `--application`.
    pub(crate) subscription: String,
    #[command(flatten)]
    pub(crate) of: OfApplication,
}

/// What to do with subscriptions.
#[derive(Debug, Subcommand)]
pub(crate) enum SubscriptionCommand {
    /// List those of an application.
    List {
        #[command(flatten)]
        of: OfApplication,
    },
    /// Show one. Its secrets are shown to editors.
    Get(One),
    /// Make one and print its signing secret.
    Create(CreateArgs),
    /// Change what is given; the rest stays.
    Update(UpdateArgs),
    /// Let it match events again.
    Enable(One),
    /// Stop it: from 1 s on nothing is sent, and what is queued is cancelled.
    Disable(One),
    /// Hold what is queued until it is resumed; nothing is lost.
    Pause(One),
    /// Go on with what a pause held.
    Resume(One),
    /// Delete it: what is queued is cancelled.
    Delete(One),
    /// Make a new signing secret; the old one signs too until the overlap ends.
    RotateSecret {
        #[command(flatten)]
        one: One,
        /// The new secret, instead of one made by the server: read from this environment variable.
        #[arg(long, value_name = "VARIABLE")]
        secret_env: Option<String>,
        /// How many seconds the old secret signs beside the new one: 0 to 604800 (7 days), a day unless said.
        #[arg(long, value_name = "SECONDS")]
        overlap_seconds: Option<u64>,
    },
    /// Show how it is doing: its circuit, what waits for it, how its requests ended lately.
    Health(One),
    /// Send it a test event.
    Ping(One),
    /// Give up a delivery that holds back others with its ordering key (`health` names them): those behind it go on.
    Skip {
        #[command(flatten)]
        one: One,
        /// The delivery's id.
        delivery: uuid::Uuid,
    },
    /// Have a delivery that holds back others with its ordering key (`health` names them) attempted now, and not when its retry is due.
    RetryNow {
        #[command(flatten)]
        one: One,
        /// The delivery's id.
        delivery: uuid::Uuid,
    },
}

/// `hookbus subscription create`
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    pub(crate) of: OfApplication,
    /// Where requests go.
    #[arg(value_name = "URL")]
    pub(crate) target: String,
    /// Event types or patterns (`order.*`, `order.**`).
    #[arg(long = "event-type", short, value_name = "TYPE", required = true)]
    pub(crate) event_types: Vec<String>,
    #[command(flatten)]
    pub(crate) fields: Fields,
    /// An id of your own, usable wherever its id is.
    #[arg(long)]
    pub(crate) uid: Option<String>,
    /// Make it without matching events yet.
    #[arg(long)]
    pub(crate) disabled: bool,
    /// Make it holding what it matches.
    #[arg(long)]
    pub(crate) paused: bool,
}

/// `hookbus subscription update`
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    pub(crate) one: One,
    /// Where requests go.
    #[arg(long = "target", value_name = "URL")]
    pub(crate) target: Option<String>,
    /// Event types or patterns; replaces all.
    #[arg(long = "event-type", short, value_name = "TYPE")]
    pub(crate) event_types: Vec<String>,
    #[command(flatten)]
    pub(crate) fields: Fields,
}

/// What a subscription has beside its types and target.
#[derive(Debug, Args)]
pub(crate) struct Fields {
    /// For people.
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// A label an event must carry; replaces all.
    #[arg(long = "label", short, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
    /// A CEL expression over `type`, `id`, `labels`, `data` and `time`.
    #[arg(long, value_name = "CEL")]
    pub(crate) filter: Option<String>,
    /// A retry preset: `standard`, `hook0` or `quick`.
    #[arg(long, value_name = "PRESET")]
    pub(crate) retry: Option<String>,
    /// A whole attempt, ms.
    #[arg(long, value_name = "MS")]
    pub(crate) timeout_ms: Option<u64>,
    /// Requests in flight at most.
    #[arg(long)]
    pub(crate) concurrency: Option<u64>,
}
