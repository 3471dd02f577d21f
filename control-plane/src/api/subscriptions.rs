//! Subscriptions: who receives what.

pub(super) mod actions;
pub(super) mod batch;
pub(super) mod health;
mod listing;
pub(super) mod retry_now;
pub(super) mod skip;

use std::sync::Arc;

use axum::extract::State;
use catalog::Snapshot;
use http::StatusCode;
use schemas::control::Subscription;
use schemas::ids::{ApplicationId, SubscriptionId};
use schemas::problem::{Code, ProblemId};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::addressed::Addressed;
use super::{naming, object, object_unless_known};
use crate::auth::Principal;
use crate::body::Json;
use crate::etag::Preconditions;
use crate::limits;
use crate::problem::{Answer, Problem};
use crate::query::Query;
use crate::state::App;
use crate::store::{Decision, Moment};
use crate::subscription::{Facts, Input, PatchInput, Sees, SubscriptionShown, View, show};

/// List an application's subscriptions
///
/// Oldest first. The optional parameters leave out what does not fit. A request looks at a bounded number of subscriptions: with
/// `limit`, a page may have few rows, or none, while `Link` names a next one; without it, more than that is a 422.
#[utoipa::path(
    get, path = "/api/v1/subscriptions", operation_id = "subscriptions.list", tag = "subscriptions",
    params(
        ("application_id" = String, Query, description = "Id or uid"),
        ("event_type" = Option<String>, Query, description = "Only those whose event types fit this one", nullable = false),
        ("label_key" = Option<String>, Query, description = "Only those with this label", nullable = false),
        ("label_value" = Option<String>, Query, description = "Only those whose label has this value", nullable = false),
        ("is_enabled" = Option<bool>, Query, description = "Only those that are, or are not", nullable = false),
        ("disabled_reason" = Option<String>, Query, description = "Only those that were disabled for it", nullable = false),
        ("uid" = Option<String>, Query, description = "Only the one with this uid", nullable = false),
        ("host" = Option<String>, Query, description = "Only those whose target is on this host", nullable = false),
    ),
    responses((status = 200, description = "The subscriptions", body = Vec<SubscriptionShown>)),
)]
pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    let organization = principal.who.organization(&app.catalog().read());
    let turn = app.turns().lists.take(organization).await?;
    let found = listing::find(&app, &principal, &query).await?;
    listing::answer(app, turn, found, sees(&principal), &query)
}

/// Read a subscription
#[utoipa::path(
    get, path = "/api/v1/subscriptions/{subscription_id}", operation_id = "subscriptions.get", tag = "subscriptions",
    params(
        ("subscription_id" = String, Path, description = "Id, or uid inside the application"),
        ("application_id" = Option<String>, Query, description = "Where a uid belongs to", nullable = false),
    ),
    responses((status = 200, description = "The subscription", body = SubscriptionShown)),
)]
pub(super) async fn get(State(app): State<Arc<App>>, asked: Addressed, query: Query) -> Answer {
    let Addressed { principal, preconditions, id, .. } = asked;
    let stored = principal.subscription(&app.catalog().read(), &id, query.get("application_id"))?.object();
    object_unless_known(&preconditions, &stored, &show(&stored, view(&app, sees(&principal)))?)
}

/// Make a subscription
///
/// It matches every event that is accepted after the answer.
#[utoipa::path(
    post, path = "/api/v1/subscriptions", operation_id = "subscriptions.create", tag = "subscriptions",
    request_body(content = ref("#/components/schemas/SubscriptionPost"), content_type = "application/json"),
    responses(
        (status = 201, description = "The subscription", body = SubscriptionShown),
        (status = 400, description = "EventTypeDoesNotExist: or `LabelsAmbiguity`"),
        (status = 429, description = "TooManySubscriptionsPerApplication: the application's limit is reached"),
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
    let rule = creating(&app, &principal, body)?;
    let made = app.store().write(principal.actor(), rule).await?;
    object(StatusCode::CREATED, &made, &show(&made, view(&app, Sees::Secrets))?)
}

