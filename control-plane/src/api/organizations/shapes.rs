//! What organizations look like from outside.

use catalog::Snapshot;
use schemas::control::{Limits, Organization};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::plan::PlanShown;
use crate::api::applications::OnboardingStep;
use crate::api::naming::{Name, Uid};
use crate::api::time;
use crate::auth::Principal;
use crate::limits::{self, LimitsShown, UNLIMITED};

/// An organization.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Organization, example = json!({
    "organization_id": "0b5e55ed-0000-7000-8000-000000000001",
    "name": "default",
    "role": "editor",
    "plan": null,
    "created_at": "2026-11-22T10:30:00Z",
}))]
pub(in crate::api) struct OrganizationShown {
    organization_id: Uuid,
    name: String,
    /// What the token that asks may do there.
    role: &'static str,
    /// The plan that its limits were taken from; null where there is none.
    plan: Option<PlanShown>,
    /// The client's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    /// Its limits, if the operator gave it any.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<LimitsShown>,
    /// Topics, and prefixes that end in `*`, that its own tokens may name in sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source_topics: Vec<String>,
    #[schema(format = DateTime)]
    created_at: String,
    /// Absent while it is as it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    updated_at: Option<String>,
}

/// An organization and how it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct OrganizationInfo {
    #[serde(flatten)]
    organization: OrganizationShown,
    /// Always empty: there are no users.
    #[schema(value_type = Vec<Object>)]
    users: [(); 0],
    quotas: OrganizationInfoQuotas,
    consumption: OrganizationInfoConsumption,
    onboarding_steps: OrganizationInfoOnboardingSteps,
}

/// Limits. 2147483647 means unlimited.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct OrganizationInfoQuotas {
    applications_per_organization_limit: i32,
    days_of_events_retention_limit: i32,
    events_per_day_limit: i32,
    members_per_organization_limit: i32,
}

/// How much there is.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct OrganizationInfoConsumption {
    applications: usize,
    members: usize,
}

/// What has been done on the way to the first delivery.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct OrganizationInfoOnboardingSteps {
    application: OnboardingStep,
    event_type: OnboardingStep,
    subscription: OnboardingStep,
    event: OnboardingStep,
}

/// A new organization.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[schema(example = json!({ "name": "Example" }))]
pub(in crate::api) struct OrganizationPost {
    name: Name,
    /// The client's own id, unique in the instance and no UUID.
    uid: Option<Uid>,
    /// The id it had in another system.
    organization_id: Option<Uuid>,
    limits: Option<LimitsShown>,
    /// One of `control.plans`, in place of `limits`: sets all of them.
    #[schema(max_length = 50)]
    plan: Option<String>,
    /// Topics, and prefixes that end in `*`, that its own tokens may name in sources; `*` alone is all. None unless given.
    #[schema(max_items = 1_000)]
    source_topics: Option<Vec<String>>,
}

/// Changes of an organization: what is not given keeps its value.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[schema(example = json!({ "name": "Example" }))]
pub(in crate::api) struct OrganizationPatch {
    #[schema(nullable = false)]
    name: Option<Name>,
    /// Null takes it away.
    uid: Option<Uid>,
    /// As it is: an organization keeps its id.
    organization_id: Option<Uuid>,
    /// The operator's to change. Null takes all of them away. Without `plan`, other limits than it has end its plan.
    limits: Option<LimitsShown>,
    /// The operator's to change: one of `control.plans`, in place of `limits`, sets all of them. Null takes it away with its limits.
    #[schema(max_length = 50)]
    plan: Option<String>,
    /// The operator's to change. Null takes all of them away.
    #[schema(max_items = 1_000)]
    source_topics: Option<Vec<String>>,
}

// === impl OrganizationShown ===

impl OrganizationShown {
    pub(in crate::api) fn of(organization: &Organization, principal: &Principal) -> Self {
        Self {
            organization_id: organization.organization_id.0,
            name: organization.name.clone(),
            role: if principal.is_editor() { "editor" } else { "viewer" },
            plan: PlanShown::of(organization),
            uid: organization.uid.clone(),
            limits: LimitsShown::of(organization.limits),
            source_topics: organization.source_topics.clone(),
            created_at: time(organization.created_ms),
            updated_at: organization.updated_ms.map(time),
        }
    }
}

// === impl OrganizationInfo ===

impl OrganizationInfo {
    pub(in crate::api) fn of(
        organization: &Organization,
        principal: &Principal,
        snapshot: &Snapshot,
        instance: &Limits,
    ) -> Self {
        let id = organization.organization_id;
        let applications = || snapshot.applications_of(id).map(|it| it.application_id);
        let own = organization.limits;
        let count = snapshot.application_count(id);
        Self {
            organization: OrganizationShown::of(organization, principal),
            users: [],
            quotas: OrganizationInfoQuotas {
                applications_per_organization_limit: limits::shown(own.applications.or(instance.applications)),
                days_of_events_retention_limit: UNLIMITED,
                events_per_day_limit: limits::shown(own.events_per_day),
                members_per_organization_limit: UNLIMITED,
            },
            consumption: OrganizationInfoConsumption { applications: count, members: 0 },
            onboarding_steps: OrganizationInfoOnboardingSteps {
                application: OnboardingStep::done(count > 0),
                event_type: OnboardingStep::done(applications().any(|it| snapshot.event_type_count(it) > 0)),
                subscription: OnboardingStep::done(applications().any(|it| snapshot.subscription_count(it) > 0)),
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
