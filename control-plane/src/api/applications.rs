//! Applications: made by who may change their organization, read and changed by their own tokens too.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use catalog::Snapshot;
use http::StatusCode;
use schemas::control::{Application, ControlObject, Organization, RetiredApplication};
use schemas::ids::{ApplicationId, OrganizationId};
use schemas::problem::{Code, ProblemId};
use serde_json::{Map, Value};
use uuid::Uuid;

use self::shapes::{ApplicationInfo, ApplicationPatch, ApplicationPost, ApplicationShown, UnknownEventTypes};
use super::addressed::{Addressed, FoundObject};
use super::{application_secrets, naming, object, object_unless_known, onboarding, rows};
use crate::auth::Principal;
use crate::body::{self, Fields, Json};
use crate::etag::Preconditions;
use crate::limits;
use crate::page::Page;
use crate::problem::{Answer, Problem};
use crate::query::Query;
use crate::state::App;
use crate::store::{Change, Decision, Moment};

mod shapes;

pub(super) use self::shapes::OnboardingStep;

/// Fields of a body.
pub(super) const FIELDS: &[&str] = &[
    "organization_id",
    "name",
    "uid",
    "application_id",
    "unknown_event_types",
    "limits",
    "log_retention_days",
    "dedup_window_ms",
];
/// Longest time that an application may ask its part of the delivery log to be kept; longer than the log itself none is.
const MAX_RETENTION_DAYS: u64 = 3_650;
/// The longest window that an installation may have: 720 hours.
const MAX_DEDUP_WINDOW_MS: u64 = 2_592_000_000;
/// What is shown beside them; sent back, it is not looked at.
const SHOWN: &[&str] = &["created_at", "updated_at", "quotas", "consumption", "onboarding_steps"];

/// A request's fields, checked. `None`: not given, keeps its value.
#[derive(Clone, Debug)]
struct ApplicationInput {
    organization: Option<String>,
    name: Option<String>,
    uid: Option<Option<String>>,
    application: Option<ApplicationId>,
    unknown_event_types: Option<schemas::control::UnknownEventTypes>,
    limits: limits::Given,
    /// Days; `Some(None)` takes them away.
    log_retention: Option<Option<u16>>,
    /// Milliseconds; `Some(None)` is the installation's.
    dedup_window: Option<Option<u32>>,
}

/// List applications
#[utoipa::path(
    get, path = "/api/v1/applications", operation_id = "applications.list", tag = "applications",
    params(
        ("organization_id" = Option<String>, Query, description = "Id or uid; without it all that the token sees",
            min_length = 1, nullable = false),
        ("uid" = Option<String>, Query, description = "Only the one with this uid", nullable = false),
        ("name" = Option<String>, Query, description = "Only those whose name has this in it, whatever its case",
            nullable = false),
    ),
    responses((status = 200, description = "What the token sees", body = Vec<ApplicationShown>)),
)]
pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    let page = Page::of(&query)?;
    let after = page.after_id()?.map(ApplicationId);
    let (uid, name) = (query.get("uid"), query.get("name").map(str::to_lowercase));
    let fits = |it: &&Arc<Application>| {
        let named = |name: &String| it.name.to_lowercase().contains(name.as_str());
        principal.sees(it) && uid.is_none_or(|uid| it.uid.as_deref() == Some(uid)) && name.as_ref().is_none_or(named)
    };
    let found = {
        let snapshot = app.catalog().read();
        // An application's token sees its own alone, and how many there are beside it is nothing to wait for.
        let own = principal.own_application().map(|id| snapshot.application_by_id(id).into_iter());
        let own = own.map(|own| own.filter(|it| after.is_none_or(|after| it.application_id > after)));
        let given = query.get("organization_id").map(|given| scope(&principal, &snapshot, given)).transpose()?;
        let organization = given.or_else(|| principal.own_organization());
        let is_own = own.is_some();
        let all = (organization.is_none() && !is_own).then(|| snapshot.applications_after(after));
        let of_one = organization.filter(|_| !is_own).map(|id| snapshot.applications_of_after(id, after));
        let asked = all.into_iter().flatten().chain(of_one.into_iter().flatten()).chain(own.into_iter().flatten());
        page.cut(asked.filter(fits).cloned(), |it| it.application_id.to_string())?
    };
    rows(&query, &found.map(|it| ApplicationShown::of(&it)))
}

