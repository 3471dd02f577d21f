//! Organizations: made and deleted by the operator, read and renamed by their own service tokens too.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use catalog::Snapshot;
use http::StatusCode;
use schemas::control::{ControlKey, Limits, Organization};
use schemas::ids::{ApplicationId, OrganizationId};
use schemas::problem::{Code, ProblemId};
use serde_json::{Map, Value};
use uuid::Uuid;

use self::shapes::{OrganizationInfo, OrganizationPatch, OrganizationPost, OrganizationShown};
use super::addressed::{Addressed, FoundObject};
use super::{naming, object, object_unless_known, onboarding, rows};
use crate::auth::Principal;
use crate::body::{self, Fields, Json};
use crate::etag::Preconditions;
use crate::limits;
use crate::page::Page;
use crate::problem::{Answer, Problem};
use crate::query::Query;
use crate::source;
use crate::state::App;
use crate::store::{Change, Decision, Moment};

mod plan;
mod shapes;

/// Fields of a body.
pub(super) const FIELDS: &[&str] = &["name", "uid", "organization_id", "limits", "plan", "source_topics"];
/// What is shown beside them; sent back, it is not looked at.
const SHOWN: &[&str] = &["role", "users", "quotas", "consumption", "onboarding_steps", "created_at", "updated_at"];

/// A request's fields, checked. `None`: not given, keeps its value.
#[derive(Clone, Debug)]
struct OrganizationInput {
    name: Option<String>,
    uid: Option<Option<String>>,
    organization: Option<OrganizationId>,
    limits: limits::Given,
    plan: plan::GivenPlan,
    source_topics: Option<Vec<String>>,
}

/// List organizations
#[utoipa::path(
    get, path = "/api/v1/organizations", operation_id = "organizations.list", tag = "organizations",
    responses((status = 200, description = "What the token sees", body = Vec<OrganizationShown>)),
)]
pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    // An application's secret has no organization to list.
    if principal.own_application().is_some() {
        return Err(principal.absent("organization"));
    }
    let page = Page::of(&query)?;
    let after = page.after_id()?.map(OrganizationId);
    let found = {
        let snapshot = app.catalog().read();
        // A token of one sees that alone, and how many there are beside it is nothing to wait for.
        let own = principal.own_organization().map(|id| snapshot.organization(id).into_iter());
        let own = own.map(|own| own.filter(|it| after.is_none_or(|after| it.organization_id > after)));
        let all = own.is_none().then(|| snapshot.organizations_after(after));
        let visible = all.into_iter().flatten().chain(own.into_iter().flatten());
        page.cut(visible.cloned(), |it| it.organization_id.to_string())?
    };
    rows(&query, &found.map(|it| OrganizationShown::of(&it, &principal)))
}

/// Read an organization
///
/// The entity tag stands for what was written; `quotas`, `consumption` and `onboarding_steps` are worked out on reading.
#[utoipa::path(
    get, path = "/api/v1/organizations/{organization_id}", operation_id = "organizations.get", tag = "organizations",
    params(("organization_id" = String, Path, description = "Id or uid")),
    responses((status = 200, description = "The organization", body = OrganizationInfo)),
)]
pub(super) async fn get(State(app): State<Arc<App>>, asked: Addressed) -> Answer {
    let (organization, shown, applications) = {
        let snapshot = app.catalog().read();
        let organization = asked.principal.organization(&snapshot, &asked.id)?;
        let shown = OrganizationInfo::of(&organization, &asked.principal, &snapshot, &app.config().limits);
        let applications = snapshot.applications_of(organization.organization_id).take(onboarding::APPLICATIONS);
        let applications: Vec<ApplicationId> = applications.map(|it| it.application_id).collect();
        (organization, shown, applications)
    };
    let event = onboarding::event(&app, &asked.principal, applications).await;
    object_unless_known(&asked.preconditions, &*organization, &shown.with_event(event))
}

