//! Admission: deliveries go to the engine once the snapshot has reached what they were matched at.

use std::sync::Arc;
use std::time::Duration;

use stage::Now;

use super::books::LaneNote;
use super::intake::Batch;
use super::{DeliveryWork, Resolved};
use crate::engine::Arrival;
use crate::error::Error;

/// Pause after a question about the end of `control` that was not answered.
const ASK_AGAIN: Duration = Duration::from_millis(500);

impl DeliveryWork {
    /// Hands deliveries to the engine, also those that were read back. Records that are not valid deliveries are resolved with the
    /// next turn.
    pub(super) fn admit(&mut self, batch: Batch, now: Now) -> Result<(), Error> {
        let now_ms = self.engine_ms(now);
        let Batch { lease, records, is_read_back, .. } = batch;
        for (record, delivery) in records {
            let (offset, timestamp_ms, size) = (record.offset, record.timestamp_ms, record.size());
            // What the window brings was not asked for, whatever was asked for at its offset.
            let asked = if is_read_back { self.engine.asked(lease.epoch, offset) } else { None };
            if is_read_back && asked.is_none() {
                // The same record came twice: it was asked for again while the first one waited for the snapshot.
                continue;
            }
            match delivery {
                Ok(delivery) => {
                    let delivery = Arc::new(delivery);
                    let arrival = Arrival { lease: lease.epoch, offset, size, timestamp_ms, delivery };
                    match asked {
                        Some(_) => self.engine.read_back(arrival, now_ms),
                        None => self.engine.admit(arrival, now_ms),
                    }
                }
                Err(error) => {
                    self.engine.seen(lease.epoch, offset, now_ms);
                    if asked.is_some() && !self.engine.withdraw(lease.epoch, offset, now_ms) {
                        continue;
                    }
                    let outputs = self.ends.rejected(&lease, &record, &error, now.wall_ms)?;
                    let note = asked.map_or(LaneNote::Left, LaneNote::LeftList);
                    self.resolved.push(Resolved {
                        epoch: lease.epoch,
                        at: (offset, timestamp_ms),
                        size,
                        note,
                        outputs,
                    });
                }
            }
        }
        Ok(())
    }

    /// Admits what the snapshot has reached, and asks for the end of `control` where something waits.
    pub(super) fn admit_stalled(&mut self, now: Now) -> Result<(), Error> {
        let mut ask_after = Duration::ZERO;
        match self.index.take_answer() {
            None => {}
            Some(Ok(_end)) => self.intake.answered(),
            Some(Err(error)) => {
                tracing::warn!(%error, "the end of `control` is not known: deliveries that need it wait, and it is asked for again");
                self.intake.failed(now.boot_ms);
                ask_after = ASK_AGAIN;
            }
        }
        let position = self.catalog.position();
        for batch in self.intake.take_reached(position) {
            if batch.position > position {
                tracing::error!(
                    partition = %batch.lease.partition,
                    control.position = batch.position,
                    control.end = position,
                    "deliveries name a position of `control` that does not exist, and are taken without waiting for it"
                );
            }
            self.admit(batch, now)?;
        }
        if self.intake.ask() {
            self.index.ask(self.catalog.clone(), ask_after);
        }
        Ok(())
    }
}
