//! Organizations: read only so far, the operator's key alone.

use std::sync::Arc;

use axum::extract::{Path, State};
use catalog::Snapshot;
use http::StatusCode;
use schemas::control::Organization;
use schemas::ids::OrganizationId;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{UNLIMITED, json};
use crate::auth::Principal;
use crate::problem::{Answer, Problem, not_found};
use crate::state::App;

pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal) -> Answer {
    principal.admin()?;
    let shown: Vec<Value> = app.catalog().read().organizations().map(|it| show(it)).collect();
    json(StatusCode::OK, &shown)
}

pub(super) async fn read(State(app): State<Arc<App>>, principal: Principal, Path(id): Path<String>) -> Answer {
    principal.admin()?;
    let shown = {
        let snapshot = app.catalog().read();
        let organization = find(&snapshot, &id)?;
        let mut shown = show(&organization);
        info(&mut shown, &organization, &snapshot);
        shown
    };
    json(StatusCode::OK, &shown)
}

/// An organization by id or uid.
pub(super) fn find(snapshot: &Snapshot, id_or_uid: &str) -> Result<Arc<Organization>, Problem> {
    let by_id = Uuid::parse_str(id_or_uid).ok().and_then(|id| snapshot.organization(OrganizationId(id)));
    let found = by_id.or_else(|| snapshot.organizations().find(|it| it.uid.as_deref() == Some(id_or_uid)));
    found.cloned().ok_or_else(|| not_found("organization"))
}

fn show(organization: &Organization) -> Value {
    json!({
        "organization_id": organization.organization_id,
        "name": organization.name,
        "role": "editor",
        "plan": null,
    })
}

fn info(shown: &mut Value, organization: &Organization, snapshot: &Snapshot) {
    let id = organization.organization_id;
    let applications = || snapshot.applications().filter(|it| it.organization_id == id);
    let any = |found: bool| if found { "Done" } else { "ToDo" };
    let types = applications().any(|it| snapshot.event_types(it.application_id).next().is_some());
    let subscriptions = applications().any(|it| snapshot.subscription_count(it.application_id) > 0);
    shown["users"] = json!([]);
    shown["quotas"] = json!({
        "applications_per_organization_limit": UNLIMITED,
        "days_of_events_retention_limit": UNLIMITED,
        "events_per_day_limit": UNLIMITED,
        "members_per_organization_limit": UNLIMITED,
    });
    shown["consumption"] = json!({ "applications": applications().count(), "members": 0 });
    shown["onboarding_steps"] = json!({
        "application": any(applications().next().is_some()),
        "event_type": any(types),
        "subscription": any(subscriptions),
        // Known to the delivery log, which is not built yet.
        "event": "ToDo",
    });
}
