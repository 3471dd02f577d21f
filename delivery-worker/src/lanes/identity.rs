//! Whose endpoint a lane sends to, and as whom. Another origin is another endpoint; other credentials, or authorities, may be what it missed.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use catalog::{Auth, Subscription};
use schemas::lanes::LaneEndpoint;

use super::origin::OriginKey;

/// What a lane's knowledge is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EndpointIdentity {
    /// Its origin; `None`: its URL cannot be used, or it was not looked at yet.
    pub(crate) origin: Option<OriginKey>,
    credentials: Credentials,
}

/// A digest of what shows who sends; it is compared and never shown.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Credentials(u64);

impl EndpointIdentity {
    /// Of a subscription as it is now.
    pub(crate) fn of(subscription: &Subscription) -> Self {
        Self { origin: OriginKey::of(subscription), credentials: Credentials::of(subscription) }
    }
}

/// What is written of a subscription's endpoint, so that the next owner knows it again; `None`: its URL cannot be used. Its credentials
/// are not in it: a digest of a secret is something to guess by.
pub(crate) fn written(subscription: &Subscription) -> Option<LaneEndpoint> {
    Some(LaneEndpoint::new(subscription.offset(), OriginKey::of(subscription)?.as_str()))
}

impl Credentials {
    /// Custom headers are among them: many endpoints know their senders by one.
    fn of(subscription: &Subscription) -> Self {
        let Ok(target) = subscription.target() else { return Self::default() };
        let mut hasher = DefaultHasher::new();
        for (name, value) in &target.headers {
            (name, value.as_str()).hash(&mut hasher);
        }
        target.ca_certificates.hash(&mut hasher);
        match &target.auth {
            None => {}
            Some(Auth::Basic { username, password }) => (1, username, password.as_str()).hash(&mut hasher),
            Some(Auth::Bearer { token }) => (2, token.as_str()).hash(&mut hasher),
            Some(Auth::Oauth2(oauth2)) => {
                (3, oauth2.token_url.as_str(), &oauth2.client_id).hash(&mut hasher);
                (oauth2.client_secret.as_str(), &oauth2.scopes).hash(&mut hasher);
            }
            Some(Auth::Mtls { certificate, private_key }) => (4, certificate, private_key.as_str()).hash(&mut hasher),
        }
        Self(hasher.finish())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use schemas::control;

    use super::*;
    use crate::testing;

    #[test]
    fn another_path_is_the_same_endpoint_and_another_origin_header_or_token_is_not() {
        let vault = testing::vault();
        let id = testing::subscription_id(1);
        let of = |url: &str, token: Option<&str>, header: Option<&str>| {
            let mut object = testing::object(1, url, &vault);
            object.auth = token.map(|token| control::Auth::Bearer { token: testing::seal(&vault, id, token) });
            object.target.headers =
                header.map(|value| ("x-key".to_owned(), testing::seal(&vault, id, value))).into_iter().collect();
            EndpointIdentity::of(&testing::subscription(object, 1, &vault))
        };
        let first = of("https://example.com/a", Some("one"), Some("key"));
        assert_eq!(first, of("https://example.com/b", Some("one"), Some("key")), "sealed anew, and the same");
        assert_ne!(first, of("https://example.org/a", Some("one"), Some("key")));
        assert_ne!(first, of("https://example.com/a", Some("two"), Some("key")));
        assert_ne!(first, of("https://example.com/a", Some("one"), Some("other")));
        assert_ne!(first, of("https://example.com/a", None, Some("key")));
        assert!(!format!("{first:?}").contains("one"));
    }
}
