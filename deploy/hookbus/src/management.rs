//! A client of the management API: what every command that manages, and `hookbus dev`, talks through.

mod login;
mod refused;
mod trust;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH, LINK, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use uuid::Uuid;

pub(crate) use login::open;
pub(crate) use refused::Refused;
pub(crate) use trust::Trust;

/// Far beyond a page of a list, or an object.
const ANSWER_LIMIT: usize = 256 * 1024 * 1024;
/// Rows of one page of a list.
const PAGE: usize = 1_000;
/// Rows of one page of a list of the delivery log.
const LOG_PAGE: usize = 250;
/// How often a request is sent again that was one too many.
const RETRIES: usize = 20;
/// How often one is sent again whose outcome is not known, with the same key: it is done once.
const UNKNOWN_RETRIES: usize = 3;
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A control plane answers within 10 s, with a 503 if it must.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// A replica that gets it answers with what this client has seen written.
const SEEN: HeaderName = HeaderName::from_static("hookbus-consistency-token");
/// A repeat with the same one is the same request.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAY_ID: HeaderName = HeaderName::from_static("hookbus-replay-id");
const ERASED_UNTIL: HeaderName = HeaderName::from_static("hookbus-erased-until");
/// What a path segment and a query value may hold as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A management API and the token it is asked with.
pub(crate) struct Management {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    gateway: Option<String>,
    authorization: HeaderValue,
    trust: Trust,
    /// The application that is meant where none is named.
    application: Option<String>,
    /// What this client has seen written, for a replica that has not.
    seen: Mutex<Option<HeaderValue>>,
}

/// What is asked of the management API.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    method: Method,
    path: String,
    body: Option<&'a Value>,
    if_match: Option<&'a str>,
}

/// What it answered, a success.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The body; null if there is none.
    pub(crate) value: Value,
    /// The object's version.
    pub(crate) etag: Option<String>,
    /// The path of a list's next page.
    next: Option<String>,
    /// The job that was asked for, where the body does not say.
    pub(crate) job: Option<String>,
    /// When Kafka has given up the last copy of what was erased.
    pub(crate) until: Option<String>,
}

/// What came back, whatever it says.
struct Exchanged {
    status: StatusCode,
    answer: Answer,
    /// When to ask again.
    retry_after: Option<Duration>,
}

// === impl Ask ===

impl<'a> Ask<'a> {
    /// Reads.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, if_match: None }
    }

    /// Deletes.
    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, path: path.into(), body: None, if_match: None }
    }

    /// Makes, replaces or changes.
    pub(crate) fn send(method: Method, path: impl Into<String>, body: &'a Value) -> Self {
        Self { method, path: path.into(), body: Some(body), if_match: None }
    }

    /// Only if the object is still this version.
    pub(crate) fn if_match(mut self, etag: Option<&'a str>) -> Self {
        self.if_match = etag;
        self
    }
}

// === impl Management ===

