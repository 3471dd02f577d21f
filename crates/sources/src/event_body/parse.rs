//! The body's JSON, field by field, nothing decoded yet: values stay slices of the body. Pure.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::faults::{Faults, Refused, bad_body};
use super::json;

/// The fields of an event, in the order of [`Field`].
pub const FIELDS: [&str; 9] = [
    "application_id",
    "event_type",
    "event_id",
    "payload",
    "payload_content_type",
    "occurred_at",
    "labels",
    "metadata",
    "ordering_key",
];

/// Unknown or repeated fields that are named in one answer; more are only counted out.
const NAMED_FAULTS: usize = 16;

/// Index into [`FIELDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Id or uid of its application.
    ApplicationId,
    /// Its type.
    EventType,
    /// Its id.
    EventId,
    /// Its payload.
    Payload,
    /// What that is.
    PayloadContentType,
    /// When it occurred.
    OccurredAt,
    /// What subscriptions are chosen by, beside the type.
    Labels,
    /// What else is said of it.
    Metadata,
    /// The key of its record.
    OrderingKey,
}

/// An object's values by known field; `N` is how many are known.
#[derive(Debug)]
pub struct RawFields<'a, const N: usize> {
    values: [Option<&'a RawValue>; N],
    unknown: Vec<String>,
    repeated: Vec<usize>,
}

/// An event as it stands in a body.
pub type RawEvent<'a> = RawFields<'a, { FIELDS.len() }>;

/// Reads one event.
///
/// # Errors
/// What is wrong with it.
pub fn event(json: &str) -> Result<RawEvent<'_>, Refused> {
    fields(json, &FIELDS)
}

/// Reads one object of the known fields.
///
/// # Errors
/// What is wrong with it.
pub fn fields<'a, const N: usize>(
    json: &'a str,
    known: &'static [&'static str; N],
) -> Result<RawFields<'a, N>, Refused> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let fields = reader.deserialize_map(FieldsVisitor { known });
    let fields = fields.and_then(|fields| reader.end().map(|()| fields));
    fields.map_err(|error| bad_body(error.to_string()))
}

/// The events of `{"events": [...]}`; more than `limit` are an error.
///
/// # Errors
/// What is wrong with it.
pub fn batch(json: &str, limit: usize) -> Result<Vec<&RawValue>, Refused> {
    const KNOWN: [&str; 1] = ["events"];
    let outer = fields(json, &KNOWN)?;
    let mut faults = Faults::default();
    outer.name_faults(&KNOWN, &mut faults);
    faults.refuse()?;
    let [events] = outer.values;
    let events = events.ok_or_else(|| super::faults::field("events", "must be there"))?;
    list(events.get(), limit).map_err(|message| super::faults::field("events", message))
}

/// The events of a bare array, as `CloudEvents` are batched.
///
/// # Errors
/// What is wrong with it.
pub fn array(json: &str, limit: usize) -> Result<Vec<&RawValue>, Refused> {
    json::check(json).map_err(|error| bad_body(error.to_string()))?;
    list(json, limit).map_err(|message| bad_body(format!("the body {message}")))
}

fn list(json: &str, limit: usize) -> Result<Vec<&RawValue>, String> {
    let list = serde_json::Deserializer::from_str(json)
        .deserialize_seq(ListVisitor { limit })
        .map_err(|_no_list| "must be an array of events".to_owned())?;
    if list.total == 0 || list.total > limit {
        return Err(format!("must hold 1 to {limit} events, not {}", list.total));
    }
    Ok(list.events)
}

/// The text of a body.
///
/// # Errors
/// What is wrong with it.
pub fn utf8(body: &[u8]) -> Result<&str, Refused> {
    if body.is_empty() {
        return Err(bad_body("the body is empty"));
    }
    std::str::from_utf8(body).map_err(|error| bad_body(format!("the body is not UTF-8: {error}")))
}

// === impl RawFields ===

impl<'a, const N: usize> RawFields<'a, N> {
    /// A value; `null` counts as absent.
    pub fn optional(&self, index: usize) -> Option<&'a RawValue> {
        self.values.get(index).copied().flatten().filter(|raw| !json::is_null(raw))
    }

    /// A value, `null` too.
    pub fn value(&self, index: usize) -> Option<&'a RawValue> {
        self.values.get(index).copied().flatten()
    }

    /// Says which fields are unknown or stand twice.
    pub fn name_faults(&self, known: &[&str; N], faults: &mut Faults) {
        for name in &self.unknown {
            faults.unknown(name, known);
        }
        for index in &self.repeated {
            faults.invalid(known.get(*index).copied().unwrap_or_default(), "stands twice");
        }
    }
}

// === reading ===

struct FieldsVisitor<const N: usize> {
    known: &'static [&'static str; N],
}

enum FieldKey {
    Known(usize),
    Unknown(String),
}

struct FieldKeySeed<const N: usize> {
    known: &'static [&'static str; N],
}

struct LimitedList<'a> {
    events: Vec<&'a RawValue>,
    total: usize,
}

impl<'de, const N: usize> Visitor<'de> for FieldsVisitor<N> {
    type Value = RawFields<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut fields = RawFields { values: [None; N], unknown: Vec::new(), repeated: Vec::new() };
        while let Some(key) = entries.next_key_seed(FieldKeySeed { known: self.known })? {
            match key {
                FieldKey::Known(index) => {
                    let value = entries.next_value::<&RawValue>()?;
                    if fields.values[index].replace(value).is_some() && fields.repeated.len() < NAMED_FAULTS {
                        fields.repeated.push(index);
                    }
                }
                FieldKey::Unknown(name) => {
                    let IgnoredAny = entries.next_value()?;
                    if fields.unknown.len() < NAMED_FAULTS {
                        fields.unknown.push(name);
                    }
                }
            }
        }
        Ok(fields)
    }
}

impl<'de, const N: usize> serde::de::DeserializeSeed<'de> for FieldKeySeed<N> {
    type Value = FieldKey;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<FieldKey, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<const N: usize> Visitor<'_> for FieldKeySeed<N> {
    type Value = FieldKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<FieldKey, E> {
        let known = self.known.iter().position(|known| *known == name);
        Ok(known.map_or_else(|| FieldKey::Unknown(name.to_owned()), FieldKey::Known))
    }
}

struct ListVisitor {
    limit: usize,
}

impl<'de> Visitor<'de> for ListVisitor {
    type Value = LimitedList<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut list = LimitedList { events: Vec::new(), total: 0 };
        while let Some(event) = elements.next_element::<&RawValue>()? {
            list.total += 1;
            if list.total <= self.limit {
                list.events.push(event);
            }
        }
        Ok(list)
    }
}
