//! What is written where something is sent again or decided about a dead letter. Pure.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use delivery_log::{Fact, LoggedEvent};
use schemas::attempt::{Kind, Lifecycle};
use schemas::delivery::{Delivery, MadeBy};
use schemas::ids::JobId;
use schemas::jobs::JobDefinition;
use schemas::record::{Headers, OutRecord};

/// The record that a dead letter is sent once more.
///
/// # Errors
/// Never in practice; passed on rather than hidden.
pub(super) fn redriven(
    topic: &Arc<str>,
    dead: &Delivery,
    job: &JobDefinition,
    redrives: u32,
    now_ms: i64,
) -> Result<OutRecord, serde_json::Error> {
    let lifecycle = Lifecycle {
        generation: Some(job.job_id.0),
        made_by: Some(Cow::Borrowed(MadeBy::Redrive.as_str())),
        redrives: Some(redrives),
        actor: Some(Cow::Borrowed(&job.created_by)),
        ..Lifecycle::of_delivery(Kind::Redriven, now_ms, dead)
    };
    record(topic, &lifecycle)
}

/// The record that a dead letter is not sent again.
///
/// # Errors
/// Never in practice; passed on rather than hidden.
pub(super) fn discarded(
    topic: &Arc<str>,
    (dead, event): (&Fact, Option<&LoggedEvent>),
    (by, why): (&str, &str),
    now_ms: i64,
) -> Result<OutRecord, serde_json::Error> {
    let lifecycle = Lifecycle {
        application_id: dead.application,
        event_id: event.map(|event| Cow::Borrowed(event.id.as_str())),
        event_source: event.and_then(|event| event.source.as_deref()).map(Cow::Borrowed),
        event_type: dead.event_type.as_deref().map(Cow::Borrowed),
        accepted_ms: dead.accepted_ms,
        subscription_id: dead.subscription,
        delivery_id: dead.delivery,
        generation: dead.generation,
        made_by: dead.made_by.as_deref().map(Cow::Borrowed),
        reason: Some(Cow::Borrowed(why)),
        actor: Some(Cow::Borrowed(by)),
        ..Lifecycle::new(Kind::Discarded, now_ms)
    };
    record(topic, &lifecycle)
}

fn record(topic: &Arc<str>, lifecycle: &Lifecycle<'_>) -> Result<OutRecord, serde_json::Error> {
    let (topic, value) = (Arc::clone(topic), Some(Bytes::from(lifecycle.encode()?)));
    Ok(OutRecord { topic, partition: None, key: None, value, headers: Headers::default() })
}

/// What a filter of a job's list of dead letters is called, for its cursors.
pub(super) fn cursor_name(job: JobId) -> String {
    format!("dead letters of job {job}")
}
