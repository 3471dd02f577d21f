//! The envelope: `{"event_id","event_type","api_version","created_at","data"}`, the payload in it byte for byte.

use bytes::{BufMut, Bytes, BytesMut};
use schemas::delivery::Delivery;
use schemas::header;
use serde::de::IgnoredAny;

use crate::classify::Verdict;

/// The envelope of a delivery. A payload that is not JSON stands in it as a text.
///
/// # Errors
/// A payload that says it is JSON and is not, or that is neither JSON nor text.
pub(crate) fn of(delivery: &Delivery, api_version: Option<&str>) -> Result<Bytes, Verdict> {
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
    text(&mut body, &created_at(delivery))?;
    body.get_mut().put_slice(b",\"data\":");
    if is_json(delivery.content_type()) {
        serde_json::from_slice::<IgnoredAny>(payload)
            .map_err(|error| Verdict::Unwritable(format!("the payload is not JSON: {error}")))?;
        body.get_mut().put_slice(payload);
    } else {
        let payload = std::str::from_utf8(payload)
            .map_err(|_invalid| Verdict::Unwritable("a binary payload does not fit an envelope".to_owned()))?;
        text(&mut body, payload)?;
    }
    body.get_mut().put_u8(b'}');
    Ok(body.into_inner().freeze())
}

fn text(body: &mut bytes::buf::Writer<BytesMut>, text: &str) -> Result<(), Verdict> {
    serde_json::to_writer(body, text)
        .map_err(|error| Verdict::Unwritable(format!("the envelope cannot be written: {error}")))
}

/// When it occurred; when it was accepted, if its producer did not say.
fn created_at(delivery: &Delivery) -> String {
    delivery.headers.text(header::CE_TIME).map_or_else(
        || jiff::Timestamp::from_millisecond(delivery.accepted_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string(),
        str::to_owned,
    )
}

/// `application/json`, `application/problem+json`, or nothing said.
fn is_json(content_type: Option<&str>) -> bool {
    let essence = content_type.unwrap_or("application/json").split(';').next().unwrap_or_default().trim();
    let subtype = essence.split_once('/').map_or("", |(_, subtype)| subtype);
    subtype.eq_ignore_ascii_case("json") || subtype.to_ascii_lowercase().ends_with("+json")
}
