//! What the test tells, what it is told, and the transport an application of this client writes for its generated half.

use std::future::Future;
use std::io::{BufRead, Write};

use anyhow::{Context, Result, bail};
use hook0_client::generated::{ProblemId, RequestError, Transport};
use serde_json::{Value, json};
use uuid::Uuid;

/// The first line.
#[derive(Debug)]
pub struct Setup {
    /// Ends in `/api/v1`.
    pub base: String,
    /// An editor's token of the organization.
    pub editor: String,
    /// The organization.
    pub organization: Uuid,
    /// The prepared application.
    pub application: Uuid,
    /// Its secret.
    pub secret: String,
    /// The application with limits, and its secret.
    pub limited: (Uuid, String),
    /// Where subscriptions of this client point to.
    pub endpoint: String,
    /// The same as the test's endpoint knows it.
    pub path: String,
}

/// Reaches the API with one token.
#[derive(Clone, Debug)]
pub struct Reqwest {
    base: String,
    token: String,
    client: reqwest::Client,
}

impl Setup {
    /// Reads the first line.
    pub fn read() -> Result<Self> {
        let read = line()?;
        let text = |field: &str| read.pointer(field).and_then(Value::as_str).with_context(|| format!("no {field}"));
        let id = |field: &str| anyhow::Ok(text(field)?.parse::<Uuid>()?);
        Ok(Self {
            base: text("/base")?.to_owned(),
            editor: text("/editor")?.to_owned(),
            organization: id("/organization_id")?,
            application: id("/application_id")?,
            secret: text("/secret")?.to_owned(),
            limited: (id("/limited/application_id")?, text("/limited/secret")?.to_owned()),
            endpoint: text("/endpoint")?.to_owned(),
            path: text("/path")?.to_owned(),
        })
    }

    /// A transport with this token.
    pub fn with(&self, token: &str) -> Reqwest {
        let base = self.base.trim_end_matches("/api/v1").to_owned();
        Reqwest { base, token: token.to_owned(), client: reqwest::Client::new() }
    }

    /// A transport of the organization's editor.
    pub fn editing(&self) -> Reqwest {
        self.with(&self.editor)
    }
}

impl Transport for Reqwest {
    type Error = reqwest::Error;

    fn request(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, String)],
        body: Option<Vec<u8>>,
    ) -> impl Future<Output = Result<(u16, Vec<u8>), Self::Error>> + Send {
        let method = method.parse().unwrap_or(reqwest::Method::GET);
        let request = self.client.request(method, format!("{}{path}", self.base)).query(query).bearer_auth(&self.token);
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body),
            None => request,
        };
        async move {
            let answer =
                request.header("hook0-client-options", "attempts=1,backoff=0,ceiling=0,budget=0").send().await?;
            Ok((answer.status().as_u16(), answer.bytes().await?.to_vec()))
        }
    }
}

/// An operation or a check that held.
pub fn done(name: &str) -> Result<()> {
    say(&json!({ "done": name }))
}

/// What the endpoint of the test was sent for an event: headers and body.
pub fn delivery(path: &str, event: Uuid) -> Result<Value> {
    say(&json!({ "ask": { "path": path, "event_id": event } }))?;
    line()
}

/// An answer has to be this problem.
pub fn refused<T: std::fmt::Debug>(
    answer: Result<T, RequestError>,
    kind: ProblemId,
    status: u16,
) -> Result<Option<Value>> {
    match answer {
        Err(RequestError::Api(problem)) if problem.kind == Some(kind) && problem.status == status => {
            Ok(problem.problem.and_then(|problem| problem.validation))
        }
        other => bail!("expected {kind:?} with {status}, got {other:?}"),
    }
}

fn say(value: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}

fn line() -> Result<Value> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}
