//! Erasing an event: what its producer wrote leaves the log, and payload and answers are not read back any more.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use chassis::clock;
use http::{HeaderName, HeaderValue, StatusCode};
use schemas::ids::ApplicationId;

use super::{AskedLog, event_named, with_headers};
use crate::api::time;
use crate::jobs::Erasure;
use crate::log::failed;
use crate::problem::{Answer, internal};
use crate::state::App;

/// Subscriptions that are looked at in one look at the snapshot.
const LOOK: usize = 1_000;

/// When Kafka has given up the last copy.
pub(crate) const UNTIL: HeaderName = HeaderName::from_static("hookbus-erased-until");

/// Erase an event
///
/// Its labels, metadata, address and time leave the delivery log with all sentences about it, and its payload, the requests and the
/// answers of its attempts are not read back any more (404, `code` is `erased`), also after the log was made again. It is not sent
/// again either; what is under way still ends. Its id, its type and what became of it stay. Kafka holds copies until the
/// time in `Hookbus-Erased-Until`. Erasing what is erased already is a 204, too.
#[utoipa::path(
    delete, path = "/api/v1/events/{event_id}", operation_id = "events.delete", tag = "log",
    params(
        ("event_id" = String, Path, description = "Id, UUID or webhook id"),
        ("application_id" = Option<String>, Query, description = "Id or uid; may be left out with an application's token", nullable = false),
    ),
    responses(
        (status = 204, description = "Its content is gone", headers(("Hookbus-Erased-Until" = String, description = "When the last copy in Kafka expires, at the latest"))),
        (status = 404, description = "NotFound: there is no such event"),
    ),
)]
pub(in crate::api) async fn delete(State(app): State<Arc<App>>, asked: AskedLog, Path(id): Path<String>) -> Answer {
    asked.principal.editor()?;
    let (application, store) = asked.log(&app)?;
    let application = application.application_id;
    let event = event_named(store.as_ref(), application, &id).await?.ok_or_else(|| app.log().absent("event"))?;
    let now_ms = clock::now_ms();
    if !asked.principal.is_dry_run() {
        let uuid = event.uuid;
        let asking = asked.principal.who.organization(&app.catalog().read());
        let _turn = app.turns().jobs.take(asking).await?;
        app.jobs().erase(&Erasure { event, at_ms: now_ms }, &asked.principal.actor()).await?;
        // Here at once; other replicas follow with the record.
        store.erase(uuid).await.map_err(|error| failed(&error))?;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let until = HeaderValue::from_str(&time(until_ms(&app, application, now_ms).await));
    let until = until.map_err(|error| internal("a time could not be written", &error))?;
    response.headers_mut().insert(UNTIL, until);
    Ok(with_headers(&app, response))
}

/// When the last copy expires at the latest, Unix ms: that of the delivery that is tried for longest, which ends then.
async fn until_ms(app: &App, application: ApplicationId, now_ms: i64) -> i64 {
    let (mut longest, mut after) = (Duration::ZERO, None);
    loop {
        // Nobody waits behind a look at all of them.
        let (looked, last) = {
            let snapshot = app.catalog().read();
            let of = snapshot.subscriptions_after(application, after).take(LOOK);
            of.fold((0, None), |(looked, _), it| {
                longest = longest.max(it.max_age());
                (looked + 1, Some(it.id()))
            })
        };
        if looked < LOOK {
            break;
        }
        after = last;
        tokio::task::yield_now().await;
    }
    let kept = longest.saturating_add(app.jobs().content_kept());
    now_ms.saturating_add(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX))
}
