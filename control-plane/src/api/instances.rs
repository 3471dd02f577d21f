//! Which processes run, as they say themselves, for the operator: what `hookbus status` prints.

use std::sync::Arc;

use axum::extract::State;
use chassis::clock;
use schemas::status::Status;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{rows, time};
use crate::auth::Principal;
use crate::health::is_silent;
use crate::page::Page;
use crate::problem::{Answer, internal};
use crate::query::Query;
use crate::state::App;

/// A process of a role.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunningInstance, example = json!({
    "role": "retry", "instance": "1", "said_at": "2026-11-22T04:00:00Z", "is_silent": false, "partitions": 8, "live": 12,
    "in_flight": 0, "version": "1.0.0", "revision": "94d57fe0", "health": {"waiting": {"hookbus.retry.5s": 3}, "overdue_ms": 0},
}))]
pub(super) struct InstanceShown {
    /// `control`, `gateway`, `fanout`, `delivery`, `retry`.
    role: String,
    /// Its stable name.
    instance: String,
    /// When it said this.
    #[schema(format = DateTime)]
    said_at: String,
    /// It has said nothing for two minutes: it has crashed, or reaches no Kafka.
    is_silent: bool,
    /// Partitions that it has.
    partitions: u32,
    /// Records that it holds.
    #[schema(minimum = 0)]
    live: u64,
    /// Requests under way.
    #[schema(minimum = 0)]
    in_flight: u64,
    /// Its release; absent of an older one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    version: Option<String>,
    /// What it was built of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    revision: Option<String>,
    /// What its role says beside: as `hookbus status --output json` prints it under the role's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    health: Option<Value>,
}

/// List running processes
///
/// With the admin key only: what each process of each role said last of itself, by role and name. One that stopped by itself is not
/// among them; one that crashed is silent.
#[utoipa::path(
    get, path = "/api/v1/instances", operation_id = "instances.list", tag = "instance",
    responses((status = 200, description = "All of them", body = Vec<InstanceShown>)),
)]
pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    principal.admin()?;
    let page = Page::of(&query)?;
    let (said, now_ms) = (app.health().instances.said(page.after_name()), clock::now_ms());
    let found = page.cut(said.into_iter(), |(key, _)| key.clone())?;
    let shown = found.map(|(_, status)| InstanceShown::of(&status, now_ms));
    let failed = |error: &serde_json::Error| internal("what an instance says could not be written", error);
    rows(&query, &shown.map(|it| it.map_err(|error| failed(&error))).transpose()?)
}

// === impl InstanceShown ===

impl InstanceShown {
    fn of(status: &Status, now_ms: i64) -> Result<Self, serde_json::Error> {
        let delivery = status.delivery.map(serde_json::to_value);
        let fanout = status.fanout.map(serde_json::to_value);
        let retry = status.retry.as_ref().map(serde_json::to_value);
        let gateway = status.gateway.as_ref().map(serde_json::to_value);
        Ok(Self {
            role: status.role.clone(),
            instance: status.instance.clone(),
            said_at: time(status.at_ms),
            is_silent: is_silent(status, now_ms),
            partitions: status.partitions,
            live: status.live,
            in_flight: status.in_flight,
            version: status.version.clone(),
            revision: status.revision.clone(),
            health: delivery.or(fanout).or(retry).or(gateway).transpose()?,
        })
    }
}
