//! Application secrets: tokens of one application. A token is a random UUID (or what another system made it); it is found by
//! its keyed hash and kept sealed, because editors may list it. Viewers see the nil UUID in its place.

mod shapes;

use std::sync::Arc;

use axum::extract::State;
use catalog::Snapshot;
use http::StatusCode;
use schemas::control::{ApplicationSecret, ControlKey, TokenRole};
use schemas::ids::{ApplicationId, SecretId};
use serde_json::{Map, Value};
use uuid::Uuid;
use vault::Vault;
use zeroize::Zeroizing;

use self::shapes::{Post, Put, Rotation, Shown, fresh, show};
use super::addressed::{Addressed, FoundObject};
use super::{naming, object, rows};
use crate::auth::Principal;
use crate::body::{Fields, Json};
use crate::etag::Preconditions;
use crate::page::Page;
use crate::problem::{Answer, Problem};
use crate::query::Query;
use crate::state::App;
use crate::store::{Decision, Moment};
use crate::token::{self, GivenToken};

const FIELDS: &[&str] = &["application_id", "name", "role", "expires_at", "token", "secret_id"];
/// What may be changed, and what is shown beside it: sent back, it changes nothing.
const UPDATABLE: &[&str] = &[
    "application_id",
    "name",
    "role",
    "expires_at",
    "token",
    "value",
    "secret_id",
    "created_at",
    "deleted_at",
    "last_used_at",
];
/// Characters of a name; Hook0 knows secrets without one.
const NAME: std::ops::RangeInclusive<usize> = 0..=200;
const ROTATION: &[&str] = &["application_id", "overlap_ms"];

/// List the secrets of an application
///
/// Oldest first. Viewers see the nil UUID in place of each token, and who asks with a token that ends, in place of each that
/// goes on after it.
#[utoipa::path(
    get, path = "/api/v1/application_secrets", operation_id = "applicationSecrets.read", tag = "application_secrets",
    params(("application_id" = String, Query, description = "Id or uid", max_length = 200)),
    responses((status = 200, description = "The secrets", body = Vec<Shown>)),
)]
pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    let page = Page::of(&query)?;
    let after = page.after_id()?.map(SecretId);
    let found = {
        let snapshot = app.catalog().read();
        let application = principal.application(&snapshot, query.required("application_id")?)?;
        let secrets = snapshot.application_secrets(application.application_id);
        let left = secrets.filter(|it| after.is_none_or(|after| it.secret_id > after));
        page.cut(left.cloned(), |it| it.secret_id.to_string())?
    };
    rows(&query, &found.map(|it| show(&it, app.catalog(), &principal)).transpose()?)
}

/// Make a secret
///
/// `token` takes over what another system has made.
#[utoipa::path(
    post, path = "/api/v1/application_secrets", operation_id = "applicationSecrets.create", tag = "application_secrets",
    request_body = Post,
    responses((status = 201, description = "The secret", body = Shown)),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    principal: Principal,
    preconditions: Preconditions,
    Json(body): Json,
) -> Answer {
    principal.editor()?;
    preconditions.check_absent()?;
    let mut fields = Fields::new(body, "", FIELDS)?;
    let application = fields.required_text("application_id", 1..=200)?;
    let name = fields.text("name", NAME)?.flatten();
    let given = GivenToken::read(&mut fields)?;
    let text = match token::given_text(&mut fields)? {
        Some(text) => text,
        None => token::new_secret()?,
    };
    let given_id = naming::given_id(&mut fields, "secret_id")?;
    principal.may_give_id("secret_id", given_id.is_some())?;
    let (id, is_given) = (SecretId(given_id.unwrap_or_else(Uuid::now_v7)), given_id.is_some());
    let (vault, admin) = (Arc::clone(app.catalog().vault()), Arc::clone(app.admin()));
    let (asking, actor) = (principal.clone(), principal.actor());
    let decide = move |snapshot: &Snapshot, moment: Moment| {
        let application = asking.application(snapshot, &application)?.application_id;
        token::room(snapshot.application_secret_count(application))?;
        let key = ControlKey::ApplicationSecret(application, id);
        // The audit and the last use name a secret by its id alone, so it is nobody else's either.
        if is_given && snapshot.has_application_secret(id) {
            return Err(naming::taken("secret_id", "secret"));
        }
        let own_end = asking.end(snapshot);
        let minted = token::mint(&vault, &key, &text)?;
        token::free(snapshot, &admin, &minted.lookup)?;
        let secret = ApplicationSecret {
            secret_id: id,
            application_id: application,
            name: name.clone(),
            lookup: minted.lookup.to_string(),
            token: minted.sealed,
            role: given.role.unwrap_or_default(),
            created_ms: moment.now_ms,
            expires_ms: token::earlier(given.expiry_within(None, own_end)?, own_end),
        };
        Ok(Decision::made(secret))
    };
    let secret = app.store().write(actor, decide).await?;
    object(StatusCode::CREATED, &secret, &fresh(&secret, app.catalog(), &principal)?)
}

