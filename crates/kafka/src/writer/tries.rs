//! Tries of a transaction that ended without it, for whoever watches: while they end, what waits for the outcome waits for Kafka.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::KafkaError;

/// A try of the writer's that ended, and what was to be written is to be tried again.
#[derive(Clone, Debug)]
pub struct FailedTry {
    /// When it ended, on the clock that counts suspension, ms.
    pub boot_ms: i64,
    /// Why, with the topic where Kafka names one.
    pub error: KafkaError,
    /// Nothing was committed since.
    pub is_last: bool,
}

/// What is remembered of a writer's tries: the last one that failed. Clones are the same, so that whoever waits for a writer to get
/// ready can look meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Tries(Arc<Mutex<Option<FailedTry>>>);

// === impl Tries ===

impl Tries {
    /// A try ended without its transaction. One under a generation of the group that is over is none: it says nothing of what Kafka
    /// can do, and a process that never learned of the next generation would have to be started again.
    pub fn failed(&self, boot_ms: i64, error: &KafkaError) {
        if matches!(error, KafkaError::Call { code, .. } if code.is_old_generation()) {
            return;
        }
        *self.0.lock() = Some(FailedTry { boot_ms, error: error.clone(), is_last: true });
    }

    /// A transaction was committed. When the last try failed stays known: what waited meanwhile has waited for that.
    pub(super) fn committed(&self) {
        if let Some(failed) = &mut *self.0.lock() {
            failed.is_last = false;
        }
    }

    /// The last try that ended without its transaction; none yet if there was none.
    #[must_use]
    pub fn last(&self) -> Option<FailedTry> {
        self.0.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaErrorCode as Code;

    use super::*;

    fn last(tries: &Tries) -> Option<(i64, bool)> {
        tries.last().map(|failed| (failed.boot_ms, failed.is_last))
    }

    #[test]
    fn the_last_try_that_failed_is_known_until_another_does() {
        let tries = Tries::default();
        assert_eq!(last(&tries), None);
        tries.failed(5_000, &KafkaError::call("writing to lanes/3", Code::MessageTimedOut));
        assert_eq!(last(&tries), Some((5_000, true)));
        tries.committed();
        assert_eq!(last(&tries), Some((5_000, false)), "what waited until then has waited for Kafka");
        tries.failed(9_000, &KafkaError::call("init_transactions", Code::ConcurrentTransactions));
        assert_eq!(last(&tries), Some((9_000, true)));
    }

    #[test]
    fn a_try_under_an_old_generation_is_no_failure_of_kafkas() {
        let tries = Tries::default();
        for code in [Code::IllegalGeneration, Code::RebalanceInProgress] {
            tries.failed(5_000, &KafkaError::call("send_offsets_to_transaction", code));
        }
        assert_eq!(last(&tries), None);
    }
}
