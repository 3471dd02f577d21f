//! Partitions that a transaction goes without: their topics may not be read any more, or are other people's and gone.
//!
//! Kafka refuses the whole transaction for one such partition, after waiting for it if the topic was deleted. What is laid aside counts
//! as dropped, as what belongs to a lease that is over: nothing of it was written.

use std::collections::HashSet;

use rdkafka::types::RDKafkaErrorCode as Code;
use tracing::warn;

use super::Transaction;
use super::commit::{Committer, Next};
use super::one_try::Try;
use crate::error::{ErrorCode, KafkaError};
use crate::lease::Lease;
use crate::session::{Aborted, Failure};

/// What one transaction goes without.
#[derive(Debug, Default)]
pub(super) struct Aside(HashSet<Lease>);

// === impl Aside ===

impl Aside {
    /// These count as over.
    pub(super) fn leave_out(&self, transaction: &Transaction, live: &mut [bool]) {
        if self.0.is_empty() {
            return;
        }
        for (live, progress) in live.iter_mut().zip(&transaction.progress) {
            *live &= !self.0.contains(&progress.lease);
        }
    }

    /// Adds the leases for which this is true. Whether there were such.
    pub(super) fn add<'a>(
        &mut self,
        leases: impl Iterator<Item = &'a Lease>,
        is_gone: impl Fn(&Lease) -> bool,
    ) -> bool {
        let before = self.0.len();
        self.0.extend(leases.filter(|lease| is_gone(lease)).cloned());
        self.0.len() > before
    }

    pub(super) fn contains(&self, lease: &Lease) -> bool {
        self.0.contains(lease)
    }
}

// === impl Committer ===

impl Committer {
    /// Lays aside what is at fault for a failure. Whether anything was.
    pub(super) fn lay_aside(&self, failure: &Failure, one_try: &Try<'_>, aside: &mut Aside) -> bool {
        let (Failure::Aborted(Aborted { error, .. }) | Failure::Unknown { error, .. }) = failure;
        if !may_be_of_a_topic(error) || !(self.options.fails_alone || error.is_denied()) {
            return false;
        }
        self.lay_gone_aside(one_try.progress.iter().map(|progress| &progress.lease), aside)
    }

    /// Lays aside those of these leases whose topics are gone or may not be read.
    pub(super) fn lay_gone_aside<'a>(
        &self,
        leases: impl Iterator<Item = &'a Lease> + Clone,
        aside: &mut Aside,
    ) -> bool {
        let all: Vec<Lease> = leases.clone().cloned().collect();
        // Nobody can tell for now: then the failure is met as any other.
        let Ok(ids) = self.restorer.ids_of(&all) else { return false };
        let denied = self.restorer.denied_topics();
        aside.add(leases, |lease| {
            let topic = &lease.partition.topic;
            !ids.contains_key(&**topic) && goes_without(self.options.fails_alone, denied.contains(topic))
        })
    }

    /// What follows a failure for which something was laid aside: the others are written at once.
    pub(super) fn without_those(
        &mut self,
        failure: Failure,
        one_try: &Try<'_>,
        aside: &mut Aside,
    ) -> Result<Next, KafkaError> {
        match failure {
            Failure::Aborted(Aborted { error, .. }) => {
                warn!(%error, "a transaction goes without partitions whose topics are gone or may not be read");
                self.count_abort();
                Ok(Next::Sift)
            }
            Failure::Unknown { .. } => self.after_unknown(failure, one_try, aside),
        }
    }
}

/// Whether a transaction goes without a topic that is gone or may not be read. Of our own it goes without one that may not be read: the
/// others are read on, as the poller does, and the takeover says what is wrong.
fn goes_without(fails_alone: bool, is_denied: bool) -> bool {
    fails_alone || is_denied
}

/// Whether it is what Kafka says of a topic, or does not say in time.
fn may_be_of_a_topic(error: &KafkaError) -> bool {
    let KafkaError::Call { code: ErrorCode(code), .. } = error else { return false };
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::OperationTimedOut
            | Code::RequestTimedOut
    )
}

#[cfg(test)]
mod tests {
    use schemas::record::TopicPartition;

    use super::*;
    use crate::lease::Epoch;
    use crate::writer::{Claimed, Progress};

    #[test]
    fn what_is_laid_aside_counts_as_over_and_nothing_else_does() {
        let lease = |topic: &str| Lease { partition: TopicPartition::new(topic, 0), epoch: Epoch(1) };
        let leases = ["a", "gone", "b"].map(lease);
        let (committed, read_up_to) = (0, 0);
        let progress = |lease: &Lease| Progress {
            lease: lease.clone(),
            committed,
            read_up_to,
            not_done: Vec::new(),
            claim: Claimed::Nothing,
        };
        let transaction = Transaction { outputs: Vec::new(), progress: leases.iter().map(progress).collect() };
        let mut aside = Aside::default();
        assert!(aside.add(leases.iter(), |lease| &*lease.partition.topic == "gone"));
        assert!(!aside.add(leases.iter(), |lease| &*lease.partition.topic == "gone"), "it is already");
        let mut live = [true, true, false];
        aside.leave_out(&transaction, &mut live);
        assert_eq!(live, [true, false, false]);
    }

    #[test]
    fn of_our_own_topics_only_one_that_may_not_be_read_is_gone_without() {
        let (own, others) = (false, true);
        assert!(goes_without(own, true), "the others are read on");
        assert!(!goes_without(own, false), "one of ours that is gone is an error of the operator's");
        assert!(goes_without(others, true) && goes_without(others, false));
    }

    #[test]
    fn only_what_is_said_of_a_topic_is_looked_into() {
        let said = |code| may_be_of_a_topic(&KafkaError::call("sending offsets", code));
        assert!(said(Code::TopicAuthorizationFailed) && said(Code::UnknownTopicOrPartition));
        assert!(!said(Code::GroupAuthorizationFailed) && !said(Code::BrokerTransportFailure));
        assert!(!may_be_of_a_topic(&KafkaError::Closed));
    }
}
