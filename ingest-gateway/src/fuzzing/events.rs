//! The walker over the body's JSON: what it slices is what `serde_json` reads there.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemas::event::StringMap;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{LIMIT, Members, assert_readable, assert_told, is_refused_for_depth, text};
use crate::parse::FIELDS;
use crate::problem::Refused;
use crate::validate::Event;
use crate::{json, parse, validate};

/// Pairs of a map and events of a list that are taken here.
const FEW: usize = 3;

/// A body, as one event, as a list of events, and as a value.
pub fn json(data: &[u8]) -> bool {
    let body = Bytes::copy_from_slice(data);
    let Ok(text) = parse::utf8(&body) else {
        assert!(data.is_empty() || std::str::from_utf8(data).is_err());
        return false;
    };
    depth(text);
    if let Ok(raw) = serde_json::from_str::<&RawValue>(text) {
        strings(raw);
    }
    list(text);
    let event = parse::event(text).and_then(|raw| validate::event(&raw, &body, LIMIT));
    event_as_read(text, &event);
    // Most promises are about any JSON.
    json::check(text).is_ok()
}

fn depth(text: &str) {
    let is_json = json::check(text).is_ok();
    match serde_json::from_str::<Value>(text) {
        Ok(_value) => assert!(is_json && !json::is_too_deep(text)),
        Err(error) if is_json && is_refused_for_depth(&error) => assert!(json::is_too_deep(text)),
        Err(_error) => {}
    }
}

fn strings(raw: &RawValue) {
    let theirs = serde_json::from_str::<String>(raw.get());
    assert_eq!(json::text(raw).ok().as_deref(), theirs.ok().as_deref());
    let theirs = serde_json::from_str::<StringMap>(raw.get());
    match json::string_map(raw, FEW) {
        Ok(map) => assert_eq!(Some(map), theirs.ok()),
        // A key twice, or too many.
        Err(_message) => assert!(theirs.is_err() || pairs(raw) > FEW || theirs.is_ok_and(|map| map.len() < pairs(raw))),
    }
}

fn list(json: &str) {
    let theirs: Option<Vec<Box<RawValue>>> = serde_json::from_str(json).ok();
    let theirs = theirs.filter(|list| (1..=FEW).contains(&list.len()));
    let ours = parse::array(json, FEW).ok();
    let texts = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        ours.map(|list| texts(list.into_iter().map(RawValue::get).collect())),
        theirs.map(|list| texts(list.iter().map(|raw| raw.get()).collect()))
    );
    if let Ok(events) = parse::batch(json, FEW) {
        let members: BTreeMap<String, Vec<Box<RawValue>>> = serde_json::from_str(json).expect("a batch is an object");
        assert_eq!(events.len(), members["events"].len());
    }
}

fn event_as_read(json: &str, event: &Result<Event<'_>, Refused>) {
    let members = serde_json::from_str::<Members>(json);
    let event = match event {
        Ok(event) => event,
        Err(refused) => {
            assert_told(refused);
            assert_eq!(members.is_err(), refused.id == "JsonPayload", "{refused:?}");
            return;
        }
    };
    let members = members.expect("an event that was taken is an object");
    assert!(members.keys().all(|name| FIELDS.contains(&name.as_str())));
    assert_eq!(event.application.as_deref(), text(&members, "application_id").as_deref());
    assert_eq!(Some(&*event.event_type), text(&members, "event_type").as_deref());
    assert_eq!(event.id.as_deref(), text(&members, "event_id").as_deref());
    assert_eq!(event.occurred_at.as_deref(), text(&members, "occurred_at").as_deref());
    assert_eq!(event.ordering_key.as_deref(), text(&members, "ordering_key").as_deref());
    for (name, ours) in [("labels", &event.labels), ("metadata", &event.metadata)] {
        let given = members.get(name).filter(|raw| raw.get() != "null");
        let theirs = given.map(|raw| serde_json::from_str(raw.get()).expect("a map of strings"));
        assert_eq!(*ours, theirs.unwrap_or_default(), "{name}");
    }
    payload_as_read(&members, event);
}

fn payload_as_read(members: &Members, event: &Event<'_>) {
    assert!(event.payload.len() <= LIMIT);
    let raw = &members["payload"];
    let is_string = raw.get().starts_with('"');
    match text(members, "payload_content_type").as_deref() {
        None | Some(validate::JSON) if !is_string => assert_eq!(event.payload, raw.get()),
        Some("application/octet-stream+base64") => {
            let given = serde_json::from_str::<String>(raw.get()).expect("base64 is a string");
            assert_eq!(STANDARD.encode(&event.payload), given);
        }
        Some(_text) => {
            let given = serde_json::from_str::<String>(raw.get()).expect("a text is a string");
            assert_eq!(event.payload, given);
        }
        None => panic!("a string was taken without a content type"),
    }
    if event.content_type == validate::JSON {
        assert_readable(&event.payload);
    }
}

/// How many pairs an object has, repeated keys too.
fn pairs(raw: &RawValue) -> usize {
    struct Count;
    impl<'de> Visitor<'de> for Count {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<usize, A::Error> {
            let mut count = 0;
            while let Some((IgnoredAny, IgnoredAny)) = entries.next_entry()? {
                count += 1;
            }
            Ok(count)
        }
    }
    serde_json::Deserializer::from_str(raw.get()).deserialize_map(Count).unwrap_or(0)
}
