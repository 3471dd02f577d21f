//! A small client of the management API, for the demo objects.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

const ANSWER_LIMIT: usize = 1024 * 1024;

/// Talks to one base address with one token.
#[derive(Debug)]
pub(crate) struct Api {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    token: String,
}

impl Api {
    /// A client of `base` (`http://127.0.0.1:8080`).
    pub(crate) fn new(base: impl Into<String>, token: impl Into<String>) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, base: base.into(), token: token.into() }
    }

    /// One object, or nothing if there is none.
    ///
    /// # Errors
    /// Any answer but 200 and 404, with the problem's detail.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<Value>> {
        let (status, body) = self.call(Method::GET, path, None).await?;
        match status {
            StatusCode::OK => Ok(Some(body)),
            StatusCode::NOT_FOUND => Ok(None),
            other => bail!("GET {path} was answered with {other}: {}", body["detail"]),
        }
    }

    /// Creates or replaces.
    ///
    /// # Errors
    /// Any answer but a 2xx, with the problem's detail.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let (status, answer) = self.call(method.clone(), path, Some(body)).await?;
        if !status.is_success() {
            bail!("{method} {path} was answered with {status}: {}", answer["detail"]);
        }
        Ok(answer)
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        let bytes = body.map_or_else(|| Ok(Bytes::new()), |body| serde_json::to_vec(body).map(Bytes::from))?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/api/v1{path}", self.base))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(Full::new(bytes))?;
        let response = self.client.request(request).await.with_context(|| format!("cannot reach {}", self.base))?;
        let status = response.status();
        let body =
            Limited::new(response.into_body(), ANSWER_LIMIT).collect().await.map_err(anyhow::Error::from_boxed)?;
        let body = body.to_bytes();
        let value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
        Ok((status, value))
    }
}
