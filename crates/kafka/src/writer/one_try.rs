//! One try of a transaction: what of it is still ours, under a nonce of its own.

use std::ops::Range;
use std::time::Instant;

use rdkafka::{Offset, TopicPartitionList};
use schemas::invariants::Invariant;
use schemas::planted::{PlantedBug, is_planted};
use schemas::record::OutRecord;
use tracing::{error, warn};
use uuid::Uuid;

use super::{Progress, Shared, Transaction};
use crate::clock::instant;
use crate::error::KafkaError;
use crate::ffi;
use crate::lease::Ownership;
use crate::metadata::{self, CommitMetadata};
use crate::session::{Aborted, Refused};

/// What one try carries.
pub(super) struct Try<'a> {
    pub(super) nonce: Uuid,
    pub(super) began: Instant,
    pub(super) progress: Vec<&'a Progress>,
    pub(super) records: Vec<&'a OutRecord>,
    /// Index in the transaction of each record, ascending.
    indices: Vec<usize>,
}

// === impl Try ===

impl<'a> Try<'a> {
    /// What of the transaction belongs to leases that live.
    pub(super) fn new(transaction: &'a Transaction, live: &[bool]) -> Self {
        let is_any_live = live.contains(&true);
        let with_old_offsets = is_any_live && is_planted(PlantedBug::OffsetsOfOldLease);
        let with_old_outputs = with_old_offsets || (is_any_live && is_planted(PlantedBug::OutputsOfOldLease));
        let progress = transaction.progress.iter().zip(live).filter(|(_, live)| **live || with_old_offsets);
        let progress = progress.map(|(progress, _)| progress);
        let outputs = transaction.outputs.iter().enumerate();
        let (indices, records) = outputs
            .filter(|(_, output)| with_old_outputs || live.get(output.lease).copied().unwrap_or(false))
            .map(|(index, output)| (index, &output.record))
            .unzip();
        Self { nonce: Uuid::new_v4(), began: instant(), progress: progress.collect(), records, indices }
    }

    /// Groups of outputs as groups of the records that are sent. What has nothing to send is left out of both.
    pub(super) fn groups(&self, of_outputs: Vec<Range<usize>>) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
        let position = |output: usize| self.indices.partition_point(|index| *index < output);
        let both = of_outputs.into_iter().map(|outputs| {
            let records = position(outputs.start)..position(outputs.end);
            (outputs, records)
        });
        both.filter(|(_, records)| !records.is_empty()).unzip()
    }

    /// The same failure with indices of outputs in place of records.
    pub(super) fn of_outputs(&self, aborted: Aborted) -> Aborted {
        let of_output = |refused: &Refused| Refused { index: self.indices[refused.index], ..*refused };
        Aborted { refused: aborted.refused.iter().map(of_output).collect(), ..aborted }
    }

    /// The offsets with their metadata and the leader epoch up to which they were read.
    pub(super) fn offsets(
        &self,
        shared: &Shared,
        ownership: &Ownership,
        transactional_id: &str,
    ) -> Result<TopicPartitionList, KafkaError> {
        let known = shared.known.lock();
        let mut list = TopicPartitionList::with_capacity(self.progress.len());
        let mut leader_epochs = Vec::with_capacity(self.progress.len());
        for progress in &self.progress {
            let partition = &progress.lease.partition;
            if progress.skips_unresolved() {
                Invariant::CommitBelowUnresolved.violated();
                error!(%partition, committed = progress.committed, read_up_to = progress.read_up_to, "an offset above what is not done is committed");
            }
            let of_lease = known.get(&progress.lease).copied().unwrap_or_default();
            let (topic_id, lists, position, slices) = of_lease.say(progress.claim.clone());
            let (text, cut) = metadata::encode(
                progress.committed,
                &CommitMetadata {
                    nonce: self.nonce,
                    transactional_id: transactional_id.to_owned(),
                    topic_id,
                    read_up_to: progress.read_up_to,
                    not_done: progress.not_done.clone(),
                    lists,
                    position,
                    slices,
                },
            );
            if cut {
                warn!(%partition, not_done = progress.not_done.len(), "the commit metadata has no room for everything that is done");
            }
            let mut element = list.add_partition(&partition.topic, partition.partition);
            element.set_offset(Offset::Offset(progress.committed)).map_err(|error| KafkaError::Invalid {
                what: "offset to commit",
                reason: format!("{} of {partition}: {error}", progress.committed),
            })?;
            // Once per element: a second call would leak.
            element.set_metadata(&text);
            leader_epochs.push(ownership.leader_epoch(&progress.lease, progress.read_up_to));
        }
        ffi::set_leader_epochs(&mut list, &leader_epochs);
        Ok(list)
    }
}