/// Read an application
///
/// The entity tag stands for what was written; `quotas`, `consumption` and `onboarding_steps` are worked out on reading.
#[utoipa::path(
    get, path = "/api/v1/applications/{application_id}", operation_id = "applications.get", tag = "applications",
    params(("application_id" = String, Path, description = "Id or uid")),
    responses((status = 200, description = "The application", body = ApplicationInfo)),
)]
pub(super) async fn get(State(app): State<Arc<App>>, asked: Addressed) -> Answer {
    let (application, shown) = {
        let snapshot = app.catalog().read();
        let application = asked.principal.application(&snapshot, &asked.id)?;
        let shown = ApplicationInfo::of(&application, &snapshot, &app.config().limits);
        (application, shown)
    };
    let event = onboarding::event(&app, &asked.principal, vec![application.application_id]).await;
    object_unless_known(&asked.preconditions, &*application, &shown.with_event(event))
}

/// Make an application
///
/// With a secret named `Default`, which ends when the token ends that made it.
#[utoipa::path(
    post, path = "/api/v1/applications", operation_id = "applications.create", tag = "applications",
    request_body(content = ApplicationPost),
    responses(
        (status = 201, description = "The application", body = ApplicationShown),
        (status = 429, description = "TooManyApplicationsPerOrganization: the organization's limit is reached"),
    ),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    principal: Principal,
    preconditions: Preconditions,
    Json(body): Json,
) -> Answer {
    principal.editor()?;
    preconditions.check_absent()?;
    let input = ApplicationInput::read(body, FIELDS)?;
    input.check_window(app.config().dedup_window)?;
    let name = input.name.clone().ok_or_else(|| Problem::new(ProblemId::ApplicationNameMissing, "name is required"))?;
    principal.may_give_id("application_id", input.application.is_some())?;
    let id = input.application.unwrap_or_else(|| ApplicationId(Uuid::now_v7()));
    let vault = Arc::clone(app.catalog().vault());
    let (instance, first) = (app.config().limits, app.config().organization_id);
    let actor = principal.actor();
    let decide = move |snapshot: &Snapshot, moment: Moment| {
        let organization = input.organization(&principal, snapshot, first)?;
        free_id(snapshot, id, organization.organization_id)?;
        limits::application(snapshot, &organization, &instance)?;
        let new = Application::new(id, organization.organization_id, name.clone(), moment.now_ms);
        let application = input.apply(&principal, snapshot, new)?;
        let life = (moment.now_ms, principal.end(snapshot));
        let (secret, _token) = application_secrets::new(&vault, id, Some("Default".to_owned()), life)?;
        let changes = vec![
            Change::Put(ControlObject::Application(application.clone())),
            Change::Put(ControlObject::ApplicationSecret(secret)),
        ];
        Ok(Decision::of(changes, application))
    };
    let application = app.store().write(actor, decide).await?;
    object(StatusCode::CREATED, &application, &ApplicationShown::of(&application))
}

/// Change an application
///
/// What is not given keeps its value; `uid: null` takes the uid away.
#[utoipa::path(
    put, path = "/api/v1/applications/{application_id}", operation_id = "applications.update", tag = "applications",
    params(("application_id" = String, Path, description = "Id or uid")),
    request_body(content = ApplicationPatch),
    responses((status = 200, description = "The application as it is now", body = ApplicationShown)),
)]
pub(super) async fn update(State(app): State<Arc<App>>, asked: Addressed, Json(body): Json) -> Answer {
    let input = ApplicationInput::read(body, &[FIELDS, SHOWN].concat())?;
    change(&app, asked, move |_former| Ok(input.clone())).await
}

