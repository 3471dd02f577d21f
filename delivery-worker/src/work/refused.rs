//! Outputs that Kafka can never take: something shorter is written, and what an entry does to ordering keys is undone where it rested
//! on its first output.
//!
//! | that is | then |
//! |---|---|
//! | the retry that a key is to wait for | its delivery is dead, and nobody waits for it |
//! | a copy of a retry, which was to go early | nothing has happened: the key waits for the retry, which goes when it is due |
//! | a delivery that is passed on | it is dead, and nobody waits for it |

use schemas::delivery::Delivery;
use schemas::record::{OutRecord, Record};
use stage::{Now, Refusal, Refused};

use super::DeliveryWork;
use super::books::LaneNote;
use crate::error::Error;

impl DeliveryWork {
    /// What is written where Kafka can never take some outputs.
    ///
    /// # Errors
    /// A record that cannot be encoded.
    pub(super) fn replace_refused(
        &mut self,
        mut refused: Refused<'_, LaneNote>,
        now: Now,
    ) -> Result<Vec<OutRecord>, Error> {
        let is_first = |refusal: &Refusal| match refusal {
            Refusal::Unwritable { index, .. } => *index == 0,
            Refusal::TooSlow { .. } => true,
        };
        if refused.refusals.iter().any(is_first) {
            let (lease, now_ms) = (refused.lease.epoch, self.engine_ms(now));
            match refused.note.clone() {
                LaneNote::Held(id, is_listed, held) => {
                    self.engine.unhold(lease, id, &held, now_ms);
                    *refused.note = LaneNote::Unheld(id, is_listed, held.key);
                }
                LaneNote::Hurried(id, held, superseded) => {
                    if self.engine.unsupersede(lease, id, &held, superseded) {
                        tracing::warn!(
                            subscription.id = %id,
                            delivery.id = %held.delivery,
                            "kafka never takes the copy of a retry that is wanted now: the retry goes when it is due"
                        );
                        *refused.note = LaneNote::Undone;
                        return Ok(Vec::new());
                    }
                    // The retry came meanwhile and was dropped: with its copy the delivery ends. What failed is the record it is of.
                    refused.offset = held.retry.as_ref().map_or(refused.offset, |retry| retry.record);
                    self.engine.unhold(lease, id, &held, now_ms);
                    *refused.note = LaneNote::Freed(id, held.key);
                }
                LaneNote::Left | LaneNote::LeftList(_) => {
                    if let Some(delivery) = refused.outputs.first().and_then(delivery_of) {
                        self.engine.ended_on_its_way(lease, &delivery, now_ms);
                    }
                }
                // What rests on no output.
                LaneNote::Done
                | LaneNote::Undone
                | LaneNote::Listed(_)
                | LaneNote::Settled(_)
                | LaneNote::SetAside(..)
                | LaneNote::Condition(..)
                | LaneNote::Unheld(..)
                | LaneNote::Freed(..)
                | LaneNote::Superseded(..)
                | LaneNote::Forgotten(_)
                | LaneNote::Correct
                | LaneNote::Checkpoint => {}
            }
        }
        self.ends.replaced(refused, now.wall_ms)
    }
}

/// What an output would bring back.
fn delivery_of(output: &OutRecord) -> Option<Delivery> {
    let OutRecord { key, value, headers, .. } = output.clone();
    Delivery::decode(&Record { offset: 0, timestamp_ms: 0, key, value, headers }).ok()
}
