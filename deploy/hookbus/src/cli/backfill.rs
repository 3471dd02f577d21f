//! `hookbus backfill`: what a subscription gets of the past.

use clap::{Args, Subcommand};

use super::manage::{Common, OfApplication};

pub(crate) const BACKFILL_HELP: &str = "\
Examples:
  hookbus backfill start warehouse --application shop --from earliest
  hookbus backfill start warehouse --application shop --from 2026-11-01T00:00:00Z --rate 500
  hookbus job list --application shop --kind backfill";

/// `hookbus backfill`
#[derive(Debug, Args)]
pub(crate) struct BackfillArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: BackfillCommand,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum BackfillCommand {
    /// Give a subscription the events that Kafka holds of before it was there, and that it has not got.
    Start(BackfillStartArgs),
}

/// `hookbus backfill start`
#[derive(Debug, Args)]
pub(crate) struct BackfillStartArgs {
    /// The subscription, by id or uid.
    pub(crate) subscription: String,
    #[command(flatten)]
    pub(crate) of: OfApplication,
    /// `earliest`, for whatever Kafka holds, or a time: RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: String,
    /// Only events that were accepted at this time or earlier.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Deliveries in a second.
    #[arg(long, value_name = "PER_SECOND")]
    pub(crate) rate: Option<u32>,
}
