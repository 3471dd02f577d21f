//! What the attempts of a subscription have in common, without its secrets.

use std::borrow::Cow;
use std::time::Duration;

use catalog::Subscription;
use schemas::attempt::TargetFacts;
use schemas::control::{self, Auth};
use schemas::secret_header::is_always_secret;

/// What a subscription's attempts are made with. `object` is its control object; an attempt takes `timeout` at most, where it does
/// not say otherwise.
pub(super) fn facts<'a>(
    subscription: &'a Subscription,
    object: &'a control::Subscription,
    timeout: Duration,
) -> TargetFacts<'a> {
    // What cannot be opened was not sent, either; its names are known.
    let opened = subscription.target().ok();
    let value = |name: &str| {
        let is_secret = is_always_secret(name) || object.target.secret_headers.iter().any(|listed| listed == name);
        let found = opened?.headers.iter().find(|(of, _)| of == name).filter(|_| !is_secret);
        found.map(|(_, value)| Cow::Borrowed(value.as_str()))
    };
    let header = |name: &'a String| {
        let name: Cow<'a, str> = name.to_ascii_lowercase().into();
        let value = value(&name);
        (name, value)
    };
    let timeout = subscription.timeout().unwrap_or(timeout);
    TargetFacts {
        offset: subscription.offset(),
        method: Cow::Borrowed(&object.target.method),
        url: Cow::Borrowed(&object.target.url),
        headers: object.target.headers.keys().map(header).collect(),
        auth: object.auth.as_ref().map(|auth| Cow::Borrowed(word(auth))),
        signing: object.signing.clone(),
        body: object.body,
        timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
    }
}

fn word(auth: &Auth) -> &'static str {
    match auth {
        Auth::Basic { .. } => "basic",
        Auth::Bearer { .. } => "bearer",
        Auth::Oauth2 { .. } => "oauth2",
        Auth::Mtls { .. } => "mtls",
    }
}
