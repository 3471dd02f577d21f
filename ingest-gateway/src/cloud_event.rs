//! `CloudEvents` 1.0 over HTTP, binary and structured mode, as events of ours. Pure.
//!
//! A `CloudEvent`'s identity is its own (source, id), so its source is kept instead of the gateway's. `partitionkey` is the
//! ordering key. Every attribute Hookbus has no field for travels on as an extension, with its type. What an event may look like
//! is decided in [`schemas::cloud_event`], as for events that come through Kafka.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use percent_encoding::percent_decode;
use schemas::cloud_event::{self as rule, APPLICATION, BINARY, Data, MAX_EXTENSIONS, Scalar, is_json};
use schemas::event::{Extensions, StringMap};
use schemas::problem::ProblemId;
use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{self, quoted};
use crate::parse;
use crate::problem::{Faults, Refused, bad_body, too_deep};
use crate::validate::{self, Event};

const ATTRIBUTES: usize = 64;
const SOURCE_BYTES: std::ops::RangeInclusive<usize> = 1..=512;
const CONTENT_TYPE_BYTES: std::ops::RangeInclusive<usize> = 1..=256;

/// The attributes of one event as they are found.
#[derive(Default)]
struct FoundAttributes<'a> {
    version: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    event_type: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    content_type: Option<Cow<'a, str>>,
    ordering_key: Option<Cow<'a, str>>,
    application: Option<Cow<'a, str>>,
    extensions: Extensions<'a>,
}

/// Binary mode: attributes in `ce-` headers, the body is the data.
pub(crate) fn binary<'a>(headers: &'a HeaderMap, body: &Bytes, payload_limit: usize) -> Result<Event<'a>, Refused> {
    let mut faults = Faults::default();
    let mut attributes = FoundAttributes::default();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        match percent_decode(value.as_bytes()).decode_utf8() {
            Ok(text) => attributes.set(name, Scalar { text, of_type: None }, &mut faults),
            Err(_not_utf8) => faults.invalid(name, "is not UTF-8"),
        }
    }
    if let Some(content_type) = headers.get(CONTENT_TYPE) {
        match content_type.to_str() {
            Ok(text) => attributes.content_type = Some(Cow::Borrowed(text)),
            Err(_bytes) => faults.invalid("datacontenttype", "is not ASCII text"),
        }
    }
    let default = if body.is_empty() { "" } else { BINARY };
    let content_type = attributes.content_type.take();
    check_content_type(content_type.as_deref(), &mut faults);
    let event = attributes.event(body.clone(), content_type.unwrap_or(Cow::Borrowed(default)), faults)?;
    if is_json(&event.content_type) && !body.is_empty() {
        validate::check_json(parse::utf8(body)?, ProblemId::EventInvalidJsonPayload)?;
    }
    validate::check_size(body.len(), payload_limit)?;
    Ok(event)
}

/// Structured mode: one JSON object.
pub(crate) fn structured(body: &Bytes, payload_limit: usize) -> Result<Event<'_>, Refused> {
    let mut faults = Faults::default();
    let mut attributes = FoundAttributes::default();
    let (mut data, mut data_base64) = (None, None);
    for (name, value) in members(parse::utf8(body)?)? {
        match name.as_str() {
            "data" => data = Some(value),
            "data_base64" => data_base64 = Some(value),
            name => match rule::scalar(value) {
                Ok(Some(scalar)) => attributes.set(name, scalar, &mut faults),
                Ok(None) => {}
                Err(message) => faults.invalid(name, message),
            },
        }
    }
    let content_type = attributes.content_type.take();
    check_content_type(content_type.as_deref(), &mut faults);
    let (data, content_type) = match rule::data(data, data_base64, content_type) {
        Ok((data, content_type)) => (data, content_type.unwrap_or_default()),
        Err(wrong) => {
            faults.invalid(wrong.member, wrong.message);
            (Data::None, Cow::Borrowed(""))
        }
    };
    let mut event = attributes.event(Bytes::new(), content_type, faults)?;
    event.payload = match data {
        Data::None => Bytes::new(),
        Data::Json(json) if json::is_too_deep(json) => return Err(too_deep("the data")),
        Data::Json(json) => body.slice_ref(json.as_bytes()),
        Data::Text(text) => validate::kept(text, body),
        Data::Bytes(bytes) => bytes,
    };
    validate::check_size(event.payload.len(), payload_limit)?;
    Ok(event)
}

