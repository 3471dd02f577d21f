//! Application secrets: tokens of one application. A token is a random UUID; it is found by its keyed hash and kept sealed,
//! because editors may list it.

use std::sync::Arc;

use axum::extract::{Path, State};
use catalog::{Snapshot, sealed};
use http::StatusCode;
use schemas::control::{ApplicationSecret, ControlKey, ControlObject};
use schemas::ids::{ApplicationId, SecretId};
use schemas::problem::ProblemId;
use serde_json::{Value, json};
use uuid::Uuid;
use vault::Vault;

use super::{json, no_content};
use crate::auth::Principal;
use crate::body::{Fields, Json};
use crate::problem::{self, Answer, Problem, not_found};
use crate::query::Query;
use crate::state::App;
use crate::store::{Change, Decision};

const FIELDS: &[&str] = &["application_id", "name"];

pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    principal.editor()?;
    let vault = app.catalog().vault();
    let shown: Vec<Value> = {
        let snapshot = app.catalog().read();
        let application = principal.application(&snapshot, query.required("application_id")?)?;
        let secrets = snapshot.application_secrets(application.application_id);
        secrets.map(|secret| show(secret, vault)).collect::<Result<_, _>>()?
    };
    json(StatusCode::OK, &shown)
}

pub(super) async fn create(State(app): State<Arc<App>>, principal: Principal, Json(body): Json) -> Answer {
    principal.editor()?;
    let (application, name) = read(body)?;
    let vault = Arc::clone(app.catalog().vault());
    let actor = principal.actor();
    let decide = move |snapshot: &Snapshot, moment: crate::store::Moment| {
        let application = principal.application(snapshot, &application)?;
        let (secret, _token) = new(&vault, application.application_id, name.clone(), moment.now_ms)?;
        Ok(Decision::put(ControlObject::ApplicationSecret(secret.clone()), secret))
    };
    let secret = app.store().write(actor, decide).await?;
    json(StatusCode::CREATED, &show(&secret, app.catalog().vault())?)
}

/// Renames.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    principal: Principal,
    Path(token): Path<String>,
    Json(body): Json,
) -> Answer {
    principal.editor()?;
    let (application, name) = read(body)?;
    let vault = Arc::clone(app.catalog().vault());
    let actor = principal.actor();
    let decide = move |snapshot: &Snapshot, _moment| {
        let application = principal.application(snapshot, &application)?;
        let former = find(snapshot, &vault, application.application_id, &token);
        let mut secret = former.ok_or_else(|| not_found("application secret"))?;
        if secret.name == name {
            return Ok(Decision::nothing(secret));
        }
        secret.name.clone_from(&name);
        Ok(Decision::put(ControlObject::ApplicationSecret(secret.clone()), secret))
    };
    let secret = app.store().write(actor, decide).await?;
    json(StatusCode::OK, &show(&secret, app.catalog().vault())?)
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    principal: Principal,
    Path(token): Path<String>,
    query: Query,
) -> Answer {
    principal.editor()?;
    let application = query.required("application_id")?.to_owned();
    let vault = Arc::clone(app.catalog().vault());
    let actor = principal.actor();
    let decide = move |snapshot: &Snapshot, _moment| {
        let application = principal.application(snapshot, &application)?.application_id;
        let Some(secret) = find(snapshot, &vault, application, &token) else { return Ok(Decision::nothing(())) };
        let key = ControlKey::ApplicationSecret(application, secret.secret_id);
        Ok(Decision { changes: vec![Change::Remove(key)], answer: () })
    };
    app.store().write(actor, decide).await?;
    no_content()
}

/// A new secret and its token.
pub(super) fn new(
    vault: &Vault,
    application: ApplicationId,
    name: Option<String>,
    now_ms: i64,
) -> Result<(ApplicationSecret, Uuid), Problem> {
    let token = vault::random_uuid().map_err(|error| problem::vault(&error))?;
    let text = token.to_string();
    let secret_id = SecretId(Uuid::now_v7());
    let context = ControlKey::ApplicationSecret(application, secret_id).to_string();
    let sealed = sealed::seal_text(vault, &context, &text).map_err(|error| problem::vault(&error))?;
    let lookup = vault.lookup(&text).to_string();
    let secret =
        ApplicationSecret { secret_id, application_id: application, name, lookup, token: sealed, created_ms: now_ms };
    Ok((secret, token))
}

fn read(body: serde_json::Map<String, Value>) -> Result<(String, Option<String>), Problem> {
    let mut fields = Fields::new(body, "", FIELDS)?;
    let application = fields.required_text("application_id", 1..=200)?;
    Ok((application, fields.text("name", 0..=200)?.flatten()))
}

/// The secret of a token, if it is this application's.
fn find(snapshot: &Snapshot, vault: &Vault, application: ApplicationId, token: &str) -> Option<ApplicationSecret> {
    let entry = snapshot.token(&vault.lookup(token)).filter(|entry| entry.application == application)?;
    let mut secrets = snapshot.application_secrets(application);
    secrets.find(|secret| secret.secret_id == entry.secret).map(|secret| (**secret).clone())
}

fn show(secret: &ApplicationSecret, vault: &Vault) -> Result<Value, Problem> {
    let context = ControlKey::ApplicationSecret(secret.application_id, secret.secret_id).to_string();
    let token = sealed::open_text(vault, &context, &secret.token).map_err(|error| {
        problem::vault(&error);
        Problem::new(ProblemId::AuthApplicationSecretLookupError, "a stored token could not be opened")
    })?;
    Ok(json!({
        "name": secret.name,
        "token": token.as_str(),
        "created_at": super::time(secret.created_ms),
        "deleted_at": null,
    }))
}
