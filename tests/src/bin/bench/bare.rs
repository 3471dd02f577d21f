//! The bare loops: the same libraries without Hookbus around them, each in a process of its own.

mod catalog;
mod delivery;
mod fanout;
mod ingest;

use std::collections::BTreeMap;

use clap::Subcommand;

/// What a bare loop says when it works. Its output goes to a file that the benchmark reads.
pub(crate) const READY: &str = "ready";

/// Which loop.
#[derive(Debug, Subcommand)]
pub(crate) enum Bare {
    /// hyper's server and the idempotent producer.
    Ingest(ingest::Ingest),
    /// Consume, transact, produce.
    Fanout(fanout::Fanout),
    /// The catalog without a role.
    Catalog(catalog::Loading),
    /// hyper-util's pooled client and the signatures.
    Delivery(delivery::Delivery),
}

impl Bare {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Catalog(loading) => loading.run().await,
            Self::Ingest(loops) => loops.run().await,
            Self::Fanout(loops) => loops.run().await,
            Self::Delivery(loops) => loops.run().await,
        }
    }
}

fn connection(brokers: &str) -> anyhow::Result<kafka::Connection> {
    Ok(kafka::Connection::new(brokers, &BTreeMap::new())?)
}
