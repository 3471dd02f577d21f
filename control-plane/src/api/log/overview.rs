//! How the log itself is doing, and making it again, for the operator.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use super::with_headers;
use crate::api::json;
use crate::auth::Principal;
use crate::log::failed;
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

/// Make the delivery log again
///
/// For the admin key alone. All days are thrown away and read again from Kafka, the newest first; until a day is there, answers lack
/// it, and say so in `Hookbus-Log-From`. `GET /log` tells how far it is. Each replica makes its own, this is the one that answers, or
/// all share one in PostgreSQL.
#[utoipa::path(
    delete, path = "/api/v1/log", operation_id = "log.delete", tag = "log",
    responses((status = 202, description = "It is being made, and stands so", body = LogShown)),
)]
pub(in crate::api) async fn delete(State(app): State<Arc<App>>, principal: Principal) -> Answer {
    principal.admin()?;
    let store = app.log().store()?;
    if !principal.is_dry_run() {
        store.give_up_all().await.map_err(|error| failed(&error))?;
    }
    let shown = app.log().overview(chassis::clock::now_ms()).await?;
    Ok(with_headers(&app, json(StatusCode::ACCEPTED, &shown)?))
}
