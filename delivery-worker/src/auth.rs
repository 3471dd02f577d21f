//! How a request shows who sends it, beside its signature: prepared once per change of its subscription.
//!
//! | kind | what an attempt does |
//! |---|---|
//! | none | nothing |
//! | basic, bearer | adds the prepared header |
//! | OAuth 2 client credentials | adds the cached token, fetches one where there is none ([`token`]) |
//! | client certificate | goes over its subscription's own connections ([`crate::client::Clients`]) |
//!
//! The header is added after signing: a signature is over what is sent to everybody alike, and proxies take this one off.

mod grant;
#[cfg(test)]
mod tests;
pub(crate) mod token;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::Either;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use http_body_util::Full;
use rustls::ClientConfig;
use target::TargetPolicy;
use zeroize::Zeroizing;

use self::token::TokenSource;
use crate::classify::{NoAnswer, Verdict, unanswered};
use crate::client::{Answer, Client, Tls};

/// A subscription's way to show who it is.
#[derive(Debug)]
pub(crate) enum Auth {
    /// It does not.
    None,
    /// `Authorization`, always the same.
    Header(HeaderValue),
    /// `Authorization` with a token that is fetched. Boxed: few have one.
    Token(Box<TokenSource>),
    /// Its own TLS.
    Certificate(Arc<ClientConfig>),
}

impl Auth {
    /// Prepares what a subscription says.
    ///
    /// # Errors
    /// The verdict on every attempt until the subscription changes.
    pub(crate) fn new(auth: Option<&catalog::Auth>, policy: &TargetPolicy, tls: &Tls) -> Result<Self, Verdict> {
        Ok(match auth {
            None => Self::None,
            Some(catalog::Auth::Basic { username, password }) => Self::Header(basic(username, password)?),
            Some(catalog::Auth::Bearer { token }) => Self::Header(bearer(token)?),
            Some(catalog::Auth::Oauth2(oauth2)) => Self::Token(Box::new(TokenSource::new(oauth2, policy)?)),
            Some(catalog::Auth::Mtls { certificate, private_key }) => {
                let config = tls.with_certificate(certificate, private_key).map_err(|error| {
                    tracing::warn!(%error, "a client certificate cannot be used");
                    unanswered(NoAnswer::Unsigned)
                })?;
                Self::Certificate(Arc::new(config))
            }
        })
    }

    /// Whether it sets `Authorization`.
    pub(crate) fn is_header(&self) -> bool {
        matches!(self, Self::Header(_) | Self::Token(_))
    }

    /// Makes an attempt.
    pub(crate) fn send<'a>(
        &'a self,
        client: &'a Client,
        mut request: Request<Full<Bytes>>,
        timeout: Duration,
        now_ms: i64,
    ) -> impl Future<Output = Answer> + Send + 'a {
        match self {
            Self::None | Self::Certificate(_) => {}
            Self::Header(value) => {
                request.headers_mut().insert(AUTHORIZATION, value.clone());
            }
            // Boxed: nobody else pays for the size of this future.
            Self::Token(source) => return Either::Right(Box::pin(source.send(client, request, timeout, now_ms))),
        }
        Either::Left(client.send(request, timeout, now_ms))
    }
}

/// `Basic` with a name and a password.
fn basic(username: &str, password: &str) -> Result<HeaderValue, Verdict> {
    let pair = Zeroizing::new(format!("{username}:{password}"));
    secret_value(&Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
}

/// `Bearer` with a token.
fn bearer(token: &str) -> Result<HeaderValue, Verdict> {
    secret_value(&Zeroizing::new(format!("Bearer {token}")))
}

/// The value is a secret: it is never part of a message, nor of HTTP/2's index of headers.
fn secret_value(text: &str) -> Result<HeaderValue, Verdict> {
    let unwritable = || Verdict::Unwritable("the header `authorization` cannot be written".to_owned());
    let mut value = HeaderValue::from_str(text).map_err(|_quotes_the_secret| unwritable())?;
    value.set_sensitive(true);
    Ok(value)
}
