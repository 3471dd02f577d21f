//! Asks for the end of `control` beside the loop, one question at a time, and hears when the snapshot moves.

use std::time::Duration;

use catalog::{Catalog, CatalogError};
use chassis::pending::{Pending, finished};
use tokio::sync::watch;

type Answer = Result<i64, CatalogError>;

/// The question under way, and its answer.
pub(super) struct ReadIndex {
    moved: watch::Receiver<i64>,
    question: Pending<Answer>,
    answer: Option<Answer>,
}

// === impl ReadIndex ===

impl ReadIndex {
    /// Hears of this catalog's changes; nothing is asked yet.
    pub(super) fn new(catalog: &Catalog) -> Self {
        Self { moved: catalog.changed(), question: None, answer: None }
    }

    /// Asks after this long. The answer comes when the snapshot is there.
    pub(super) fn ask(&mut self, catalog: Catalog, after: Duration) {
        self.question = Some(Box::pin(async move {
            tokio::time::sleep(after).await;
            catalog.read_index().await
        }));
    }

    /// The answer, once.
    pub(super) fn take_answer(&mut self) -> Option<Answer> {
        self.answer.take()
    }

    /// Waits until the question is answered or the snapshot has moved; for ever where nothing `is_stalled`. Cancel safe.
    pub(super) async fn wait(&mut self, is_stalled: bool) {
        tokio::select! {
            answer = finished(&mut self.question) => self.answer = Some(answer),
            moved = self.moved.changed(), if is_stalled => {
                if moved.is_err() {
                    // The catalog has ended, and the process ends with it.
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}
