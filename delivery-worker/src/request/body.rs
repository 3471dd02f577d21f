//! The body of a request in the form its subscription asks for. In every form the payload stands as it was accepted.

use bytes::{Bytes, BytesMut};
use catalog::Subscription;
use schemas::cloud_event;
use schemas::control::BodyForm;
use schemas::delivery::Delivery;
use serde::de::IgnoredAny;

use super::{cloudevents, envelope};
use crate::classify::AttemptVerdict;

/// Of JSON, and of what does not say what it is.
const JSON: &str = "application/json";

/// A form that is being written.
pub(super) type Writer = bytes::buf::Writer<BytesMut>;

/// The body and its media type.
///
/// # Errors
/// A payload that does not fit the form.
pub(super) fn of<'a>(delivery: &'a Delivery, subscription: &Subscription) -> Result<(Bytes, &'a str), AttemptVerdict> {
    match subscription.body() {
        // The payload's own buffer, never a copy.
        BodyForm::Raw => Ok((delivery.payload.clone(), content_type(delivery))),
        BodyForm::Envelope => Ok((envelope::of(delivery, subscription.api_version())?, JSON)),
        BodyForm::Cloudevents => Ok((cloudevents::of(delivery)?, cloudevents::CONTENT_TYPE)),
    }
}

/// The payload's media type.
pub(super) fn content_type(delivery: &Delivery) -> &str {
    delivery.content_type().unwrap_or(JSON)
}

/// `application/json`, `application/problem+json`, or nothing said.
pub(super) fn is_json(delivery: &Delivery) -> bool {
    cloud_event::is_json(content_type(delivery))
}

/// The payload of a delivery that says it is JSON, checked to be: anything else would break the JSON around it.
///
/// # Errors
/// It is none.
pub(super) fn json(delivery: &Delivery) -> Result<&Bytes, AttemptVerdict> {
    serde_json::from_slice::<IgnoredAny>(&delivery.payload)
        .map(|_valid| &delivery.payload)
        .map_err(|error| AttemptVerdict::Unwritable(format!("the payload is not JSON: {error}")))
}

/// Writes a JSON text.
///
/// # Errors
/// None in practice: the buffer grows.
pub(super) fn text(body: &mut Writer, text: &str) -> Result<(), AttemptVerdict> {
    serde_json::to_writer(body, text)
        .map_err(|error| AttemptVerdict::Unwritable(format!("the body cannot be written: {error}")))
}

/// When the event occurred; when it was accepted, if its producer did not say.
pub(super) fn occurred_at(delivery: &Delivery) -> String {
    delivery.occurred_at().map_or_else(|| accepted_at(delivery), str::to_owned)
}

/// When the event was accepted.
pub(super) fn accepted_at(delivery: &Delivery) -> String {
    jiff::Timestamp::from_millisecond(delivery.accepted_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}
