//! Service tokens as they are shown and given.

use catalog::{Catalog, sealed};
use schemas::control::{ControlKey, ServiceToken, TokenRole};
use schemas::problem::ProblemId;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::api::time;
use crate::auth::Principal;
use crate::problem::{self, Problem};
use crate::token::{self, RoleShown};

/// A token as it is shown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServiceToken, example = json!({
    "token_id": "01940000-0000-7000-8000-000000000003", "organization_id": "0b5e55ed-0000-7000-8000-000000000001", "name": "ci",
    "biscuit": "hookbus_st_Zpj7********", "role": "viewer", "created_at": "2026-11-22T04:00:00Z", "expires_at": null,
    "last_used_at": null,
}))]
pub(super) struct Shown {
    /// Names the token.
    token_id: Uuid,
    /// Whose applications it opens.
    organization_id: Uuid,
    /// For people.
    name: String,
    /// What opens them: in full when it is made, masked afterwards.
    biscuit: String,
    /// What it may do.
    #[schema(value_type = RoleShown)]
    role: TokenRole,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// From when on it opens nothing.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<String>,
    /// When it was last used, to ten minutes.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<String>,
}

/// A token to be made.
#[derive(Debug, ToSchema)]
#[schema(as = ServiceTokenPost, example = json!({"organization_id": "0b5e55ed-0000-7000-8000-000000000001", "name": "ci", "role": "viewer"}))]
#[expect(dead_code, reason = "describes a body that is read field by field")]
pub(super) struct Post {
    /// Whose: id or uid. A service token may leave it out.
    #[schema(min_length = 1, max_length = 200)]
    organization_id: String,
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
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
    token_id: Option<Uuid>,
}

/// What is to change of a token; absent fields stay.
#[derive(Debug, ToSchema)]
#[schema(as = ServiceTokenPut, example = json!({"organization_id": "0b5e55ed-0000-7000-8000-000000000001", "name": "ci"}))]
#[expect(dead_code, reason = "describes a body that is read field by field")]
pub(super) struct Put {
    /// Whose: id or uid. A service token may leave it out.
    #[schema(min_length = 1, max_length = 200)]
    organization_id: String,
    /// For people.
    #[schema(min_length = 1, max_length = 200, nullable = false)]
    name: Option<String>,
    /// What it may do.
    #[schema(nullable = false)]
    role: Option<RoleShown>,
    /// From when on it opens nothing.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<String>,
}

/// How a token is replaced.
#[derive(Debug, ToSchema)]
#[schema(as = ServiceTokenRotation, example = json!({"organization_id": "0b5e55ed-0000-7000-8000-000000000001", "overlap_ms": 3600000}))]
#[expect(dead_code, reason = "describes a body that is read field by field")]
pub(super) struct Rotation {
    /// Whose: id or uid. A service token may leave it out.
    #[schema(min_length = 1, max_length = 200)]
    organization_id: String,
    /// How long the former one goes on; a day unless said.
    #[schema(minimum = 0, maximum = 604_800_000)]
    overlap_ms: Option<u64>,
}

/// A token with almost nothing of its text; nothing at all for who may not change it.
pub(super) fn masked(token: &ServiceToken, catalog: &Catalog, principal: &Principal) -> Result<Shown, Problem> {
    let biscuit = if principal.is_editor() { token::masked(&opened(token, catalog)?) } else { token::masked("") };
    Ok(show(token, catalog, biscuit))
}

/// A token that was just made, with all of its text: nobody has used it yet, whenever the answer is asked for again.
pub(super) fn fresh(token: &ServiceToken, catalog: &Catalog, principal: &Principal) -> Result<Shown, Problem> {
    let text = opened(token, catalog)?;
    // What a dry run makes opens nothing, and must not look as if it did.
    let biscuit = if principal.is_dry_run() { token::masked(&text) } else { text.to_string() };
    Ok(Shown { last_used_at: None, ..show(token, catalog, biscuit) })
}

fn opened(token: &ServiceToken, catalog: &Catalog) -> Result<Zeroizing<String>, Problem> {
    let context = ControlKey::ServiceToken(token.organization_id, token.token_id).to_string();
    sealed::open_text(catalog.vault(), &context, &token.token).map_err(|error| {
        problem::vault(&error);
        Problem::new(ProblemId::AuthBiscuitLookupError, "a stored token could not be opened")
    })
}

/// A token with this much of its text.
fn show(token: &ServiceToken, catalog: &Catalog, biscuit: String) -> Shown {
    Shown {
        token_id: token.token_id.0,
        organization_id: token.organization_id.0,
        name: token.name.clone(),
        biscuit,
        role: token.role,
        created_at: time(token.created_ms),
        expires_at: token.expires_ms.map(time),
        last_used_at: catalog.used().last_used(token.token_id.0).map(time),
    }
}
