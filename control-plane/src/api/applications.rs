//! Applications: made by the operator, read and renamed by their own tokens too.

use std::sync::Arc;

use axum::extract::{Path, State};
use catalog::Snapshot;
use http::StatusCode;
use schemas::control::{Application, ControlKey, ControlObject, UnknownEventTypes};
use schemas::ids::{ApplicationId, OrganizationId};
use schemas::problem::{Code, ProblemId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{UNLIMITED, application_secrets, json, no_content, organizations};
use crate::auth::Principal;
use crate::body::{Fields, Json};
use crate::problem::{Answer, Problem, forbidden};
use crate::query::Query;
use crate::state::App;
use crate::store::{Change, Decision};

const FIELDS: &[&str] = &["organization_id", "name", "uid", "application_id", "unknown_event_types", "created_at"];
/// Characters of a name.
const NAME: std::ops::RangeInclusive<usize> = 2..=50;

/// A request's fields, checked. `None`: not given, keeps its value.
#[derive(Debug)]
struct Input {
    organization: Option<String>,
    name: Option<String>,
    uid: Option<Option<String>>,
    application: Option<ApplicationId>,
    unknown_event_types: Option<UnknownEventTypes>,
}

pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    let shown: Vec<Value> = {
        let snapshot = app.catalog().read();
        let organization = scope(&principal, &snapshot, query.get("organization_id"))?;
        let visible = snapshot.applications().filter(|it| organization.is_none_or(|id| it.organization_id == id));
        visible.filter(|it| sees(&principal, it)).map(|it| show(it)).collect()
    };
    json(StatusCode::OK, &shown)
}

pub(super) async fn read(State(app): State<Arc<App>>, principal: Principal, Path(id): Path<String>) -> Answer {
    let shown = {
        let snapshot = app.catalog().read();
        let application = principal.application(&snapshot, &id)?;
        let mut shown = show(&application);
        info(&mut shown, application.application_id, &snapshot);
        shown
    };
    json(StatusCode::OK, &shown)
}

pub(super) async fn create(State(app): State<Arc<App>>, principal: Principal, Json(body): Json) -> Answer {
    principal.admin()?;
    let input = Input::read(body)?;
    let name = input.name.clone().ok_or_else(|| Problem::new(ProblemId::ApplicationNameMissing, "name is required"))?;
    let id = input.application.unwrap_or_else(|| ApplicationId(Uuid::now_v7()));
    let vault = Arc::clone(app.catalog().vault());
    let decide = move |snapshot: &Snapshot, moment: crate::store::Moment| {
        let organization = input.organization(snapshot)?;
        let uid = input.uid.clone().flatten();
        if snapshot.application_by_id(id).is_some() {
            return Err(Problem::field("application_id", Code::InvalidField, "there is an application with this id"));
        }
        free_uid(snapshot, uid.as_deref(), id)?;
        let application = Application {
            application_id: id,
            organization_id: organization,
            name: name.clone(),
            created_ms: moment.now_ms,
            uid,
            unknown_event_types: input.unknown_event_types.unwrap_or_default(),
        };
        let (secret, _token) = application_secrets::new(&vault, id, Some("Default".to_owned()), moment.now_ms)?;
        let changes = vec![
            Change::Put(ControlObject::Application(application.clone())),
            Change::Put(ControlObject::ApplicationSecret(secret)),
        ];
        Ok(Decision { changes, answer: application })
    };
    let application = app.store().write(principal.actor(), decide).await?;
    json(StatusCode::CREATED, &show(&application))
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    principal: Principal,
    Path(id): Path<String>,
    Json(body): Json,
) -> Answer {
    principal.editor()?;
    let input = Input::read(body)?;
    let actor = principal.actor();
    let decide = move |snapshot: &Snapshot, _moment| {
        let former = principal.application(snapshot, &id)?;
        let organization = input.organization.as_ref().map(|_| input.organization(snapshot)).transpose()?;
        if organization.is_some_and(|it| it != former.organization_id) {
            let message = "an application stays in its organization";
            return Err(Problem::field("organization_id", Code::InvalidField, message));
        }
        let mut application = (*former).clone();
        if let Some(name) = &input.name {
            application.name.clone_from(name);
        }
        if let Some(uid) = &input.uid {
            free_uid(snapshot, uid.as_deref(), application.application_id)?;
            application.uid.clone_from(uid);
        }
        if let Some(unknown) = input.unknown_event_types {
            application.unknown_event_types = unknown;
        }
        if application == *former {
            return Ok(Decision::nothing(application));
        }
        Ok(Decision::put(ControlObject::Application(application.clone()), application))
    };
    let application = app.store().write(actor, decide).await?;
    json(StatusCode::OK, &show(&application))
}

