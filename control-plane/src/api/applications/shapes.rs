//! What applications look like from outside.

use catalog::Snapshot;
use schemas::control::{Application, Limits};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::naming::{Name, Uid};
use crate::api::time;
use crate::limits::{self, ApplicationLimits, UNLIMITED};

/// An application.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Application, example = json!({
    "application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42",
    "organization_id": "0b5e55ed-0000-7000-8000-000000000001",
    "name": "billing",
    "unknown_event_types": "accept",
    "created_at": "2026-11-22T10:30:00Z",
}))]
pub(in crate::api) struct ApplicationShown {
    application_id: Uuid,
    organization_id: Uuid,
    name: String,
    /// The client's own id, unique in the organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    unknown_event_types: UnknownEventTypes,
    /// Its own limits, if the operator gave it any.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<ApplicationLimits>,
    /// Days that the delivery log keeps of it; absent for as long as the log itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3650)]
    log_retention_days: Option<u16>,
    /// How long an event's id counts as a repeat, ms; absent for as long as the installation says (`fanout.dedup_window_hours`), 0 never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 2592000000_i64, format = Int64)]
    dedup_window_ms: Option<u32>,
    #[schema(format = DateTime)]
    created_at: String,
    /// Absent while it is as it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    updated_at: Option<String>,
}

/// An application and how it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ApplicationInfo {
    #[serde(flatten)]
    application: ApplicationShown,
    quotas: ApplicationInfoQuotas,
    consumption: ApplicationInfoConsumption,
    onboarding_steps: ApplicationInfoOnboardingSteps,
}

/// Limits; 2147483647 is none.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ApplicationInfoQuotas {
    days_of_events_retention_limit: i32,
    event_types_per_application_limit: i32,
    events_per_day_limit: i32,
    subscriptions_per_application_limit: i32,
}

/// How much there is.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ApplicationInfoConsumption {
    event_types: usize,
    subscriptions: usize,
}

/// What has been done on the way to the first delivery.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ApplicationInfoOnboardingSteps {
    event_type: OnboardingStep,
    subscription: OnboardingStep,
    event: OnboardingStep,
}

/// A step.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = Step)]
pub(in crate::api) enum OnboardingStep {
    /// Not yet.
    ToDo,
    /// Yes.
    Done,
}

/// What happens to records from topics whose event type is not declared; over HTTP they are always refused.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum UnknownEventTypes {
    /// They are rejected.
    Reject,
    /// They are delivered to subscriptions whose pattern fits.
    Accept,
    /// They are declared on sight.
    Declare,
}

/// A new application.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[schema(example = json!({ "organization_id": "0b5e55ed-0000-7000-8000-000000000001", "name": "billing" }))]
pub(in crate::api) struct ApplicationPost {
    /// Id or uid. Without it a service token's own, or the organization that was there from the start.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    organization_id: Option<String>,
    name: Name,
    /// The client's own id, unique in the organization and no UUID.
    uid: Option<Uid>,
    /// The id it had in another system.
    application_id: Option<Uuid>,
    #[schema(nullable = false)]
    unknown_event_types: Option<UnknownEventTypes>,
    limits: Option<ApplicationLimits>,
    /// Days that the delivery log keeps of it, where that is shorter than the log itself. Null for as long as the log.
    #[schema(minimum = 1, maximum = 3650)]
    log_retention_days: Option<u16>,
    /// How long an event's id counts as a repeat, ms, within what the installation remembers (`fanout.dedup_window_hours`); 0 never. Null
    /// for as long as the installation.
    #[schema(maximum = 2592000000_i64, format = Int64)]
    dedup_window_ms: Option<u32>,
}

