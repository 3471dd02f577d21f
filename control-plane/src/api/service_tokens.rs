//! Service tokens: tokens of an organization, open all its applications. Shown in full once, when they are made; they are found
//! by their keyed hash.

mod shapes;

use std::sync::Arc;

use axum::extract::{Path, State};
use catalog::Snapshot;
use http::StatusCode;
use schemas::control::{ControlKey, ControlObject, Organization, ServiceToken};
use schemas::ids::{OrganizationId, ServiceTokenId};
use serde_json::{Map, Value};
use uuid::Uuid;

use self::shapes::{Post, Put, Rotation, Shown, masked, show};
use super::{json, naming, no_content, object, object_unless_known};
use crate::auth::{Principal, Who};
use crate::body::{Fields, Json};
use crate::etag::Preconditions;
use crate::problem::{self, Answer, Problem, not_found};
use crate::query::Query;
use crate::state::App;
use crate::store::{Change, Decision, Moment};
use crate::token::{self, Given};

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
    let shown: Vec<Shown> = {
        let snapshot = app.catalog().read();
        let organization = principal.organization(&snapshot, query.required("organization_id")?)?;
        let tokens = snapshot.service_tokens(organization.organization_id);
        tokens
            .map(|it| Ok(show(it, app.catalog(), masked(it, app.catalog(), &principal)?)))
            .collect::<Result<_, Problem>>()?
    };
    json(StatusCode::OK, &shown)
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
pub(super) async fn get(
    State(app): State<Arc<App>>,
    principal: Principal,
    preconditions: Preconditions,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    inside(&principal)?;
    let found = {
        let snapshot = app.catalog().read();
        let organization = principal.organization(&snapshot, query.required("organization_id")?)?;
        find(&snapshot, &organization, &id).ok_or_else(|| not_found("service token"))?
    };
    let shown = show(&found, app.catalog(), masked(&found, app.catalog(), &principal)?);
    object_unless_known(&preconditions, &*found, &shown)
}

