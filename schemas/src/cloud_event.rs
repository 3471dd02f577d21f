//! What a `CloudEvent` may look like, for both doors it comes through: HTTP (the gateway) and Kafka (the fan-out). Pure.
//!
//! The doors differ where their users do: over HTTP somebody reads the refusal, so id, source and type must be there and the type
//! must be declared; a record of Kafka gets its position for an id and its topic for a source. Everything else is decided here.
//!
//! An event may have no data: then its payload is empty, and it has a content type only if it names one. Extension attributes
//! become `ce_<name>` headers, texts as in the Kafka binding's binary mode; the type of one that was no text stands in
//! `hookbus-extension-types`, so that it leaves as what it came.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::header;
use crate::record::HeadersBuilder;

/// Names the application where no token and no header does; an extension attribute of ours, which does not travel on.
pub const APPLICATION: &str = "hookbusapplication";
/// Extension attributes of one event.
pub const MAX_EXTENSIONS: usize = 50;
/// What an envelope means that has `data` and does not say its type.
pub const JSON: &str = "application/json";
/// What an envelope means that has `data_base64` and does not say its type: bytes.
pub const BINARY: &str = "application/octet-stream";

/// The type of an attribute in JSON, where it is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScalarType {
    /// `true` or `false`.
    Boolean,
    /// `CloudEvents` knows integers; any number keeps its spelling.
    Number,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar<'a> {
    /// As text, the way headers hold it.
    pub text: Cow<'a, str>,
    /// `None`: a text.
    pub of_type: Option<ScalarType>,
}

/// Types of extension attributes by name, the value of `hookbus-extension-types`.
pub type ExtensionTypes = BTreeMap<String, ScalarType>;

/// The data of an envelope.
#[derive(Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// There is none.
    None,
    /// JSON, to be kept as it stands there.
    Json(&'a str),
    /// A text of a type that is not JSON.
    Text(Cow<'a, str>),
    /// What `data_base64` encodes.
    Bytes(Bytes),
}

/// Why an envelope's data cannot be read: the member, and a sentence without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongData {
    /// `data` or `data_base64`.
    pub member: &'static str,
    /// What is wrong with it.
    pub message: String,
}

/// Whether this is the version of `CloudEvents` that is spoken here: 1.x.
#[must_use]
pub fn is_version(text: &str) -> bool {
    text.strip_prefix("1.").is_some_and(|minor| !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether an extension attribute's name can be a header's: visible ASCII.
///
/// `CloudEvents` allows less (lower-case letters and digits); what it does not allow travels on, and is left out only where an
/// event is written as a `CloudEvent` again.
#[must_use]
pub fn is_extension_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What follows `application/cloudevents` in a media type, if it is one: `+json`, `-batch+json`, nothing. Then what it is the type
/// of is an event itself, in structured mode.
#[must_use]
pub fn structured_format(content_type: &[u8]) -> Option<&[u8]> {
    const PREFIX: &[u8] = b"application/cloudevents";
    let (head, rest) = content_type.trim_ascii_start().split_at_checked(PREFIX.len())?;
    let rest = rest.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    head.eq_ignore_ascii_case(PREFIX).then_some(rest)
}

/// `application/json`, `text/json`, `application/vnd.acme+json`, with or without parameters.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.ends_with("/json") || media_type.ends_with("+json")
}

/// An attribute's value; `null` is absent.
///
/// # Errors
/// An object, an array, or a text with an escape that is no character.
pub fn scalar(raw: &RawValue) -> Result<Option<Scalar<'_>>, &'static str> {
    let of = |of_type| Ok(Some(Scalar { text: Cow::Borrowed(raw.get()), of_type: Some(of_type) }));
    match raw.get().as_bytes().first() {
        Some(b'"') => string(raw).map(|text| Some(Scalar { text, of_type: None })),
        Some(b'{' | b'[') | None => Err("must be a string, a number or a boolean"),
        Some(b'n') => Ok(None),
        Some(b't' | b'f') => of(ScalarType::Boolean),
        Some(_digit_or_sign) => of(ScalarType::Number),
    }
}

/// The text of a JSON string; borrowed where nothing is escaped in it.
fn string(raw: &RawValue) -> Result<Cow<'_, str>, &'static str> {
    let inner = raw.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or("must be a string")?;
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    let unescaped = serde_json::from_str::<String>(raw.get());
    unescaped.map(Cow::Owned).map_err(|_lone_surrogate| "holds an escape that is no character")
}

/// The data of an envelope and the content type it has then. `data_base64: null` is absent; `data: null` is the JSON value.
///
/// # Errors
/// Both members, or one that cannot be read.
pub fn data<'a>(
    data: Option<&'a RawValue>,
    base64: Option<&'a RawValue>,
    content_type: Option<Cow<'a, str>>,
) -> Result<(Data<'a>, Option<Cow<'a, str>>), WrongData> {
    let or = |default: &'static str| Some(content_type.clone().unwrap_or(Cow::Borrowed(default)));
    let wrong = |member, message: &str| WrongData { member, message: message.to_owned() };
    match (data, base64.filter(|raw| raw.get() != "null")) {
        (Some(_), Some(_)) => Err(wrong("data_base64", "stands beside `data`")),
        (None, None) => Ok((Data::None, content_type)),
        (None, Some(base64)) => {
            let text = string(base64).map_err(|message| wrong("data_base64", message))?;
            let bytes = STANDARD.decode(text.as_bytes());
            let bytes = bytes.map_err(|error| wrong("data_base64", &format!("is not base64: {error}")))?;
            Ok((Data::Bytes(bytes.into()), or(BINARY)))
        }
        (Some(data), None) => {
            let is_text =
                data.get().starts_with('"') && content_type.as_deref().is_some_and(|of_type| !is_json(of_type));
            let data = match is_text {
                true => Data::Text(string(data).map_err(|message| wrong("data", message))?),
                false => Data::Json(data.get()),
            };
            Ok((data, or(JSON)))
        }
    }
}

