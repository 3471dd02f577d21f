//! Which topics of its own Hookbus finds, for the operator.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use schemas::topics::Topics;
use serde::Serialize;
use utoipa::ToSchema;

use super::rows;
use crate::auth::Principal;
use crate::page::Page;
use crate::problem::Answer;
use crate::query::Query;
use crate::state::App;

/// A topic of this installation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InstalledTopic, example = json!({"name": "hookbus.deliveries", "is_there": true, "partitions": 32}))]
pub(super) struct TopicShown {
    /// As Kafka calls it.
    name: String,
    /// Whether it is there; one that may not be described is not.
    is_there: bool,
    /// How many it has; absent where it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    partitions: Option<u64>,
}

/// List the topics of this installation
///
/// With the admin key only: those that begin with its prefix, and those that the control plane needs and does not find. What differs
/// from the configuration `hookbus topics plan` says.
#[utoipa::path(
    get, path = "/api/v1/topics", operation_id = "topics.list", tag = "instance",
    responses((status = 200, description = "All of them", body = Vec<TopicShown>)),
)]
pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    principal.admin()?;
    let page = Page::of(&query)?;
    let needed = names(app.topics()).map(|name| name.to_string()).into();
    let seen = app.cluster().look(needed).await?;
    let prefix = &app.config().sources.own_prefix;
    let there = seen.there.into_iter().filter(|(name, _)| name.starts_with(prefix.as_str()));
    let there = there.map(|(name, partitions)| (name, Some(partitions)));
    let all: BTreeMap<String, Option<usize>> = seen.missing.into_keys().map(|name| (name, None)).chain(there).collect();
    let rest = all.into_iter().filter(|(name, _)| page.after_name().is_none_or(|after| name.as_str() > after));
    let found = page.cut(rest, |(name, _)| name.clone())?;
    rows(&query, &found.map(|(name, partitions)| TopicShown::of(name, partitions)))
}

/// Those that are there whatever the tiers of waiting are.
fn names(topics: &Topics) -> [&Arc<str>; 12] {
    let Topics { events, deliveries, lanes, dead_letters, attempts, jobs, .. } = topics;
    let Topics { rejected, retried, seen, control, audit, status, .. } = topics;
    [events, deliveries, lanes, dead_letters, attempts, jobs, rejected, retried, seen, control, audit, status]
}

// === impl TopicShown ===

impl TopicShown {
    fn of(name: String, partitions: Option<usize>) -> Self {
        Self { name, is_there: partitions.is_some(), partitions: partitions.map(|count| count as u64) }
    }
}
