//! Retries that somebody wants now: what was read back of them is written once more, due at once.

use schemas::lanes::PendingRetry;
use stage::Turn;

use super::DeliveryWork;
use super::books::LaneNote;
use super::listed::noted;
use crate::engine::HurriedCopy;

impl DeliveryWork {
    /// Writes those that were read back. The copy, what its key waits for and which retry is to be dropped are one entry: whoever takes
    /// over finds all of it, or nothing.
    pub(super) fn hurry(&mut self, turn: &mut Turn<'_, LaneNote>) {
        let now_ms = self.engine_ms(turn.now);
        for read in self.engine.take_hurried() {
            // What was told before of the same key is written before.
            self.put_changes(turn);
            let Some(HurriedCopy { hop, held, superseded }) = self.engine.hurried(&read, now_ms) else { continue };
            let delivery = &read.arrival.delivery;
            let last = held.retry.as_ref().and_then(PendingRetry::last);
            let Some(record) = self.ends.hurried(delivery, hop, last) else {
                tracing::warn!(
                    delivery.id = %delivery.id,
                    subscription.id = %delivery.subscription,
                    "the retry that is wanted now does not fit the topic with its new headers: it goes when it is due"
                );
                continue;
            };
            self.engine.supersede(&read, held.clone(), superseded);
            tracing::info!(
                delivery.id = %delivery.id,
                subscription.id = %delivery.subscription,
                attempt = hop.attempt,
                due.ms = superseded.due_ms,
                "a retry that others wait for goes now, as somebody asked, and not when it is due"
            );
            let mut resolved =
                noted(read.arrival.lease, turn.now, LaneNote::Hurried(delivery.subscription, held, superseded));
            resolved.outputs = vec![record];
            self.put(resolved, turn);
        }
    }
}