/// Change parts of an application
///
/// A JSON merge patch: in `limits` too, what is not named stays.
#[utoipa::path(
    patch, path = "/api/v1/applications/{application_id}", operation_id = "applications.patch", tag = "applications",
    params(("application_id" = String, Path, description = "Id or uid")),
    request_body(content = ApplicationPatch),
    responses((status = 200, description = "The application as it is now", body = ApplicationShown)),
)]
pub(super) async fn patch(State(app): State<Arc<App>>, asked: Addressed, Json(patch): Json) -> Answer {
    // What is wrong by itself is told before anything is compared.
    ApplicationInput::read(body::merge(patch.clone(), &Value::Null), FIELDS)?;
    change(&app, asked, move |former| ApplicationInput::read(limits::merged(patch.clone(), former.limits), FIELDS))
        .await
}

/// Delete an application and everything in it
///
/// At once nothing in it is found, nothing is delivered and none of its tokens opens anything; what is queued for its
/// subscriptions is cancelled. Its id is never another organization's again. Deleting what is gone already is a 204 too.
#[utoipa::path(
    delete, path = "/api/v1/applications/{application_id}", operation_id = "applications.delete", tag = "applications",
    params(("application_id" = String, Path, description = "Id or uid")),
    responses((status = 204, description = "It is gone")),
)]
pub(super) async fn delete(State(app): State<Arc<App>>, asked: Addressed) -> Answer {
    asked.principal.editor()?;
    let if_there = |asked: &Addressed, snapshot: &Snapshot| match find(asked, snapshot) {
        Err(problem) if problem.status == 404 => Ok(None),
        found => found,
    };
    // What is in it cannot be found any more, and follows bit by bit: `sweep`.
    let retire = |_: &Snapshot, application: &Application, moment: Moment| {
        Ok(vec![Change::Put(ControlObject::RetiredApplication(RetiredApplication {
            application_id: application.application_id,
            organization_id: application.organization_id,
            retired_ms: moment.now_ms,
        }))])
    };
    asked.delete_with(&app, if_there, retire).await
}

/// One change for `PUT` and `PATCH`: `input` says what is given, looking at the former object.
async fn change(
    app: &App,
    asked: Addressed,
    input: impl Fn(&Application) -> Result<ApplicationInput, Problem> + Send + 'static,
) -> Answer {
    asked.principal.editor()?;
    let principal = asked.principal.clone();
    let longest = app.config().dedup_window;
    let decide = move |snapshot: &Snapshot, former: &Application, moment: Moment| {
        let input = input(former)?;
        input.stays(former, snapshot)?;
        input.check_window(longest)?;
        Ok(Decision::changed(former, input.apply(&principal, snapshot, former.clone())?, moment))
    };
    let application = asked.change(app, find, decide).await?;
    object(StatusCode::OK, &application, &ApplicationShown::of(&application))
}

fn find(asked: &Addressed, snapshot: &Snapshot) -> FoundObject<Application> {
    asked.principal.application(snapshot, &asked.id).map(|it| Some(Arc::unwrap_or_clone(it)))
}

// === impl ApplicationInput ===

impl ApplicationInput {
    fn read(body: Map<String, Value>, known: &[&str]) -> Result<Self, Problem> {
        let mut fields = Fields::new(body, "", known)?;
        let unknown_event_types = match fields.kept_text("unknown_event_types", 0..=20)? {
            None => None,
            Some(word) => {
                let found = UnknownEventTypes::parse(&word);
                Some(found.ok_or_else(|| fields.wrong("unknown_event_types", "must be reject, accept or declare"))?)
            }
        };
        Ok(Self {
            organization: fields.kept_text("organization_id", 1..=200)?,
            name: naming::name(&mut fields, ProblemId::ApplicationNameMissing)?,
            uid: naming::uid(&mut fields)?,
            application: naming::given_id(&mut fields, "application_id")?.map(ApplicationId),
            unknown_event_types,
            limits: limits::of_application(&mut fields)?,
            log_retention: fields
                .number("log_retention_days", 1..=MAX_RETENTION_DAYS)?
                .map(|given| given.and_then(|days| u16::try_from(days).ok())),
            dedup_window: fields
                .number("dedup_window_ms", 0..=MAX_DEDUP_WINDOW_MS)?
                .map(|given| given.and_then(|ms| u32::try_from(ms).ok())),
        })
    }