/// Changes of an application: what is not given keeps its value.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[schema(example = json!({ "name": "invoicing" }))]
pub(in crate::api) struct ApplicationPatch {
    /// As it is: an application stays in its organization.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    organization_id: Option<String>,
    #[schema(nullable = false)]
    name: Option<Name>,
    /// Null takes it away.
    uid: Option<Uid>,
    /// As it is: an application keeps its id.
    application_id: Option<Uuid>,
    #[schema(nullable = false)]
    unknown_event_types: Option<UnknownEventTypes>,
    /// The operator's to change. Null takes all of them away.
    limits: Option<ApplicationLimits>,
    /// Days that the delivery log keeps of it: what is older is hidden at once, and gone within a day. Null for as long as the log.
    #[schema(minimum = 1, maximum = 3650)]
    log_retention_days: Option<u16>,
    /// How long an event's id counts as a repeat, ms, within what the installation remembers (`fanout.dedup_window_hours`); 0 never. It
    /// holds for ids that were accepted before, too. Null for as long as the installation.
    #[schema(maximum = 2592000000_i64, format = Int64)]
    dedup_window_ms: Option<u32>,
}

// === impl ApplicationShown ===

impl ApplicationShown {
    pub(in crate::api) fn of(application: &Application) -> Self {
        Self {
            application_id: application.application_id.0,
            organization_id: application.organization_id.0,
            name: application.name.clone(),
            uid: application.uid.clone(),
            unknown_event_types: application.unknown_event_types.into(),
            limits: ApplicationLimits::of(application.limits),
            log_retention_days: application.log_retention_days,
            dedup_window_ms: application.dedup_window_ms,
            created_at: time(application.created_ms),
            updated_at: application.updated_ms.map(time),
        }
    }
}

// === impl ApplicationInfo ===

impl ApplicationInfo {
    pub(in crate::api) fn of(application: &Application, snapshot: &Snapshot, instance: &Limits) -> Self {
        let limits = limits::effective(snapshot, application, instance);
        let id = application.application_id;
        let (event_types, subscriptions) = (snapshot.event_type_count(id), snapshot.subscription_count(id));
        Self {
            application: ApplicationShown::of(application),
            quotas: ApplicationInfoQuotas {
                days_of_events_retention_limit: application.log_retention_days.map_or(UNLIMITED, i32::from),
                event_types_per_application_limit: limits::shown(limits.event_types),
                events_per_day_limit: limits::shown(limits.events_per_day),
                subscriptions_per_application_limit: limits::shown(limits.subscriptions),
            },
            consumption: ApplicationInfoConsumption { event_types, subscriptions },
            onboarding_steps: ApplicationInfoOnboardingSteps {
                event_type: OnboardingStep::done(event_types > 0),
                subscription: OnboardingStep::done(subscriptions > 0),
                // The delivery log knows.
                event: OnboardingStep::ToDo,
            },
        }
    }

    /// With what the delivery log says of its events.
    pub(in crate::api) fn with_event(mut self, step: OnboardingStep) -> Self {
        self.onboarding_steps.event = step;
        self
    }
}

// === impl OnboardingStep ===

impl OnboardingStep {
    pub(in crate::api) fn done(done: bool) -> Self {
        if done { Self::Done } else { Self::ToDo }
    }
}

// === impl UnknownEventTypes ===

impl From<schemas::control::UnknownEventTypes> for UnknownEventTypes {
    fn from(given: schemas::control::UnknownEventTypes) -> Self {
        match given {
            schemas::control::UnknownEventTypes::Reject => Self::Reject,
            schemas::control::UnknownEventTypes::Accept => Self::Accept,
            schemas::control::UnknownEventTypes::Declare => Self::Declare,
        }
    }
}

impl UnknownEventTypes {
    /// The rule of a word.
    pub(in crate::api) fn parse(word: &str) -> Option<schemas::control::UnknownEventTypes> {
        match word {
            "reject" => Some(schemas::control::UnknownEventTypes::Reject),
            "accept" => Some(schemas::control::UnknownEventTypes::Accept),
            "declare" => Some(schemas::control::UnknownEventTypes::Declare),
            _other => None,
        }
    }
}
