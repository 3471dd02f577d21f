//! Credit of a lease: what the role holds of it, given back and taken again.

use super::State;
use crate::lease::Lease;

impl State {
    /// Credit back. True: an event was queued.
    pub(in crate::poller) fn release(&mut self, lease: &Lease, records: usize, bytes: usize) -> bool {
        self.update(lease, |state| {
            state.out_records = state.out_records.saturating_sub(records);
            state.out_bytes = if state.out_records == 0 { 0 } else { state.out_bytes.saturating_sub(bytes) };
        });
        self.hand_out(lease)
    }

    /// Credit is taken again. Nothing that was handed out meanwhile comes back: until as much is released, nothing more is handed out.
    pub(in crate::poller) fn retake(&mut self, lease: &Lease, records: usize, bytes: usize) {
        self.update(lease, |state| {
            state.out_records = state.out_records.saturating_add(records);
            state.out_bytes = state.out_bytes.saturating_add(bytes);
        });
    }
}
