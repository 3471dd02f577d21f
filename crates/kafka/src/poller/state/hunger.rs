//! Whether anybody could hand out what the poll thread would read next.

use schemas::record::TopicPartition;

use super::State;
use super::lease::LeaseState;
use crate::lease::Lease;

impl State {
    /// Whether there are begun leases, and none of them could hand out a record. Where one is full, those whose logs have nothing
    /// more could not: for them alone the full one would be read until it has to be paused.
    pub(in crate::poller) fn is_sated(&self) -> bool {
        let allowance = self.limits.allowance(self.working, self.used);
        let mut begun = self.leases.values().filter(|state| state.next.is_some()).peekable();
        let is_any_full = self.is_any_full();
        let could =
            |state: &LeaseState| state.is_hungry(&allowance, self.stopped) && !(is_any_full && state.is_quiet());
        begun.peek().is_some() && !begun.any(could)
    }

    /// Whether a lease has more than it may hand out while it is fetched.
    pub(in crate::poller) fn is_any_full(&self) -> bool {
        self.leases.values().any(LeaseState::is_full)
    }

    /// Partitions that are at their end.
    pub(in crate::poller) fn at_end(&self) -> Vec<TopicPartition> {
        let at_end = self.leases.iter().filter(|(_, state)| state.is_at_end());
        at_end.map(|(partition, _)| partition.clone()).collect()
    }

    /// Where the log of this partition ends, as the last fetch told.
    pub(in crate::poller) fn look_at_end(&mut self, partition: &TopicPartition, log_end: i64) {
        if let Some(state) = self.leases.get_mut(partition) {
            state.look_at_end(log_end);
        }
    }

    /// Whether the poll thread should be woken for this lease.
    pub(in crate::poller) fn should_wake(&self, lease: &Lease) -> bool {
        let allowance = self.limits.allowance(self.working, self.used);
        self.poll_waits && self.get(lease).is_some_and(|state| state.is_hungry(&allowance, self.stopped))
    }
}
