//! Getting a dead owner's open transaction out of the way.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{info, warn};

use super::{ANSWER_TIMEOUT, Restorer, committed, find};
use crate::error::KafkaError;
use crate::ffi::CommittedOffset;
use crate::group;
use crate::lease::Lease;
use crate::metadata;
use crate::session::Session;

/// The question for the stable offsets of what one owner left, to find out whether it is in the way.
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
        let mut ids = Vec::new();
        // One question for all that an owner left: it waits for the first of them that is pending.
        for (id, leases) in self.owners(leases, &last) {
            if fenced.contains(&id) {
                continue;
            }
            self.probes.fetch_add(1, Ordering::Relaxed);
            if self.stable_offsets(&leases, PROBE_TIMEOUT).is_err() {
                ids.push(id);
            }
        }
        if ids.is_empty() {
            info!(
                partitions = leases.len(),
                "an open transaction holds the committed offset of one of them; waiting for its end"
            );
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

    /// The leases of each other owner whose id stands in their metadata.
    fn owners<'a>(&self, leases: &'a [Lease], last: &[CommittedOffset]) -> BTreeMap<String, Vec<&'a Lease>> {
        let mut owners: BTreeMap<String, Vec<&Lease>> = BTreeMap::new();
        for lease in leases {
            let id = find(last, &lease.partition)
                .and_then(|found| metadata::decode(found.offset?, &found.metadata))
                .map(|metadata| metadata.transactional_id)
                .filter(|id| *id != self.transactional_id && metadata::is_valid_transactional_id(id));
            if let Some(id) = id {
                owners.entry(id).or_default().push(lease);
            }
        }
        owners
    }

    /// Initialises a throw-away producer with a dead owner's id, which ends its transaction at once.
    fn fence(&self, id: &str) -> Result<(), KafkaError> {
        warn!(transactional_id = id, "an open transaction of a previous owner holds our offsets; fencing it");
        let session = Session::open(&self.connection, id, self.transaction_timeout, 0)?;
        session.init(FENCE_TIMEOUT)
    }
}
