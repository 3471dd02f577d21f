//! The token endpoint's side of OAuth 2 (RFC 6749, client credentials): the form that is sent, and what an answer grants. Pure.
//!
//! Own code: the crate for it brings a calendar, SHA-2 and a second random source for one form and one JSON object, and
//! refuses what some servers answer (`expires_in` as a text).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use catalog::Oauth2;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Uri};
use http_body_util::Full;
use serde::Deserialize;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::client::Answer;

/// Of a token whose answer does not say how long it lives.
const UNSAID: Duration = Duration::from_secs(300);
/// No token is used for longer.
const LONGEST: Duration = Duration::from_secs(86_400);
/// A token is used for so long at least, whatever its answer says: else each delivery would fetch its own, one after the other. A target
/// that does not take it any more says so, and costs one request.
const SHORTEST: Duration = Duration::from_secs(5);
/// So long before its end a token is fetched anew, or a tenth of its life if that is less.
const MARGIN: Duration = Duration::from_secs(60);
/// Of a token endpoint's own error word.
const WORD_BYTES: usize = 60;

/// Where the client's credentials stand. RFC 6749 wants `Header` of every server; some take only `Form`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Header,
    Form,
}

/// A token and how long it may be used.
pub(super) struct Grant {
    pub(super) token: Zeroizing<String>,
    pub(super) lifetime: Duration,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    token_type: Option<String>,
    #[serde(default)]
    expires_in: Option<Seconds>,
}

/// Some servers write the number as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Style {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Header => Self::Form,
            Self::Form => Self::Header,
        }
    }
}

/// Asks for a token.
pub(super) fn request(of: &Oauth2, uri: &Uri, style: Style) -> Request<Full<Bytes>> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if !of.scopes.is_empty() {
        form.append_pair("scope", &of.scopes.join(" "));
    }
    if style == Style::Form {
        form.append_pair("client_id", &of.client_id).append_pair("client_secret", &of.client_secret);
    }
    let mut request = Request::new(Full::new(Bytes::from(form.finish())));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = uri.clone();
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if style == Style::Header {
        headers.insert(AUTHORIZATION, credentials(of));
    }
    request
}

/// Both halves are form-encoded before they are joined (RFC 6749, 2.3.1).
fn credentials(of: &Oauth2) -> HeaderValue {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!("{}:{}", encode(&of.client_id), encode(&of.client_secret)));
    let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    let mut value = HeaderValue::from_str(&text).expect("base64 is visible ASCII");
    value.set_sensitive(true);
    value
}

/// What an answer grants.
///
/// # Errors
/// Why it grants nothing, for people. Nothing that the endpoint sent but its status and its error word stands in it.
pub(super) fn read(answer: &Answer) -> Result<Grant, String> {
    let status = match (answer.status, answer.error) {
        (Some(status), None) => status,
        (_, Some(error)) => {
            let detail = answer.detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default();
            return Err(format!("the token endpoint did not answer: {}{detail}", error.as_str()));
        }
        (None, None) => return Err("the token endpoint was not asked".to_owned()),
    };
    if !status.is_success() {
        let word = serde_json::from_slice::<Refusal>(&answer.body).ok().map(|refusal| word(&refusal.error));
        let word = word.filter(|word| !word.is_empty()).map(|word| format!(": {word}"));
        return Err(format!("the token endpoint answered {}{}", status.as_u16(), word.unwrap_or_default()));
    }
    let granted: Granted = serde_json::from_slice(&answer.body)
        .map_err(|_may_quote_the_token| "the token endpoint's answer holds no access token".to_owned())?;
    if granted.token_type.as_ref().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err("the token endpoint gave a token that is no bearer token".to_owned());
    }
    Ok(Grant { token: Zeroizing::new(granted.access_token), lifetime: lifetime(granted.expires_in.as_ref()) })
}

fn lifetime(said: Option<&Seconds>) -> Duration {
    let seconds = match said {
        Some(Seconds::Number(seconds)) => Some(*seconds),
        Some(Seconds::Text(text)) => text.parse().ok(),
        None => None,
    };
    let whole = seconds.map_or(UNSAID, |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(UNSAID)).min(LONGEST);
    (whole - MARGIN.min(whole / 10)).max(SHORTEST)
}

/// An error word of somebody else's, as a log takes it.
fn word(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(WORD_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::classify::{AttemptVerdict, NoAnswer};

    fn answer(status: u16, body: &str) -> Answer {
        let mut answer = Answer::of(AttemptVerdict::Delivered);
        answer.status = StatusCode::from_u16(status).ok();
        answer.body = Bytes::copy_from_slice(body.as_bytes());
        answer
    }

    fn granted(body: &str) -> (String, u64) {
        let grant = read(&answer(200, body)).unwrap_or_else(|why| panic!("{why}"));
        (grant.token.to_string(), grant.lifetime.as_secs())
    }

    #[test]
    fn a_token_is_used_until_shortly_before_its_end() {
        for (body, expected) in [
            (r#"{"access_token":"a","token_type":"Bearer","expires_in":3600}"#, 3_540),
            (r#"{"access_token":"a","token_type":"bearer","expires_in":"3600"}"#, 3_540),
            (r#"{"access_token":"a","expires_in":100}"#, 90),
            (r#"{"access_token":"a"}"#, 270),
            (r#"{"access_token":"a","expires_in":0}"#, 5),
            (r#"{"access_token":"a","expires_in":"2"}"#, 5),
            (r#"{"access_token":"a","expires_in":1e300}"#, 270),
            (r#"{"access_token":"a","expires_in":-1,"scope":"x"}"#, 270),
            (r#"{"access_token":"a","expires_in":99999999}"#, 86_340),
        ] {
            assert_eq!(granted(body), ("a".to_owned(), expected), "{body}");
        }
    }

    #[test]
    fn what_grants_nothing_says_why_without_quoting_anything_secret() {
        let why = |answer: &Answer| read(answer).err().unwrap();
        assert_eq!(
            why(&answer(401, r#"{"error":"invalid_client","error_description":"secret x"}"#)),
            "the token endpoint answered 401: invalid_client"
        );
        assert_eq!(why(&answer(500, "<html>")), "the token endpoint answered 500");
        assert_eq!(why(&answer(302, "")), "the token endpoint answered 302");
        assert_eq!(why(&answer(200, r#"{"token":"hidden"}"#)), "the token endpoint's answer holds no access token");
        assert!(why(&answer(200, r#"{"access_token":"hidden","token_type":"mac"}"#)).ends_with("no bearer token"));
        let mut broken = answer(200, "{");
        broken.error = Some(NoAnswer::Reset);
        assert_eq!(why(&broken), "the token endpoint did not answer: reset");
    }
}
