//! The subcommands of whoever operates an installation: `status`, `retries`, `audit` and `acls`; and of whoever begins: `demo`, `keys`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::manage::Output;

pub(crate) const AUDIT_HELP: &str = "\
Examples:
  hookbus audit --since 2h
  hookbus audit --object 0193b2f1-5d1e-7c31-9a55-0e4b5c6d7e8f --output json
  hookbus audit --follow --actor admin";

pub(crate) const ACLS_HELP: &str = "\
Examples:
  hookbus acls | sh
  hookbus acls --source-topic crm.orders --source-topic 'erp.*' | sh
  hookbus acls --role delivery --principal 'User:CN={role}.hookbus'
  hookbus acls --output table";

/// `hookbus audit`
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Wait for more at the end.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only changes of this object, or of what belongs to it: an id, an event type's name, or a whole key
    /// (`subscription/<application>/<id>`).
    #[arg(long, value_name = "ID")]
    pub(crate) object: Option<String>,
    /// Only changes by this actor: `admin`, `application_secret/<id>`, `system/...`, or its beginning.
    #[arg(long, value_name = "ACTOR")]
    pub(crate) actor: Option<String>,
    /// Only changes since then: `2h`, `7d`, or a time such as `2026-11-22T00:00:00Z`.
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// `hookbus status`
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// `hookbus demo`
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where the installation is: a gateway that passes on to the control plane, or whatever stands before both.
    #[arg(long, value_name = "URL")]
    pub(crate) server: String,
    /// Send the keys to another host in clear, as inside a network of containers.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Where to take what is delivered.
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// The same as delivery workers reach it.
    #[arg(long, default_value = "http://127.0.0.1:8090/", value_name = "URL")]
    pub(crate) url: String,
}

/// `hookbus keys`
#[derive(Clone, Debug, Args)]
pub(crate) struct KeysArgs {
    /// Where they lie.
    pub(crate) folder: PathBuf,
    /// Let every user read the files, for a volume that only containers see; else only who made them.
    #[arg(long)]
    pub(crate) readable_by_all: bool,
}

/// `hookbus retries`
#[derive(Debug, Args)]
pub(crate) struct RetriesArgs {
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// `hookbus acls`
#[derive(Debug, Args)]
pub(crate) struct AclsArgs {
    /// Only for this role; without it for all, and for the operator who creates topics.
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,
    /// Who a role is for Kafka; `{role}` stands for the role's name.
    #[arg(long, default_value = "User:hookbus-{role}", value_name = "PRINCIPAL")]
    pub(crate) principal: String,
    /// A topic that sources read, or a prefix that ends in `*`; may be given several times.
    #[arg(long = "source-topic", value_name = "TOPIC")]
    pub(crate) source_topics: Vec<String>,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = AclOutput::Commands)]
    pub(crate) output: AclOutput,
}

/// How permissions are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AclOutput {
    /// Calls of `kafka-acls.sh`, ready for a shell. `KAFKA_ACLS` names another program.
    Commands,
    /// For people.
    Table,
    /// For programs.
    Json,
}
