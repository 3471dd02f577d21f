//! Request bodies: read with a limit and a deadline, parsed with a depth limit, fields taken by name.
//!
//! Bodies are taken apart by hand and not by derive, because every mistake is to be answered with its field: unknown names
//! with the nearest known one, absent told apart from `null` (an absent field of a `PUT` keeps its value).

mod once;

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::header;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jiff::Timestamp;
use schemas::event::StringMap;
use schemas::problem::{Code, ProblemId};
use serde_json::{Map, Value};
use std::sync::Arc;

use self::once::Once;
use crate::actor::Caller;
use crate::idempotency::KeyedRequest;
use crate::in_flight::RequestBytes;
use crate::problem::Problem;
use crate::state::App;

/// How long a body may take; a request's own deadline may be shorter.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// A field name this near to a known one is taken for a slip.
const NEAR: f64 = 0.6;

/// The fields of a JSON object.
#[derive(Debug)]
pub(crate) struct Fields {
    map: Map<String, Value>,
    prefix: &'static str,
}

/// A JSON object from the request's body.
#[derive(Debug)]
pub(crate) struct Json(pub(crate) Map<String, Value>);

/// The same, where the body may be left out: then it has no fields.
#[derive(Debug)]
pub(crate) struct OptionalJson(pub(crate) Map<String, Value>);

// === impl Json ===

impl FromRequest<Arc<App>> for Json {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        Ok(Self(parse(&json_bytes(request, app).await?)?))
    }
}

impl FromRequest<Arc<App>> for OptionalJson {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let bytes = json_bytes(request, app).await?;
        if bytes.is_empty() { Ok(Self(Map::new())) } else { Ok(Self(parse(&bytes)?)) }
    }
}

async fn json_bytes(request: Request, app: &App) -> Result<Bytes, Problem> {
    let content_type = request.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    if !content_type.is_none_or(is_json) {
        let detail = "the body must be application/json";
        let problem = Problem::new(ProblemId::Validation, detail).with_status(415);
        return Err(problem.with_code(Code::UnsupportedMediaType));
    }
    let encoding = request.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
    if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        let shown: String = encoding.chars().take(60).collect();
        let detail = format!("content encoding `{shown}` is not accepted here, only `identity`");
        let problem = Problem::new(ProblemId::Validation, detail).with_status(415);
        return Err(problem.with_code(Code::UnsupportedEncoding));
    }
    let keyed = request.extensions().get::<Arc<KeyedRequest>>().cloned();
    let held = request.extensions().get::<Caller>().map(|caller| Arc::clone(&caller.bytes)).unwrap_or_default();
    let bytes = read(request.into_body(), app.config().request_limit, &held).await?;
    held.parse(&bytes)?;
    if let Some(keyed) = keyed {
        keyed.has_body(&bytes);
    }
    Ok(bytes)
}

fn is_json(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

/// What has come is held until the request is answered.
async fn read(body: Body, limit: usize, held: &RequestBytes) -> Result<Bytes, Problem> {
    let broken = |error: axum::BoxError| {
        if error.is::<LengthLimitError>() {
            let detail = format!("the body is larger than {limit} bytes");
            return Problem::new(ProblemId::Validation, detail).with_status(413).with_code(Code::BodyTooLarge);
        }
        Problem::new(ProblemId::JsonPayload, "the body did not arrive whole")
    };
    let collect = async {
        let (mut body, mut bytes) = (Limited::new(body, limit), BytesMut::new());
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            held.read(data.len())?;
            bytes.extend_from_slice(&data);
        }
        Ok::<_, Problem>(bytes.freeze())
    };
    tokio::time::timeout(READ_TIMEOUT, collect).await.unwrap_or_else(|_elapsed| {
        let detail = "the body did not arrive in time";
        Err(Problem::new(ProblemId::Validation, detail).with_status(408).with_code(Code::RequestTimeout))
    })
}

/// Parses an object. The parser itself stops at 128 levels.
pub(crate) fn parse(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(bytes).map(|Once(value)| value) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_other) => Err(Problem::new(ProblemId::JsonPayload, "the body must be a JSON object")),
        Err(error) if error.to_string().starts_with("recursion limit") => {
            let detail = "the body is nested more than 128 levels deep";
            Err(Problem::new(ProblemId::Validation, detail).with_code(Code::TooDeep))
        }
        Err(error) => Err(Problem::new(ProblemId::JsonPayload, format!("the body is not JSON: {error}"))),
    }
}

// === impl Fields ===