impl Management {
    /// A client of `base` (`http://127.0.0.1:8080`).
    ///
    /// # Errors
    /// The token is no header value, the certificates of authorities cannot be read, or the token would go out in clear.
    pub(crate) fn new(base: &str, token: &str, trust: &Trust) -> Result<Self> {
        trust.check(base)?;
        let mut authorization =
            HeaderValue::try_from(format!("Bearer {token}")).context("the token holds what no header can")?;
        authorization.set_sensitive(true);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_WITHIN));
        let connector = trust.connector()?.https_or_http().enable_all_versions().wrap_connector(tcp);
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            base: root(base).to_owned(),
            gateway: None,
            authorization,
            trust: trust.clone(),
            application: None,
            seen: Mutex::default(),
        })
    }

    /// With another address for events, and the application that is meant where none is named.
    pub(crate) fn with_defaults(mut self, gateway: Option<String>, application: Option<String>) -> Self {
        self.gateway = gateway;
        self.application = application;
        self
    }

    /// Asks. `what` names the object in the error.
    ///
    /// # Errors
    /// No answer, or a [`Refused`].
    pub(crate) async fn ask(&self, what: &str, ask: Ask<'_>) -> Result<Answer> {
        self.ask_at(&self.base, what, ask).await
    }

    /// Asks the gateway.
    ///
    /// # Errors
    /// As [`Management::ask`].
    pub(crate) async fn ask_gateway(&self, url: Option<&str>, what: &str, ask: Ask<'_>) -> Result<Answer> {
        if let Some(url) = url {
            self.trust.check(url)?;
        }
        let base = url.map(root).or(self.gateway.as_deref()).unwrap_or(&self.base);
        self.ask_at(base, what, ask).await
    }

    /// An object, or nothing if there is none.
    ///
    /// # Errors
    /// As [`Management::ask`], except for a 404.
    pub(crate) async fn find(&self, what: &str, path: &str) -> Result<Option<Answer>> {
        match self.ask(what, Ask::get(path)).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.downcast_ref::<Refused>().is_some_and(|it| it.status == 404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes an object that is there. The API takes what is gone already for done; a person has mistyped.
    ///
    /// # Errors
    /// As [`Management::ask`], or there is no such object.
    pub(crate) async fn remove(&self, what: &str, path: &str) -> Result<Value> {
        if self.find(what, path).await?.is_none() {
            bail!("{what}: there is none, nothing was deleted");
        }
        Ok(self.ask(what, Ask::delete(path)).await?.value)
    }

    /// All objects of a list.
    ///
    /// # Errors
    /// As [`Management::ask`], or the answer is no list.
    pub(crate) async fn list(&self, what: &str, path: &str) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut next = Some(format!("{path}{}limit={PAGE}", if path.contains('?') { '&' } else { '?' }));
        while let Some(path) = next {
            let answer = self.ask(what, Ask::get(path)).await?;
            let Value::Array(list) = answer.value else { bail!("{what}: the answer is no list") };
            all.extend(list);
            next = answer.next;
        }
        Ok(all)
    }

    /// The first objects of a list of the delivery log, at most so many: its pages are small, and its lists have no end.
    ///
    /// # Errors
    /// As [`Management::list`].
    pub(crate) async fn newest(&self, what: &str, path: &str, most: usize) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut next = Some(format!("{path}&limit={}", most.clamp(1, LOG_PAGE)));
        while let Some(path) = next.filter(|_| all.len() < most) {
            let answer = self.ask(what, Ask::get(path)).await?;
            let Value::Array(list) = answer.value else { bail!("{what}: the answer is no list") };
            all.extend(list);
            next = answer.next;
        }
        all.truncate(most);
        Ok(all)
    }

    /// An explanation, with the subscriptions of all its pages.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) async fn explain(&self, what: &str, path: &str) -> Result<Value> {
        let Answer { mut value, mut next, .. } = self.ask(what, Ask::get(format!("{path}&limit={LOG_PAGE}"))).await?;
        while let Some(path) = next {
            let answer = self.ask(what, Ask::get(path)).await?;
            let Value::Array(more) = &answer.value["subscriptions"] else { bail!("{what}: the answer has no list") };
            if let Some(all) = value["subscriptions"].as_array_mut() {
                all.extend(more.iter().cloned());
            }
            next = answer.next;
        }
        Ok(value)
    }

    /// The application that is meant: the named one, or the only one there is.
    ///
    /// # Errors
    /// None is named, and the token sees none or many.
    pub(crate) async fn application(&self, named: Option<&str>) -> Result<String> {
        if let Some(named) = named.or(self.application.as_deref()) {
            return Ok(named.to_owned());
        }
        let seen = self.list("applications", "/applications").await?;
        match seen.as_slice() {
            [only] => Ok(only["application_id"].as_str().unwrap_or_default().to_owned()),
            [] => bail!("the token sees no application"),
            many => Err(crate::usage(format!("name one of the {} applications with --application", many.len()))),
        }
    }

    async fn ask_at(&self, base: &str, what: &str, ask: Ask<'_>) -> Result<Answer> {
        let bytes = ask.body.map_or_else(|| Ok(Bytes::new()), |body| serde_json::to_vec(body).map(Bytes::from))?;
        // An event has its id instead.
        let is_keyed = ask.method == Method::POST && ask.path != "/event";
        let key = is_keyed.then(|| Uuid::now_v7().to_string());
        let (mut left, mut left_unknown) = (RETRIES, if key.is_some() { UNKNOWN_RETRIES } else { 0 });
        loop {
            let exchanged = self.once(base, (&ask, key.as_deref()), bytes.clone()).await?;
            let Exchanged { status, answer, retry_after } = exchanged;
            if status.is_success() {
                return Ok(answer);
            }
            let left = match status {
                // It was refused before anything was done.
                StatusCode::TOO_MANY_REQUESTS => &mut left,
                StatusCode::SERVICE_UNAVAILABLE if answer.value["code"] == "outcome_unknown" => &mut left_unknown,
                _other => return Err(Refused::of(what, status, &answer.value).into()),
            };
            match retry_after.filter(|_| *left > 0) {
                Some(wait) => tokio::time::sleep(wait.min(LONGEST_WAIT)).await,
                None => return Err(Refused::of(what, status, &answer.value).into()),
            }
            *left -= 1;
        }
    }

    async fn once(&self, base: &str, (ask, key): (&Ask<'_>, Option<&str>), bytes: Bytes) -> Result<Exchanged> {
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(format!("{base}/api/v1{}", ask.path))
            .header(AUTHORIZATION, &self.authorization);
        if ask.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(etag) = ask.if_match {
            request = request.header(IF_MATCH, etag);
        }
        if let Some(key) = key {
            request = request.header(&IDEMPOTENCY_KEY, key);
        }
        if let Some(seen) = self.seen.lock().clone() {
            request = request.header(&SEEN, seen);
        }
        let request = request.body(Full::new(bytes)).with_context(|| format!("{base} is no address"))?;
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.exchange(request));
        let answer = answer.await.with_context(|| format!("{base} did not answer within {ANSWER_WITHIN:?}"))?;
        answer.with_context(|| format!("cannot reach {base}"))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Exchanged> {
        let (head, body) = self.client.request(request).await?.into_parts();
        if let Some(seen) = head.headers.get(&SEEN) {
            *self.seen.lock() = Some(seen.clone());
        }
        let text = |name| head.headers.get(name).and_then(|it| it.to_str().ok());
        let (etag, next) = (text(ETAG).map(str::to_owned), text(LINK).and_then(next_page));
        let (job, until) = (text(REPLAY_ID).map(str::to_owned), text(ERASED_UNTIL).map(str::to_owned));
        let retry_after = text(RETRY_AFTER).and_then(|it| it.parse().ok()).map(Duration::from_secs);
        let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes();
        let value = match serde_json::from_slice(&body) {
            Ok(value) => value,
            Err(_empty) if body.is_empty() => Value::Null,
            // A proxy in between, perhaps: its page says more than that it is no JSON.
            Err(_no_json) => Value::String(crate::screen::text(body.trim_ascii(), 200)),
        };
        Ok(Exchanged { status: head.status, answer: Answer { value, etag, next, job, until }, retry_after })
    }
}