/// Change a secret
///
/// Its name, its role, its end. Its token stays; what is not given keeps its value.
#[utoipa::path(
    put, path = "/api/v1/application_secrets/{token}", operation_id = "applicationSecrets.update", tag = "application_secrets",
    params(("token" = String, Path, description = "The token itself, or the `secret_id`")),
    request_body = Put,
    responses((status = 200, description = "The secret", body = Shown)),
)]
pub(super) async fn update(State(app): State<Arc<App>>, asked: Addressed, Json(body): Json) -> Answer {
    change(&app, asked, body).await
}

/// Change parts of a secret
///
/// As `PUT`: what is not given keeps its value in both.
#[utoipa::path(
    patch, path = "/api/v1/application_secrets/{token}", operation_id = "applicationSecrets.patch", tag = "application_secrets",
    params(("token" = String, Path, description = "The token itself, or the `secret_id`")),
    request_body = Put,
    responses((status = 200, description = "The secret", body = Shown)),
)]
pub(super) async fn patch(State(app): State<Arc<App>>, asked: Addressed, Json(body): Json) -> Answer {
    change(&app, asked, body).await
}

async fn change(app: &App, asked: Addressed, body: Map<String, Value>) -> Answer {
    asked.principal.editor()?;
    let mut fields = Fields::new(body, "", UPDATABLE)?;
    let application = token::owner(&mut fields, "application_id", asked.principal.own_application())?;
    let name = fields.text("name", NAME)?;
    let given = GivenToken::read(&mut fields)?;
    let principal = asked.principal.clone();
    let decide = move |snapshot: &Snapshot, former: &ApplicationSecret, moment: Moment| {
        let own_end = principal.end(snapshot);
        let expires_ms = given.expiry_within(former.expires_ms, own_end)?;
        let secret = ApplicationSecret {
            name: name.clone().unwrap_or_else(|| former.name.clone()),
            role: given.role_within(former.role, expires_ms, own_end)?,
            expires_ms,
            ..former.clone()
        };
        Ok(Decision::changed(former, secret, moment))
    };
    let secret = asked.change(app, of_application(app, application), decide).await?;
    object(StatusCode::OK, &secret, &show(&secret, app.catalog(), &asked.principal)?)
}

