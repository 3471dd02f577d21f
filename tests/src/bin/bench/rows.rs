//! What is measured, one file each.

mod control;
mod delivery;
mod drain;
mod fanout;
mod ingest;
mod latency;
mod snapshot;
mod tenants;

use std::time::Duration;

use clap::ValueEnum;

pub(crate) use self::fanout::warm_up;
use crate::compare::Against;
use crate::stage::Stage;
use crate::table::Table;

/// One part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// HTTP to `events`.
    Ingest,
    /// `events` to `deliveries`, one match each.
    Fanout,
    /// The same with 100 matches each.
    Fanout100,
    /// `deliveries` to an endpoint.
    Delivery,
    /// The same with default settings: several numbers of subscriptions, TLS, HTTP/2.
    Drain,
    /// From a request to the gateway to the arrival at an endpoint.
    Latency,
    /// A start over a million subscriptions.
    Snapshot,
    /// Writes to the management API, one after another.
    Control,
    /// Many writers at once, a million subscriptions, and what one tenant, or nobody, can do to all others.
    Tenants,
}

/// How much work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) factor: f64,
    pub(crate) ours_only: bool,
}

/// What a backlog takes at most.
pub(crate) const DONE_WITHIN: Duration = Duration::from_secs(120);

impl Row {
    pub(crate) const ALL: [Self; 9] = [
        Self::Ingest,
        Self::Fanout,
        Self::Fanout100,
        Self::Delivery,
        Self::Drain,
        Self::Latency,
        Self::Snapshot,
        Self::Control,
        Self::Tenants,
    ];

    /// Rows that two binaries can be compared in.
    pub(crate) const COMPARED: [Self; 3] = [Self::Fanout, Self::Fanout100, Self::Delivery];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Fanout => "fan-out, 1 match",
            Self::Fanout100 => "fan-out, 100 matches",
            Self::Delivery => "delivery",
            Self::Drain => "delivery with default settings",
            Self::Latency => "end to end",
            Self::Snapshot => "snapshot start",
            Self::Control => "control writes",
            Self::Tenants => "tenants",
        }
    }

    pub(crate) async fn measure(self, stage: &Stage, scale: Scale, table: &mut Table) -> anyhow::Result<()> {
        match self {
            Self::Ingest => ingest::measure(stage, scale, table).await,
            Self::Fanout => fanout::measure(stage, scale, table, self.title(), 1).await,
            Self::Fanout100 => fanout::measure(stage, scale, table, self.title(), 100).await,
            Self::Delivery => delivery::measure(stage, scale, table).await,
            Self::Drain => drain::measure(stage, scale, table).await,
            Self::Latency => latency::measure(stage, scale, table).await,
            Self::Snapshot => snapshot::measure(stage, scale, table).await,
            Self::Control => control::measure(stage, scale, table).await,
            Self::Tenants => tenants::measure(stage, scale, table).await,
        }
    }

    /// Measures ours and another binary in turns.
    pub(crate) async fn compare(self, stage: &Stage, scale: Scale, against: &Against) -> anyhow::Result<()> {
        match self {
            Self::Fanout => fanout::compare(stage, scale, against, 1).await,
            Self::Fanout100 => fanout::compare(stage, scale, against, 100).await,
            Self::Delivery => delivery::compare(stage, scale, against).await,
            Self::Ingest | Self::Drain | Self::Latency | Self::Snapshot | Self::Control | Self::Tenants => {
                anyhow::bail!("two binaries are compared in fanout, fanout100 and delivery")
            }
        }
    }
}

impl Scale {
    /// A share of the usual amount.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "amounts far below 2^32, never negative"
    )]
    pub(crate) fn of(self, usual: u32) -> u32 {
        (f64::from(usual) * self.factor).ceil() as u32
    }
}
