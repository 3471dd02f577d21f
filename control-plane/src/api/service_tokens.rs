//! Service tokens: tokens of an organization, open all its applications. Shown in full once, when they are made; they are found
//! by their keyed hash.

mod shapes;

use std::sync::Arc;

use axum::extract::State;
use catalog::Snapshot;
use http::StatusCode;
use schemas::control::{ControlKey, ServiceToken};
use schemas::ids::ServiceTokenId;
use serde_json::{Map, Value};
use uuid::Uuid;

use self::shapes::{Post, Put, Rotation, Shown, fresh, masked};
use super::addressed::{Addressed, FoundObject, there};
use super::{naming, object, object_unless_known, rows};
use crate::auth::{Principal, Who};
use crate::body::{Fields, Json};
use crate::etag::Preconditions;
use crate::page::Page;
use crate::problem::{self, Answer, Problem};
use crate::query::Query;
use crate::state::App;
use crate::store::{Decision, Moment};
use crate::token::{self, GivenToken};

const FIELDS: &[&str] = &["organization_id", "name", "role", "expires_at", "token", "token_id"];
/// What may be changed, and what is shown beside it: sent back, it changes nothing.
const UPDATABLE: &[&str] =
    &["organization_id", "name", "role", "expires_at", "biscuit", "token_id", "created_at", "last_used_at"];
const ROTATION: &[&str] = &["organization_id", "overlap_ms"];

/// List the tokens of an organization
///
/// Oldest first, masked.
#[utoipa::path(
    get, path = "/api/v1/service_token", operation_id = "serviceToken.list", tag = "service_tokens",
    params(("organization_id" = String, Query, description = "Id or uid", max_length = 200)),
    responses((status = 200, description = "The tokens", body = Vec<Shown>)),
)]
pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    inside(&principal)?;
    let page = Page::of(&query)?;
    let after = page.after_id()?.map(ServiceTokenId);
    let found = {
        let snapshot = app.catalog().read();
        let organization = principal.organization(&snapshot, query.required("organization_id")?)?;
        let tokens = snapshot.service_tokens(organization.organization_id);
        let left = tokens.filter(|it| after.is_none_or(|after| it.token_id > after));
        page.cut(left.cloned(), |it| it.token_id.to_string())?
    };
    rows(&query, &found.map(|it| masked(&it, app.catalog(), &principal)).transpose()?)
}

/// Read a token
///
/// Masked.
#[utoipa::path(
    get, path = "/api/v1/service_token/{id}", operation_id = "serviceToken.get", tag = "service_tokens",
    params(("id" = String, Path, description = "The `token_id`"),
        ("organization_id" = String, Query, description = "Id or uid", max_length = 200)),
    responses((status = 200, description = "The token", body = Shown)),
)]
pub(super) async fn get(State(app): State<Arc<App>>, asked: Addressed, query: Query) -> Answer {
    inside(&asked.principal)?;
    let find = of_organization(query.required("organization_id")?.to_owned());
    let found = there(find(&asked, &app.catalog().read())?)?;
    object_unless_known(&asked.preconditions, &found, &masked(&found, app.catalog(), &asked.principal)?)
}

/// Make a token
///
/// The only answer that has it in full. `token` takes over what another system has made.
#[utoipa::path(
    post, path = "/api/v1/service_token", operation_id = "serviceToken.create", tag = "service_tokens",
    request_body = Post,
    responses((status = 201, description = "The token, in full", body = Shown)),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    principal: Principal,
    preconditions: Preconditions,
    Json(body): Json,
) -> Answer {
    editor(&principal)?;
    preconditions.check_absent()?;
    let mut fields = Fields::new(body, "", FIELDS)?;
    let organization = token::owner(&mut fields, "organization_id", principal.own_organization())?;
    let name = fields.required_text("name", token::NAME)?;
    let given = GivenToken::read(&mut fields)?;
    let text = match token::given_text(&mut fields)? {
        Some(text) => text,
        None => token::new_service_token()?,
    };
    let given_id = naming::given_id(&mut fields, "token_id")?;
    principal.may_give_id("token_id", given_id.is_some())?;
    let id = ServiceTokenId(given_id.unwrap_or_else(Uuid::now_v7));
    let (vault, admin, actor) = (Arc::clone(app.catalog().vault()), Arc::clone(app.admin()), principal.actor());
    let asking = principal.clone();
    let decide = move |snapshot: &Snapshot, moment: Moment| {
        let organization = principal.organization(snapshot, &organization)?.organization_id;
        token::room(snapshot.service_token_count(organization))?;
        if snapshot.service_token(id).is_some() {
            return Err(naming::taken("token_id", "service token"));
        }
        let own_end = principal.end(snapshot);
        let minted = token::mint(&vault, &ControlKey::ServiceToken(organization, id), &text)?;
        token::free(snapshot, &admin, &minted.lookup)?;
        let token = ServiceToken {
            token_id: id,
            organization_id: organization,
            name: name.clone(),
            role: given.role.unwrap_or_default(),
            lookup: minted.lookup.to_string(),
            token: minted.sealed,
            created_ms: moment.now_ms,
            expires_ms: token::earlier(given.expiry_within(None, own_end)?, own_end),
        };
        Ok(Decision::made(token))
    };
    let token = app.store().write(actor, decide).await?;
    object(StatusCode::CREATED, &token, &fresh(&token, app.catalog(), &asking)?)
}