/// Replace a secret
///
/// Makes its successor, with the same name and role; both open until the overlap ends.
#[utoipa::path(
    post, path = "/api/v1/application_secrets/{token}/rotate", operation_id = "applicationSecrets.rotate", tag = "application_secrets",
    params(("token" = String, Path, description = "The token itself, or the `secret_id`")),
    request_body = Rotation,
    responses((status = 201, description = "The successor", body = Shown)),
)]
pub(super) async fn rotate(State(app): State<Arc<App>>, asked: Addressed, Json(body): Json) -> Answer {
    asked.principal.editor()?;
    let mut fields = Fields::new(body, "", ROTATION)?;
    let application = token::owner(&mut fields, "application_id", asked.principal.own_application())?;
    let overlap_ms = token::overlap_ms(&mut fields)?;
    let (text, id) = (token::new_secret()?, SecretId(Uuid::now_v7()));
    let vault = Arc::clone(app.catalog().vault());
    let principal = asked.principal.clone();
    let decide = move |snapshot: &Snapshot, former: &ApplicationSecret, moment: Moment| {
        let application = former.application_id;
        token::room_for_successor(snapshot.application_secret_count(application))?;
        let minted = token::mint(&vault, &ControlKey::ApplicationSecret(application, id), &text)?;
        let ended = token::end_of_former(former.expires_ms, overlap_ms, moment.now_ms);
        let ended = ApplicationSecret { expires_ms: Some(ended), ..former.clone() };
        let next = ApplicationSecret {
            secret_id: id,
            lookup: minted.lookup.to_string(),
            token: minted.sealed,
            created_ms: moment.now_ms,
            expires_ms: token::earlier(former.expires_ms, principal.end(snapshot)),
            ..former.clone()
        };
        Ok(Decision::succeeded(ended, next))
    };
    let asked = asked.doing("application_secret.rotate");
    let secret = asked.change(&app, of_application(&app, application), decide).await?;
    object(StatusCode::CREATED, &secret, &fresh(&secret, app.catalog(), &asked.principal)?)
}

/// Revoke a secret
///
/// Also the last one: the organization's tokens and the admin key still open the application. Within 2 s it opens nothing
/// anywhere.
#[utoipa::path(
    delete, path = "/api/v1/application_secrets/{token}", operation_id = "applicationSecrets.delete", tag = "application_secrets",
    params(("token" = String, Path, description = "The token itself, or the `secret_id`"),
        ("application_id" = String, Query, description = "Id or uid", max_length = 200)),
    responses((status = 204, description = "It is gone")),
)]
pub(super) async fn delete(State(app): State<Arc<App>>, asked: Addressed, query: Query) -> Answer {
    asked.principal.editor()?;
    let application = query.required("application_id")?.to_owned();
    asked.delete(&app, of_application(&app, application)).await
}

/// A new secret that is nobody's yet, and its token: every application begins with one. It ends with the token that made it.
pub(super) fn new(
    vault: &Vault,
    application: ApplicationId,
    name: Option<String>,
    (now_ms, expires_ms): (i64, Option<i64>),
) -> Result<(ApplicationSecret, Zeroizing<String>), Problem> {
    let secret_id = SecretId(Uuid::now_v7());
    let text = token::new_secret()?;
    let minted = token::mint(vault, &ControlKey::ApplicationSecret(application, secret_id), &text)?;
    let secret = ApplicationSecret {
        secret_id,
        application_id: application,
        name,
        lookup: minted.lookup.to_string(),
        token: minted.sealed,
        role: TokenRole::Editor,
        created_ms: now_ms,
        expires_ms,
    };
    Ok((secret, text))
}

/// Finds the secret of a token (or with this id), if it is this application's.
fn of_application(
    app: &App,
    application: String,
) -> impl Fn(&Addressed, &Snapshot) -> FoundObject<ApplicationSecret> + Send + 'static {
    let vault = Arc::clone(app.catalog().vault());
    move |asked, snapshot| {
        let application = asked.principal.application(snapshot, &application)?.application_id;
        let by_token = snapshot.token(&vault.lookup(&asked.id)).map(|entry| SecretId(entry.token));
        let found = by_token.and_then(|id| by_id(snapshot, application, id));
        let found = found.or_else(|| by_id(snapshot, application, asked.id.parse().ok()?));
        Ok(found.map(Arc::unwrap_or_clone))
    }
}

fn by_id(snapshot: &Snapshot, application: ApplicationId, id: SecretId) -> Option<Arc<ApplicationSecret>> {
    snapshot.application_secret(application, id).cloned()
}
