//! How a request shows who sends it, beside its signature: prepared once per change of its subscription.
//!
//! | kind | what an attempt does |
//! |---|---|
//! | none | nothing |
//! | basic, bearer | adds the prepared header |
//! | OAuth 2 client credentials | adds the cached token, fetches one where there is none ([`token`]) |
//! | client certificate | goes over its subscription's own connections ([`crate::pool`]), as it does where that trusts its own authorities |
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
use futures_util::future::Either;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use target::TargetPolicy;
use zeroize::Zeroizing;

use self::token::TokenSource;
use crate::classify::{AttemptVerdict, NoAnswer, unanswered};
use crate::client::{Answer, Client, HttpRequest, OwnTls, Tls};
use crate::pool::{ClientIdentity, Holder};

/// A subscription's way to show who it is.
#[derive(Debug)]
pub(crate) enum Auth {
    /// It does not.
    None,
    /// `Authorization`, always the same.
    Header(HeaderValue),
    /// `Authorization` with a token that is fetched. Its source outlives what is prepared around it.
    Token(Arc<TokenSource>),
}

impl Auth {
    /// Prepares what a subscription says. A source of its tokens that was made before goes on, with the token it has.
    ///
    /// # Errors
    /// The verdict on every attempt until the subscription changes.
    pub(crate) fn new(
        auth: Option<&catalog::Auth>,
        source: Option<Arc<TokenSource>>,
        policy: &TargetPolicy,
    ) -> Result<Self, AttemptVerdict> {
        Ok(match auth {
            // What a certificate shows is the connection's.
            None | Some(catalog::Auth::Mtls { .. }) => Self::None,
            Some(catalog::Auth::Basic { username, password }) => Self::Header(basic(username, password)?),
            Some(catalog::Auth::Bearer { token }) => Self::Header(bearer(token)?),
            Some(catalog::Auth::Oauth2(oauth2)) => Self::Token(match source {
                Some(source) => source,
                None => Arc::new(TokenSource::new(oauth2, policy)?),
            }),
        })
    }

    /// Where its tokens come from, if it has any.
    pub(crate) fn source(&self) -> Option<&Arc<TokenSource>> {
        match self {
            Self::Token(source) => Some(source),
            Self::None | Self::Header(_) => None,
        }
    }

    /// Whether it sets `Authorization`.
    pub(crate) fn is_header(&self) -> bool {
        matches!(self, Self::Header(_) | Self::Token(_))
    }

    /// Adds what is always the same.
    pub(crate) fn authorize(&self, mut request: HttpRequest) -> HttpRequest {
        if let Self::Header(value) = self {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        request
    }

    /// Makes an attempt with a request that is authorized, and can be made again.
    pub(crate) fn send<'a>(
        &'a self,
        (client, identity): (&'a Client, Option<&'a ClientIdentity>),
        request: HttpRequest,
        again: impl Fn() -> Result<HttpRequest, AttemptVerdict> + Send + Sync + 'a,
        timeout: Duration,
        now_ms: i64,
    ) -> impl Future<Output = Answer> + Send + 'a {
        match self {
            Self::None | Self::Header(_) => Either::Left(client.send(request, again, identity, timeout, now_ms)),
            // Boxed: nobody else pays for the size of this future.
            Self::Token(source) => {
                Either::Right(Box::pin(source.send((client, identity), request, again, timeout, now_ms)))
            }
        }
    }
}

/// The TLS of a subscription that shows a certificate, or trusts other authorities than everybody does; `None`: it has none of its own.
///
/// # Errors
/// The verdict on every attempt until the subscription changes.
pub(crate) fn own_tls(
    auth: Option<&catalog::Auth>,
    authorities: Option<&str>,
    holder: Holder,
    tls: &Tls,
) -> Result<Option<ClientIdentity>, AttemptVerdict> {
    let certificate = match auth {
        Some(catalog::Auth::Mtls { certificate, private_key }) => Some((certificate.as_str(), private_key.as_str())),
        None | Some(catalog::Auth::Basic { .. } | catalog::Auth::Bearer { .. } | catalog::Auth::Oauth2(_)) => None,
    };
    if certificate.is_none() && authorities.is_none() {
        return Ok(None);
    }
    let config = tls.own(OwnTls { certificate, authorities }).map_err(|error| {
        tracing::warn!(subscription.id = %holder.0, %error, "a client certificate, or an authority, cannot be used");
        unanswered(NoAnswer::Unsigned)
    })?;
    Ok(Some(ClientIdentity { holder, tls: Arc::new(config) }))
}

/// `Basic` with a name and a password.
fn basic(username: &str, password: &str) -> Result<HeaderValue, AttemptVerdict> {
    let pair = Zeroizing::new(format!("{username}:{password}"));
    secret_value(&Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
}

/// `Bearer` with a token.
fn bearer(token: &str) -> Result<HeaderValue, AttemptVerdict> {
    secret_value(&Zeroizing::new(format!("Bearer {token}")))
}

/// The value is a secret: it is never part of a message, nor of HTTP/2's index of headers.
fn secret_value(text: &str) -> Result<HeaderValue, AttemptVerdict> {
    let unwritable = || AttemptVerdict::Unwritable("the header `authorization` cannot be written".to_owned());
    let mut value = HeaderValue::from_str(text).map_err(|_quotes_the_secret| unwritable())?;
    value.set_sensitive(true);
    Ok(value)
}
