//! Asks a registry, over HTTP and in its own paths. One request, one decision: `answer.rs`.
//!
//! ```text
//! GET /schemas/ids/{id}                      GET /subjects/{subject}/versions/{version}    what it refers to
//! GET /schemas/guids/{guid}                  GET /subjects                                 `check`
//! ```
//!
//! Its URLs are tried in turn until one gives an answer; which did is asked first the next time. Redirects are not followed, no
//! proxy of the environment is used, and no more is read of an answer than a schema may have.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chassis::clock;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use sources::schema::{MAX_SCHEMA_TEXT, RegisteredSchema, SchemaId};
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::answer::{self, FoundReference, FoundSchema, RegistryAnswer};
use crate::references;
use crate::settings::{RegistryCredentials, RegistrySettings};
use crate::tls::TrustedRoots;

/// Longest answer that is read, bytes: the largest schema, with each of its characters escaped.
const MAX_ANSWER: usize = 2 * MAX_SCHEMA_TEXT + 64 * 1024;
/// A schema with all that it refers to is there within this, or it is asked for anew.
const FETCH_WITHIN: Duration = Duration::from_secs(120);
/// Longest sentence about URLs that gave no answer, characters.
const MAX_WHY: usize = 600;
/// What is shown of a subject's name, characters.
const MAX_SUBJECT: usize = 200;
/// Idle connections kept, and for how long.
const IDLE_CONNECTIONS: usize = 2;
const IDLE_FOR: Duration = Duration::from_secs(30);
/// The answers that are understood.
const ACCEPTED: &str = "application/vnd.schemaregistry.v1+json, application/json";

/// Asks one registry.
#[derive(Debug)]
pub struct RegistryClient {
    http: Client,
    urls: Vec<Url>,
    authorization: Option<HeaderValue>,
    /// The URL that gave an answer last.
    first: AtomicUsize,
}

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ClientError {
    /// A sentence.
    pub reason: String,
}

/// That a registry can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistryReach {
    /// How many subjects it has.
    pub subjects: usize,
    /// How long it took to say so.
    pub latency: Duration,
}

// === impl RegistryClient ===

impl RegistryClient {
    /// A client of a registry. Connects when it is asked.
    ///
    /// # Errors
    /// No URL, or one that is none; certificates or credentials that cannot be used.
    pub fn new(settings: &RegistrySettings, roots: &TrustedRoots) -> Result<Self, ClientError> {
        let refused = |reason: String| ClientError { reason };
        let urls = settings.urls.iter().map(|it| base(it)).collect::<Result<Vec<Url>, String>>().map_err(refused)?;
        if urls.is_empty() {
            return Err(refused("the registry has no URL".to_owned()));
        }
        let tls = roots.config(settings.ca_pem.as_deref()).map_err(refused)?;
        let http = Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(Policy::none())
            .timeout(settings.timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE_FOR)
            .user_agent("Hookbus")
            .default_headers(HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(ACCEPTED))]))
            .build()
            .map_err(|error| refused(told(&error)))?;
        let authorization = settings.credentials.as_ref().map(header).transpose().map_err(refused)?;
        Ok(Self { http, urls, authorization, first: AtomicUsize::new(0) })
    }

    /// A schema with everything that it refers to.
    pub async fn schema(&self, id: SchemaId) -> RegistryAnswer<RegisteredSchema> {
        let read = async {
            match self.by_id(id).await.found() {
                Ok(found) => references::complete(self, found).await,
                Err(other) => other,
            }
        };
        let late = || RegistryAnswer::Unavailable(format!("{id} was not read within {} s", FETCH_WITHIN.as_secs()));
        tokio::time::timeout(FETCH_WITHIN, read).await.unwrap_or_else(|_elapsed| late())
    }

    /// Whether it can be reached with these credentials.
    ///
    /// # Errors
    /// What came in place of its subjects, by URL.
    pub async fn reach(&self) -> Result<RegistryReach, String> {
        let begin = clock::instant();
        match self.ask(&["subjects"], "", answer::subjects).await {
            RegistryAnswer::Found(subjects) => Ok(RegistryReach { subjects, latency: since(begin) }),
            RegistryAnswer::Unavailable(why) | RegistryAnswer::Unusable(why) => Err(why),
            RegistryAnswer::NotFound => Err("it has no subjects".to_owned()),
        }
    }

    async fn by_id(&self, id: SchemaId) -> RegistryAnswer<FoundSchema> {
        match id {
            SchemaId::Number(id) => {
                self.ask(&["schemas", "ids", &id.to_string()], "deleted=true", answer::schema).await
            }
            SchemaId::Guid(guid) => self.by_guid(guid).await,
        }
    }

    /// Registries other than Confluent's newest have no schemas by GUID: that is an answer where they answer at all, for records
    /// that name one would wait for ever.
    async fn by_guid(&self, guid: Uuid) -> RegistryAnswer<FoundSchema> {
        let without_route = AtomicUsize::new(0);
        let meaning = |status: u16, body: &[u8]| {
            if answer::is_no_route(status, body) {
                without_route.fetch_add(1, Ordering::Relaxed);
            }
            answer::schema(status, body)
        };
        let answer = self.ask(&["schemas", "guids", &guid.to_string()], "deleted=true", meaning).await;
        let is_everywhere = without_route.load(Ordering::Relaxed) == self.urls.len();
        if matches!(answer, RegistryAnswer::Unavailable(_)) && is_everywhere && self.reach().await.is_ok() {
            return RegistryAnswer::Unusable("the registry answers, and has no schemas by GUID".to_owned());
        }
        answer
    }

    /// What a schema refers to. That it is not there is no answer: whoever registered the schema has seen it.
    pub(crate) async fn referenced(&self, reference: &FoundReference) -> RegistryAnswer<FoundSchema> {
        let version = reference.version.to_string();
        let path = ["subjects", &reference.subject, "versions", &version];
        match self.ask(&path, "deleted=true", answer::schema).await {
            RegistryAnswer::NotFound => {
                let subject: String =
                    reference.subject.chars().filter(|it| !it.is_control()).take(MAX_SUBJECT).collect();
                RegistryAnswer::Unavailable(format!("there is no version {version} of `{subject}`"))
            }
            other @ (RegistryAnswer::Found(_) | RegistryAnswer::Unavailable(_) | RegistryAnswer::Unusable(_)) => other,
        }
    }

    /// Asks the URLs in turn until one gives an answer.
    async fn ask<T>(
        &self,
        path: &[&str],
        query: &str,
        meaning: impl Fn(u16, &[u8]) -> RegistryAnswer<T> + Send + Sync,
    ) -> RegistryAnswer<T> {
        let mut why = String::new();
        let first = self.first.load(Ordering::Relaxed);
        for turn in 0..self.urls.len() {
            let number = (first + turn) % self.urls.len();
            let url = below(&self.urls[number], path, query);
            let answer = match self.get(url.clone()).await {
                Ok((status, body)) => meaning(status, &body),
                Err(UnreadAnswer::Lost(why)) => RegistryAnswer::Unavailable(why),
                Err(UnreadAnswer::TooLong) => {
                    RegistryAnswer::Unusable(format!("the answer for it has more than {MAX_ANSWER} bytes"))
                }
            };
            let RegistryAnswer::Unavailable(this) = answer else {
                self.first.store(number, Ordering::Relaxed);
                return answer;
            };
            let between = if why.is_empty() { "" } else { "; " };
            let _never_fails = write!(why, "{between}GET {} {this}", shown(&url));
        }
        RegistryAnswer::Unavailable(why.chars().take(MAX_WHY).collect())
    }

    async fn get(&self, url: Url) -> Result<(u16, Vec<u8>), UnreadAnswer> {
        let mut request = self.http.get(url);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let response = request.send().await.map_err(|error| UnreadAnswer::Lost(told(&error)))?;
        let status = response.status().as_u16();
        Ok((status, read(response).await?))
    }
}

