//! The catalog alone: reads `control` to its end, keeps everything, and does nothing with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::{Catalog, CatalogDeps};
use chassis::health::Health;
use chassis::metrics::Registry;
use chassis::shutdown::Shutdown;
use chassis::tasks::Tasks;
use clap::Args;
use schemas::topics::TopicSettings;
use vault::{EncryptionKey, Vault};

use super::READY;
use crate::table::say;

/// `bench bare catalog`
#[derive(Debug, Args)]
pub(crate) struct Loading {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    prefix: String,
}

impl Loading {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let settings = TopicSettings { prefix: self.prefix, ..TopicSettings::default() };
        let shutdown = Shutdown::on_signals(std::time::Duration::ZERO)?;
        let catalog = Catalog::start(CatalogDeps {
            connection: kafka::Connection::new(&self.brokers, &BTreeMap::new())?,
            topics: settings.topics(),
            // A start opens nothing.
            vault: Arc::new(Vault::new(&[EncryptionKey::new("bench", [7; 32])], &[7; 32])?),
            tasks: Tasks::new(shutdown.clone()),
            health: Health::new(),
            registry: Registry::new(),
            keeps_answers: false,
        })?;
        catalog.caught_up().await;
        say(&format!("{READY} {}", catalog.read().subscriptions_total()))?;
        shutdown.requested().await;
        Ok(())
    }
}