impl std::fmt::Debug for Management {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Management").field("base", &self.base).finish_non_exhaustive()
    }
}

/// The path after `/api/v1` of `</api/v1/...>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let target = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?;
    target.strip_prefix("/api/v1").map(str::to_owned)
}

/// An address without the prefix that Hook0's clients are given with it.
fn root(url: &str) -> &str {
    let url = url.trim_end_matches('/');
    url.strip_suffix("/api/v1").unwrap_or(url).trim_end_matches('/')
}

/// A path with its segments and query values escaped: `path("/subscriptions/{}", ["a b"])`.
pub(crate) fn path<const N: usize>(pattern: &str, values: [&str; N]) -> String {
    let mut path = String::with_capacity(pattern.len() + 40 * N);
    let mut values = values.into_iter();
    for (at, part) in pattern.split("{}").enumerate() {
        if at > 0 {
            path.extend(utf8_percent_encode(values.next().unwrap_or_default(), PLAIN));
        }
        path.push_str(part);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_paths_are_escaped() {
        assert_eq!(path("/a/{}/b?c={}", ["x y/z", "&="]), "/a/x%20y%2Fz/b?c=%26%3D");
        assert_eq!(path("/a", []), "/a");
    }

    #[test]
    fn a_list_goes_on_where_its_link_says() {
        let link = "</api/v1/subscriptions?limit=1&pagination_cursor=a%2Fb>; rel=\"next\"";
        assert_eq!(next_page(link).as_deref(), Some("/subscriptions?limit=1&pagination_cursor=a%2Fb"));
        for other in ["", "</api/v1/x>; rel=\"prev\"", "<https://elsewhere/api/v1/x>; rel=\"next\""] {
            assert_eq!(next_page(other), None, "{other}");
        }
    }

    #[test]
    fn an_address_may_hold_the_prefix() {
        for url in ["http://a:1", "http://a:1/", "http://a:1/api/v1", "http://a:1/api/v1/"] {
            assert_eq!(root(url), "http://a:1");
        }
        assert_eq!(root("https://a/hooks/api/v1"), "https://a/hooks");
    }

    #[test]
    fn the_token_is_not_shown() {
        rustls::crypto::ring::default_provider().install_default().ok();
        let shown = format!("{:?}", Management::new("http://127.0.0.1:1/", "a-secret", &Trust::default()).unwrap());
        assert!(!shown.contains("a-secret"), "{shown}");
    }
}
