//! What a batch that is cut says became of its records, until it is known whether it was written. Pure.

use kafka::Epoch;

use super::SourcesIntake;
use crate::plan::{EventVerdict, Note};

impl SourcesIntake {
    /// A record of a batch that is cut: what was rejected is planned again where its source is moved back.
    pub(crate) fn judged(&mut self, epoch: Epoch, note: &Note) {
        if matches!(note.verdict, EventVerdict::Sliced(_)) {
            return;
        }
        let Some(open) = self.open.get_mut(&epoch) else { return };
        let (handled, offset) = (&mut open.position.handled, note.record.offset);
        // What was written in part counts as fanned out: read again, it would begin anew. Its rest is had by a retry.
        let is_rejected = matches!(note.verdict, EventVerdict::Rejected(_)) && note.written.is_none();
        if handled.was_rejected(offset) != is_rejected {
            self.unsealed.entry(epoch).or_insert_with(|| handled.clone());
            handled.judge(offset, is_rejected);
        }
    }

    /// The batch that was cut last was not written: what it said of its records is not so yet, and a smaller one says it anew.
    pub(crate) fn unsealed(&mut self) {
        for (epoch, before) in std::mem::take(&mut self.unsealed) {
            if let Some(open) = self.open.get_mut(&epoch) {
                open.position.handled = before;
            }
        }
    }

    /// The batch that was cut last is written.
    pub(crate) fn written(&mut self) {
        self.unsealed.clear();
    }
}
