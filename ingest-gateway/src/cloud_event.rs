//! `CloudEvents` 1.0 over HTTP, binary and structured mode, as events of ours. Pure.
//!
//! A `CloudEvent`'s identity is its own (source, id), so its source is kept instead of the gateway's. `partitionkey` is the
//! ordering key; every attribute Hookbus has no field for becomes metadata under its own name.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use percent_encoding::percent_decode;
use schemas::event::StringMap;
use schemas::problem::ProblemId;
use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::problem::{Faults, Refused, bad_body, too_deep};
use crate::validate::{self, BINARY, Event, JSON};
use crate::{json, parse};

/// Names the application where the token is of none; an attribute of ours, as `CloudEvents` names may be.
const APPLICATION: &str = "hookbusapplication";
const ATTRIBUTES: usize = 64;
const SOURCE_BYTES: std::ops::RangeInclusive<usize> = 1..=512;
const CONTENT_TYPE_BYTES: std::ops::RangeInclusive<usize> = 1..=256;

/// The attributes of one event as they are found.
#[derive(Default)]
struct Attributes<'a> {
    version: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    event_type: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    content_type: Option<Cow<'a, str>>,
    ordering_key: Option<Cow<'a, str>>,
    application: Option<Cow<'a, str>>,
    others: StringMap,
}

/// Binary mode: attributes in `ce-` headers, the body is the data.
pub(crate) fn binary<'a>(headers: &'a HeaderMap, body: &Bytes, payload_limit: usize) -> Result<Event<'a>, Refused> {
    let mut faults = Faults::default();
    let mut attributes = Attributes::default();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        match percent_decode(value.as_bytes()).decode_utf8() {
            Ok(text) => attributes.set(name, text, &mut faults),
            Err(_not_utf8) => faults.invalid(name, "is not UTF-8"),
        }
    }
    if let Some(content_type) = headers.get(CONTENT_TYPE) {
        match content_type.to_str() {
            Ok(text) => attributes.content_type = Some(Cow::Borrowed(text)),
            Err(_bytes) => faults.invalid("datacontenttype", "is not ASCII text"),
        }
    }
    let content_type = attributes.content_type.take().unwrap_or(Cow::Borrowed(BINARY));
    check_content_type(&content_type, &mut faults);
    let event = attributes.event(body.clone(), content_type, faults)?;
    if is_json(&event.content_type) {
        validate::check_json(parse::utf8(body)?, ProblemId::EventInvalidJsonPayload)?;
    }
    validate::check_size(body.len(), payload_limit)?;
    Ok(event)
}

/// Structured mode: one JSON object.
pub(crate) fn structured(body: &Bytes, payload_limit: usize) -> Result<Event<'_>, Refused> {
    let mut faults = Faults::default();
    let mut attributes = Attributes::default();
    let (mut data, mut data_base64) = (None, None);
    for (name, value) in members(parse::utf8(body)?)? {
        match name.as_str() {
            "data" => data = Some(value),
            "data_base64" => data_base64 = Some(value),
            _attribute if json::is_null(value) => {}
            name => match scalar(value) {
                Ok(text) => attributes.set(name, text, &mut faults),
                Err(message) => faults.invalid(name, message),
            },
        }
    }
    if data.is_some() && data_base64.is_some() {
        faults.invalid("data_base64", "stands beside data");
    }
    let content_type = attributes.content_type.take().unwrap_or(Cow::Borrowed(JSON));
    check_content_type(&content_type, &mut faults);
    let mut event = attributes.event(Bytes::new(), content_type, faults)?;
    event.payload = match (data, data_base64) {
        (_, Some(encoded)) => validate::base64(&validate::string(encoded)?)?,
        (Some(data), None) if json::is_string(data) && !is_json(&event.content_type) => {
            validate::kept(validate::string(data)?, body)
        }
        (Some(data), None) if json::is_too_deep(data.get()) => return Err(too_deep("the data")),
        (Some(data), None) => body.slice_ref(data.get().as_bytes()),
        (None, None) => return Err(crate::problem::field("data", "must be there, or data_base64")),
    };
    validate::check_size(event.payload.len(), payload_limit)?;
    Ok(event)
}

fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == JSON || media_type == "text/json" || media_type.ends_with("+json")
}

fn check_content_type(content_type: &str, faults: &mut Faults) {
    let printable = content_type.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !CONTENT_TYPE_BYTES.contains(&content_type.len()) || !printable {
        faults.invalid("datacontenttype", "must be 1 to 256 printable ASCII characters");
    }
}

/// An attribute's value as text: `CloudEvents` knows strings, integers and booleans.
fn scalar(raw: &RawValue) -> Result<Cow<'_, str>, &'static str> {
    let first = raw.get().bytes().next();
    match first {
        Some(b'"') => json::text(raw),
        Some(b'{' | b'[') | None => Err("must be a string, an integer or a boolean"),
        Some(_scalar) => Ok(Cow::Borrowed(raw.get())),
    }
}

fn members(json: &str) -> Result<Vec<(String, &RawValue)>, Refused> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let members = reader.deserialize_map(MembersVisitor).and_then(|members| reader.end().map(|()| members));
    members.map_err(|error| bad_body(error.to_string()))
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent, an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut members: Self::Value = Vec::new();
        while let Some(name) = entries.next_key::<String>()? {
            if members.len() == ATTRIBUTES || members.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom("an attribute stands twice, or there are more than 64"));
            }
            members.push((name, entries.next_value()?));
        }
        Ok(members)
    }
}

// === impl Attributes ===

