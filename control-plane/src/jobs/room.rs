//! Whether there is room for one more job: those that have not ended are in the memory of every control plane. Pure.
//!
//! All definitions together weigh so much at most, and those of one organization, with all of its applications, at most half of what
//! the others leave: who has many jobs that do not end, paused ones say, leaves room for the next one's. What the operator asks for has
//! room of its own, for nobody shuts the operator out.

use schemas::problem::{Code, ProblemId};

use crate::problem::Problem;

/// What the definitions of jobs that have not ended may weigh, in bytes.
const MOST_OPEN_BYTES: usize = 64 * 1024 * 1024;
/// What the operator may ask for beyond that, bytes.
const OF_OPERATOR_BYTES: usize = 16 * 1024 * 1024;

/// What definitions of jobs that have not ended weigh, bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenJobs {
    /// Of everybody.
    pub(super) all: usize,
    /// The one that is asked for.
    pub(super) new: usize,
}

// === impl OpenJobs ===

impl OpenJobs {
    /// Refuses one too many. `own`: what those of its organization weigh; it is asked only where that may be too much. `is_operator`:
    /// who asks.
    pub(super) fn refuse(self, is_operator: bool, own: impl FnOnce() -> usize) -> Result<(), Problem> {
        let Self { all, new } = self;
        if is_operator {
            let fits = all + new <= MOST_OPEN_BYTES + OF_OPERATOR_BYTES;
            return if fits { Ok(()) } else { Err(of_all()) };
        }
        if all + new > MOST_OPEN_BYTES {
            return Err(of_all());
        }
        // Whoever has all of them has no more than half of what there may be.
        if 2 * (all + new) <= MOST_OPEN_BYTES {
            return Ok(());
        }
        let own = own();
        let left = MOST_OPEN_BYTES - all.saturating_sub(own);
        if own > 0 && 2 * (own + new) > left { Err(of_one()) } else { Ok(()) }
    }
}

fn of_one() -> Problem {
    refused("this organization has too many jobs that have not ended: cancel those that are not needed, or wait", 5)
}

fn of_all() -> Problem {
    refused("there are too many jobs that have not ended, of all organizations: try again when some have", 30)
}

fn refused(detail: &str, retry_after_s: u32) -> Problem {
    Problem::new(ProblemId::RateLimited, detail).with_code(Code::LimitReached).with_retry_after(retry_after_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn is_refused(all: usize, own: usize, new: usize) -> bool {
        OpenJobs { all: all * MIB, new: new * MIB }.refuse(false, || own * MIB).is_err()
    }

    #[test]
    fn an_organization_has_half_of_what_the_others_leave() {
        assert!(!is_refused(31, 31, 1) && is_refused(32, 32, 1), "alone it has half");
        assert!(!is_refused(47, 15, 1) && is_refused(48, 16, 1), "the others have 32 of 64, so it has 16");
        assert!(!is_refused(63, 0, 1) && is_refused(64, 0, 1), "the first one of anybody needs room alone");
    }

    #[test]
    fn the_operator_has_room_of_his_own_and_not_without_a_bound() {
        let asks = |all: usize| OpenJobs { all: all * MIB, new: MIB }.refuse(true, || all * MIB);
        assert!(asks(64).is_ok() && asks(79).is_ok());
        let refused = asks(80).unwrap_err();
        assert_eq!((refused.status, refused.code), (429, Some(Code::LimitReached)));
    }
}