impl Fields {
    /// Takes an object whose fields are all among the known ones; `prefix` (`target.`) stands before their names in problems.
    pub(crate) fn new(map: Map<String, Value>, prefix: &'static str, known: &[&str]) -> Result<Self, Problem> {
        let unknown = map.keys().find(|name| !known.contains(&name.as_str()));
        let Some(name) = unknown else { return Ok(Self { map, prefix }) };
        let shown: String = name.chars().take(100).collect();
        let near = known.iter().map(|known| (strsim::jaro_winkler(&shown, known), known));
        let near = near.filter(|(score, _)| *score >= NEAR).max_by(|one, other| one.0.total_cmp(&other.0));
        let message = near.map_or_else(
            || format!("unknown field; known are {}", known.join(", ")),
            |(_, known)| format!("unknown field; did you mean `{known}`?"),
        );
        Err(Problem::field(&format!("{prefix}{shown}"), Code::UnknownField, message))
    }

    /// A 422 about one of the fields.
    pub(crate) fn wrong(&self, name: &str, message: impl Into<String>) -> Problem {
        Problem::field(&format!("{}{name}", self.prefix), Code::InvalidField, message)
    }

    /// Takes a value; `null` counts as given.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name)
    }

    /// A text of so many characters. Absent is `None`, null is `Some(None)`.
    pub(crate) fn text(
        &mut self,
        name: &str,
        characters: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<Option<String>>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(Value::String(text)) if characters.contains(&text.chars().count()) => Ok(Some(Some(text))),
            Some(Value::String(_)) => {
                Err(self.wrong(name, format!("must have {} to {} characters", characters.start(), characters.end())))
            }
            Some(_other) => Err(self.wrong(name, "must be a string")),
        }
    }

    /// A text that must be there.
    pub(crate) fn required_text(
        &mut self,
        name: &str,
        characters: std::ops::RangeInclusive<usize>,
    ) -> Result<String, Problem> {
        self.text(name, characters)?.flatten().ok_or_else(|| self.wrong(name, "is required"))
    }

    /// A text that may be left out but not be cleared: null is a mistake.
    pub(crate) fn kept_text(
        &mut self,
        name: &str,
        characters: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<String>, Problem> {
        match self.text(name, characters)? {
            None => Ok(None),
            Some(Some(text)) => Ok(Some(text)),
            Some(None) => Err(self.wrong(name, "must be a string")),
        }
    }

    /// An object's own fields. Absent is `None`, null is `Some(None)`.
    pub(crate) fn object(
        &mut self,
        name: &str,
        prefix: &'static str,
        known: &[&str],
    ) -> Result<Option<Option<Self>>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(Value::Object(map)) => Self::new(map, prefix, known).map(Some).map(Some),
            Some(_other) => Err(self.wrong(name, "must be an object")),
        }
    }

    /// A moment, Unix ms. Absent is `None`, null is `Some(None)`.
    pub(crate) fn moment(&mut self, name: &str) -> Result<Option<Option<i64>>, Problem> {
        match self.text(name, 0..=50)? {
            None => Ok(None),
            Some(None) => Ok(Some(None)),
            Some(Some(text)) => match text.parse::<Timestamp>() {
                Ok(moment) => Ok(Some(Some(moment.as_millisecond()))),
                Err(_bad) => Err(self.wrong(name, "must be an RFC 3339 time with zone")),
            },
        }
    }

    /// A flag.
    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_other) => Err(self.wrong(name, "must be true or false")),
        }
    }

    /// A whole number in a range.
    pub(crate) fn number(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<Option<u64>>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(value) => match whole(&value).filter(|number| range.contains(number)) {
                Some(number) => Ok(Some(Some(number))),
                None => Err(self.wrong(name, format!("must be a whole number, {} to {}", range.start(), range.end()))),
            },
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, name: &str, max: usize) -> Result<Option<Vec<String>>, Problem> {
        let list = match self.take(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(list)) if list.len() <= max => list,
            Some(Value::Array(_)) => return Err(self.wrong(name, format!("has more than {max} entries"))),
            Some(_other) => return Err(self.wrong(name, "must be a list of strings")),
        };
        let text = |value| text_of(value).ok_or_else(|| self.wrong(name, "must be a list of strings"));
        list.into_iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// A map of texts.
    pub(crate) fn map(&mut self, name: &str, max: usize) -> Result<Option<StringMap>, Problem> {
        let map = match self.take(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(map)) if map.len() <= max => map,
            Some(Value::Object(_)) => return Err(self.wrong(name, format!("has more than {max} entries"))),
            Some(_other) => return Err(self.wrong(name, "must be an object of strings")),
        };
        let text = |(key, value)| match text_of(value) {
            Some(text) => Ok((key, text)),
            None => Err(self.wrong(&format!("{name}.{key}"), "must be a string")),
        };
        map.into_iter().map(text).collect::<Result<_, _>>().map(Some)
    }
}

