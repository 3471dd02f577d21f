//! The target: where requests go, with which custom headers, and which of their values are not shown.

use std::collections::BTreeMap;

use catalog::sealed;
use schemas::control::{Sealed, Target};
use schemas::problem::Code;
use schemas::secret_header::is_always_secret;
use serde_json::{Map, Value};

use crate::body::Fields;
use crate::custom_headers::{self, Given, MASK};
use crate::problem::Problem;
use crate::subscription::Facts;
use crate::subscription::auth::{MAX_CERTIFICATE, authorities};
use crate::subscription::keys;
use target::TargetPolicy;

const FIELDS: &[&str] = &["type", "method", "url", "headers", "secret_headers", "ca_certificates"];
pub(crate) const METHODS: [&str; 7] = ["POST", "PUT", "PATCH", "GET", "DELETE", "HEAD", "OPTIONS"];

/// What a client gave.
#[derive(Clone, Debug)]
pub(super) struct TargetInput {
    method: String,
    pub(super) url: String,
    headers: Option<Vec<(String, Given)>>,
    secret_headers: Option<Vec<String>>,
    ca_certificates: Option<Option<String>>,
}

// === impl TargetInput ===

impl TargetInput {
    pub(super) fn read(map: Map<String, Value>, policy: &TargetPolicy) -> Result<Self, Problem> {
        let mut fields = Fields::new(map, "target.", FIELDS)?;
        let kind = fields.text("type", 0..=20)?.flatten();
        if kind.is_some_and(|kind| kind != "http") {
            return Err(fields.wrong("type", "only `http` is supported"));
        }
        let method =
            fields.text("method", 1..=20)?.flatten().map_or_else(|| "POST".to_owned(), |it| it.to_ascii_uppercase());
        if !METHODS.contains(&method.as_str()) {
            return Err(fields.wrong("method", format!("must be one of {}", METHODS.join(", "))));
        }
        let url = policy
            .read(&fields.required_text("url", 1..=4_096)?)
            .map_err(|refused| Problem::field("target.url", Code::TargetRefused, refused.to_string()))?;
        let headers = match fields.take("headers") {
            None => None,
            Some(Value::Null) => Some(Vec::new()),
            Some(Value::Object(map)) => Some(custom_headers::check(map)?),
            Some(_other) => return Err(fields.wrong("headers", "must be an object of strings")),
        };
        let secret_headers = match fields.take("secret_headers") {
            None => None,
            Some(Value::Null) => Some(Vec::new()),
            Some(list) => Some(custom_headers::check_names(list)?),
        };
        let ca_certificates = fields.text("ca_certificates", 1..=MAX_CERTIFICATE)?;
        if let Some(Some(pem)) = &ca_certificates {
            authorities(pem).map_err(|message| fields.wrong("ca_certificates", message))?;
        }
        Ok(Self { method, url: url.into(), headers, secret_headers, ca_certificates })
    }

    /// Headers whose stored secret values stay: masked here, or not given at all. Their values are shown to nobody; a plain
    /// one is no secret, even if this change makes it one.
    pub(super) fn keeps<'a>(&self, former: &'a Target) -> impl Iterator<Item = &'a str> {
        let hidden = |name: &str| is_always_secret(name) || former.secret_headers.iter().any(|it| it == name);
        let stays = |name: &str| match &self.headers {
            Some(headers) => headers.iter().any(|(other, given)| other == name && *given == Given::Masked),
            None => true,
        };
        former.headers.keys().map(String::as_str).filter(move |name| hidden(name) && stays(name))
    }

    /// What is kept.
    pub(super) fn seal(&self, facts: Facts<'_>, context: &str) -> Result<Target, Problem> {
        let former = facts.former.map(|former| &former.target);
        let seal = Sealing { former, listed: self.secret_headers.as_deref(), facts, context };
        let headers = match (&self.headers, former) {
            (Some(headers), _) => headers
                .iter()
                .map(|(name, given)| Ok((name.clone(), seal.header(name, given)?)))
                .collect::<Result<BTreeMap<_, _>, Problem>>()?,
            (None, Some(former)) => former.headers.clone(),
            (None, None) => BTreeMap::new(),
        };
        let secret_headers = self.hidden(&headers, former)?;
        let kept = || former.and_then(|former| former.ca_certificates.clone());
        let ca_certificates = self.ca_certificates.clone().unwrap_or_else(kept);
        Ok(Target { method: self.method.clone(), url: self.url.clone(), headers, secret_headers, ca_certificates })
    }

    /// Names of headers whose values are not shown. Nobody gets to see a stored value by taking its name off the list: that
    /// takes the value itself.
    fn hidden(&self, headers: &BTreeMap<String, Sealed>, former: Option<&Target>) -> Result<Vec<String>, Problem> {
        let was_hidden = |name: &str| former.is_some_and(|former| former.secret_headers.iter().any(|it| it == name));
        let given_anew = |name: &str| {
            let mut headers = self.headers.iter().flatten();
            headers.any(|(other, given)| other == name && matches!(given, Given::Value(_)))
        };
        let stays_hidden = |name: &str| was_hidden(name) && !given_anew(name);
        let Some(listed) = &self.secret_headers else {
            return Ok(headers.keys().filter(|name| was_hidden(name)).cloned().collect());
        };
        if let Some(stray) = listed.iter().find(|name| !headers.contains_key(*name)) {
            let message = format!("the target has no header `{stray}`");
            return Err(Problem::field("target.secret_headers", Code::InvalidField, message));
        }
        let hidden = |name: &&String| listed.contains(name) || stays_hidden(name);
        Ok(headers.keys().filter(hidden).cloned().collect())
    }
}

/// What sealing a header depends on.
#[derive(Clone, Copy)]
struct Sealing<'a> {
    former: Option<&'a Target>,
    listed: Option<&'a [String]>,
    facts: Facts<'a>,
    context: &'a str,
}

impl Sealing<'_> {
    /// An unchanged value keeps its envelope, so that an unchanged object is seen to be one.
    fn header(&self, name: &str, given: &Given) -> Result<Sealed, Problem> {
        let stored = self.former.and_then(|former| former.headers.get(name));
        let value = match (given, stored) {
            (Given::Masked, Some(stored)) if self.is_hidden(name) => return Ok(stored.clone()),
            (Given::Masked, None) if self.is_hidden(name) => {
                let message = format!("`{name}` holds the mask, and no value is stored");
                return Err(Problem::field("target.headers", Code::InvalidField, message));
            }
            // Not a secret: then the mask is a value like any other.
            (Given::Masked, _) => MASK,
            (Given::Value(value), _) => value,
        };
        let vault = self.facts.vault;
        let same = |stored: &&Sealed| sealed::open_text(vault, self.context, stored).is_ok_and(|text| *text == *value);
        stored.filter(same).map_or_else(|| keys::seal(vault, self.context, value), |stored| Ok(stored.clone()))
    }

    fn is_hidden(&self, name: &str) -> bool {
        let was = self.former.is_some_and(|former| former.secret_headers.iter().any(|it| it == name));
        let listed = self.listed.is_some_and(|listed| listed.iter().any(|it| it == name));
        is_always_secret(name) || was || listed
    }
}