/// Make an organization
///
/// With the admin key only.
#[utoipa::path(
    post, path = "/api/v1/organizations", operation_id = "organizations.create", tag = "organizations",
    request_body(content = OrganizationPost),
    responses((status = 201, description = "The organization", body = OrganizationInfo)),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    principal: Principal,
    preconditions: Preconditions,
    Json(body): Json,
) -> Answer {
    principal.admin()?;
    preconditions.check_absent()?;
    let input = OrganizationInput::read(body, FIELDS)?;
    let name =
        input.name.clone().ok_or_else(|| Problem::new(ProblemId::OrganizationNameMissing, "name is required"))?;
    let id = input.organization.unwrap_or_else(|| OrganizationId(Uuid::now_v7()));
    let (actor, asking, plans) = (principal.actor(), principal.clone(), app.config().plans.clone());
    let decide = move |snapshot: &Snapshot, moment: Moment| {
        if snapshot.organization(id).is_some() {
            return Err(naming::taken("organization_id", "organization"));
        }
        let new = Organization::new(id, name.clone(), moment.now_ms);
        let organization = input.apply(&principal, snapshot, &plans, new)?;
        Ok(Decision::made(organization))
    };
    let organization = app.store().write(actor, decide).await?;
    // Nothing is in it yet, whenever the answer is asked for again.
    let shown = OrganizationInfo::of(&organization, &asking, &Snapshot::default(), &app.config().limits);
    object(StatusCode::CREATED, &organization, &shown)
}

/// Change an organization
///
/// What is not given keeps its value; `uid: null` takes the uid away.
#[utoipa::path(
    put, path = "/api/v1/organizations/{organization_id}", operation_id = "organizations.update", tag = "organizations",
    params(("organization_id" = String, Path, description = "Id or uid")),
    request_body(content = OrganizationPatch),
    responses((status = 200, description = "The organization as it is now", body = OrganizationInfo)),
)]
pub(super) async fn update(State(app): State<Arc<App>>, asked: Addressed, Json(body): Json) -> Answer {
    let input = OrganizationInput::read(body, &[FIELDS, SHOWN].concat())?;
    change(&app, asked, move |_former| Ok(input.clone())).await
}

/// Change parts of an organization
///
/// A JSON merge patch: in `limits` too, what is not named stays.
#[utoipa::path(
    patch, path = "/api/v1/organizations/{organization_id}", operation_id = "organizations.patch", tag = "organizations",
    params(("organization_id" = String, Path, description = "Id or uid")),
    request_body(content = OrganizationPatch),
    responses((status = 200, description = "The organization as it is now", body = OrganizationInfo)),
)]
pub(super) async fn patch(State(app): State<Arc<App>>, asked: Addressed, Json(patch): Json) -> Answer {
    // What is wrong by itself is told before anything is compared.
    OrganizationInput::read(body::merge(patch.clone(), &Value::Null), FIELDS)?;
    let sets_plan = patch.contains_key("plan") && !patch.contains_key("limits");
    let merged = move |former: &Organization| {
        // Those of the plan take the place of all others.
        let patch = patch.clone();
        let merged = if sets_plan { body::merge(patch, &Value::Null) } else { limits::merged(patch, former.limits) };
        OrganizationInput::read(merged, FIELDS)
    };
    change(&app, asked, merged).await
}

/// Delete an organization
///
/// With the admin key only, and only when it has no application and no source any more. Its service tokens go with it.
#[utoipa::path(
    delete, path = "/api/v1/organizations/{organization_id}", operation_id = "organizations.delete", tag = "organizations",
    params(("organization_id" = String, Path, description = "Id or uid")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "OrganizationIsNotEmpty: it has applications or sources"),
    ),
)]
pub(super) async fn delete(State(app): State<Arc<App>>, asked: Addressed) -> Answer {
    asked.principal.admin()?;
    // The operator is refused no organization: what is not found is not there.
    let if_there = |asked: &Addressed, snapshot: &Snapshot| Ok(find(asked, snapshot).unwrap_or(None));
    let inside = |snapshot: &Snapshot, organization: &Organization, _: Moment| {
        let id = organization.organization_id;
        if snapshot.application_count(id) > 0 {
            return Err(Problem::new(ProblemId::OrganizationIsNotEmpty, "it still has applications"));
        }
        if snapshot.source_count(id) > 0 {
            return Err(Problem::new(ProblemId::OrganizationIsNotEmpty, "it still has sources"));
        }
        Ok(snapshot.service_tokens(id).map(|it| Change::Remove(ControlKey::ServiceToken(id, it.token_id))).collect())
    };
    asked.delete_with(&app, if_there, inside).await
}

