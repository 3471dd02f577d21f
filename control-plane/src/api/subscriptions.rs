//! Subscriptions: who receives what.

use std::sync::Arc;

use axum::extract::{Path, State};
use catalog::Snapshot;
use http::StatusCode;
use schemas::control::{ControlKey, ControlObject, Subscription};
use schemas::ids::{ApplicationId, SubscriptionId};
use schemas::problem::{Code, ProblemId};
use serde_json::Value;
use uuid::Uuid;

use super::{json, no_content};
use crate::auth::Principal;
use crate::body::Json;
use crate::problem::{Answer, Problem};
use crate::query::Query;
use crate::state::App;
use crate::store::{Change, Decision, Moment};
use crate::subscription::{Facts, Input, show};

pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    // Taken out first: opening the secrets of thousands is not done under the lock.
    let found: Vec<Arc<catalog::Subscription>> = {
        let snapshot = app.catalog().read();
        let application = principal.application(&snapshot, query.required("application_id")?)?;
        snapshot.subscriptions(application.application_id).map(Arc::clone).collect()
    };
    let vault = app.catalog().vault();
    let shown: Vec<Value> = found.iter().map(|it| show(it.object(), vault)).collect::<Result<_, _>>()?;
    json(StatusCode::OK, &shown)
}

pub(super) async fn read(
    State(app): State<Arc<App>>,
    principal: Principal,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let found = principal.subscription(&app.catalog().read(), &id, query.get("application_id"))?;
    json(StatusCode::OK, &show(found.object(), app.catalog().vault())?)
}

pub(super) async fn create(State(app): State<Arc<App>>, principal: Principal, Json(body): Json) -> Answer {
    principal.editor()?;
    let input = Input::read(body, app.policy())?;
    let application = given_application(&principal, &input)?;
    let vault = Arc::clone(app.catalog().vault());
    let limit = app.config().max_subscriptions;
    let id = SubscriptionId(Uuid::now_v7());
    let actor = principal.actor();
    let decide = move |snapshot: &Snapshot, moment: Moment| {
        let application = principal.application(snapshot, &application)?.application_id;
        if snapshot.subscriptions_total() >= limit {
            let detail = format!("this instance holds at most {limit} subscriptions");
            let problem = Problem::new(ProblemId::TooManySubscriptionsPerApplication, detail);
            return Err(problem.with_code(Code::LimitReached));
        }
        free_uid(snapshot, application, input.uid(), id)?;
        declared(snapshot, application, &input, None)?;
        let facts = Facts { application, id, former: None, end: moment.end, now_ms: moment.now_ms, vault: &vault };
        let object = input.apply(facts)?;
        Ok(Decision::put(ControlObject::Subscription(Box::new(object.clone())), object))
    };
    let object = app.store().write(actor, decide).await?;
    json(StatusCode::CREATED, &show(&object, app.catalog().vault())?)
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    principal: Principal,
    Path(id): Path<String>,
    query: Query,
    Json(body): Json,
) -> Answer {
    let input = Input::read(body, app.policy())?;
    let application = input.application_id.clone().or_else(|| query.get("application_id").map(str::to_owned));
    let object = change(&app, principal, id, application, input).await?;
    json(StatusCode::OK, &show(&object, app.catalog().vault())?)
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    principal: Principal,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    principal.editor()?;
    let application = query.get("application_id").map(str::to_owned);
    let actor = principal.actor();
    let decide = move |snapshot: &Snapshot, _moment| {
        let found = match principal.subscription(snapshot, &id, application.as_deref()) {
            Ok(found) => found,
            Err(problem) if problem.status == 404 => return Ok(Decision::nothing(())),
            // Its own application's token may delete what is deleted already, and learns nothing by it.
            Err(_forbidden) if nobody_has(snapshot, &id) && names_own(&principal, snapshot, application.as_deref()) => {
                return Ok(Decision::nothing(()));
            }
            Err(problem) => return Err(problem),
        };
        let key = ControlKey::Subscription(found.application(), found.id());
        Ok(Decision { changes: vec![Change::Remove(key)], answer: () })
    };
    app.store().write(actor, decide).await?;
    no_content()
}