impl<'a> Attributes<'a> {
    fn set(&mut self, name: &str, value: Cow<'a, str>, faults: &mut Faults) {
        let slot = match name {
            "specversion" => &mut self.version,
            "id" => &mut self.id,
            "source" => &mut self.source,
            "type" => &mut self.event_type,
            "time" => &mut self.time,
            "datacontenttype" => &mut self.content_type,
            "partitionkey" => &mut self.ordering_key,
            APPLICATION => &mut self.application,
            other => {
                if self.others.insert(other.to_owned(), value.into_owned()).is_some() {
                    faults.invalid(other, "stands twice");
                }
                return;
            }
        };
        if slot.replace(value).is_some() {
            faults.invalid(name, "stands twice");
        }
    }

    /// The event, if all attributes are right.
    fn event(self, payload: Bytes, content_type: Cow<'a, str>, mut faults: Faults) -> Result<Event<'a>, Refused> {
        if self.version.as_deref() != Some("1.0") {
            faults.invalid("specversion", "must be 1.0");
        }
        for (name, value) in [("id", &self.id), ("source", &self.source), ("type", &self.event_type)] {
            if value.is_none() {
                faults.invalid(name, "must be there");
            }
        }
        if let Some(id) = &self.id {
            validate::check_id("id", id, &mut faults);
        }
        if let Some(name) = &self.event_type {
            validate::check_event_type("type", name, &mut faults);
        }
        if let Some(source) = &self.source
            && !(SOURCE_BYTES.contains(&source.len()) && source.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            faults.invalid("source", "must be a URI reference of 1 to 512 visible ASCII characters");
        }
        if let Some(time) = &self.time {
            validate::check_time("time", time, &mut faults);
        }
        if let Some(key) = &self.ordering_key {
            validate::check_ordering_key("partitionkey", key, &mut faults);
        }
        if self.others.len() > validate::METADATA {
            faults.invalid("metadata", format!("more than {} other attributes", validate::METADATA));
        }
        faults.refuse()?;
        Ok(Event {
            application: self.application,
            event_type: self.event_type.expect("an absent type was a fault"),
            id: self.id,
            source: self.source,
            payload,
            content_type,
            occurred_at: self.time,
            labels: StringMap::new(),
            metadata: self.others,
            ordering_key: self.ordering_key,
        })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const LIMIT: usize = 1_000;

    fn headers(more: &[(&'static str, &'static str)]) -> HeaderMap {
        let least =
            [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/shop"), ("ce-type", "com.example.order.paid")];
        let all = least.iter().chain(more);
        all.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn binary_mode_keeps_the_body_and_its_content_type() {
        let body = Bytes::from_static(b"{ \"a\" : 1 }");
        let headers = headers(&[
            ("content-type", "application/json"),
            ("ce-subject", "caf%C3%A9"),
            ("ce-partitionkey", "k"),
            ("ce-time", "2026-11-22T10:30:00Z"),
        ]);
        let event = binary(&headers, &body, LIMIT).unwrap();
        assert_eq!(event.payload, body);
        assert_eq!((&*event.content_type, event.source.as_deref()), ("application/json", Some("/shop")));
        assert_eq!(event.metadata["subject"], "caf\u{e9}");
        assert_eq!(event.ordering_key.as_deref(), Some("k"));
        assert_eq!(event.occurred_at.as_deref(), Some("2026-11-22T10:30:00Z"));
    }

    #[test]
    fn binary_mode_checks_json_and_size_and_takes_anything_else_as_it_is() {
        let json = headers(&[("content-type", "application/vnd.shop+json")]);
        assert_eq!(binary(&json, &Bytes::from_static(b"{"), LIMIT).unwrap_err().id, "EventInvalidJsonPayload");
        assert_eq!(binary(&json, &Bytes::from(vec![b'1'; LIMIT + 1]), LIMIT).unwrap_err().status, 413);
        let event =
            binary(&headers(&[]), &Bytes::from_static(b"\xff\x00"), LIMIT).map(|event| event.content_type.into_owned());
        assert_eq!(event.unwrap(), BINARY);
    }

    #[test]
    fn structured_mode_slices_data_and_decodes_base64() {
        let attributes = r#""specversion":"1.0","id":"1","source":"/shop","type":"order.paid","count":3"#;
        let body = Bytes::from(format!(r#"{{{attributes},"data": {{ "a" : [1 ,2] }} }}"#));
        let event = structured(&body, LIMIT).unwrap();
        assert_eq!(event.payload, r#"{ "a" : [1 ,2] }"#);
        assert_eq!(event.metadata["count"], "3");
        let body = Bytes::from(format!(r#"{{{attributes},"datacontenttype":"image/png","data_base64":"AP8="}}"#));
        assert_eq!(structured(&body, LIMIT).unwrap().payload, &b"\x00\xff"[..]);
        let body = Bytes::from(format!(r#"{{{attributes},"datacontenttype":"text/plain","data":"a\nb"}}"#));
        assert_eq!(structured(&body, LIMIT).unwrap().payload, "a\nb");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let body = Bytes::from_static(br#"{"specversion":"0.3","type":"x","source":"a b","time":"now","ext":{}}"#);
        let tree = structured(&body, LIMIT).unwrap_err().validation.unwrap();
        let named: Vec<&String> = tree.as_object().unwrap().keys().collect();
        assert_eq!(named, ["ext", "id", "source", "specversion", "time", "type"]);
        let twice = Bytes::from_static(br#"{"id":"1","id":"2"}"#);
        assert_eq!(structured(&twice, LIMIT).unwrap_err().id, "JsonPayload");
    }
}
