//! The plan of an organization: `control.plans` says which limits each has, and giving one sets all of them at once.
//!
//! What an organization has are limits, which every process knows; its plan says where they were taken from.

use std::collections::BTreeMap;

use schemas::control::{Limits, Organization};
use schemas::problem::Code;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::{Principal, Who};
use crate::body::Fields;
use crate::limits;
use crate::problem::Problem;

/// What a body says of the plan. `None`: nothing; `Some(None)`: there is to be none.
pub(super) type GivenPlan = Option<Option<String>>;

/// A plan as Hook0's clients know it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrganizationPlan, example = json!({"name": "free", "label": "free"}))]
pub(in crate::api) struct PlanShown {
    name: String,
    /// For people.
    label: String,
}

// === impl PlanShown ===

impl PlanShown {
    pub(super) fn of(organization: &Organization) -> Option<Self> {
        let name = organization.plan.as_ref()?;
        Some(Self { name: name.clone(), label: name.clone() })
    }
}

/// Its name, or what was shown of it.
pub(super) fn read(fields: &mut Fields) -> Result<GivenPlan, Problem> {
    let wrong = |fields: &Fields| fields.wrong("plan", "must be the name of a plan, or null");
    match fields.take("plan") {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(Value::String(name)) => Ok(Some(Some(name))),
        Some(Value::Object(shown)) => match shown.get("name") {
            Some(Value::String(name)) => Ok(Some(Some(name.clone()))),
            _another => Err(wrong(fields)),
        },
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_)) => Err(wrong(fields)),
    }
}

/// Sets the limits that are given, or those of the plan. Both are the operator's; what is as it was may be sent back by anybody.
pub(super) fn apply(
    (plan, limits): (&GivenPlan, limits::Given),
    principal: &Principal,
    plans: &BTreeMap<String, Limits>,
    former: Organization,
) -> Result<Organization, Problem> {
    let Some(plan) = plan else {
        limits::may_set(principal, limits, former.limits)?;
        let limits = limits.unwrap_or(former.limits);
        let plan = former.plan.clone().filter(|_| limits == former.limits);
        return Ok(Organization { limits, plan, ..former });
    };
    let is_operator = matches!(principal.who, Who::Admin);
    // Given alone by the operator, it is taken anew: its limits may have changed since.
    let is_sent_back = limits.map_or(!is_operator, |limits| limits == former.limits);
    if *plan == former.plan && is_sent_back {
        return Ok(former);
    }
    principal.admin()?;
    let of_plan = match plan {
        None => limits.unwrap_or_default(),
        Some(name) => *plans.get(name).ok_or_else(|| unknown(name, plans))?,
    };
    if limits.is_some_and(|limits| limits != of_plan) {
        let message = "are those of the plan: leave them out, or take the plan away with `plan: null`";
        return Err(Problem::field("limits", Code::InvalidField, message));
    }
    Ok(Organization { limits: of_plan, plan: plan.clone(), ..former })
}

fn unknown(name: &str, plans: &BTreeMap<String, Limits>) -> Problem {
    let shown: String = name.chars().take(50).collect();
    let known: Vec<&str> = plans.keys().map(String::as_str).collect();
    let known =
        if known.is_empty() { "none is configured".to_owned() } else { format!("there are {}", known.join(", ")) };
    Problem::field("plan", Code::InvalidField, format!("there is no plan `{shown}` in `control.plans`: {known}"))
}
