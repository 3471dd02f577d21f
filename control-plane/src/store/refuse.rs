//! What a write is refused with, beside what its own decision finds.

use catalog::Snapshot;
use schemas::problem::{Code, ProblemId};
use tracing::warn;

use crate::actor::Actor;
use crate::problem::Problem;
use crate::store::line::{LineFull, OF_ONE};

/// A token that was revoked while its write waited opens nothing.
pub(crate) fn check_token(actor: &Actor, snapshot: &Snapshot, now_ms: i64) -> Result<(), Problem> {
    if actor.may_still_write(snapshot, now_ms) {
        return Ok(());
    }
    Err(Problem::new(ProblemId::Forbidden, "the token was revoked, has ended or may not write any more"))
}

/// The deadline is over, and what came of the write is not known. Without an `Idempotency-Key` there is no `Retry-After`: asked
/// again as it is, it might be done twice.
pub(super) fn late(is_keyed: bool) -> Problem {
    let problem = |detail: &str| Problem::new(ProblemId::ServiceUnavailable, detail).with_code(Code::OutcomeUnknown);
    if is_keyed {
        let detail =
            "the write was not confirmed in time: send it again with the same `Idempotency-Key`, and it is done once";
        return problem(detail).with_retry_after(1);
    }
    problem(
        "the write was not confirmed in time: it may or may not have taken effect, so look before you send it again",
    )
}

/// Kafka does not let the control plane write to a topic.
pub(super) fn denied(error: &kafka::KafkaError) -> Problem {
    warn!(%error, "kafka does not let the control plane write what a write needs");
    let detail = "Kafka does not let the control plane write: its access control is for the operator to mend";
    Problem::new(ProblemId::ServiceUnavailable, detail).with_code(Code::KafkaUnavailable).with_retry_after(60)
}

/// What would be written could not be read by any process.
pub(super) fn unreadable() -> Problem {
    Problem::new(ProblemId::InternalServerError, "the write would make an object that nobody could read")
}

/// Too many wait already; nothing was decided.
pub(super) fn full(full: LineFull) -> Problem {
    let problem = match full {
        LineFull::OfOne => Problem::new(
            ProblemId::RateLimited,
            format!("{OF_ONE} writes of this organization wait already: wait for their answers before sending more"),
        ),
        LineFull::OfAll => {
            Problem::new(ProblemId::ServiceUnavailable, "too many writes wait already").with_code(Code::Overloaded)
        }
    };
    problem.with_retry_after(1)
}

/// The answers that are kept for repeats would be more than may be kept. A write whose repeat would be done again is not done.
pub(super) fn no_room() -> Problem {
    let detail = "the answers that are kept for `Idempotency-Key` leave no room for this one: send the request without a key, or later";
    Problem::new(ProblemId::RateLimited, detail).with_code(Code::LimitReached).with_retry_after(60)
}

/// Kafka takes no record of that size.
pub(super) fn too_large(error: &kafka::KafkaError) -> Problem {
    warn!(%error, "a control record does not fit the topic");
    let detail = "the object is larger than the control topic takes";
    Problem::new(ProblemId::Validation, detail).with_status(413).with_code(Code::BodyTooLarge)
}
