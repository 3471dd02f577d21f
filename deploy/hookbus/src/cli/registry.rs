//! `hookbus registry`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::manage::Common;

pub(crate) const REGISTRY_HELP: &str = "\
With the admin key only. Examples:
  hookbus registry create Main --uid main --at https://registry.internal:8081 --username hookbus --password-env REGISTRY_PASSWORD
  hookbus registry check main
  hookbus source create Orders --topic crm.orders --format avro --registry main --application shop --type 'order.{value:/status}'";

/// `hookbus registry`
#[derive(Debug, Args)]
pub(crate) struct RegistryArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: RegistryCommand,
}

/// What to do with schema registries.
#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// List them.
    List,
    /// Show one. Its secret is masked.
    Get(OneRegistry),
    /// Make one.
    Create(RegistryCreateArgs),
    /// Change what is given; the rest stays.
    Set(RegistrySetArgs),
    /// Ask one whether it answers, and how many subjects it has.
    Check(OneRegistry),
    /// Delete one that no source refers to.
    Delete(OneRegistry),
}

/// One schema registry.
#[derive(Debug, Args)]
pub(crate) struct OneRegistry {
    /// Its id or uid.
    pub(crate) registry: String,
}

/// `hookbus registry create`
#[derive(Debug, Args)]
pub(crate) struct RegistryCreateArgs {
    /// Its name, 2 to 50 characters.
    pub(crate) name: String,
    /// Where it is, up to what Confluent's API begins with behind it; given several times, tried in turn.
    #[arg(long = "at", value_name = "URL", required = true)]
    pub(crate) urls: Vec<String>,
    #[command(flatten)]
    pub(crate) fields: RegistryFields,
}

/// `hookbus registry set`
#[derive(Debug, Args)]
pub(crate) struct RegistrySetArgs {
    #[command(flatten)]
    pub(crate) one: OneRegistry,
    /// Its name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where it is; replaces all.
    #[arg(long = "at", value_name = "URL")]
    pub(crate) urls: Vec<String>,
    #[command(flatten)]
    pub(crate) fields: RegistryFields,
    /// A field to take away: `auth`, `ca_pem`, `timeout_ms`, `uid`; may be given several times.
    #[arg(long = "clear", value_name = "FIELD")]
    pub(crate) clear: Vec<String>,
}

/// What a schema registry has beside its name and its URLs.
#[derive(Debug, Args)]
pub(crate) struct RegistryFields {
    /// An id of your own, usable wherever its id is.
    #[arg(long)]
    pub(crate) uid: Option<String>,
    /// HTTP basic: the user. Alone it keeps the password that is stored.
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// HTTP basic: the environment variable that holds the password.
    #[arg(long, value_name = "VARIABLE", requires = "username")]
    pub(crate) password_env: Option<String>,
    /// `Authorization: Bearer`: the environment variable that holds the token.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "username")]
    pub(crate) bearer_env: Option<String>,
    /// File with certificates that are trusted in place of the system's, PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// How long one request may take, milliseconds: 100 to 60000, 5000 unless said.
    #[arg(long, value_name = "MS")]
    pub(crate) timeout_ms: Option<u64>,
}
