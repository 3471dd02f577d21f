//! Application secrets as they are shown and given.

use catalog::{Catalog, sealed};
use schemas::control::{ApplicationSecret, ControlKey, TokenRole};
use schemas::problem::ProblemId;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use vault::Vault;

use crate::api::time;
use crate::auth::Principal;
use crate::problem::{self, Problem};
use crate::token::{self, RoleShown};

/// A secret as it is shown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApplicationSecret, example = json!({
    "name": "billing", "token": "3f0f6c7e-9f4b-4b7e-8f0a-0d6b2f5f9a11", "secret_id": "01940000-0000-7000-8000-000000000002",
    "role": "ingest", "created_at": "2026-11-22T04:00:00Z", "deleted_at": null, "expires_at": null, "last_used_at": null,
}))]
pub(super) struct Shown {
    /// For people.
    name: Option<String>,
    /// What opens the application; the nil UUID for who may not change it or ends before it does, the secret's id where `value`
    /// is no UUID.
    token: Uuid,
    /// The token of another system, where it is no UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Names the secret wherever its token would have to be said.
    secret_id: Uuid,
    /// What it may do.
    #[schema(value_type = RoleShown)]
    role: TokenRole,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// Always null: what is deleted is gone.
    #[schema(value_type = Option<String>, format = DateTime)]
    deleted_at: Option<String>,
    /// From when on it opens nothing.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<String>,
    /// When it was last used, to ten minutes.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<String>,
}

/// A secret to be made.
#[derive(Debug, ToSchema)]
#[schema(as = ApplicationSecretPost, example = json!({"application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42", "name": "billing", "role": "ingest"}))]
#[expect(dead_code, reason = "describes a body that is read field by field")]
pub(super) struct Post {
    /// Whose: id or uid.
    #[schema(min_length = 1, max_length = 200)]
    application_id: String,
    /// For people.
    #[schema(max_length = 200)]
    name: Option<String>,
    /// What it may do; `editor` unless said.
    #[schema(nullable = false)]
    role: Option<RoleShown>,
    /// From when on it opens nothing; never unless said.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<String>,
    /// The token of another system; one is made unless said.
    #[schema(min_length = 16, max_length = 512)]
    token: Option<String>,
    /// Its id; one is made unless said.
    secret_id: Option<Uuid>,
}

/// What is to change of a secret; absent fields stay.
#[derive(Debug, ToSchema)]
#[schema(as = ApplicationSecretPut, example = json!({"application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42", "name": "billing"}))]
#[expect(dead_code, reason = "describes a body that is read field by field")]
pub(super) struct Put {
    /// Whose: id or uid. An application's own token may leave it out.
    #[schema(min_length = 1, max_length = 200)]
    application_id: String,
    /// For people.
    #[schema(max_length = 200)]
    name: Option<String>,
    /// What it may do.
    #[schema(nullable = false)]
    role: Option<RoleShown>,
    /// From when on it opens nothing.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<String>,
}

/// How a secret is replaced.
#[derive(Debug, ToSchema)]
#[schema(as = ApplicationSecretRotation, example = json!({"application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42", "overlap_ms": 3600000}))]
#[expect(dead_code, reason = "describes a body that is read field by field")]
pub(super) struct Rotation {
    /// Whose: id or uid. An application's own token may leave it out.
    #[schema(min_length = 1, max_length = 200)]
    application_id: String,
    /// How long the former one goes on; a day unless said.
    #[schema(minimum = 0, maximum = 604_800_000)]
    overlap_ms: Option<u64>,
}

/// A secret as this caller may see it.
pub(super) fn show(secret: &ApplicationSecret, catalog: &Catalog, principal: &Principal) -> Result<Shown, Problem> {
    // What opens still when whoever asks has ended is not for him to keep.
    let outlives = token::outlives(secret.expires_ms, principal.end(&catalog.read()));
    shown(secret, catalog, principal.is_editor() && !principal.is_dry_run() && !outlives)
}

fn shown(secret: &ApplicationSecret, catalog: &Catalog, is_shown: bool) -> Result<Shown, Problem> {
    let (token, value) = if is_shown { opened(secret, catalog.vault())? } else { (token::masked_secret(), None) };
    Ok(Shown {
        name: secret.name.clone(),
        token,
        value,
        secret_id: secret.secret_id.0,
        role: secret.role,
        created_at: time(secret.created_ms),
        deleted_at: None,
        expires_at: secret.expires_ms.map(time),
        last_used_at: catalog.used().last_used(secret.secret_id.0).map(time),
    })
}

/// A secret that was just made: nobody has used it yet, whenever the answer is asked for again. Whoever made it sees it, also where
/// it replaces his own, which ends now.
pub(super) fn fresh(secret: &ApplicationSecret, catalog: &Catalog, principal: &Principal) -> Result<Shown, Problem> {
    // What a dry run makes opens nothing, and must not look as if it did.
    let is_shown = principal.is_editor() && !principal.is_dry_run();
    Ok(Shown { last_used_at: None, ..shown(secret, catalog, is_shown)? })
}

/// The token as clients decode it, and its text where that is something else.
fn opened(secret: &ApplicationSecret, vault: &Vault) -> Result<(Uuid, Option<String>), Problem> {
    let context = ControlKey::ApplicationSecret(secret.application_id, secret.secret_id).to_string();
    let text = sealed::open_text(vault, &context, &secret.token).map_err(|error| {
        problem::vault(&error);
        Problem::new(ProblemId::AuthApplicationSecretLookupError, "a stored token could not be opened")
    })?;
    Ok(match Uuid::parse_str(&text) {
        Ok(token) if token.to_string() == *text => (token, None),
        Ok(_) | Err(_) => (secret.secret_id.0, Some(text.to_string())),
    })
}