/// Removes the application and everything in it, in one transaction.
pub(super) async fn delete(State(app): State<Arc<App>>, principal: Principal, Path(id): Path<String>) -> Answer {
    principal.editor()?;
    let actor = principal.actor();
    let decide = move |snapshot: &Snapshot, _moment| {
        let application = match principal.application(snapshot, &id) {
            Ok(application) => application,
            // Deleting what is not there (any more) has nothing left to do.
            Err(problem) if problem.status == 404 => return Ok(Decision::nothing(())),
            Err(problem) => return Err(problem),
        };
        let id = application.application_id;
        let secrets = snapshot.application_secrets(id).map(|it| ControlKey::ApplicationSecret(id, it.secret_id));
        let types = snapshot.event_types(id).map(|it| ControlKey::EventType(id, it.name.clone()));
        let subscriptions = snapshot.subscriptions(id).map(|it| ControlKey::Subscription(id, it.id()));
        let own = ControlKey::Application(application.organization_id, id);
        let keys = secrets.chain(types).chain(subscriptions).chain([own]);
        Ok(Decision { changes: keys.map(Change::Remove).collect(), answer: () })
    };
    app.store().write(actor, decide).await?;
    no_content()
}

// === impl Input ===

impl Input {
    fn read(body: serde_json::Map<String, Value>) -> Result<Self, Problem> {
        let mut fields = Fields::new(body, "", FIELDS)?;
        let name = fields.text("name", 0..=1_000)?.flatten().map(|name| name.trim().to_owned());
        if name.as_deref() == Some("") {
            return Err(Problem::new(ProblemId::ApplicationNameMissing, "the name is blank"));
        }
        if name.as_ref().is_some_and(|name| !NAME.contains(&name.chars().count())) {
            return Err(fields.wrong("name", format!("must have {} to {} characters", NAME.start(), NAME.end())));
        }
        let application = fields.text("application_id", 1..=50)?.flatten();
        let parse = |text: String| text.parse().map_err(|_bad| fields.wrong("application_id", "must be a UUID"));
        let application = application.map(parse).transpose()?;
        let unknown_event_types = match fields.text("unknown_event_types", 0..=20)?.flatten().as_deref() {
            None => None,
            Some("reject") => Some(UnknownEventTypes::Reject),
            Some("accept") => Some(UnknownEventTypes::Accept),
            Some("declare") => Some(UnknownEventTypes::Declare),
            Some(_other) => return Err(fields.wrong("unknown_event_types", "must be reject, accept or declare")),
        };
        Ok(Self {
            organization: fields.text("organization_id", 1..=200)?.flatten(),
            name,
            uid: fields.text("uid", 1..=128)?,
            application,
            unknown_event_types,
        })
    }

    /// The organization it names, or the only one there is.
    fn organization(&self, snapshot: &Snapshot) -> Result<OrganizationId, Problem> {
        match &self.organization {
            Some(given) => {
                let found = organizations::find(snapshot, given);
                found.map(|it| it.organization_id).map_err(|_absent| {
                    Problem::field("organization_id", Code::InvalidField, "there is no such organization")
                })
            }
            None => {
                let mut all = snapshot.organizations();
                match (all.next(), all.next()) {
                    (Some(only), None) => Ok(only.organization_id),
                    _none_or_many => Err(Problem::field("organization_id", Code::InvalidField, "is required")),
                }
            }
        }
    }
}

fn free_uid(snapshot: &Snapshot, uid: Option<&str>, id: ApplicationId) -> Result<(), Problem> {
    let Some(uid) = uid else { return Ok(()) };
    // A uid that reads as a UUID could hide another application's id.
    if Uuid::parse_str(uid).is_ok() {
        return Err(Problem::field("uid", Code::InvalidField, "must not be a UUID"));
    }
    // Records that come through a topic name their application by uid alone, so it is unique over the whole instance.
    let taken = snapshot.application(uid).is_some_and(|other| other.application_id != id);
    if taken { Err(Problem::field("uid", Code::InvalidField, "another application has it")) } else { Ok(()) }
}

fn sees(principal: &Principal, application: &Application) -> bool {
    match principal {
        Principal::Admin => true,
        Principal::Application(entry) => entry.application == application.application_id,
    }
}

/// The organization to list, if one is named. An application's token may only name its own.
fn scope(
    principal: &Principal,
    snapshot: &Snapshot,
    organization: Option<&str>,
) -> Result<Option<OrganizationId>, Problem> {
    let Some(given) = organization else { return Ok(None) };
    let found = organizations::find(snapshot, given);
    match principal {
        Principal::Admin => Ok(Some(found?.organization_id)),
        Principal::Application(entry) => {
            let own = snapshot.application_by_id(entry.application).map(|it| it.organization_id);
            let found = found.ok().map(|it| it.organization_id);
            if found.is_some() && found == own { Ok(found) } else { Err(forbidden()) }
        }
    }
}

fn show(application: &Application) -> Value {
    let mut shown = json!({
        "application_id": application.application_id,
        "organization_id": application.organization_id,
        "name": application.name,
        "unknown_event_types": application.unknown_event_types,
        "created_at": super::time(application.created_ms),
    });
    if let Some(uid) = &application.uid {
        shown["uid"] = json!(uid);
    }
    shown
}

fn info(shown: &mut Value, id: ApplicationId, snapshot: &Snapshot) {
    let any = |found: bool| if found { "Done" } else { "ToDo" };
    shown["quotas"] = json!({ "days_of_events_retention_limit": UNLIMITED, "events_per_day_limit": UNLIMITED });
    shown["consumption"] = json!({});
    shown["onboarding_steps"] = json!({
        "event_type": any(snapshot.event_types(id).next().is_some()),
        "subscription": any(snapshot.subscription_count(id) > 0),
        // Known to the delivery log, which is not built yet.
        "event": "ToDo",
    });
}
