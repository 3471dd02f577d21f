//! Rule W4: how a transaction ended whose end nobody told.

use std::time::Duration;

use super::aside::Aside;
use super::commit::{Backoff, Committer, refuse_denied};
use super::one_try::Try;
use schemas::planted::{PlantedBug, is_planted};

use crate::clock::boot_ms;
use crate::error::KafkaError;
use crate::lease::Lease;
use crate::log;
use crate::metadata;
use crate::takeover::{Pending, find};

/// One question for the stable offsets; the loop around it never gives up.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);

impl Committer {
    /// Whether the try had committed: its nonce stands in the committed offsets. The new session's `init` has ended the
    /// transaction before.
    ///
    /// Only leases that live are asked about, looked up again each time: their metadata can only be ours. Those of a partition that went to
    /// somebody else may be theirs by now, and their busy owner would keep us waiting. If no lease lives, the outcome is
    /// the next owners' to find, and nothing is left to be written. Those that may not be asked about are laid aside with what they
    /// write: their takeover reads how it ended.
    pub(super) fn resolve_outcome(&self, one_try: &Try<'_>, aside: &mut Aside) -> Result<bool, KafkaError> {
        if is_planted(PlantedBug::NoNonceComparison) {
            return Ok(false);
        }
        let leases: Vec<&Lease> = one_try.progress.iter().map(|progress| &progress.lease).collect();
        let mut backoff = Backoff::new();
        let mut pending = Pending::default();
        loop {
            self.check_closing()?;
            let snapshot = self.ownership.snapshot(leases.iter().copied());
            let is_asked = |lease: &Lease, is_live: bool| is_live && !aside.contains(lease);
            let asked = leases.iter().zip(&snapshot.live).filter(|(lease, live)| is_asked(lease, **live));
            let live: Vec<&Lease> = asked.map(|(lease, _)| *lease).collect();
            if live.is_empty() {
                return Ok(false);
            }
            match self.restorer.stable_offsets(&live, QUESTION_TIMEOUT) {
                Ok(offsets) => {
                    return Ok(live.iter().any(|lease| {
                        find(&offsets, &lease.partition)
                            .and_then(|found| metadata::decode(found.offset?, &found.metadata))
                            .is_some_and(|metadata| metadata.nonce == one_try.nonce)
                    }));
                }
                Err(error) => {
                    if error.is_denied() && self.lay_gone_aside(live.iter().copied(), aside) {
                        continue;
                    }
                    refuse_denied(&error)?;
                    log::call_failed(&error);
                    let now_ms = boot_ms();
                    if !self.restorer.answers(&live) {
                        pending.forget();
                    } else if pending.since(now_ms) >= self.restorer.longest_pending_ms() {
                        // Ours, and Kafka lost its markers: what is written now ends it.
                        self.restorer.say_lost(&live, pending.since(now_ms));
                        return Ok(false);
                    }
                    self.ownership.wait_change(snapshot.version, backoff.next());
                }
            }
        }
    }
}
