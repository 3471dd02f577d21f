//! `hookbus source`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::manage::{Common, pair};

pub(crate) const SOURCE_HELP: &str = "\
Examples:
  hookbus source create Orders --topic crm.orders --application shop --type 'order.{value:/status}' --id '{value:/id}'
  hookbus source lag orders
  hookbus source move orders --to 2026-11-01T00:00:00Z --again
  hookbus source move orders --offset crm.orders/0=1200 --offset crm.orders/1=0
  hookbus source test orders --value '{\"status\": \"paid\", \"id\": 7}'";

/// `hookbus source`
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: SourceCommand,
}

/// What to do with sources.
#[derive(Debug, Subcommand)]
pub(crate) enum SourceCommand {
    /// List them, with how each is doing.
    List {
        /// Only those of this organization: its id or uid.
        #[arg(long)]
        organization: Option<String>,
    },
    /// Show one, and how it is doing.
    Get(OneSource),
    /// Make one. Of what begins at the end nothing is missed that is written from now on.
    Create(Box<SourceCreateArgs>),
    /// Change what is given; the rest stays. Topics that it reads already go on where they stand.
    Set(Box<SourceSetArgs>),
    /// Let it stand still.
    Pause(OneSource),
    /// Go on where it stood.
    Resume(OneSource),
    /// Go on reading elsewhere in its topics.
    Move(SourceMoveArgs),
    /// Delete it.
    Delete(OneSource),
    /// Show what becomes of a record, without sending anything.
    Test(SourceTestArgs),
    /// Show how far each of its partitions is.
    Lag(OneSource),
}

/// One source.
#[derive(Debug, Args)]
pub(crate) struct OneSource {
    /// Its id or uid.
    pub(crate) source: String,
}

/// `hookbus source create`
#[derive(Debug, Args)]
pub(crate) struct SourceCreateArgs {
    /// Its name.
    pub(crate) name: String,
    /// Whose it is: id or uid of an organization.
    #[arg(long)]
    pub(crate) organization: Option<String>,
    /// A topic, or a prefix of at least 3 characters that ends in `*`; may be given several times.
    #[arg(long = "topic", value_name = "TOPIC", required = true)]
    pub(crate) topics: Vec<String>,
    /// What the values are: `json`, `cloudevents`, `hookbus`, `debezium`, `text`, `binary`, and with a schema registry `avro`, `protobuf`,
    /// `json_schema`.
    #[arg(long, default_value = "json")]
    pub(crate) format: String,
    #[command(flatten)]
    pub(crate) fields: SourceFields,
    /// Make it without reading yet.
    #[arg(long)]
    pub(crate) disabled: bool,
    /// Make it standing still.
    #[arg(long)]
    pub(crate) paused: bool,
}

/// `hookbus source set`
#[derive(Debug, Args)]
pub(crate) struct SourceSetArgs {
    #[command(flatten)]
    pub(crate) one: OneSource,
    /// Its name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Topics and prefixes; replaces all.
    #[arg(long = "topic", value_name = "TOPIC")]
    pub(crate) topics: Vec<String>,
    /// What the values are.
    #[arg(long)]
    pub(crate) format: Option<String>,
    #[command(flatten)]
    pub(crate) fields: SourceFields,
    /// Whether it is read.
    #[arg(long, value_name = "BOOL")]
    pub(crate) enabled: Option<bool>,
    /// A field to take away: `payload`, `labels`, `id`; may be given several times.
    #[arg(long = "clear", value_name = "FIELD")]
    pub(crate) clear: Vec<String>,
}

/// What a source has beside its topics and its format.
#[derive(Debug, Args)]
pub(crate) struct SourceFields {
    /// An id of your own, usable wherever its id is.
    #[arg(long)]
    pub(crate) uid: Option<String>,
    /// Id or uid of the schema registry that its records name their schemas of.
    #[arg(long, value_name = "REGISTRY")]
    pub(crate) registry: Option<String>,
    /// A topic or prefix to leave out of what the prefixes name; replaces all.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) exclude: Vec<String>,
    /// Id or uid of the application, or a template: `{header:application}`.
    #[arg(long, short, value_name = "TEMPLATE")]
    pub(crate) application: Option<String>,
    /// Template of the event type: `order.{value:/status}`.
    #[arg(long = "type", value_name = "TEMPLATE")]
    pub(crate) event_type: Option<String>,
    /// The event type where the template comes to nothing.
    #[arg(long, value_name = "TYPE")]
    pub(crate) default_type: Option<String>,
    /// Template of the event's id: `{value:/id}`.
    #[arg(long = "id", value_name = "TEMPLATE")]
    pub(crate) event_id: Option<String>,
    /// Template of the event's time: `{value:/at}`.
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) time: Option<String>,
    /// What an integer time counts: `s`, `ms`, `us`, `ns`.
    #[arg(long, value_name = "UNIT")]
    pub(crate) time_unit: Option<String>,
    /// A label's template; replaces all.
    #[arg(long = "label", short, value_name = "NAME=TEMPLATE", value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
    /// JSON pointer to the part of the value that is the payload: `/data`.
    #[arg(long, value_name = "POINTER")]
    pub(crate) payload: Option<String>,
    /// Records without a value: `skip`, `reject`, `deliver`.
    #[arg(long, value_name = "WHAT")]
    pub(crate) on_null: Option<String>,
    /// Where topics begin that are new to it: `end`, `beginning`, or a time.
    #[arg(long, value_name = "WHERE")]
    pub(crate) start: Option<String>,
    /// Topics that are named need not be there yet.
    #[arg(long)]
    pub(crate) wait_for_topic: bool,
    /// Options of the format, JSON: `{"snapshots": true}`.
    #[arg(long, value_name = "JSON")]
    pub(crate) options: Option<String>,
}

/// `hookbus source move`
#[derive(Debug, Args)]
pub(crate) struct SourceMoveArgs {
    #[command(flatten)]
    pub(crate) one: OneSource,
    /// Where to: `end`, `beginning`, or a time.
    #[arg(long, value_name = "WHERE", required_unless_present = "offsets", conflicts_with = "offsets")]
    pub(crate) to: Option<String>,
    /// An offset; each partition of a topic needs one.
    #[arg(long = "offset", value_name = "TOPIC/PARTITION=OFFSET", value_parser = pair)]
    pub(crate) offsets: Vec<(String, String)>,
    /// Only this topic; may be given several times.
    #[arg(long = "topic", value_name = "TOPIC")]
    pub(crate) topics: Vec<String>,
    /// Send again what was sent before, as a replay.
    #[arg(long)]
    pub(crate) again: bool,
}

/// `hookbus source test`
#[derive(Debug, Args)]
pub(crate) struct SourceTestArgs {
    #[command(flatten)]
    pub(crate) one: OneSource,
    /// The record's value.
    #[arg(long, value_name = "TEXT", conflicts_with = "value_file")]
    pub(crate) value: Option<String>,
    /// A file with the record's value; `-` is standard input. Without any value it is a tombstone.
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) value_file: Option<PathBuf>,
    /// The record's key.
    #[arg(long, value_name = "TEXT")]
    pub(crate) key: Option<String>,
    /// A header of the record.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) headers: Vec<(String, String)>,
}
