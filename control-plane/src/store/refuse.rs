//! What a write is refused with, beside what its own decision finds.

use catalog::Snapshot;
use schemas::problem::{Code, ProblemId};
use tracing::warn;

use crate::actor::Actor;
use crate::problem::{Problem, unavailable};

/// A token that was revoked while its write waited opens nothing.
pub(super) fn check_token(actor: &Actor, snapshot: &Snapshot, now_ms: i64) -> Result<(), Problem> {
    if actor.may_still_write(snapshot, now_ms) {
        return Ok(());
    }
    Err(Problem::new(ProblemId::Forbidden, "the token was revoked, has ended or may not write any more"))
}

/// The deadline is over, and what came of the write is not known.
pub(super) fn late() -> Problem {
    unavailable("the write was not confirmed in time; it may or may not have taken effect")
}

/// Kafka takes no record of that size.
pub(super) fn too_large(error: &kafka::KafkaError) -> Problem {
    warn!(%error, "a control record does not fit the topic");
    let detail = "the object is larger than the control topic takes";
    Problem::new(ProblemId::Validation, detail).with_status(413).with_code(Code::BodyTooLarge)
}