/// Change a token
///
/// Its name, its role, its end. Its text stays; what is not given keeps its value.
#[utoipa::path(
    put, path = "/api/v1/service_token/{id}", operation_id = "serviceToken.edit", tag = "service_tokens",
    params(("id" = String, Path, description = "The `token_id`")),
    request_body = Put,
    responses((status = 200, description = "The token", body = Shown)),
)]
pub(super) async fn update(State(app): State<Arc<App>>, asked: Addressed, Json(body): Json) -> Answer {
    change(&app, asked, body).await
}

/// Change parts of a token
///
/// As `PUT`: what is not given keeps its value in both.
#[utoipa::path(
    patch, path = "/api/v1/service_token/{id}", operation_id = "serviceToken.patch", tag = "service_tokens",
    params(("id" = String, Path, description = "The `token_id`")),
    request_body = Put,
    responses((status = 200, description = "The token", body = Shown)),
)]
pub(super) async fn patch(State(app): State<Arc<App>>, asked: Addressed, Json(body): Json) -> Answer {
    change(&app, asked, body).await
}

async fn change(app: &App, asked: Addressed, body: Map<String, Value>) -> Answer {
    editor(&asked.principal)?;
    let mut fields = Fields::new(body, "", UPDATABLE)?;
    let organization = token::owner(&mut fields, "organization_id", asked.principal.own_organization())?;
    let name = fields.kept_text("name", token::NAME)?;
    let given = GivenToken::read(&mut fields)?;
    let principal = asked.principal.clone();
    let decide = move |snapshot: &Snapshot, former: &ServiceToken, moment: Moment| {
        let own_end = principal.end(snapshot);
        let expires_ms = given.expiry_within(former.expires_ms, own_end)?;
        let token = ServiceToken {
            name: name.clone().unwrap_or_else(|| former.name.clone()),
            role: given.role_within(former.role, expires_ms, own_end)?,
            expires_ms,
            ..former.clone()
        };
        Ok(Decision::changed(former, token, moment))
    };
    let token = asked.change(app, of_organization(organization), decide).await?;
    object(StatusCode::OK, &token, &masked(&token, app.catalog(), &asked.principal)?)
}

/// Replace a token
///
/// Makes its successor, with the same name and role; both open until the overlap ends. The only answer that has the
/// successor in full.
#[utoipa::path(
    post, path = "/api/v1/service_token/{id}/rotate", operation_id = "serviceToken.rotate", tag = "service_tokens",
    params(("id" = String, Path, description = "The `token_id`")),
    request_body = Rotation,
    responses((status = 201, description = "The successor, in full", body = Shown)),
)]
pub(super) async fn rotate(State(app): State<Arc<App>>, asked: Addressed, Json(body): Json) -> Answer {
    editor(&asked.principal)?;
    let mut fields = Fields::new(body, "", ROTATION)?;
    let organization = token::owner(&mut fields, "organization_id", asked.principal.own_organization())?;
    let overlap_ms = token::overlap_ms(&mut fields)?;
    let (text, id) = (token::new_service_token()?, ServiceTokenId(Uuid::now_v7()));
    let vault = Arc::clone(app.catalog().vault());
    let principal = asked.principal.clone();
    let decide = move |snapshot: &Snapshot, former: &ServiceToken, moment: Moment| {
        let organization = former.organization_id;
        token::room_for_successor(snapshot.service_token_count(organization))?;
        let minted = token::mint(&vault, &ControlKey::ServiceToken(organization, id), &text)?;
        let ended = token::end_of_former(former.expires_ms, overlap_ms, moment.now_ms);
        let ended = ServiceToken { expires_ms: Some(ended), ..former.clone() };
        let next = ServiceToken {
            token_id: id,
            lookup: minted.lookup.to_string(),
            token: minted.sealed,
            created_ms: moment.now_ms,
            expires_ms: token::earlier(former.expires_ms, principal.end(snapshot)),
            ..former.clone()
        };
        Ok(Decision::succeeded(ended, next))
    };
    let asked = asked.doing("service_token.rotate");
    let token = asked.change(&app, of_organization(organization), decide).await?;
    object(StatusCode::CREATED, &token, &fresh(&token, app.catalog(), &asked.principal)?)
}

/// Revoke a token
///
/// Within 2 s it opens nothing anywhere.
#[utoipa::path(
    delete, path = "/api/v1/service_token/{id}", operation_id = "serviceToken.delete", tag = "service_tokens",
    params(("id" = String, Path, description = "The `token_id`"),
        ("organization_id" = String, Query, description = "Id or uid", max_length = 200)),
    responses((status = 204, description = "It is gone")),
)]
pub(super) async fn delete(State(app): State<Arc<App>>, asked: Addressed, query: Query) -> Answer {
    editor(&asked.principal)?;
    let organization = query.required("organization_id")?.to_owned();
    asked.delete(&app, of_organization(organization)).await
}

/// The tokens of an organization are outside of every application.
fn inside(principal: &Principal) -> Result<(), Problem> {
    match &principal.who {
        Who::Admin | Who::Service(_) => Ok(()),
        Who::Application(_) => Err(problem::forbidden()),
    }
}

/// And who may change what it sees there.
fn editor(principal: &Principal) -> Result<(), Problem> {
    inside(principal)?;
    principal.editor()
}

/// Finds the token with an id, if it is this organization's.
fn of_organization(
    organization: String,
) -> impl Fn(&Addressed, &Snapshot) -> FoundObject<ServiceToken> + Send + 'static {
    move |asked, snapshot| {
        let organization = asked.principal.organization(snapshot, &organization)?.organization_id;
        let found = asked.id.parse().ok().and_then(|id| snapshot.service_token(id));
        Ok(found.filter(|it| it.organization_id == organization).map(|it| ServiceToken::clone(it)))
    }
}