/// The body of a `PATCH` (JSON merge patch, RFC 7396) as the body of a `PUT`: fields that are objects both in the patch and in
/// the object are merged, so that what the patch does not name stays. `shown` is the object as the API shows it.
///
/// Fields of the object that the patch does not name are left out, which is what "unchanged" means to a `PUT` here.
pub(crate) fn merge(patch: Map<String, Value>, shown: &Value) -> Map<String, Value> {
    let merged = |(name, value): (String, Value)| {
        let value = match (value, shown.get(&name)) {
            (Value::Object(patch), Some(former @ Value::Object(_))) => patched(former.clone(), Value::Object(patch)),
            (Value::Object(patch), _) => patched(Value::Null, Value::Object(patch)),
            (other, _) => other,
        };
        (name, value)
    };
    patch.into_iter().map(merged).collect()
}

/// RFC 7396, section 2. The parser's depth limit bounds the recursion.
fn patched(target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else { return patch };
    let mut target = if let Value::Object(target) = target { target } else { Map::new() };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(&name);
        } else {
            let former = target.remove(&name).unwrap_or(Value::Null);
            target.insert(name, patched(former, value));
        }
    }
    Value::Object(target)
}

/// A whole number, also one that is written with a fraction of zero: to JSON Schema `1.0` is an integer.
fn whole(value: &Value) -> Option<u64> {
    let written = || value.as_f64().filter(|it| it.fract() == 0.0 && (0.0..9e15).contains(it));
    value.as_u64().or_else(|| format!("{:.0}", written()?).parse().ok())
}

fn text_of(value: Value) -> Option<String> {
    if let Value::String(text) = value { Some(text) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str, known: &[&str]) -> Result<Fields, Problem> {
        Fields::new(parse(json.as_bytes())?, "", known)
    }

    #[test]
    fn an_unknown_field_is_named_with_the_nearest_known_one() {
        let problem = fields(r#"{"lables":{}}"#, &["labels", "target"]).unwrap_err();
        assert_eq!((problem.status, problem.code), (422, Some(Code::UnknownField)));
        assert!(problem.detail.contains("lables") && problem.detail.contains("`labels`"), "{}", problem.detail);
        let problem = fields(r#"{"zzz":1}"#, &["labels"]).unwrap_err();
        assert!(problem.detail.contains("known are labels"), "{}", problem.detail);
    }

    #[test]
    fn broken_bodies_get_the_problem_they_deserve() {
        assert_eq!(parse(b"{").unwrap_err().id, "JsonPayload");
        assert_eq!(parse(b"[]").unwrap_err().id, "JsonPayload");
        assert_eq!(parse(b"").unwrap_err().id, "JsonPayload");
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let problem = parse(deep.as_bytes()).unwrap_err();
        assert_eq!((problem.status, problem.code), (422, Some(Code::TooDeep)));
    }

    #[test]
    fn a_merge_patch_keeps_what_it_does_not_name() {
        let shown = serde_json::json!({"name": "a", "labels": {"x": "1", "y": "2"}, "target": {"url": "u", "headers": {"A": "1"}}});
        let patch =
            r#"{"labels":{"x":null,"z":"3"},"target":{"headers":{"A":null}},"limits":{"a":null,"b":1},"uid":null}"#;
        let merged = Value::Object(merge(parse(patch.as_bytes()).unwrap(), &shown));
        let expected = serde_json::json!({
            "labels": {"y": "2", "z": "3"},
            "target": {"url": "u", "headers": {}},
            "limits": {"b": 1},
            "uid": null,
        });
        assert_eq!(merged, expected);
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_fraction_of_zero() {
        let number = |json: &str| fields(json, &["a"]).unwrap().number("a", 0..=1_000);
        assert_eq!(number(r#"{"a":568.0}"#).unwrap(), Some(Some(568)));
        for bad in [r#"{"a":568.5}"#, r#"{"a":-1.0}"#, r#"{"a":1e300}"#, r#"{"a":"1"}"#, r#"{"a":1001.0}"#] {
            assert_eq!(number(bad).unwrap_err().status, 422, "{bad}");
        }
    }

    #[test]
    fn absent_is_not_null() {
        let mut given = fields(r#"{"a":null,"b":"x"}"#, &["a", "b", "c"]).unwrap();
        assert_eq!(given.text("a", 0..=9).unwrap(), Some(None));
        assert_eq!(given.text("b", 0..=9).unwrap(), Some(Some("x".into())));
        assert_eq!(given.text("c", 0..=9).unwrap(), None);
    }
}
