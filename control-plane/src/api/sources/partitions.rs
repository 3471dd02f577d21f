//! How far each partition of a source is.

use std::sync::Arc;

use axum::extract::State;
use schemas::problem::Code;

use super::seen;
use crate::api::addressed::Addressed;
use crate::api::rows;
use crate::page::Page;
use crate::problem::{Answer, Problem};
use crate::query::Query;
use crate::source::SourcePartitionShown;
use crate::state::App;

/// List the partitions of a source
///
/// As the fan-out workers that have them said lately: by topic, then by number. One that no worker tells of is not among them.
#[utoipa::path(
    get, path = "/api/v1/sources/{source_id}/partitions", operation_id = "sources.partitions", tag = "sources",
    params(("source_id" = String, Path, description = "Id or uid")),
    responses((status = 200, description = "Its partitions", body = Vec<SourcePartitionShown>)),
)]
pub(in crate::api) async fn list(State(app): State<Arc<App>>, asked: Addressed, query: Query) -> Answer {
    let source = seen(&asked.principal, &app.catalog().read(), &asked.id)?;
    let page = Page::of(&query)?;
    let after = page.after_name().map(place).transpose()?;
    let now_ms = chassis::clock::now_ms();
    let told = app.health().sources.of(source.source_id, now_ms);
    let rest = told.partitions.iter().filter(|(at, _)| after.as_ref().is_none_or(|after| *at > after));
    let found = page.cut(rest, |((topic, partition), _)| format!("{topic}/{partition}"))?;
    rows(&query, &found.map(|(at, told)| SourcePartitionShown::of(at, told, now_ms)))
}

/// The place of a cursor: `crm.orders/3`.
fn place(cursor: &str) -> Result<(String, i32), Problem> {
    let place = cursor.rsplit_once('/').and_then(|(topic, number)| Some((topic.to_owned(), number.parse().ok()?)));
    let message = "is none that a `Link` of this list has named";
    place.ok_or_else(|| Problem::field("pagination_cursor", Code::InvalidField, message))
}