/// Parks deliveries instead of sending them: keeps what is queued, unlike disabling.
pub(super) async fn pause(
    State(app): State<Arc<App>>,
    principal: Principal,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    set_paused(&app, principal, id, query, true).await
}

pub(super) async fn resume(
    State(app): State<Arc<App>>,
    principal: Principal,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    set_paused(&app, principal, id, query, false).await
}

async fn set_paused(app: &Arc<App>, principal: Principal, id: String, query: Query, paused: bool) -> Answer {
    let application = query.get("application_id").map(str::to_owned);
    let object = change(app, principal, id, application, Input::paused(paused)).await?;
    json(StatusCode::OK, &show(&object, app.catalog().vault())?)
}

async fn change(
    app: &Arc<App>,
    principal: Principal,
    id: String,
    application: Option<String>,
    input: Input,
) -> Result<Subscription, Problem> {
    principal.editor()?;
    let vault = Arc::clone(app.catalog().vault());
    let actor = principal.actor();
    let decide = move |snapshot: &Snapshot, moment: Moment| {
        let found = principal.subscription(snapshot, &id, application.as_deref())?;
        let (application, former) = (found.application(), found.object());
        free_uid(snapshot, application, input.uid(), found.id())?;
        declared(snapshot, application, &input, Some(former))?;
        let (end, now_ms) = (moment.end, moment.now_ms);
        let facts = Facts { application, id: found.id(), former: Some(former), end, now_ms, vault: &vault };
        let object = input.apply(facts)?;
        if object == *former {
            return Ok(Decision::nothing(object));
        }
        Ok(Decision::put(ControlObject::Subscription(Box::new(object.clone())), object))
    };
    app.store().write(actor, decide).await
}

/// The application of a new subscription: named, or the token's own.
fn given_application(principal: &Principal, input: &Input) -> Result<String, Problem> {
    match (&input.application_id, principal) {
        (Some(given), _) => Ok(given.clone()),
        (None, Principal::Application(entry)) => Ok(entry.application.to_string()),
        (None, Principal::Admin) => Err(Problem::field("application_id", Code::InvalidField, "is required")),
    }
}

fn free_uid(
    snapshot: &Snapshot,
    application: ApplicationId,
    uid: Option<&str>,
    id: SubscriptionId,
) -> Result<(), Problem> {
    let Some(uid) = uid else { return Ok(()) };
    if Uuid::parse_str(uid).is_ok() {
        return Err(Problem::field("uid", Code::InvalidField, "must not be a UUID"));
    }
    let taken = snapshot.subscription_by_uid(application, uid).is_some_and(|other| other.id() != id);
    if taken { Err(Problem::field("uid", Code::InvalidField, "another subscription has it")) } else { Ok(()) }
}

/// An event type that is named exactly must be declared, unless it was named before (its declaration may be gone since).
fn declared(
    snapshot: &Snapshot,
    application: ApplicationId,
    input: &Input,
    former: Option<&Subscription>,
) -> Result<(), Problem> {
    let kept = |name: &str| former.is_some_and(|it| it.event_types.iter().any(|pattern| pattern.as_str() == name));
    let missing =
        input.exact_event_types().find(|name| !kept(name) && snapshot.event_type(application, name).is_none());
    missing.map_or(Ok(()), |name| {
        let detail = format!("event type `{name}` is not declared in this application");
        Err(Problem::new(ProblemId::EventTypeDoesNotExist, detail))
    })
}

fn nobody_has(snapshot: &Snapshot, id: &str) -> bool {
    Uuid::parse_str(id).is_ok_and(|id| snapshot.subscription(SubscriptionId(id)).is_none())
}

fn names_own(principal: &Principal, snapshot: &Snapshot, application: Option<&str>) -> bool {
    application.is_some_and(|given| principal.application(snapshot, given).is_ok())
}
