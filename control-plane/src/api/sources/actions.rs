//! What is done with a source beside changing it: pausing, moving.

use std::sync::Arc;

use axum::extract::State;
use catalog::Snapshot;
use http::StatusCode;
use schemas::control::TopicSource;
use schemas::ids::PositionId;
use uuid::Uuid;

use super::{current, find, look, shown};
use crate::api::addressed::Addressed;
use crate::api::object;
use crate::body::Json;
use crate::problem::{Answer, Problem};
use crate::source::{self, MoveInput, SourceShown};
use crate::state::App;
use crate::store::{Decision, Moment};

/// Pause a source
///
/// Within 2 s nothing more of it is planned. Its topics keep what is written, and its lag grows.
#[utoipa::path(
    post, path = "/api/v1/sources/{source_id}/pause", operation_id = "sources.pause", tag = "sources",
    params(("source_id" = String, Path, description = "Id or uid")),
    responses((status = 200, description = "The source as it is now", body = SourceShown)),
)]
pub(in crate::api) async fn pause(State(app): State<Arc<App>>, asked: Addressed) -> Answer {
    let pause = |_: &Snapshot, source: &mut TopicSource| {
        source.is_paused = true;
        Ok(())
    };
    act(&app, &asked.doing("source.pause"), pause).await
}

/// Resume a paused source
///
/// It goes on where it stood.
#[utoipa::path(
    post, path = "/api/v1/sources/{source_id}/resume", operation_id = "sources.resume", tag = "sources",
    params(("source_id" = String, Path, description = "Id or uid")),
    responses((status = 200, description = "The source as it is now", body = SourceShown)),
)]
pub(in crate::api) async fn resume(State(app): State<Arc<App>>, asked: Addressed) -> Answer {
    let resume = |_: &Snapshot, source: &mut TopicSource| {
        source.is_paused = false;
        Ok(())
    };
    act(&app, &asked.doing("source.resume"), resume).await
}

/// Move a source
///
/// Reading goes on elsewhere in its topics: back to send what was not, or forward to leave out. What was fanned out before is not
/// again, unless `again` is true: then it is, as a replay (`X-Hookbus-Replay`). What is under way is finished.
#[utoipa::path(
    post, path = "/api/v1/sources/{source_id}/move", operation_id = "sources.move", tag = "sources",
    params(("source_id" = String, Path, description = "Id or uid")),
    request_body(content = ref("#/components/schemas/SourceMove"), content_type = "application/json"),
    responses((status = 200, description = "The source as it is now", body = SourceShown)),
)]
pub(in crate::api) async fn move_to(State(app): State<Arc<App>>, asked: Addressed, Json(body): Json) -> Answer {
    asked.principal.editor()?;
    let asked = asked.doing("source.move");
    let input = MoveInput::read(body)?;
    let draft = TopicSource { start: input.to.clone(), ..TopicSource::clone(&*current(&app, &asked).await?) };
    let found = look(&app, &asked.principal, &draft).await?;
    let fresh = PositionId(Uuid::now_v7());
    let config = app.config().sources.clone();
    let moved = move |snapshot: &Snapshot, source: &mut TopicSource| {
        source::moved(source, &found, (&input.to, input.topics.as_deref(), input.again), fresh)?;
        source::check_room(snapshot, &config, false, source)
    };
    act(&app, &asked, moved).await
}

async fn act(
    app: &App,
    asked: &Addressed,
    make: impl Fn(&Snapshot, &mut TopicSource) -> Result<(), Problem> + Send + 'static,
) -> Answer {
    asked.principal.editor()?;
    let decide = move |snapshot: &Snapshot, former: &TopicSource, moment: Moment| {
        let mut source = former.clone();
        make(snapshot, &mut source)?;
        Ok(Decision::changed(former, source, moment))
    };
    let source = asked.change(app, find, decide).await?;
    object(StatusCode::OK, &source, &shown(app, &source))
}
