//! Records whose value is the body of `POST /event`: read by what the gateway reads it with.

use std::borrow::Cow;

use bytes::Bytes;
use schemas::event::StringMap;
use schemas::problem::Problem;
use schemas::rejected::RejectReason;

use crate::attributes::GivenAttributes;
use crate::carried::Carried;
use crate::event_body::{parse, validate};
use crate::map::RecordAt;
use crate::{Event, Rejection};

/// The event that a body says, and what templates say in its place.
pub(crate) fn event<'a>(
    at: RecordAt<'a>,
    value: &'a Bytes,
    given: GivenAttributes<'a>,
    needs_type: bool,
) -> Result<Event<'a>, Rejection> {
    let raw = parse::utf8(value).and_then(parse::event).map_err(|refused| rejection(&refused))?;
    // How large a payload may be says the topic it goes to.
    let read = validate::checked(&raw, value, usize::MAX, needs_type).map_err(|refused| rejection(&refused))?;
    let own_type = Some(read.event_type).filter(|own| !own.is_empty());
    let given = GivenAttributes {
        application: given.application.or(read.application),
        event_type: given.event_type.or(own_type),
        id: given.id.or(read.id),
        time: given.time.or(read.occurred_at),
        labels: given.labels.or_else(|| map(&read.labels)),
        default_type: given.default_type,
    };
    let content_type = Some(read.content_type).filter(|it| !it.is_empty());
    let (payload, metadata, ordering_key) = (read.payload, map(&read.metadata), read.ordering_key);
    Carried { payload, content_type, data_schema: None, metadata, ordering_key }.event(at, given)
}

/// The application that a body names, if it is one.
pub(crate) fn named_application(value: &[u8]) -> Option<Cow<'_, str>> {
    let raw = parse::utf8(value).and_then(parse::event).ok()?;
    let named = raw.optional(parse::Field::ApplicationId as usize)?;
    crate::event_body::json::text(named).ok()
}

fn map(map: &StringMap) -> Option<Vec<u8>> {
    (!map.is_empty()).then(|| serde_json::to_vec(map).expect("a map of strings is JSON"))
}

/// What the gateway answers with, as a rejection.
fn rejection(refused: &Problem) -> Rejection {
    let reason = match refused.status {
        413 => RejectReason::TooLarge,
        422 => RejectReason::InvalidAttribute,
        _no_body_of_ours => RejectReason::Undecodable,
    };
    Rejection::new(reason, refused.detail.chars().take(1_000).collect::<String>())
}
