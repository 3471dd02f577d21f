//! A small HTTP client for tests: one request, the whole answer.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// No answer of ours takes longer; a hang must not hang the test.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A client with a pool of connections. Clones share it.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Default for Http {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { client: Client::builder(TokioExecutor::new()).build(connector) }
    }
}

impl Http {
    /// Sends a request.
    ///
    /// # Errors
    /// No connection, no answer, or none within 60 s.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        let what = format!("{} {}", request.method(), request.uri());
        let exchange = async {
            let answer = self.client.request(request).await?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Answer { status: head.status, headers: head.headers, body })
        };
        let answer =
            tokio::time::timeout(ANSWER_WITHIN, exchange).await.with_context(|| format!("{what}: no answer"))?;
        answer.with_context(|| what)
    }

    /// `GET` without a token.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub async fn get(&self, url: &str) -> anyhow::Result<Answer> {
        self.send(Request::get(url).body(Full::default())?).await
    }

    /// A request with a JSON body (none for `()`s null) and a bearer token.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub async fn json(
        &self,
        method: Method,
        url: &str,
        token: &str,
        body: Option<&serde_json::Value>,
    ) -> anyhow::Result<Answer> {
        let builder = Request::builder().method(method).uri(url).header("authorization", format!("Bearer {token}"));
        let request = match body {
            Some(body) => {
                let text = serde_json::to_vec(body)?;
                builder.header("content-type", "application/json").body(Full::from(text))?
            }
            None => builder.body(Full::default())?,
        };
        self.send(request).await
    }
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none; the message shows it.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{} with {:?}", self.status, self.body))
    }

    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