/// The rule that makes a subscription.
fn creating(
    app: &App,
    principal: &Principal,
    body: Map<String, Value>,
) -> Result<impl FnMut(&Snapshot, Moment) -> Result<Decision<Subscription>, Problem> + Send + use<>, Problem> {
    let input = Input::read(body, app.policy())?;
    principal.may_give_id("subscription_id", input.subscription_id.is_some())?;
    let application = given_application(principal, &input)?;
    let vault = Arc::clone(app.catalog().vault());
    let (total, instance) = (app.config().max_subscriptions, app.config().limits);
    let id = input.subscription_id.unwrap_or_else(|| SubscriptionId(Uuid::now_v7()));
    let principal = principal.clone();
    Ok(move |snapshot: &Snapshot, moment: Moment| {
        let application = principal.application(snapshot, &application)?;
        if snapshot.has_subscription(id) {
            return Err(naming::taken("subscription_id", "subscription"));
        }
        room(snapshot, total)?;
        limits::subscription(snapshot, &application, &instance)?;
        let application = application.application_id;
        free_uid(snapshot, application, input.uid(), id)?;
        declared(snapshot, application, &input, None)?;
        let facts = Facts { application, id, former: None, end: moment.end, now_ms: moment.now_ms, vault: &vault };
        let made = input.apply(facts)?;
        Ok(Decision::made(made))
    })
}

/// Change a subscription
///
/// What is left out keeps its value, null clears it. What comes back can be sent as it is: masked values and what only
/// Hookbus sets are left alone.
///
/// Stored secrets do not follow a changed target: if the scheme, host or port of `target.url` changes, each secret that would
/// be kept (of `auth`, and secret header values) must be given again or removed; a 422 names them. Signing secrets stay.
#[utoipa::path(
    put, path = "/api/v1/subscriptions/{subscription_id}", operation_id = "subscriptions.update", tag = "subscriptions",
    params(
        ("subscription_id" = String, Path, description = "Id, or uid inside the application"),
        ("application_id" = Option<String>, Query, description = "Where a uid belongs to", nullable = false),
    ),
    request_body(content = ref("#/components/schemas/SubscriptionPut"), content_type = "application/json"),
    responses(
        (status = 200, description = "The subscription as it is now", body = SubscriptionShown),
        (status = 400, description = "EventTypeDoesNotExist: or `LabelsAmbiguity`"),
    ),
)]
pub(super) async fn update(State(app): State<Arc<App>>, asked: Addressed, query: Query, Json(body): Json) -> Answer {
    asked.principal.editor()?;
    let input = Input::read(body, app.policy())?;
    let application = input.application_id.clone().or_else(|| query.get("application_id").map(str::to_owned));
    change(&app, asked, application, move |snapshot, facts| apply(&input, snapshot, facts)).await
}

/// Change parts of a subscription
///
/// A JSON merge patch: objects are merged, null clears. An `auth` of another type takes the place of the former one.
/// As with `PUT`, stored secrets do not follow a target with another scheme, host or port.
#[utoipa::path(
    patch, path = "/api/v1/subscriptions/{subscription_id}", operation_id = "subscriptions.patch", tag = "subscriptions",
    params(
        ("subscription_id" = String, Path, description = "Id, or uid inside the application"),
        ("application_id" = Option<String>, Query, description = "Where a uid belongs to", nullable = false),
    ),
    request_body(content = ref("#/components/schemas/SubscriptionPatch"), content_type = "application/json"),
    responses(
        (status = 200, description = "The subscription as it is now", body = SubscriptionShown),
        (status = 400, description = "EventTypeDoesNotExist: or `LabelsAmbiguity`"),
    ),
)]
pub(super) async fn patch(State(app): State<Arc<App>>, asked: Addressed, query: Query, Json(patch): Json) -> Answer {
    asked.principal.editor()?;
    let named = patch.get("application_id").and_then(Value::as_str);
    let application = named.or_else(|| query.get("application_id")).map(str::to_owned);
    let patch = PatchInput::read(patch, app.policy())?;
    let input = move |snapshot: &Snapshot, facts: Facts<'_>| {
        let Some(former) = facts.former else { return Err(crate::problem::not_found("subscription")) };
        let view = View { vault: facts.vault, now_ms: facts.now_ms, sees: Sees::Secrets };
        let input = patch.over(former, view)?;
        apply(&input, snapshot, facts)
    };
    change(&app, asked, application, input).await
}

