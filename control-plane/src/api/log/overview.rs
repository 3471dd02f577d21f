//! How the log itself is doing, for the operator.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use super::with_headers;
use crate::api::json;
use crate::auth::Principal;
use crate::log::overview::LogShown;
use crate::problem::Answer;
use crate::state::App;

/// Read how the delivery log is doing
///
/// For the admin key alone. Each replica answers for itself.
#[utoipa::path(
    get, path = "/api/v1/log", operation_id = "log.get", tag = "log",
    responses((status = 200, description = "How it is doing", body = LogShown)),
)]
pub(in crate::api) async fn get(State(app): State<Arc<App>>, principal: Principal) -> Answer {
    principal.admin()?;
    let shown = app.log().overview(chassis::clock::now_ms()).await?;
    Ok(with_headers(&app, json(StatusCode::OK, &shown)?))
}