fn check_content_type(content_type: Option<&str>, faults: &mut Faults) {
    let Some(content_type) = content_type else { return };
    let printable = content_type.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !CONTENT_TYPE_BYTES.contains(&content_type.len()) || !printable {
        faults.invalid("datacontenttype", "must be 1 to 256 printable ASCII characters");
    }
    // Whoever reads the record takes what has such a type for the event itself, as the Kafka binding has it.
    if rule::structured_format(content_type.as_bytes()).is_some() {
        faults.invalid(
            "datacontenttype",
            "must not be a CloudEvent's own: send the event inside as an event, or name its data application/json",
        );
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

// === impl FoundAttributes ===

impl<'a> FoundAttributes<'a> {
    fn set(&mut self, name: &str, value: Scalar<'a>, faults: &mut Faults) {
        let field = match name {
            "specversion" => &mut self.version,
            "id" => &mut self.id,
            "source" => &mut self.source,
            "type" => &mut self.event_type,
            "time" => &mut self.time,
            "datacontenttype" => &mut self.content_type,
            "partitionkey" => &mut self.ordering_key,
            APPLICATION => &mut self.application,
            other => {
                if !rule::is_extension_name(other) {
                    faults.invalid(&quoted(other), "must have a name of visible ASCII characters");
                } else if self.extensions.insert(other.to_owned(), value).is_some() {
                    faults.invalid(other, "stands twice");
                }
                return;
            }
        };
        if field.replace(value.text).is_some() {
            faults.invalid(name, "stands twice");
        }
    }

    /// The event, if all attributes are right.
    fn event(self, payload: Bytes, content_type: Cow<'a, str>, mut faults: Faults) -> Result<Event<'a>, Refused> {
        if !self.version.as_deref().is_some_and(rule::is_version) {
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
        if self.extensions.len() > MAX_EXTENSIONS {
            faults.invalid("specversion", format!("stands beside more than {MAX_EXTENSIONS} extension attributes"));
        }
        faults.refuse()?;
        let mut extensions = self.extensions;
        if let Some(key) = &self.ordering_key {
            // An extension as any other, which also is the record's key.
            extensions.insert("partitionkey".to_owned(), Scalar { text: key.clone(), of_type: None });
        }
        Ok(Event {
            application: self.application,
            event_type: self.event_type.expect("an absent type was a fault"),
            id: self.id,
            source: self.source,
            payload,
            content_type,
            occurred_at: self.time,
            labels: StringMap::new(),
            metadata: StringMap::new(),
            extensions,
            ordering_key: self.ordering_key,
        })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use schemas::cloud_event::ScalarType;

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
        assert_eq!(event.extensions["subject"].text, "caf\u{e9}");
        assert_eq!(event.extensions["partitionkey"].text, "k");
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
        assert_eq!(event.extensions["count"], Scalar { text: "3".into(), of_type: Some(ScalarType::Number) });
        let body = Bytes::from(format!(r#"{{{attributes},"datacontenttype":"image/png","data_base64":"AP8="}}"#));
        assert_eq!(structured(&body, LIMIT).unwrap().payload, &b"\x00\xff"[..]);
        let body = Bytes::from(format!(r#"{{{attributes},"datacontenttype":"text/plain","data":"a\nb"}}"#));
        assert_eq!(structured(&body, LIMIT).unwrap().payload, "a\nb");
    }

    #[test]
    fn an_event_needs_no_data_and_then_no_content_type() {
        let attributes = r#""specversion":"1.0","id":"1","source":"/shop","type":"order.paid""#;
        for more in ["", r#","data_base64":null"#] {
            let body = Bytes::from(format!("{{{attributes}{more}}}"));
            let event = structured(&body, LIMIT).unwrap();
            assert_eq!((&event.payload[..], &*event.content_type), (&b""[..], ""), "{more}");
        }
        let event =
            structured(&Bytes::from(format!(r#"{{{attributes},"data":null}}"#)), LIMIT).map(|e| e.payload.to_vec());
        assert_eq!(event.unwrap(), b"null", "`null` is a value");
        for content_type in ["application/json", "text/plain"] {
            let headers = headers(&[("content-type", content_type)]);
            let event = binary(&headers, &Bytes::new(), LIMIT).unwrap();
            assert_eq!((&event.payload[..], &*event.content_type), (&b""[..], content_type));
        }
        let headers = headers(&[]);
        assert_eq!(binary(&headers, &Bytes::new(), LIMIT).unwrap().content_type, "");
    }

    #[test]
    fn data_that_is_a_cloud_event_itself_is_refused_because_its_record_would_be_read_as_that_one() {
        let inner = r#"{"specversion":"1.0","id":"other","source":"/t","type":"x.y","data":1}"#;
        let attributes = r#""specversion":"1.0","id":"1","source":"/shop","type":"order.paid""#;
        for content_type in [
            "application/cloudevents+json",
            " Application/CloudEvents-batch+json; charset=utf-8",
            "application/cloudevents",
        ] {
            let body =
                Bytes::from(format!(r#"{{{attributes},"datacontenttype":"{content_type}","data_base64":"AP8="}}"#));
            let headers = headers(&[("content-type", content_type)]);
            let refused =
                [structured(&body, LIMIT).unwrap_err(), binary(&headers, &Bytes::from(inner), LIMIT).unwrap_err()];
            for refused in refused {
                assert_eq!(refused.status, 422, "{content_type}");
                let why = refused.validation.unwrap()["datacontenttype"].to_string();
                assert!(why.contains("must not be a CloudEvent's own"), "{why}");
            }
        }
        let near = headers(&[("content-type", "application/cloud+json")]);
        assert!(binary(&near, &Bytes::from(inner), LIMIT).is_ok());
    }

    #[test]
    fn bytes_that_do_not_say_what_they_are_are_bytes() {
        let attributes = r#""specversion":"1.0","id":"1","source":"/shop","type":"order.paid""#;
        let body = Bytes::from(format!(r#"{{{attributes},"data_base64":"AP8="}}"#));
        assert_eq!(structured(&body, LIMIT).unwrap().content_type, BINARY);
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
