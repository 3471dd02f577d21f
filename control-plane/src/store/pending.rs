//! One write that waits for its transaction: the rule that decides it, and who is told what came of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use catalog::Snapshot;
use chassis::config::ByteLimits;
use schemas::problem::ProblemId;
use tokio::sync::oneshot;
use tracing::error;

use crate::actor::Actor;
use crate::problem::Problem;
use crate::store::refuse::check_token;
use crate::store::{Change, Decision, Moment};
use crate::weights;

/// A write, whatever it answers.
pub(super) trait PendingWrite: Send {
    fn actor(&self) -> &Actor;
    /// When it came.
    fn started(&self) -> Instant;
    /// When its answer is of no use any more.
    fn deadline(&self) -> Instant;
    /// Whether nobody waits for its answer.
    fn is_abandoned(&self) -> bool;
    /// Decides, as often as it must be. What is to be written; nothing where it is refused or there is nothing to do.
    fn decide(&mut self, snapshot: &Snapshot, moment: Moment, bytes: &ByteLimits) -> Vec<Change>;
    /// Decides against it, whatever its rule has said.
    fn refuse(&mut self, problem: Problem);
    /// Answers what was decided, or why that came to nothing. The word for it in the metrics.
    fn settle(self: Box<Self>, failure: Option<Problem>) -> &'static str;
}

/// The same with its rule and its answer.
#[derive(Debug)]
pub(super) struct RuledWrite<T, F> {
    pub(super) actor: Actor,
    pub(super) rule: F,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    pub(super) decided: Option<Result<T, Problem>>,
    pub(super) answer: oneshot::Sender<Result<T, Problem>>,
}

impl<T, F> PendingWrite for RuledWrite<T, F>
where
    T: Send,
    F: FnMut(&Snapshot, Moment) -> Result<Decision<T>, Problem> + Send,
{
    fn actor(&self) -> &Actor {
        &self.actor
    }

    fn started(&self) -> Instant {
        self.started
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    fn decide(&mut self, snapshot: &Snapshot, moment: Moment, bytes: &ByteLimits) -> Vec<Change> {
        let (actor, rule) = (&self.actor, &mut self.rule);
        // A rule that panics is a defect of its own route; the writes beside it have nothing to do with it.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            check_token(actor, snapshot, moment.now_ms)?;
            let decision = rule(snapshot, moment)?;
            weights::check(snapshot, &decision.changes, bytes)?;
            Ok(decision)
        }));
        let decision = outcome.unwrap_or_else(|_panic| {
            error!(actor = %self.actor.name, "the rule of a write panicked");
            Err(Problem::new(ProblemId::InternalServerError, "the write failed"))
        });
        match decision {
            Ok(Decision { changes, answer }) => {
                self.decided = Some(Ok(answer));
                changes
            }
            Err(problem) => {
                self.decided = Some(Err(problem));
                Vec::new()
            }
        }
    }

    fn refuse(&mut self, problem: Problem) {
        self.decided = Some(Err(problem));
    }

    fn settle(self: Box<Self>, failure: Option<Problem>) -> &'static str {
        let Self { decided, answer, .. } = *self;
        let undecided = || Err(Problem::new(ProblemId::InternalServerError, "the write was not decided"));
        let outcome = failure.map_or_else(|| decided.unwrap_or_else(undecided), Err);
        let word = match &outcome {
            Ok(_) => "written",
            Err(problem) if problem.status >= 500 => "failed",
            Err(_) => "refused",
        };
        // Whoever has gone away does not hear it.
        drop(answer.send(outcome));
        word
    }
}
