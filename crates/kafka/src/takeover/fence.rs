//! Getting a dead owner's open transaction out of the way.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use tracing::{info, warn};

use super::{ANSWER_TIMEOUT, Restorer, committed, find};
use crate::error::KafkaError;
use crate::group;
use crate::lease::Lease;
use crate::metadata;
use crate::session::Session;

/// The question for the stable offset of one partition, to find out which ones are in the way.
const PROBE_TIMEOUT: Duration = Duration::from_millis(300);
/// How long fencing may take; it waits until the other's markers are written.
const FENCE_TIMEOUT: Duration = Duration::from_secs(10);

impl Restorer {
    /// Fences the dead owners of open transactions that hold these partitions' offsets. False: there was nobody to fence.
    ///
    /// Who lives is not fenced: all of its process's transactions would end, and it would take us for a second process in its
    /// slot. Its transaction ends by itself within its timeout. A member's client id is its transactional id.
    pub(super) fn clear_way(&self, leases: &[Lease], fenced: &mut HashSet<String>) -> Result<bool, KafkaError> {
        let all: Vec<&Lease> = leases.iter().collect();
        // When this fails too, the cluster is away and nobody is in the way.
        let last = committed(&self.unstable, &all, ANSWER_TIMEOUT, "unstable committed offsets")?;
        let mut ids = BTreeSet::new();
        for lease in leases {
            if self.stable_offsets(&[lease], PROBE_TIMEOUT).is_ok() {
                continue;
            }
            let id = find(&last, &lease.partition)
                .and_then(|found| metadata::decode(found.offset?, &found.metadata))
                .map(|metadata| metadata.transactional_id)
                .filter(|id| *id != self.transactional_id && metadata::is_valid_transactional_id(id));
            match id {
                Some(id) if !fenced.contains(&id) => {
                    ids.insert(id);
                }
                Some(_) | None => {
                    info!(partition = %lease.partition, "an open transaction holds the committed offset; waiting for its end");
                }
            }
        }
        if ids.is_empty() {
            return Ok(false);
        }
        let members = group::members_of(&self.plain, &self.group)?;
        let is_alive = |id: &String| members.iter().any(|member| member.client_id == **id);
        let (alive, dead): (Vec<String>, Vec<String>) = ids.into_iter().partition(is_alive);
        for id in alive {
            info!(transactional_id = id, "a transaction of a live member holds our offsets; waiting for its end");
        }
        let any = !dead.is_empty();
        for id in dead {
            self.fence(&id)?;
            fenced.insert(id);
        }
        Ok(any)
    }

    /// Initialises a throw-away producer with a dead owner's id, which ends its transaction at once.
    fn fence(&self, id: &str) -> Result<(), KafkaError> {
        warn!(transactional_id = id, "an open transaction of a previous owner holds our offsets; fencing it");
        let session = Session::open(&self.connection, id, self.transaction_timeout, 0)?;
        session.init(FENCE_TIMEOUT)
    }
}
