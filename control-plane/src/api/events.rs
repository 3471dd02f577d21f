//! Sending events: described here, because one document describes the API, and served by the gateway, which takes these routes
//! before anything reaches this router. A control plane without a gateway in front says so.
//!
//! Reading events, attempts and responses is the delivery log's; its routes get files of their own beside this one.

use schemas::problem::ProblemId;

use crate::problem::Problem;

mod shapes;

pub(super) use self::shapes::shapes;

/// Send an event
///
/// 201 only after Kafka acknowledged it with all in-sync replicas. The id is the idempotency key inside the application: a
/// repeat of one that is known is a 409, which clients count as success; one that is not known any more is dropped later
/// (within 24 h by default). CloudEvents are taken too, with or without data: `application/cloudevents+json`, or binary mode with
/// `ce-*` headers. The body may be encoded (`Content-Encoding: gzip` or `zstd`); the limits hold for what it decodes to.
#[utoipa::path(
    post,
    path = "/api/v1/event",
    operation_id = "events.ingest",
    tag = "events",
    request_body(content = ref("#/components/schemas/EventPost"), content_type = "application/json"),
    responses(
        (status = 201, description = "Acknowledged by Kafka", content_type = "application/json",
            body = ref("#/components/schemas/IngestedEvent")),
        (status = 409, description = "EventAlreadyIngested: this id was taken before"),
        (status = 413, description = "Validation: the payload or the body is too large"),
        (status = 429, description = "RateLimited: or `TooManyEventsToday`; only the former is worth a retry"),
    ),
)]
pub(super) async fn ingest() -> Problem {
    elsewhere()
}

/// Send many events
///
/// Up to 1,000 in one request: `{"events": [...]}`, one event per line (`application/x-ndjson`), or an array of CloudEvents
/// (`application/cloudevents-batch+json`). The body may be encoded (`Content-Encoding: gzip` or `zstd`). Each event is accepted or
/// refused by itself; the answer has one entry per event, in order.
#[utoipa::path(
    post,
    path = "/api/v1/events:batch",
    operation_id = "events.ingestBatch",
    tag = "events",
    request_body(content = ref("#/components/schemas/EventBatch"), content_type = "application/json"),
    responses(
        (status = 200, description = "What became of each", content_type = "application/json",
            body = ref("#/components/schemas/IngestedEvents")),
        (status = 413, description = "Validation: the body is too large"),
        (status = 429, description = "RateLimited: or `TooManyEventsToday`; only the former is worth a retry"),
    ),
)]
pub(super) async fn ingest_batch() -> Problem {
    elsewhere()
}

fn elsewhere() -> Problem {
    Problem::new(ProblemId::NotFound, "events are taken by the gateway; this is the control plane")
}
