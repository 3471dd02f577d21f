//! Reading JSON values that are kept as they stand. Pure.
//!
//! `serde_json` walks a raw value without recursion, so no nesting overflows the stack; depth is counted here, because whoever
//! reads the payload later (filters, endpoints) has a stack.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use schemas::event::StringMap;

/// Deepest nesting that is accepted: as deep as `serde_json` itself reads.
pub const MAX_DEPTH: usize = 127;
/// Longest piece of foreign text inside a message of ours.
const QUOTED: usize = 100;

/// Whether valid JSON nests deeper than [`MAX_DEPTH`].
pub fn is_too_deep(json: &str) -> bool {
    // Few brackets, no depth: a loop the compiler vectorises, and nearly always the whole answer. Counted in bytes, which are an
    // eighth of the work: a chunk is no longer than they can count.
    let is_opening = |byte: &u8| u8::from(*byte == b'{') + u8::from(*byte == b'[');
    let chunks = json.as_bytes().chunks(usize::from(u8::MAX));
    let opening: usize = chunks.map(|chunk| usize::from(chunk.iter().map(is_opening).sum::<u8>())).sum();
    opening > MAX_DEPTH && depth(json) > MAX_DEPTH
}

fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Whether the text is one JSON value; the error says where it is not.
///
/// # Errors
/// What is wrong with it.
pub fn check(json: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<IgnoredAny>(json).map(|IgnoredAny| ())
}

/// Whether it is `null`.
pub fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

/// Whether it is a string.
pub fn is_string(raw: &RawValue) -> bool {
    raw.get().starts_with('"')
}

/// The string's text; borrowed when nothing is escaped in it.
///
/// # Errors
/// What is wrong with it.
pub fn text(raw: &RawValue) -> Result<Cow<'_, str>, &'static str> {
    let inner = raw.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or("must be a string")?;
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    let unescaped = serde_json::from_str::<String>(raw.get());
    unescaped.map(Cow::Owned).map_err(|_lone_surrogate| "holds an escape that is no character")
}

/// An object of strings with at most `limit` pairs and no key twice; the error is a message for people.
///
/// # Errors
/// What is wrong with it.
pub fn string_map(raw: &RawValue, limit: usize) -> Result<StringMap, String> {
    let mut reader = serde_json::Deserializer::from_str(raw.get());
    reader.deserialize_map(StringMapVisitor { limit }).map_err(|error| {
        let message = error.to_string();
        // The position inside the value helps nobody.
        quoted(message.split(" at line ").next().unwrap_or_default()).into_owned()
    })
}

/// Foreign text, cut to what a message may hold.
pub fn quoted(text: &str) -> Cow<'_, str> {
    text.char_indices().nth(QUOTED).map_or(Cow::Borrowed(text), |(end, _)| {
        Cow::Owned(format!("{}...", text.get(..end).expect("`char_indices` gives boundaries")))
    })
}

struct StringMapVisitor {
    limit: usize,
}

impl<'de> Visitor<'de> for StringMapVisitor {
    type Value = StringMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of at most {} strings", self.limit)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<StringMap, A::Error> {
        let mut map = StringMap::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.len() == self.limit && !map.contains_key(&key) {
                return Err(de::Error::custom(format_args!("has more than {} pairs", self.limit)));
            }
            let value = entries.next_value::<&RawValue>()?;
            let value = text(value).map_err(|why| de::Error::custom(format_args!("`{}` {why}", quoted(&key))))?;
            if let Some(_former) = map.insert(key, value.into_owned()) {
                return Err(de::Error::custom("holds a key twice"));
            }
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        assert_eq!(depth(r#"{"a":[1,[2]],"b":"[[[[\"[["}"#), 3);
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(!is_too_deep(&deep(MAX_DEPTH)));
        assert!(is_too_deep(&deep(MAX_DEPTH + 1)));
        assert!(is_too_deep(&deep(100_000)));
        assert!(!is_too_deep(&format!("[{}]", vec!["[]"; 1_000].join(","))));
    }

    #[test]
    fn what_is_not_too_deep_is_read_by_serde_json() {
        let deepest = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(serde_json::from_str::<serde_json::Value>(&deepest).is_ok());
    }

    #[test]
    fn a_hundred_thousand_levels_are_walked_without_a_stack() {
        let json = format!("{}{}", r#"{"a":["#.repeat(50_000), "]}".repeat(50_000));
        check(&json).unwrap();
        assert_eq!(serde_json::from_str::<&RawValue>(&json).unwrap().get(), json);
    }

    #[test]
    fn plain_strings_are_borrowed_and_escaped_ones_decoded() {
        assert!(matches!(text(&raw(r#""abc""#)), Ok(Cow::Borrowed("abc"))));
        assert_eq!(text(&raw(r#""a\u00e9\n""#)).unwrap(), "a\u{e9}\n");
        assert!(text(&raw("1")).is_err());
        assert!(text(&raw(r#""\ud800""#)).is_err());
    }

    #[test]
    fn maps_hold_strings_each_key_once() {
        assert_eq!(string_map(&raw(r#"{"a":"1","b":"\u0041"}"#), 2).unwrap().len(), 2);
        assert_eq!(string_map(&raw(r#"{"a":"1","b":"2"}"#), 1).unwrap_err(), "has more than 1 pairs");
        assert_eq!(string_map(&raw(r#"{"a":"1","a":"2"}"#), 9).unwrap_err(), "holds a key twice");
        assert_eq!(string_map(&raw(r#"{"a":1}"#), 9).unwrap_err(), "`a` must be a string");
        assert!(string_map(&raw("[]"), 9).unwrap_err().contains("expected an object"));
    }

    #[test]
    fn quotes_are_cut_at_characters() {
        assert_eq!(quoted("short"), "short");
        assert_eq!(quoted(&"\u{e9}".repeat(200)).chars().count(), QUOTED + 3);
    }
}
