//! A CloudEvents 1.0 event in structured mode, JSON format: JSON payloads in `data` byte for byte, others in `data_base64`.
//!
//! Extension attributes that a producer set on its record (`ce_subject`, `ce_traceparent`, ...) come along: as texts, or as the
//! numbers and booleans that `hookbus-extension-types` says they were.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use schemas::cloud_event::{self, ExtensionTypes};
use schemas::delivery::Delivery;
use schemas::header;

use super::body::{Writer, accepted_at, content_type, is_json, json, occurred_at, text};
use crate::classify::AttemptVerdict;

/// Of the body.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";
/// Before an attribute's name in a record's headers.
const PREFIX: &[u8] = b"ce_";
/// Attributes that are written here, and the names of the payload.
const OWN: [&str; 8] = ["specversion", "id", "source", "type", "time", "datacontenttype", "data", "data_base64"];

/// The event of a delivery.
///
/// # Errors
/// A payload that says it is JSON and is not.
pub(super) fn of(delivery: &Delivery) -> Result<Bytes, AttemptVerdict> {
    let payload = &delivery.payload;
    let mut body = BytesMut::with_capacity(payload.len() + 384).writer();
    body.get_mut().put_slice(b"{\"specversion\":\"1.0\"");
    attribute(&mut body, "id", delivery.event_id())?;
    attribute(&mut body, "source", delivery.event_source())?;
    attribute(&mut body, "type", delivery.event_type())?;
    attribute(&mut body, "time", &time(delivery))?;
    extensions(&mut body, delivery)?;
    if payload.is_empty() {
        // An event without data has a type only if its producer said one.
        delivery.content_type().map_or(Ok(()), |of_type| attribute(&mut body, "datacontenttype", of_type))?;
        body.get_mut().put_u8(b'}');
        return Ok(body.into_inner().freeze());
    }
    attribute(&mut body, "datacontenttype", content_type(delivery))?;
    if is_json(delivery) {
        body.get_mut().put_slice(b",\"data\":");
        body.get_mut().put_slice(json(delivery)?);
    } else {
        attribute(&mut body, "data_base64", &STANDARD.encode(payload))?;
    }
    body.get_mut().put_u8(b'}');
    Ok(body.into_inner().freeze())
}

/// The specification wants RFC 3339; a producer of its own may have written anything.
fn time(delivery: &Delivery) -> String {
    let said = occurred_at(delivery);
    if said.parse::<jiff::Timestamp>().is_ok() { said } else { accepted_at(delivery) }
}

fn extensions(body: &mut Writer, delivery: &Delivery) -> Result<(), AttemptVerdict> {
    // What cannot be read says nothing: then all of them are texts.
    let types = delivery.headers.get(header::EXTENSION_TYPES).and_then(|json| serde_json::from_slice(json).ok());
    let types: ExtensionTypes = types.unwrap_or_default();
    for (header, value) in delivery.headers.iter() {
        let Some(name) = header.strip_prefix(PREFIX).and_then(|name| std::str::from_utf8(name).ok()) else { continue };
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        // Of a header that stands there twice the last one counts.
        let is_last = std::str::from_utf8(header)
            .is_ok_and(|header| delivery.headers.get(header).is_some_and(|last| std::ptr::eq(last, value)));
        if let (true, true, false, Ok(value)) = (is_name, is_last, OWN.contains(&name), std::str::from_utf8(value)) {
            match cloud_event::literal(value, types.get(name).copied()) {
                Some(literal) => member(body, name, literal),
                None => attribute(body, name, value)?,
            }
        }
    }
    Ok(())
}

/// A member whose value is JSON already.
fn member(body: &mut Writer, name: &str, json: &str) {
    body.get_mut().put_slice(b",\"");
    body.get_mut().put_slice(name.as_bytes());
    body.get_mut().put_slice(b"\":");
    body.get_mut().put_slice(json.as_bytes());
}

fn attribute(body: &mut Writer, name: &str, value: &str) -> Result<(), AttemptVerdict> {
    body.get_mut().put_slice(b",\"");
    body.get_mut().put_slice(name.as_bytes());
    body.get_mut().put_slice(b"\":");
    text(body, value)
}