/// Delete a subscription
///
/// What is queued for it is cancelled. Deleting what is gone already is a 204 too.
#[utoipa::path(
    delete, path = "/api/v1/subscriptions/{subscription_id}", operation_id = "subscriptions.delete", tag = "subscriptions",
    params(
        ("subscription_id" = String, Path, description = "Id, or uid inside the application"),
        ("application_id" = Option<String>, Query, description = "Its application", nullable = false),
    ),
    responses((status = 204, description = "It is gone")),
)]
pub(super) async fn delete(State(app): State<Arc<App>>, asked: Addressed, query: Query) -> Answer {
    asked.principal.editor()?;
    let application = query.get("application_id").map(str::to_owned);
    if application.is_none() && asked.principal.own_application().is_none() && Uuid::parse_str(&asked.id).is_err() {
        // "It is gone" would be said of a uid whatever it stands for.
        return Err(Problem::field("application_id", Code::InvalidField, "is required with a uid"));
    }
    let find = move |asked: &Addressed, snapshot: &Snapshot| {
        let (principal, application) = (&asked.principal, application.as_deref());
        match principal.subscription(snapshot, &asked.id, application) {
            Ok(found) => Ok(Some(found.object())),
            Err(problem) if problem.status == 404 => Ok(None),
            // Its own application's token may delete what is deleted already. Whether another has what is not there is not told.
            Err(_forbidden) if Uuid::parse_str(&asked.id).is_ok() && names_own(principal, snapshot, application) => {
                Ok(None)
            }
            Err(problem) => Err(problem),
        }
    };
    asked.delete(&app, find).await
}

/// Changes one subscription and shows it.
async fn change<F>(app: &App, asked: Addressed, application: Option<String>, make: F) -> Answer
where
    F: Fn(&Snapshot, Facts<'_>) -> Result<Subscription, Problem> + Send + 'static,
{
    asked.principal.editor()?;
    let vault = Arc::clone(app.catalog().vault());
    let find = move |asked: &Addressed, snapshot: &Snapshot| {
        let found = asked.principal.subscription(snapshot, &asked.id, application.as_deref())?;
        Ok(Some(found.object()))
    };
    let decide = move |snapshot: &Snapshot, former: &Subscription, moment: Moment| {
        let facts = Facts {
            application: former.application_id,
            id: former.subscription_id,
            former: Some(former),
            end: moment.end,
            now_ms: moment.now_ms,
            vault: &vault,
        };
        let decision = Decision::changed(former, make(snapshot, facts)?, moment);
        // Which secrets of before a rotation go on is shown as of now.
        Ok(decision.answering(|changed| (changed, moment.now_ms)))
    };
    let (changed, now_ms) = asked.change(app, find, decide).await?;
    object(StatusCode::OK, &changed, &show(&changed, View { now_ms, ..view(app, Sees::Secrets) })?)
}

/// A `PUT` or `PATCH` over what is there.
fn apply(input: &Input, snapshot: &Snapshot, facts: Facts<'_>) -> Result<Subscription, Problem> {
    free_uid(snapshot, facts.application, input.uid(), facts.id)?;
    declared(snapshot, facts.application, input, facts.former)?;
    input.apply(facts)
}

fn view(app: &App, sees: Sees) -> View<'_> {
    View { vault: app.catalog().vault(), now_ms: chassis::clock::now_ms(), sees }
}

fn sees(principal: &Principal) -> Sees {
    if principal.is_editor() { Sees::Secrets } else { Sees::NoSecrets }
}

/// The application of a new subscription: named, or the token's own.
fn given_application(principal: &Principal, input: &Input) -> Result<String, Problem> {
    let own = || principal.own_application().map(|id| id.to_string());
    let named = input.application_id.clone().or_else(own);
    named.ok_or_else(|| Problem::field("application_id", Code::InvalidField, "is required"))
}

/// The instance holds so many in memory.
fn room(snapshot: &Snapshot, limit: usize) -> Result<(), Problem> {
    if snapshot.subscriptions_total() < limit {
        return Ok(());
    }
    let detail = format!("this instance holds at most {limit} subscriptions");
    Err(Problem::new(ProblemId::TooManySubscriptionsPerApplication, detail).with_code(Code::LimitReached))
}

fn free_uid(
    snapshot: &Snapshot,
    application: ApplicationId,
    uid: Option<&str>,
    id: SubscriptionId,
) -> Result<(), Problem> {
    let Some(uid) = uid else { return Ok(()) };
    let taken = snapshot.subscription_by_uid(application, uid).is_some_and(|other| other.id() != id);
    if taken { Err(naming::taken("uid", "subscription")) } else { Ok(()) }
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
        input.exact_event_types().find(|name| snapshot.event_type(application, name).is_none() && !kept(name));
    missing.map_or(Ok(()), |name| {
        let detail = format!("event type `{name}` is not declared in this application");
        Err(Problem::new(ProblemId::EventTypeDoesNotExist, detail))
    })
}

fn names_own(principal: &Principal, snapshot: &Snapshot, application: Option<&str>) -> bool {
    application.is_some_and(|given| principal.application(snapshot, given).is_ok())
}