/// Writes extension attributes as headers, and the types of those that are no texts.
pub fn push_extensions<'a>(
    builder: &mut HeadersBuilder,
    extensions: impl IntoIterator<Item = (&'a str, &'a Scalar<'a>)>,
) {
    let mut types = ExtensionTypes::new();
    for (name, value) in extensions {
        builder.push(&format!("ce_{name}"), value.text.as_bytes());
        if let Some(of_type) = value.of_type {
            types.insert(name.to_owned(), of_type);
        }
    }
    if !types.is_empty() {
        let json = serde_json::to_vec(&types).expect("a map of strings and words is JSON");
        builder.push(header::EXTENSION_TYPES, &json);
    }
}

/// How a text of a header is written as a JSON value: as itself where its type says so and it is one, else `None`, as a string.
#[must_use]
pub fn literal(text: &str, of_type: Option<ScalarType>) -> Option<&str> {
    let is_one = match of_type? {
        ScalarType::Boolean => matches!(text, "true" | "false"),
        ScalarType::Number => serde_json::from_str::<serde_json::Number>(text).is_ok(),
    };
    is_one.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Headers;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn read(given: Option<&str>, base64: Option<&str>, content_type: Option<&str>) -> (String, Option<String>) {
        let (given, base64) = (given.map(raw), base64.map(raw));
        let (data, content_type) = data(given.as_deref(), base64.as_deref(), content_type.map(Cow::Borrowed)).unwrap();
        (format!("{data:?}"), content_type.map(Cow::into_owned))
    }

    #[test]
    fn scalars_keep_their_type_and_their_spelling() {
        for (json, text, of_type) in [
            (r#""3""#, "3", None),
            (r#""a\u00e9""#, "a\u{e9}", None),
            ("3", "3", Some(ScalarType::Number)),
            ("-1.50e+3", "-1.50e+3", Some(ScalarType::Number)),
            ("true", "true", Some(ScalarType::Boolean)),
        ] {
            let raw = raw(json);
            let scalar = scalar(&raw).unwrap().unwrap();
            assert_eq!((&*scalar.text, scalar.of_type), (text, of_type), "{json}");
            let back = literal(text, of_type).map_or_else(|| serde_json::to_string(text).unwrap(), str::to_owned);
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&back).unwrap(),
                serde_json::from_str::<serde_json::Value>(json).unwrap()
            );
        }
        assert_eq!(scalar(&raw("null")).unwrap(), None);
        for json in ["{}", "[]", r#""\ud800""#] {
            assert!(scalar(&raw(json)).is_err(), "{json}");
        }
        assert_eq!(
            literal("3]", Some(ScalarType::Number)),
            None,
            "a header is a stranger's: it cannot break the JSON around it"
        );
        assert_eq!(literal("yes", Some(ScalarType::Boolean)), None);
    }

    #[test]
    fn data_and_its_type_follow_one_table() {
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(read(None, None, None), ("None".to_owned(), None));
        assert_eq!(read(None, None, Some("text/plain")), ("None".to_owned(), is("text/plain")));
        assert_eq!(read(Some("null"), None, None), (r#"Json("null")"#.to_owned(), is(JSON)));
        assert_eq!(read(Some(r#""a""#), None, None), (r#"Json("\"a\"")"#.to_owned(), is(JSON)));
        assert_eq!(read(Some(r#""a""#), Some("null"), Some("text/csv")), (r#"Text("a")"#.to_owned(), is("text/csv")));
        assert_eq!(read(None, Some(r#""AP8=""#), None), (r#"Bytes(b"\0\xff")"#.to_owned(), is(BINARY)));
        let (one, other) = (raw("1"), raw(r#""AP8=""#));
        assert_eq!(data(Some(&one), Some(&other), None).unwrap_err().member, "data_base64");
        assert_eq!(data(None, Some(&one), None).unwrap_err().message, "must be a string");
    }

    #[test]
    fn types_stand_in_a_header_of_their_own_only_where_there_are_any() {
        let headers = |value: &Scalar<'_>| -> Headers {
            let mut builder = HeadersBuilder::default();
            push_extensions(&mut builder, [("count", value)]);
            builder.build()
        };
        let text = headers(&Scalar { text: "3".into(), of_type: None });
        assert_eq!((text.len(), text.text("ce_count")), (1, Some("3")));
        let number = headers(&Scalar { text: "3".into(), of_type: Some(ScalarType::Number) });
        assert_eq!(number.text(header::EXTENSION_TYPES), Some(r#"{"count":"number"}"#));
    }

    #[test]
    fn versions_and_names() {
        assert!(is_version("1.0") && is_version("1.12"));
        assert!(!["0.3", "1", "1.", "1.x", "2.0", "11.0"].iter().any(|text| is_version(text)));
        assert!(is_extension_name("traceparent") && is_extension_name("Not-A-Name"));
        assert!(!["", "a b", "k\u{e4}se"].iter().any(|name| is_extension_name(name)));
        assert!(is_json("Application/Problem+JSON; x=y") && is_json("text/json") && !is_json("text/plain"));
    }
}
