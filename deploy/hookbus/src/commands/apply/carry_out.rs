//! Does what was planned, step by step, and says how far it came.

use anyhow::{Context, Result, bail};
use http::Method;

use super::plan::{Action, Plan, PlanStep, blame};
use crate::management::{Ask, Management, Refused};
use crate::screen;

/// Carries a plan out.
///
/// # Errors
/// A step was refused: with its line, and how much was done before it. What is done stays; the next run goes on from there.
pub(crate) async fn run(management: &Management, plan: &Plan<'_>) -> Result<()> {
    for (at, step) in plan.steps.iter().enumerate() {
        if let Err(error) = carry_out(management, step).await {
            let all = plan.steps.len();
            return Err(error.context(format!(
                "{at} of {all} steps were done, the {} of {} failed; run it again to go on from there",
                step.action.noun(),
                step.name
            )));
        }
        screen::progress(&format!("{} {}", step.action.done(), step.name))?;
    }
    screen::progress(&format!("Applied: {} done.", plan.steps.len()))?;
    Ok(())
}

async fn carry_out(management: &Management, step: &PlanStep<'_>) -> Result<()> {
    let ask = match &step.action {
        Action::Create { path, body } => Ask::send(Method::POST, path.as_str(), body),
        Action::Change { method, path, body, etag } => {
            Ask::send(method.clone(), path.as_str(), body).if_match(etag.as_deref())
        }
        Action::Delete { path } => Ask::delete(path.as_str()),
    };
    let Err(error) = management.ask(&step.name, ask).await else { return Ok(()) };
    let refused = error.downcast::<Refused>()?;
    if refused.status == 412 {
        bail!("somebody changed it since the plan was made");
    }
    match step.wanted {
        Some(wanted) if matches!(refused.status, 400 | 409 | 422) => {
            let lines: Vec<String> = blame(wanted, &refused).iter().map(ToString::to_string).collect();
            Err(refused).with_context(|| lines.join("\n"))
        }
        Some(_) | None => Err(refused.into()),
    }
}

// === impl Action ===

impl Action {
    const fn noun(&self) -> &'static str {
        match self {
            Self::Create { .. } => "creation",
            Self::Change { .. } => "change",
            Self::Delete { .. } => "deletion",
        }
    }

    const fn done(&self) -> &'static str {
        match self {
            Self::Create { .. } => "created",
            Self::Change { .. } => "changed",
            Self::Delete { .. } => "deleted",
        }
    }
}
