//! OAuth 2 tokens of one subscription: fetched with the client credentials, kept until shortly before their end.
//!
//! ```text
//! attempt --> token kept? --no--> one fetch at a time (the others wait for its outcome) --> send
//!                                                                                             |
//!             401, and the token is not from just now: forget it, fetch once, send again <---+
//! ```
//!
//! The token endpoint is reached through the same rules, resolver, TLS and limits as the target. A failed fetch is a failed attempt, which
//! the schedule repeats. Nothing is kept beyond this process: a restart fetches anew.

use std::time::{Duration, Instant};

use catalog::Oauth2;
use chassis::clock;
use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode, Uri};
use target::TargetPolicy;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::bearer;
use super::grant::{self, Style};
use crate::classify::{AttemptVerdict, NoAnswer, unanswered};
use crate::client::{Answer, Client, HttpRequest};
use crate::config::ms;
use crate::pool::ClientIdentity;

/// Of one request to the token endpoint.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Of the token endpoint's answer: tokens with many claims take some KiB.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Where a subscription's tokens come from.
pub(crate) struct TokenSource {
    oauth2: Oauth2,
    uri: Uri,
    /// Held while a token is fetched: who else needs one waits.
    state: Mutex<State>,
}

struct State {
    token: Option<Token>,
    failed: Option<(Instant, Failure)>,
    style: Style,
}

#[derive(Clone)]
struct Token {
    value: HeaderValue,
    fetched: Instant,
    until: Instant,
}

#[derive(Clone)]
struct Failure {
    verdict: AttemptVerdict,
    detail: String,
}

// === impl TokenSource ===

impl TokenSource {
    /// A source that has no token yet.
    ///
    /// # Errors
    /// The verdict on every attempt: the policy refuses the token endpoint.
    pub(super) fn new(oauth2: &Oauth2, policy: &TargetPolicy) -> Result<Self, AttemptVerdict> {
        let refused = |why: &dyn std::fmt::Display| AttemptVerdict::Refused(format!("the token endpoint: {why}"));
        policy.check_url(&oauth2.token_url).map_err(|error| refused(&error))?;
        let uri = oauth2.token_url.as_str().parse().map_err(|error: http::uri::InvalidUri| refused(&error))?;
        let oauth2 = Oauth2 {
            token_url: oauth2.token_url.clone(),
            client_id: oauth2.client_id.clone(),
            client_secret: Zeroizing::new(oauth2.client_secret.to_string()),
            scopes: oauth2.scopes.clone(),
        };
        let state = Mutex::new(State { token: None, failed: None, style: Style::Header });
        Ok(Self { oauth2, uri, state })
    }

    /// Makes an attempt with a token.
    pub(super) async fn send(
        &self,
        (client, identity): (&Client, Option<&ClientIdentity>),
        request: HttpRequest,
        again: impl Fn() -> Result<HttpRequest, AttemptVerdict> + Send + Sync,
        timeout: Duration,
        now_ms: i64,
    ) -> Answer {
        let began = clock::instant();
        let until = began + timeout;
        let token = match self.token(client, None, until, now_ms).await {
            Ok(token) => token,
            Err(failure) => return failure.into_answer(),
        };
        let with = |token: &Token| again().map(|request| token.authorize(request));
        let wall_ms = || now_ms.saturating_add(ms(clock::instant().saturating_duration_since(began)));
        let answer = client.send(token.authorize(request), || with(&token), identity, left(until), wall_ms()).await;
        let is_refused = answer.status == Some(StatusCode::UNAUTHORIZED);
        if !is_refused || token.fetched >= began {
            return answer;
        }
        // The target no longer takes a token that should still be good.
        let token = match self.token(client, Some(token.fetched), until, now_ms).await {
            Ok(token) => token,
            Err(failure) => return failure.into_answer(),
        };
        match with(&token) {
            Ok(request) => client.send(request, || with(&token), identity, left(until), wall_ms()).await,
            Err(verdict) => Answer::of(verdict),
        }
    }

    /// The kept token, or a new one; not the one that was fetched at `refused`.
    async fn token(
        &self,
        client: &Client,
        refused: Option<Instant>,
        until: Instant,
        now_ms: i64,
    ) -> Result<Token, Failure> {
        let current = tokio::time::timeout_at(until.into(), self.current(client, refused, now_ms));
        current.await.unwrap_or_else(|_elapsed| Err(Failure::new("no token came within the attempt timeout")))
    }

    async fn current(&self, client: &Client, refused: Option<Instant>, now_ms: i64) -> Result<Token, Failure> {
        let asked = clock::instant();
        let mut state = self.state.lock().await;
        let now = clock::instant();
        let kept = state.token.as_ref().filter(|token| now < token.until && Some(token.fetched) != refused);
        if let Some(token) = kept {
            return Ok(token.clone());
        }
        // Who waited for a fetch that failed shares its failure.
        if let Some((_, failure)) = state.failed.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(failure.clone());
        }
        state.token = None;
        match self.fetch(client, &mut state.style, now_ms).await {
            Ok(token) => {
                state.failed = None;
                Ok(state.token.insert(token).clone())
            }
            Err(failure) => {
                state.failed = Some((clock::instant(), failure.clone()));
                Err(failure)
            }
        }
    }

    async fn fetch(&self, client: &Client, style: &mut Style, now_ms: i64) -> Result<Token, Failure> {
        let client = client.for_bodies(ANSWER_LIMIT);
        let fetched = clock::instant();
        let request = |style| grant::request(&self.oauth2, &self.uri, style);
        let ask = |style| client.send(request(style), move || Ok(request(style)), None, FETCH_TIMEOUT, now_ms);
        let first = ask(*style).await;
        let mut granted = self.granted(&first, fetched);
        if matches!(first.status, Some(StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED)) {
            let second = ask(style.other()).await;
            let other = self.granted(&second, fetched);
            if other.is_ok() {
                *style = style.other();
                granted = other;
            }
        }
        granted
    }

    fn granted(&self, answer: &Answer, fetched: Instant) -> Result<Token, Failure> {
        if let AttemptVerdict::Refused(why) = &answer.verdict {
            let detail = format!("the token endpoint: {why}");
            return Err(Failure { verdict: AttemptVerdict::Refused(detail.clone()), detail });
        }
        if answer.verdict.is_unsent() {
            // Nobody was asked.
            let detail = answer.detail.clone().unwrap_or_default();
            return Err(Failure { verdict: answer.verdict.clone(), detail: format!("the token endpoint: {detail}") });
        }
        let granted = grant::read(answer).map_err(|why| {
            tracing::debug!(token.host = self.uri.host(), why, "no token");
            Failure::new(why)
        })?;
        let value = bearer(&granted.token).map_err(|_unwritable| Failure::new("the token cannot stand in a header"))?;
        Ok(Token { value, fetched, until: fetched + granted.lifetime })
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(clock::instant())
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSource").field("oauth2", &self.oauth2).finish_non_exhaustive()
    }
}

// === impl Token ===

impl Token {
    fn authorize(&self, mut request: HttpRequest) -> HttpRequest {
        request.headers_mut().insert(AUTHORIZATION, self.value.clone());
        request
    }
}

// === impl Failure ===

impl Failure {
    fn new(detail: impl Into<String>) -> Self {
        Self { verdict: unanswered(NoAnswer::Token), detail: detail.into() }
    }

    fn into_answer(self) -> Answer {
        let error = if self.verdict.is_unsent() { NoAnswer::Local } else { NoAnswer::Token };
        let mut answer = Answer::of(self.verdict);
        answer.error = Some(error);
        answer.detail = Some(self.detail);
        answer
    }
}
