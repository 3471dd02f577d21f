//! What am I: what the token that asks is, and what it opens.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use schemas::control::TokenRole;
use serde::Serialize;
use utoipa::ToSchema;

use super::{json, time};
use crate::auth::{AnyRole, Who};
use crate::problem::Answer;
use crate::state::App;

/// The token that asks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OwnToken, example = json!({"kind": "admin_key", "role": "editor"}))]
pub(super) struct OwnToken {
    /// `admin_key` (everything), `service_token` (an organization) or `application_secret` (an application).
    kind: &'static str,
    /// What it may do there.
    #[schema(value_type = String)]
    role: TokenRole,
    /// The object of the token: a `token_id` or a `secret_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The organization it opens, or that of its application.
    #[serde(skip_serializing_if = "Option::is_none")]
    organization_id: Option<String>,
    /// The application it opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    application_id: Option<String>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    /// When it ends; absent is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

/// Read what the token is
///
/// Of the token that asks: what it opens, what it may do there, and when it ends.
#[utoipa::path(
    get, path = "/api/v1/token", operation_id = "token.get", tag = "instance",
    responses((status = 200, description = "The token", body = OwnToken)),
)]
pub(super) async fn get(State(app): State<Arc<App>>, AnyRole(principal): AnyRole) -> Answer {
    let shown = {
        let snapshot = app.catalog().read();
        let empty = |kind, role| OwnToken {
            kind,
            role,
            id: None,
            name: None,
            organization_id: None,
            application_id: None,
            created_at: None,
            expires_at: None,
        };
        match &principal.who {
            Who::Admin => empty("admin_key", TokenRole::Editor),
            Who::Service(entry) => {
                let token = snapshot.service_token(entry.token);
                OwnToken {
                    id: Some(entry.token.to_string()),
                    name: token.map(|it| it.name.clone()),
                    organization_id: Some(entry.organization.to_string()),
                    created_at: token.map(|it| time(it.created_ms)),
                    expires_at: token.and_then(|it| it.expires_ms).map(time),
                    ..empty("service_token", entry.role)
                }
            }
            Who::Application(entry) => {
                let secret = snapshot.application_secret(entry.application, entry.secret);
                let application = snapshot.application_by_id(entry.application);
                OwnToken {
                    id: Some(entry.secret.to_string()),
                    name: secret.and_then(|it| it.name.clone()),
                    organization_id: application.map(|it| it.organization_id.to_string()),
                    application_id: Some(entry.application.to_string()),
                    created_at: secret.map(|it| time(it.created_ms)),
                    expires_at: secret.and_then(|it| it.expires_ms).map(time),
                    ..empty("application_secret", entry.role)
                }
            }
        }
    };
    json(StatusCode::OK, &shown)
}
