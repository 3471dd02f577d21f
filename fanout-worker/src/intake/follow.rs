//! Follows the catalog's sources and the cluster's topics, and says which source reads what.
//!
//! ```text
//! a source changed ---> routes over the topics as they were known, at once --+--> watch --> SourcesIntake
//! every refresh_ms, and after that: the topics of the cluster, routes over them --+
//! ```

use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, SourceMap};
use chassis::limited::Limited;
use kafka::{FoundTopics, Offsets};
use tokio::sync::watch;
use tracing::warn;

use super::route::{RouteLimits, SourceRoutes};

/// The task.
#[derive(Debug)]
pub(crate) struct SourcesFollower {
    pub(crate) catalog: Catalog,
    pub(crate) offsets: Offsets,
    pub(crate) limits: RouteLimits,
    pub(crate) refresh: Duration,
    pub(crate) newest: watch::Sender<Arc<SourceRoutes>>,
}

// === impl SourcesFollower ===

impl SourcesFollower {
    /// Follows until its task is aborted.
    pub(crate) async fn run(self) {
        let mut changes = self.catalog.sources_changed();
        let mut found: Option<FoundTopics> = None;
        let limited: Limited = Limited::new(Duration::from_secs(30));
        loop {
            changes.borrow_and_update();
            let sources = self.catalog.sources();
            if let Some(found) = &found {
                self.publish(&sources, found);
            }
            if let Some(now) = self.look(&sources, &limited).await {
                self.publish(&sources, &now);
                found = Some(now);
            }
            // An error is the catalog's end, and with it the process's.
            tokio::select! {
                _changed = changes.changed() => {}
                () = tokio::time::sleep(self.refresh) => {}
            }
        }
    }

    /// The topics of the cluster, if anybody wants them and the cluster tells.
    async fn look(&self, sources: &SourceMap, limited: &Limited) -> Option<FoundTopics> {
        if sources.is_empty() {
            return None;
        }
        let told = self.offsets.topics(SourceRoutes::named(sources)).await;
        if let Err(error) = &told
            && let Some(swallowed) = limited.permit("topics")
        {
            warn!(%error, swallowed, "the topics of the cluster are not known: sources go on with those that are");
        }
        told.ok()
    }

    fn publish(&self, sources: &SourceMap, found: &FoundTopics) {
        // Let go of before it is written: who reads it holds it.
        let former = Arc::clone(&self.newest.borrow());
        let routes = SourceRoutes::of_sources(sources, found, &self.limits, &former);
        if !former.is_like(&routes) {
            self.newest.send_replace(Arc::new(routes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kafka::Connection;
    use schemas::control::{SourceFormat, TopicSource};
    use schemas::ids::{OrganizationId, PositionId, SourceId};
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn what_was_found_is_published_and_is_news_once() {
        let connection = Connection::new("127.0.0.1:1", &BTreeMap::new()).unwrap();
        let vault = vault::Vault::new(&[vault::EncryptionKey::new("k1", [1; 32])], &[2; 32]).unwrap();
        let (newest, mut routes) = watch::channel(Arc::default());
        let follower = SourcesFollower {
            catalog: Catalog::of([], Arc::new(vault)),
            offsets: Offsets::start(&connection).unwrap(),
            limits: RouteLimits { own_prefix: "hookbus.".to_owned(), partitions: 10, decoded: 1_000 },
            refresh: Duration::from_secs(10),
            newest,
        };
        let (id, organization) = (SourceId(Uuid::from_u128(1)), OrganizationId(Uuid::from_u128(9)));
        let new =
            TopicSource::new(id, organization, "one", SourceFormat::Cloudevents, PositionId(Uuid::from_u128(5)), 0);
        let source = TopicSource { topics: vec!["crm.*".to_owned()], ..new };
        let sources: SourceMap = Arc::new([(id, Arc::new(source))].into_iter().collect());
        let found = FoundTopics { there: [(Arc::from("crm.orders"), 2)].into(), missing: BTreeMap::new() };
        for is_news in [true, false] {
            follower.publish(&sources, &found);
            assert_eq!(routes.has_changed().unwrap(), is_news);
            assert_eq!(routes.borrow_and_update().names(), ["crm.orders"]);
        }
    }
}
