//! Why a try of a transaction did not commit.

use rdkafka::types::RDKafkaErrorCode as Code;

use crate::error::{ErrorCode, KafkaError};

/// Why a transaction did not commit.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was aborted, surely. The session is usable.
    Aborted(Aborted),
    /// Nobody knows; the session is over. The next session's `init` settles it.
    Unknown {
        error: KafkaError,
        fenced: bool,
        /// The commit had been asked for: it may have happened. Otherwise it surely has not.
        committing: bool,
        /// The records had not all been acknowledged when the time was over.
        timed_out: bool,
    },
}

/// What is known about a transaction that was aborted.
#[derive(Debug)]
pub(crate) struct Aborted {
    pub(crate) error: KafkaError,
    /// Records that Kafka refused, by their index among the records given. All belong to one group.
    pub(crate) refused: Vec<Refused>,
    /// Groups before it whose records were all acknowledged.
    pub(crate) passed: usize,
    /// Whether every other record of that group was acknowledged.
    pub(crate) rest_passed: bool,
    /// The time was over before every record was acknowledged.
    pub(crate) timed_out: bool,
}

/// A record that Kafka refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) index: usize,
    pub(crate) code: ErrorCode,
    /// It was refused for itself, not for the company it was in.
    pub(crate) alone: bool,
}

// === impl Failure ===

impl Failure {
    pub(super) fn aborted(error: KafkaError) -> Self {
        Self::Aborted(Aborted { error, refused: Vec::new(), passed: 0, rest_passed: false, timed_out: false })
    }

    pub(super) fn unknown(error: KafkaError, fenced: bool) -> Self {
        Self::Unknown { error, fenced, committing: false, timed_out: false }
    }

    /// What is left of a failure once the abort that followed it was tried.
    ///
    /// `aborted`: why that failed, if it did, and whether as a fenced producer's. A session that cannot abort is over, and if
    /// the commit had been asked for before, it may have happened all the same.
    pub(super) fn after_abort(self, aborted: Result<(), (KafkaError, bool)>, commit_asked: bool) -> Self {
        match (self, aborted) {
            (failure, Ok(())) => failure,
            (Self::Aborted(Aborted { timed_out, .. }), Err((error, fenced))) => {
                Self::Unknown { error, fenced, committing: commit_asked, timed_out }
            }
            (Self::Unknown { fenced, committing, timed_out, .. }, Err((error, also))) => {
                Self::Unknown { error, fenced: fenced || also, committing: committing || commit_asked, timed_out }
            }
        }
    }
}

pub(super) fn fatal(call: &str, code: Code, reason: String) -> Failure {
    let error = KafkaError::Call { call: call.to_owned(), code: ErrorCode(code), reason };
    Failure::unknown(error, ErrorCode(code).is_fencing())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> KafkaError {
        KafkaError::call("a call", Code::Fail)
    }

    #[test]
    fn a_commit_that_was_asked_for_may_have_happened_although_it_could_not_be_aborted() {
        for (commit_asked, expected) in [(true, true), (false, false)] {
            let left = Failure::aborted(error()).after_abort(Err((error(), false)), commit_asked);
            assert!(matches!(left, Failure::Unknown { committing, .. } if committing == expected), "{left:?}");
        }
        let left = Failure::aborted(error()).after_abort(Ok(()), true);
        assert!(matches!(left, Failure::Aborted(_)), "{left:?}");
    }
}
