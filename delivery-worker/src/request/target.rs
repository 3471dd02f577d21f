//! What a subscription's requests have in common: prepared once per change of it, shared by all its attempts.

use std::sync::Arc;

use catalog::Subscription;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Method, Uri};
use target::TargetPolicy;

use super::unprepared;
use crate::auth::token::TokenSource;
use crate::auth::{Auth, own_tls};
use crate::classify::AttemptVerdict;
use crate::client::Tls;
use crate::pool::{ClientIdentity, host_header};

/// Where requests go and what they carry, checked and parsed.
#[derive(Debug)]
pub(crate) struct Target {
    pub(super) method: Method,
    pub(super) uri: Uri,
    /// First in a request: some servers look for it there.
    pub(super) host: HeaderValue,
    pub(super) custom: Vec<(HeaderName, HeaderValue)>,
    auth: Auth,
    identity: Option<ClientIdentity>,
}

/// A subscription's target, or the verdict on every attempt.
pub(crate) type Prepared = Arc<Result<Target, AttemptVerdict>>;

impl Target {
    /// Prepares a subscription's target. A source of its tokens that was made before goes on.
    ///
    /// # Errors
    /// The verdict on every attempt until the subscription changes.
    pub(crate) fn new(
        subscription: &Subscription,
        source: Option<Arc<TokenSource>>,
        policy: &TargetPolicy,
        tls: &Tls,
    ) -> Result<Self, AttemptVerdict> {
        let target = subscription.target().map_err(unprepared)?;
        policy.check_url(&target.url).map_err(|refused| AttemptVerdict::Refused(refused.to_string()))?;
        let uri: Uri = target
            .url
            .as_str()
            .parse()
            .map_err(|error| AttemptVerdict::Refused(format!("the URL is no URI: {error}")))?;
        let host = host_header(&uri).ok_or_else(|| AttemptVerdict::Refused("the URL has no host".to_owned()))?;
        let method = Method::from_bytes(target.method.as_bytes())
            .map_err(|_invalid| AttemptVerdict::Unwritable(format!("`{}` is no method", target.method)))?;
        let holder = (subscription.id(), subscription.offset());
        let auth = Auth::new(target.auth.as_ref(), source, policy)?;
        let identity = own_tls(target.auth.as_ref(), target.ca_certificates.as_deref(), holder, tls)?;
        let mut custom: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(target.headers.len());
        for (name, value) in &target.headers {
            let (header, value) = custom_header(name, value)?;
            if auth.is_header() && header == AUTHORIZATION {
                // Refused when it is written; what is there wins here.
                continue;
            }
            if custom.last().is_some_and(|(last, _)| *last == header) {
                custom.pop();
            }
            custom.push((header, value));
        }
        Ok(Self { method, uri, host, custom, auth, identity })
    }

    /// How its requests show who sends them.
    pub(crate) fn auth(&self) -> &Auth {
        &self.auth
    }

    /// What its connections are made with, where that is its own.
    pub(crate) fn identity(&self) -> Option<&ClientIdentity> {
        self.identity.as_ref()
    }
}

fn custom_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), AttemptVerdict> {
    // The value may be a secret: it is never part of a message.
    let invalid = || AttemptVerdict::Unwritable(format!("the custom header `{name}` cannot be written"));
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_invalid| invalid())?;
    let mut value = HeaderValue::from_str(value.trim()).map_err(|_invalid| invalid())?;
    value.to_str().map_err(|_invalid| invalid())?;
    value.set_sensitive(true);
    Ok((header, value))
}
