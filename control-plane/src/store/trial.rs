//! `dry_run`: answers what writes would answer. Nothing is written, nobody is fenced, and no turn is taken from those who write.

use std::time::Instant;

use catalog::Rehearsed;

use crate::problem::Problem;
use crate::store::StoreInner;
use crate::store::group::QueuedWrite;
use crate::store::line::LineFull;
use crate::store::refuse::full;

impl StoreInner {
    /// See the module. Who tries many writes waits for others who do, and lets readers of the snapshot in between two looks; each look
    /// begins where the one before it ended, so that how many fit into one decides no answer.
    pub(super) async fn try_out(&self, mut group: Vec<QueuedWrite>, deadline: Instant) -> Result<(), Problem> {
        let end = self.catch_up(deadline).await?;
        if group.len() == 1 {
            self.rehearse(&mut group, Some(end), None);
            for (_, write) in group {
                write.settle(None);
            }
            return Ok(());
        }
        let turn = tokio::time::timeout_at(deadline.into(), self.trial.lock()).await;
        let _turn = turn.map_err(|_elapsed| full(LineFull::OfAll))?;
        let mut before = Rehearsed::default();
        while !group.is_empty() {
            tokio::task::yield_now().await;
            let decided = self.rehearse(&mut group, Some(end), Some(&mut before)).len();
            for (_, write) in group.drain(..decided) {
                write.settle(None);
            }
        }
        Ok(())
    }
}