    /// The organization of a new application: named, the token's own, or the one that is there from the start.
    fn organization(
        &self,
        principal: &Principal,
        snapshot: &Snapshot,
        first: OrganizationId,
    ) -> Result<Arc<Organization>, Problem> {
        match &self.organization {
            Some(named) => principal.organization(snapshot, named),
            None => principal.organization(snapshot, &principal.own_organization().unwrap_or(first).to_string()),
        }
    }

    /// An application keeps its id and its organization.
    fn stays(&self, former: &Application, snapshot: &Snapshot) -> Result<(), Problem> {
        let organization = snapshot.organization(former.organization_id);
        let uid = organization.and_then(|it| it.uid.as_deref());
        let same = |given: &String| *given == former.organization_id.to_string() || Some(given.as_str()) == uid;
        if !self.organization.as_ref().is_none_or(same) {
            let message = "an application stays in its organization";
            return Err(Problem::field("organization_id", Code::InvalidField, message));
        }
        if self.application.is_some_and(|id| id != former.application_id) {
            return Err(Problem::field("application_id", Code::InvalidField, "an application keeps its id"));
        }
        Ok(())
    }

    /// Nobody is remembered for longer than the installation remembers.
    fn check_window(&self, longest: Duration) -> Result<(), Problem> {
        let Some(Some(given)) = self.dedup_window else { return Ok(()) };
        if u128::from(given) <= longest.as_millis() {
            return Ok(());
        }
        let longest = longest.as_millis();
        let message = format!("must be at most {longest}: fanout.dedup_window_hours is the longest window there is");
        Err(Problem::field("dedup_window_ms", Code::InvalidField, message))
    }

    fn apply(&self, principal: &Principal, snapshot: &Snapshot, former: Application) -> Result<Application, Problem> {
        limits::may_set(principal, self.limits, former.limits)?;
        let mut application = former;
        if let Some(name) = &self.name {
            application.name.clone_from(name);
        }
        if let Some(uid) = &self.uid {
            free_uid(snapshot, uid.as_deref(), &application)?;
            application.uid.clone_from(uid);
        }
        if let Some(unknown) = self.unknown_event_types {
            application.unknown_event_types = unknown;
        }
        if let Some(limits) = self.limits {
            application.limits = limits;
        }
        if let Some(days) = self.log_retention {
            application.log_retention_days = days;
        }
        if let Some(window) = self.dedup_window {
            application.dedup_window_ms = window;
        }
        Ok(application)
    }
}

/// An id is one application's, and after it nobody's but its organization's: records on Kafka may still name it.
fn free_id(snapshot: &Snapshot, id: ApplicationId, organization: OrganizationId) -> Result<(), Problem> {
    if snapshot.application_by_id(id).is_some() {
        return Err(naming::taken("application_id", "application"));
    }
    if snapshot.retired_application(id).is_some_and(|it| it.organization_id != organization) {
        let message = "an application of another organization had it, and what names it may still be on its way";
        return Err(Problem::field("application_id", Code::Taken, message).with_status(409));
    }
    if snapshot.is_orphaned(id) {
        let message = "the application that had it is still being removed: try again in a while";
        return Err(Problem::field("application_id", Code::Taken, message).with_status(409));
    }
    Ok(())
}

/// A uid is unique in its organization.
fn free_uid(snapshot: &Snapshot, uid: Option<&str>, application: &Application) -> Result<(), Problem> {
    let Some(uid) = uid else { return Ok(()) };
    let holder = snapshot.application_in(application.organization_id, uid);
    if holder.is_some_and(|it| it.application_id != application.application_id) {
        Err(naming::taken("uid", "application"))
    } else {
        Ok(())
    }
}

/// The organization that a list is about: one the token sees, or that of the token's application.
fn scope(principal: &Principal, snapshot: &Snapshot, given: &str) -> Result<OrganizationId, Problem> {
    let own = principal.own_application().and_then(|id| snapshot.application_by_id(id)).map(|it| it.organization_id);
    let uid = own.and_then(|id| snapshot.organization(id)).and_then(|it| it.uid.as_deref());
    match own {
        Some(own) if own.to_string() == given || uid == Some(given) => Ok(own),
        Some(_) | None => principal.organization(snapshot, given).map(|it| it.organization_id),
    }
}
