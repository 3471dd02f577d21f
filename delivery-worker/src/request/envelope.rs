//! The envelope: `{"event_id","event_type","api_version","created_at","data"}`, the payload in it byte for byte.

use bytes::{BufMut, Bytes, BytesMut};
use schemas::delivery::Delivery;

use super::body::{is_json, json, occurred_at, text};
use crate::classify::AttemptVerdict;

/// The envelope of a delivery. A payload that is not JSON stands in it as a text.
///
/// # Errors
/// A payload that says it is JSON and is not, or that is neither JSON nor text.
pub(super) fn of(delivery: &Delivery, api_version: Option<&str>) -> Result<Bytes, AttemptVerdict> {
    let payload = &delivery.payload;
    let mut body = BytesMut::with_capacity(payload.len() + 256).writer();
    body.get_mut().put_slice(b"{\"event_id\":");
    text(&mut body, delivery.event_id())?;
    body.get_mut().put_slice(b",\"event_type\":");
    text(&mut body, delivery.event_type())?;
    if let Some(version) = api_version {
        body.get_mut().put_slice(b",\"api_version\":");
        text(&mut body, version)?;
    }
    body.get_mut().put_slice(b",\"created_at\":");
    text(&mut body, &occurred_at(delivery))?;
    body.get_mut().put_slice(b",\"data\":");
    if payload.is_empty() && is_json(delivery) {
        // An event without data.
        body.get_mut().put_slice(b"null");
    } else if is_json(delivery) {
        body.get_mut().put_slice(json(delivery)?);
    } else {
        let payload = std::str::from_utf8(payload)
            .map_err(|_invalid| AttemptVerdict::Unwritable("a binary payload does not fit an envelope".to_owned()))?;
        text(&mut body, payload)?;
    }
    body.get_mut().put_u8(b'}');
    Ok(body.into_inner().freeze())
}
