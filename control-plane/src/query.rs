//! Query parameters: unknown ones are ignored, known ones may not be given twice (proxies and servers would differ on which
//! one counts).

use axum::extract::FromRequestParts;
use http::request::Parts;
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
];

/// The parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, Problem> {
        self.get(name).ok_or_else(|| Problem::field(name, Code::InvalidField, "this query parameter is required"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let text = parts.uri.query().unwrap_or_default();
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        let repeated = |name: &&&str| pairs.iter().filter(|(key, _)| key == **name).count() > 1;
        match KNOWN.iter().find(repeated) {
            Some(name) => Err(Problem::field(name, Code::InvalidField, "is given twice")),
            None => Ok(Self(pairs)),
        }
    }
}
