//! How many of each there may be: an object's own limit, else its organization's, else the instance's, else none.
//!
//! A limit counts what is there at the write, inside the store's decision, so it holds over all replicas. Lowering one below
//! what is there deletes nothing, it only refuses more.

use catalog::Snapshot;
use schemas::control::{Application, Limits, Organization};
use schemas::problem::{Code, ProblemId};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::auth::Principal;
use crate::body::{self, Fields};
use crate::problem::{Problem, forbidden};

/// "Unlimited" in the clients' 32-bit integers.
pub(crate) const UNLIMITED: i32 = i32::MAX;
/// What may be asked of an organization's limits.
const OF_ORGANIZATION: &[&str] =
    &["applications", "subscriptions", "event_types", "events_per_day", "events_per_second"];
/// What may be asked of an application's limits.
const OF_APPLICATION: &[&str] = &["subscriptions", "event_types", "events_per_day", "events_per_second"];

/// Limits as they are shown; what is absent is the next wider one's.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = Limits, example = json!({"subscriptions": 100, "events_per_day": 1_000_000}))]
pub(crate) struct LimitsShown {
    /// Applications of the organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    applications: Option<u32>,
    /// Subscriptions of each application.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    subscriptions: Option<u32>,
    /// Event types of each application.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    event_types: Option<u32>,
    /// Events of the organization accepted per UTC day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    events_per_day: Option<u32>,
    /// Events of the organization accepted per second, with a burst of one second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    events_per_second: Option<u32>,
}

/// Limits of an application as they are shown and given.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = ApplicationLimits, example = json!({"subscriptions": 100, "events_per_day": 1_000_000}))]
pub(crate) struct ApplicationLimits {
    /// Its subscriptions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    subscriptions: Option<u32>,
    /// Its event types.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    event_types: Option<u32>,
    /// Events accepted per UTC day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    events_per_day: Option<u32>,
    /// Events accepted per second, with a burst of one second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    events_per_second: Option<u32>,
}

/// What a request says about limits. `None`: nothing; empty ones clear them.
pub(crate) type Given = Option<Limits>;

// === impl LimitsShown ===

impl LimitsShown {
    pub(crate) fn of(limits: Limits) -> Option<Self> {
        let Limits { applications, subscriptions, event_types, events_per_day, events_per_second } = limits;
        let shown = Self { applications, subscriptions, event_types, events_per_day, events_per_second };
        (!limits.is_empty()).then_some(shown)
    }
}

// === impl ApplicationLimits ===

impl ApplicationLimits {
    pub(crate) fn of(limits: Limits) -> Option<Self> {
        let Limits { applications: _, subscriptions, event_types, events_per_day, events_per_second } = limits;
        let shown = Self { subscriptions, event_types, events_per_day, events_per_second };
        (!limits.is_empty()).then_some(shown)
    }
}

// === reading ===

/// An organization's limits in a body.
pub(crate) fn of_organization(fields: &mut Fields) -> Result<Given, Problem> {
    read(fields, OF_ORGANIZATION)
}

/// An application's limits in a body.
pub(crate) fn of_application(fields: &mut Fields) -> Result<Given, Problem> {
    read(fields, OF_APPLICATION)
}

fn read(fields: &mut Fields, known: &[&str]) -> Result<Given, Problem> {
    let Some(given) = fields.object("limits", "limits.", known)? else { return Ok(None) };
    let Some(mut given) = given else { return Ok(Some(Limits::default())) };
    let mut number = |name| -> Result<Option<u32>, Problem> {
        let number = given.number(name, 0..=i32::MAX.unsigned_abs().into())?.flatten();
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    };
    Ok(Some(Limits {
        applications: number("applications")?,
        subscriptions: number("subscriptions")?,
        event_types: number("event_types")?,
        events_per_day: number("events_per_day")?,
        events_per_second: number("events_per_second")?,
    }))
}

/// Limits are the operator's: who is bound by them does not change them. Saying what is so already is fine.
pub(crate) fn may_set(principal: &Principal, given: Given, former: Limits) -> Result<(), Problem> {
    if given.is_none_or(|given| given == former) { Ok(()) } else { principal.admin().map_err(|_refused| forbidden()) }
}

// === counting ===

/// The first of the limits that is said.
fn first(limits: impl IntoIterator<Item = Option<u32>>) -> Option<u32> {
    limits.into_iter().flatten().next()
}

fn full(there: usize, limit: Option<u32>) -> bool {
    limit.is_some_and(|limit| u32::try_from(there).map_or(true, |there| there >= limit))
}

/// Refuses one more application of an organization.
pub(crate) fn application(snapshot: &Snapshot, organization: &Organization, instance: &Limits) -> Result<(), Problem> {
    let limit = first([organization.limits.applications, instance.applications]);
    let there = snapshot.application_count(organization.organization_id);
    if full(there, limit) { Err(reached(ProblemId::TooManyApplicationsPerOrganization, limit)) } else { Ok(()) }
}

/// Refuses one more subscription of an application.
pub(crate) fn subscription(snapshot: &Snapshot, application: &Application, instance: &Limits) -> Result<(), Problem> {
    let limit = effective(snapshot, application, instance).subscriptions;
    let there = snapshot.subscription_count(application.application_id);
    if full(there, limit) { Err(reached(ProblemId::TooManySubscriptionsPerApplication, limit)) } else { Ok(()) }
}

/// Refuses one more event type of an application.
pub(crate) fn event_type(snapshot: &Snapshot, application: &Application, instance: &Limits) -> Result<(), Problem> {
    let limit = effective(snapshot, application, instance).event_types;
    let there = snapshot.event_type_count(application.application_id);
    if full(there, limit) { Err(reached(ProblemId::TooManyEventTypesPerApplication, limit)) } else { Ok(()) }
}

/// What binds an application.
pub(crate) fn effective(snapshot: &Snapshot, application: &Application, instance: &Limits) -> Limits {
    let own = application.limits;
    let organization = snapshot.organization(application.organization_id).map(|it| it.limits).unwrap_or_default();
    Limits {
        applications: first([organization.applications, instance.applications]),
        subscriptions: first([own.subscriptions, organization.subscriptions, instance.subscriptions]),
        event_types: first([own.event_types, organization.event_types, instance.event_types]),
        events_per_day: first([own.events_per_day, organization.events_per_day, instance.events_per_day]),
        events_per_second: first([own.events_per_second, organization.events_per_second, instance.events_per_second]),
    }
}

/// A limit in the clients' integers.
pub(crate) fn shown(limit: Option<u32>) -> i32 {
    limit.map_or(UNLIMITED, |limit| i32::try_from(limit).unwrap_or(UNLIMITED))
}

/// A merge patch of an object that has these limits: what it does not name of them stays.
pub(crate) fn merged(patch: Map<String, Value>, former: Limits) -> Map<String, Value> {
    let former = serde_json::to_value(former).unwrap_or(Value::Null);
    body::merge(patch, &json!({ "limits": former }))
}

fn reached(id: ProblemId, limit: Option<u32>) -> Problem {
    let limit = limit.unwrap_or_default();
    Problem::new(id, format!("the limit of {limit} is reached")).with_code(Code::LimitReached)
}