/// One change for `PUT` and `PATCH`: `input` says what is given, looking at the former object.
async fn change(
    app: &App,
    asked: Addressed,
    input: impl Fn(&Organization) -> Result<OrganizationInput, Problem> + Send + 'static,
) -> Answer {
    asked.principal.editor()?;
    let (principal, plans) = (asked.principal.clone(), app.config().plans.clone());
    let decide = move |snapshot: &Snapshot, former: &Organization, moment: Moment| {
        let input = input(former)?;
        if input.organization.is_some_and(|id| id != former.organization_id) {
            return Err(Problem::field("organization_id", Code::InvalidField, "an organization keeps its id"));
        }
        Ok(Decision::changed(former, input.apply(&principal, snapshot, &plans, former.clone())?, moment))
    };
    let organization = asked.change(app, find, decide).await?;
    answer(app, &asked.principal, StatusCode::OK, &organization)
}

fn find(asked: &Addressed, snapshot: &Snapshot) -> FoundObject<Organization> {
    asked.principal.organization(snapshot, &asked.id).map(|it| Some(Arc::unwrap_or_clone(it)))
}

/// Hook0's clients decode the whole picture from writes too.
fn answer(app: &App, principal: &Principal, status: StatusCode, organization: &Organization) -> Answer {
    let shown = OrganizationInfo::of(organization, principal, &app.catalog().read(), &app.config().limits);
    object(status, organization, &shown)
}

// === impl OrganizationInput ===

impl OrganizationInput {
    fn read(body: Map<String, Value>, known: &[&str]) -> Result<Self, Problem> {
        let mut fields = Fields::new(body, "", known)?;
        Ok(Self {
            name: naming::name(&mut fields, ProblemId::OrganizationNameMissing)?,
            uid: naming::uid(&mut fields)?,
            organization: naming::given_id(&mut fields, "organization_id")?.map(OrganizationId),
            limits: limits::of_organization(&mut fields)?,
            plan: plan::read(&mut fields)?,
            source_topics: source_topics(&mut fields)?,
        })
    }

    fn apply(
        &self,
        principal: &Principal,
        snapshot: &Snapshot,
        plans: &BTreeMap<String, Limits>,
        former: Organization,
    ) -> Result<Organization, Problem> {
        let mut organization = plan::apply((&self.plan, self.limits), principal, plans, former)?;
        if let Some(name) = &self.name {
            organization.name.clone_from(name);
        }
        if let Some(uid) = &self.uid {
            if *uid != organization.uid {
                // Whether a uid is free would tell a tenant what others are called.
                principal.admin()?;
            }
            let holder = uid.as_deref().and_then(|uid| snapshot.organization_called(uid));
            if holder.is_some_and(|it| it.organization_id != organization.organization_id) {
                return Err(naming::taken("uid", "organization"));
            }
            organization.uid.clone_from(uid);
        }
        if let Some(topics) = &self.source_topics {
            if *topics != organization.source_topics {
                // A source is a way to read any topic that Hookbus may read.
                principal.admin()?;
            }
            organization.source_topics.clone_from(topics);
        }
        Ok(organization)
    }
}

/// Topics that its own tokens may name in sources; null takes all of them away.
fn source_topics(fields: &mut Fields) -> Result<Option<Vec<String>>, Problem> {
    let name = "source_topics";
    match fields.take(name) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(Vec::new())),
        Some(given) => {
            let given =
                serde_json::from_value(given).map_err(|_error| fields.wrong(name, "must be a list of strings"))?;
            source::allowed_patterns(name, given).map(Some)
        }
    }
}
