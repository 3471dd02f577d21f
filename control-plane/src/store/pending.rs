//! One write that waits for its transaction: the rule that decides it, and who is told what came of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use catalog::Snapshot;
use schemas::control::ControlKey;
use schemas::problem::{Code, ProblemId};
use schemas::record::OutRecord;
use tokio::sync::oneshot;
use tracing::error;

use crate::actor::Actor;
use crate::problem::Problem;
use crate::store::answers::Keeping;
use crate::store::refuse::check_token;
use crate::store::shapes::WriteRules;
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
    /// Decides, as often as it must be. What is to be written; nothing where it is refused, repeated or there is nothing to do.
    fn decide(&mut self, snapshot: &Snapshot, moment: Moment, rules: &WriteRules) -> Decided;
    /// Decides against it, whatever its rule has said.
    fn refuse(&mut self, problem: Problem);
    /// Answers what was decided, or why that came to nothing. The word for it in the metrics.
    fn settle(self: Box<Self>, failure: Option<Problem>) -> &'static str;
}

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Decided {
    pub(super) changes: Vec<Change>,
    pub(super) beside: Vec<OutRecord>,
    pub(super) used: Vec<ControlKey>,
}

/// A write with its rule and its answer.
#[derive(Debug)]
pub(super) struct RuledWrite<T, F> {
    actor: Actor,
    rule: F,
    keeping: Option<Keeping<T>>,
    started: Instant,
    deadline: Instant,
    decided: Option<Result<T, Problem>>,
    is_repeat: bool,
    answer: oneshot::Sender<Result<T, Problem>>,
}

// === impl RuledWrite ===

impl<T, F> RuledWrite<T, F>
where
    F: FnMut(&Snapshot, Moment) -> Result<Decision<T>, Problem>,
{
    pub(super) fn new(
        actor: Actor,
        rule: F,
        keeping: Option<Keeping<T>>,
        (started, deadline): (Instant, Instant),
        answer: oneshot::Sender<Result<T, Problem>>,
    ) -> Self {
        Self { actor, rule, keeping, started, deadline, decided: None, is_repeat: false, answer }
    }

    fn rule(&mut self, snapshot: &Snapshot, moment: Moment, rules: &WriteRules) -> Result<Decision<T>, Problem> {
        check_token(&self.actor, snapshot, moment.now_ms)?;
        let Some(keeping) = &self.keeping else {
            let decision = (self.rule)(snapshot, moment)?;
            weights::check(snapshot, &decision.changes, self.actor.is_system(), &rules.bytes)?;
            rules.check_shapes(snapshot, &decision.changes, moment.now_ms)?;
            return Ok(decision);
        };
        let repeated = keeping.repeated(snapshot, moment.now_ms)?;
        self.is_repeat = repeated.is_some();
        if let Some(answer) = repeated {
            return Ok(Decision::nothing(answer));
        }
        let mut decision = (self.rule)(snapshot, moment)?;
        weights::check(snapshot, &decision.changes, self.actor.is_system(), &rules.bytes)?;
        decision.changes.extend(keeping.keep(snapshot, &decision.answer, moment.now_ms)?);
        rules.check_shapes(snapshot, &decision.changes, moment.now_ms)?;
        Ok(decision)
    }
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

    fn decide(&mut self, snapshot: &Snapshot, moment: Moment, rules: &WriteRules) -> Decided {
        // A rule that panics is a defect of its own route; the writes beside it have nothing to do with it.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.rule(snapshot, moment, rules)));
        let decision = outcome.unwrap_or_else(|_panic| {
            error!(actor = %self.actor.name, "the rule of a write panicked");
            Err(Problem::new(ProblemId::InternalServerError, "the write failed"))
        });
        match decision {
            Ok(Decision { changes, beside, used, answer }) => {
                self.decided = Some(Ok(answer));
                Decided { changes, beside, used }
            }
            Err(problem) => {
                self.decided = Some(Err(problem));
                Decided::default()
            }
        }
    }

    fn refuse(&mut self, problem: Problem) {
        self.decided = Some(Err(problem));
    }

    fn settle(self: Box<Self>, failure: Option<Problem>) -> &'static str {
        let Self { decided, answer, keeping, is_repeat, .. } = *self;
        let undecided = || Err(Problem::new(ProblemId::InternalServerError, "the write was not decided"));
        let failure = failure.map(|problem| {
            let is_unknown = problem.code == Some(Code::OutcomeUnknown);
            if is_unknown { Problem::outcome_unknown(keeping.is_some()) } else { problem }
        });
        let outcome = failure.map_or_else(|| decided.unwrap_or_else(undecided), Err);
        let word = match &outcome {
            Ok(_) if is_repeat => "repeated",
            Ok(_) => "written",
            Err(problem) if problem.status >= 500 => "failed",
            Err(_) => "refused",
        };
        // Whoever has gone away does not hear it.
        drop(answer.send(outcome));
        word
    }
}
