//! `CloudEvents` over HTTP: what stands in an envelope is what is taken, and both modes say the same of the same event.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use schemas::cloud_event::is_json;
use schemas::event::EventHeaders;
use schemas::header;

use super::{LIMIT, Members, assert_readable, assert_told};
use crate::cloud_event;
use crate::validate::Event;

/// An envelope.
pub fn structured(data: &[u8]) -> bool {
    let body = Bytes::copy_from_slice(data);
    let event = match cloud_event::structured(&body, LIMIT) {
        Ok(event) => event,
        Err(refused) => {
            assert_told(&refused);
            return false;
        }
    };
    let members: Members = serde_json::from_slice(data).expect("an envelope that was taken is an object");
    let given = |name: &str| {
        let raw = members.get(name).map(|raw| raw.get()).filter(|raw| *raw != "null")?;
        // A number or a boolean is its own text.
        Some(serde_json::from_str::<String>(raw).unwrap_or_else(|_scalar| raw.to_owned()))
    };
    for (name, ours) in [
        ("id", event.id.as_deref()),
        ("source", event.source.as_deref()),
        ("type", Some(&*event.event_type)),
        ("time", event.occurred_at.as_deref()),
        ("partitionkey", event.ordering_key.as_deref()),
        ("hookbusapplication", event.application.as_deref()),
    ] {
        assert_eq!(ours, given(name).as_deref(), "{name}");
    }
    for (name, value) in &event.extensions {
        assert_eq!(Some(&*value.text), given(name).as_deref(), "{name}");
    }
    match members.get("data") {
        Some(data) if !is_json(&event.content_type) && data.get().starts_with('"') => {
            let text: String = serde_json::from_str(data.get()).expect("a text is a string");
            assert_eq!(event.payload, text);
        }
        Some(data) => {
            assert_eq!(event.payload, data.get());
            assert_readable(&event.payload);
        }
        None if given("data_base64").is_none() => assert!(event.payload.is_empty()),
        None => {}
    }
    same_in_binary_mode(&event);
    true
}

/// An event in binary mode: `name: value|name: value||body`.
pub fn binary(data: &[u8]) -> bool {
    let cut = data.windows(2).position(|two| two == b"||");
    let (head, body) = cut.map_or((data, &[][..]), |at| (&data[..at], &data[at + 2..]));
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'|') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        let pair = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii()));
        if let (Ok(name), Ok(value)) = pair {
            headers.append(name, value);
        }
    }
    let body = Bytes::copy_from_slice(body);
    match cloud_event::binary(&headers, &body, LIMIT) {
        Ok(event) => {
            assert_eq!(event.payload, body);
            if is_json(&event.content_type) && !body.is_empty() {
                assert_readable(&body);
            }
            let known = headers.keys().filter(|name| name.as_str().starts_with("ce-")).count();
            assert!(known >= 4 + event.extensions.len());
            same_in_binary_mode(&event);
            as_record(&event);
            true
        }
        Err(refused) => {
            assert_told(&refused);
            false
        }
    }
}

/// The event as headers, and back.
fn same_in_binary_mode(event: &Event<'_>) {
    // What says it is JSON and is none was base64 in its envelope, which nobody looks into.
    let is_broken =
        is_json(&event.content_type) && serde_json::from_slice::<&serde_json::value::RawValue>(&event.payload).is_err();
    let is_other = |name: &String| {
        HeaderName::from_bytes(format!("ce-{name}").as_bytes()).map_or(true, |it| it.as_str() != format!("ce-{name}"))
    };
    if (is_broken && !event.payload.is_empty()) || event.extensions.keys().any(is_other) {
        return;
    }
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &str| {
        let name = HeaderName::from_bytes(format!("ce-{name}").as_bytes()).expect("the name of a header");
        let value = percent_encode(value.as_bytes(), NON_ALPHANUMERIC).to_string();
        headers.insert(name, HeaderValue::from_str(&value).expect("percent-encoded text is ASCII"));
    };
    add("specversion", "1.0");
    add("type", &event.event_type);
    for (name, value) in [
        ("id", &event.id),
        ("source", &event.source),
        ("time", &event.occurred_at),
        ("hookbusapplication", &event.application),
    ] {
        value.iter().for_each(|value| add(name, value));
    }
    event.extensions.iter().for_each(|(name, value)| add(name, &value.text));
    if !event.content_type.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(&event.content_type).expect("printable ASCII"));
    }
    let again = match cloud_event::binary(&headers, &event.payload, LIMIT) {
        Ok(again) => again,
        // Whoever said `+json` of base64 may have meant what nests too deeply: only the mode that reads it says so.
        Err(refused) if refused.id == "EventInvalidJsonPayload" => return,
        Err(refused) => panic!("{event:?} is refused in binary mode: {refused:?}"),
    };
    let texts = |event: &Event<'_>| -> Vec<(String, String)> {
        event.extensions.iter().map(|(name, value)| (name.clone(), value.text.clone().into_owned())).collect()
    };
    assert_eq!(texts(&again), texts(event));
    assert_eq!(
        (&again.id, &again.source, &again.event_type, &again.occurred_at, &again.application, &again.ordering_key),
        (&event.id, &event.source, &event.event_type, &event.occurred_at, &event.application, &event.ordering_key)
    );
    assert_eq!(again.payload, event.payload);
}

/// The event as its record: every attribute is there as it was given.
fn as_record(event: &Event<'_>) {
    let headers = EventHeaders {
        id: event.id.as_deref().unwrap_or_default(),
        is_id_made: false,
        event_type: &event.event_type,
        source: event.source.as_deref().unwrap_or_default(),
        time: event.occurred_at.as_deref().unwrap_or_default(),
        content_type: &event.content_type,
        application: event.application.as_deref().unwrap_or_default(),
        labels: Some(&event.labels),
        metadata: Some(&event.metadata),
        ip: None,
    };
    let headers = headers.encode_with(&event.extensions).expect("strings are JSON");
    assert_eq!(headers.text(header::CE_ID), event.id.as_deref());
    assert_eq!(headers.text(header::CE_TYPE), Some(&*event.event_type));
    for (name, value) in &event.extensions {
        assert_eq!(headers.text(&format!("ce_{name}")), Some(&*value.text), "{name}");
    }
}
