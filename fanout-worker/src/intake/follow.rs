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
    #[expect(clippy::infinite_loop, reason = "its task is aborted when the intake ends")]
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
            if sources.values().any(|source| source.is_enabled) {
                match self.offsets.topics(SourceRoutes::named(&sources)).await {
                    Ok(now) => {
                        self.publish(&sources, &now);
                        found = Some(now);
                    }
                    Err(error) => {
                        if let Some(swallowed) = limited.permit("topics") {
                            warn!(%error, swallowed, "the topics of the cluster are not known: sources go on with those that are");
                        }
                    }
                }
            }
            // An error is the catalog's end, and with it the process's.
            tokio::select! {
                _changed = changes.changed() => {}
                () = tokio::time::sleep(self.refresh) => {}
            }
        }
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