/// Why an answer cannot be looked at.
enum UnreadAnswer {
    Lost(String),
    TooLong,
}

async fn read(mut response: Response) -> Result<Vec<u8>, UnreadAnswer> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| UnreadAnswer::Lost(told(&error)))? {
        if body.len() + piece.len() > MAX_ANSWER {
            return Err(UnreadAnswer::TooLong);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// A URL that paths can be added to.
fn base(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`{text}` is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
        return Err(format!("`{text}` is no URL of HTTP"));
    }
    Ok(url)
}

/// A path below a URL, each of its parts escaped.
fn below(base: &Url, path: &[&str], query: &str) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url.set_query(Some(query).filter(|it| !it.is_empty()));
    url
}

/// A URL as it is told: without what a question mark begins.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.into()
}

fn header(credentials: &RegistryCredentials) -> Result<HeaderValue, String> {
    let text = match credentials {
        RegistryCredentials::Basic { username, password } => {
            let pair = Zeroizing::new(format!("{username}:{}", password.as_str()));
            format!("Basic {}", STANDARD.encode(pair.as_bytes()))
        }
        RegistryCredentials::Bearer(token) => format!("Bearer {}", token.as_str()),
    };
    let text = Zeroizing::new(text);
    let mut value = HeaderValue::from_str(&text).map_err(|_error| "the credentials fit no header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// What failed, without the URL, which is told beside it.
fn told(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "gave no answer in time".to_owned();
    }
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let Some(last) = causes.last() else { return "failed".to_owned() };
    let what = if error.is_connect() { "did not connect" } else { "broke off" };
    format!("{what}: {last}")
}

fn since(begin: Instant) -> Duration {
    clock::instant().saturating_duration_since(begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_added_below_what_the_url_has_and_escaped() {
        for (text, expected) in [
            ("http://r:8081", "http://r:8081/subjects/a%2Fb%20%3F/versions/1?deleted=true"),
            ("http://r:8081/", "http://r:8081/subjects/a%2Fb%20%3F/versions/1?deleted=true"),
            ("https://r/apis/ccompat/v7/", "https://r/apis/ccompat/v7/subjects/a%2Fb%20%3F/versions/1?deleted=true"),
        ] {
            let url = below(&base(text).unwrap(), &["subjects", "a/b ?", "versions", "1"], "deleted=true");
            assert_eq!(url.as_str(), expected);
            assert!(expected.starts_with(&shown(&url)) && !shown(&url).contains('?'));
        }
        assert!(base("ftp://r").is_err() && base("mailto:r").is_err() && base("r").is_err());
    }

    #[test]
    fn credentials_become_a_header_that_is_not_shown() {
        let basic = RegistryCredentials::Basic { username: "ann".to_owned(), password: "hush".to_owned().into() };
        let value = header(&basic).unwrap();
        assert_eq!((value.to_str().unwrap(), value.is_sensitive()), ("Basic YW5uOmh1c2g=", true));
        let bearer = RegistryCredentials::Bearer("t0".to_owned().into());
        assert_eq!(header(&bearer).unwrap().to_str().unwrap(), "Bearer t0");
        assert!(header(&RegistryCredentials::Bearer("a\nb".to_owned().into())).is_err());
    }
}