/// Make a token
///
/// The only answer that has it in full. `token` takes over what another system has made.
#[utoipa::path(
    post, path = "/api/v1/service_token", operation_id = "serviceToken.create", tag = "service_tokens",
    request_body = Post,
    responses((status = 201, description = "The token, in full", body = Shown)),
)]
pub(super) async fn create(State(app): State<Arc<App>>, principal: Principal, Json(body): Json) -> Answer {
    inside(&principal)?;
    principal.editor()?;
    let mut fields = Fields::new(body, "", FIELDS)?;
    let organization = organization_of(&mut fields, &principal)?;
    let name = fields.required_text("name", token::NAME)?;
    let given = Given::read(&mut fields)?;
    let text = match token::given_text(&mut fields)? {
        Some(text) => text,
        None => token::new_service_token()?,
    };
    let id = ServiceTokenId(naming::given_id(&mut fields, "token_id")?.unwrap_or_else(Uuid::now_v7));
    let biscuit = text.to_string();
    let (vault, admin, actor) = (Arc::clone(app.catalog().vault()), app.admin(), principal.actor());
    let decide = move |snapshot: &Snapshot, moment: Moment| {
        let organization = principal.organization(snapshot, &organization)?.organization_id;
        token::room(snapshot.service_tokens(organization).count())?;
        if snapshot.service_token(id).is_some() {
            return Err(naming::taken("token_id", "service token"));
        }
        let minted = token::mint(&vault, &ControlKey::ServiceToken(organization, id), &text)?;
        token::free(snapshot, admin, &minted.lookup)?;
        let token = ServiceToken {
            token_id: id,
            organization_id: organization,
            name: name.clone(),
            role: given.role.unwrap_or_default(),
            lookup: minted.lookup.to_string(),
            token: minted.sealed,
            created_ms: moment.now_ms,
            expires_ms: given.expiry(None),
        };
        Ok(Decision::put(ControlObject::ServiceToken(token.clone()), token))
    };
    let token = app.store().write(actor, decide).await?;
    object(StatusCode::CREATED, &token, &show(&token, app.catalog(), biscuit))
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
pub(super) async fn update(
    State(app): State<Arc<App>>,
    principal: Principal,
    preconditions: Preconditions,
    Path(id): Path<String>,
    Json(body): Json,
) -> Answer {
    change(&app, principal, preconditions, id, body).await
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
pub(super) async fn patch(
    State(app): State<Arc<App>>,
    principal: Principal,
    preconditions: Preconditions,
    Path(id): Path<String>,
    Json(body): Json,
) -> Answer {
    change(&app, principal, preconditions, id, body).await
}

async fn change(
    app: &App,
    principal: Principal,
    preconditions: Preconditions,
    id: String,
    body: Map<String, Value>,
) -> Answer {
    inside(&principal)?;
    principal.editor()?;
    let mut fields = Fields::new(body, "", UPDATABLE)?;
    let organization = organization_of(&mut fields, &principal)?;
    let name = fields.kept_text("name", token::NAME)?;
    let given = Given::read(&mut fields)?;
    let (asking, actor) = (principal.clone(), principal.actor());
    let decide = move |snapshot: &Snapshot, _moment: Moment| {
        let organization = asking.organization(snapshot, &organization)?;
        let former = find(snapshot, &organization, &id).ok_or_else(|| not_found("service token"))?;
        preconditions.check(&*former)?;
        let mut token = (*former).clone();
        if let Some(name) = &name {
            token.name.clone_from(name);
        }
        token.role = given.role.unwrap_or(token.role);
        token.expires_ms = given.expiry(token.expires_ms);
        if token == *former {
            return Ok(Decision::nothing(token));
        }
        Ok(Decision::put(ControlObject::ServiceToken(token.clone()), token))
    };
    let token = app.store().write(actor, decide).await?;
    let shown = show(&token, app.catalog(), masked(&token, app.catalog(), &principal)?);
    object(StatusCode::OK, &token, &shown)
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
pub(super) async fn rotate(
    State(app): State<Arc<App>>,
    principal: Principal,
    preconditions: Preconditions,
    Path(id): Path<String>,
    Json(body): Json,
) -> Answer {
    inside(&principal)?;
    principal.editor()?;
    let mut fields = Fields::new(body, "", ROTATION)?;
    let organization = organization_of(&mut fields, &principal)?;
    let overlap_ms = token::overlap_ms(&mut fields)?;
    let (text, next_id) = (token::new_service_token()?, ServiceTokenId(Uuid::now_v7()));
    let biscuit = text.to_string();
    let (vault, actor) = (Arc::clone(app.catalog().vault()), principal.actor().doing("service_token.rotate"));
    let decide = move |snapshot: &Snapshot, moment: Moment| {
        let organization = principal.organization(snapshot, &organization)?;
        let former = find(snapshot, &organization, &id).ok_or_else(|| not_found("service token"))?;
        preconditions.check(&*former)?;
        token::room(snapshot.service_tokens(organization.organization_id).count())?;
        let minted = token::mint(&vault, &ControlKey::ServiceToken(organization.organization_id, next_id), &text)?;
        let ended = ServiceToken {
            expires_ms: Some(token::end_of_former(former.expires_ms, overlap_ms, moment.now_ms)),
            ..(*former).clone()
        };
        let next = ServiceToken {
            token_id: next_id,
            lookup: minted.lookup.to_string(),
            token: minted.sealed,
            created_ms: moment.now_ms,
            ..(*former).clone()
        };
        let changes = [ended, next.clone()].map(|it| Change::Put(ControlObject::ServiceToken(it))).to_vec();
        Ok(Decision { changes, answer: next })
    };
    let token = app.store().write(actor, decide).await?;
    object(StatusCode::CREATED, &token, &show(&token, app.catalog(), biscuit))
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
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    principal: Principal,
    preconditions: Preconditions,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    inside(&principal)?;
    principal.editor()?;
    let organization = query.required("organization_id")?.to_owned();
    let actor = principal.actor();
    let decide = move |snapshot: &Snapshot, _moment: Moment| {
        let organization = principal.organization(snapshot, &organization)?;
        let Some(token) = find(snapshot, &organization, &id) else { return Ok(Decision::nothing(())) };
        preconditions.check(&*token)?;
        let key = ControlKey::ServiceToken(organization.organization_id, token.token_id);
        Ok(Decision { changes: vec![Change::Remove(key)], answer: () })
    };
    app.store().write(actor, decide).await?;
    no_content()
}

/// The tokens of an organization are outside of every application.
fn inside(principal: &Principal) -> Result<(), Problem> {
    match &principal.who {
        Who::Admin | Who::Service(_) => Ok(()),
        Who::Application(_) => Err(problem::forbidden()),
    }
}

/// The organization of a body: named, or the token's own.
fn organization_of(fields: &mut Fields, principal: &Principal) -> Result<String, Problem> {
    let named = fields.text("organization_id", 1..=200)?.flatten();
    let own = || principal.own_organization().map(|id: OrganizationId| id.to_string());
    named.or_else(own).ok_or_else(|| fields.wrong("organization_id", "is required"))
}

fn find(snapshot: &Snapshot, organization: &Organization, id: &str) -> Option<Arc<ServiceToken>> {
    let found = snapshot.service_token(id.parse().ok()?)?;
    (found.organization_id == organization.organization_id).then(|| Arc::clone(found))
}
