//! Query parameters: unknown ones are ignored, known ones may not be given twice (proxies and servers would differ on which
//! one counts).

use axum::extract::FromRequestParts;
use http::request::Parts;
use jiff::Timestamp;
use schemas::problem::Code;

use crate::problem::Problem;

/// What any route takes.
const KNOWN: &[&str] = &[
    "application_id",
    "organization_id",
    "deprecated",
    "event_type",
    "label_key",
    "label_value",
    "prefix",
    "from",
    "to",
    "status",
    "limit",
    "pagination_cursor",
    "is_enabled",
    "disabled_reason",
    "uid",
    "host",
    "name",
    "actor",
    "action",
    "object",
    "event_id",
    "subscription_id",
    "delivery_id",
    "event.event_type_names",
    "min_created_at",
    "max_created_at",
    "order",
    "http_status",
    "error",
    "is_last",
    "source",
    "source_id",
    "payload",
    "reason",
    "bucket",
    "window",
    "kind",
    "state",
];

/// The parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct Query {
    path: String,
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        let repeated = |name: &&&str| pairs.iter().filter(|(key, _)| key == **name).count() > 1;
        match KNOWN.iter().find(repeated) {
            Some(name) => Err(Problem::field(name, Code::InvalidField, "is given twice")),
            None => Ok(Self { path: path.to_owned(), pairs }),
        }
    }

    /// The path they stand behind.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// All of them.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_other) => Err(Problem::field(name, Code::InvalidField, "must be true or false")),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A moment, Unix ms.
    pub(crate) fn moment(&self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let parsed: Result<Timestamp, _> = text.parse();
        let wrong = |_error| Problem::field(name, Code::InvalidField, "must be a time with zone, as in RFC 3339");
        Ok(Some(parsed.map_err(wrong)?.as_millisecond()))
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, Problem> {
        self.get(name).ok_or_else(|| Problem::field(name, Code::InvalidField, "this query parameter is required"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::parse(parts.uri.path(), parts.uri.query().unwrap_or_default())
    }
}
