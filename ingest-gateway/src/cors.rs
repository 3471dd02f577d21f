//! Which pages in browsers may send events: those that may call the management API, `control.cors_origins`.
//!
//! Where both roles share a process its layer answers for the other routes. Cookies are never used, so none are ever allowed; a
//! token is sent by hand. Which headers an event has is the sender's to say (attributes of a `CloudEvent` are some), so a page
//! may send those it asks for.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use crate::response::{self, GatewayBody};

/// What a page may read beside what every page may.
const EXPOSED: &str = "retry-after,x-request-id,x-hookbus-event-type";
/// Seconds that a browser may remember an answer: as of the management API.
const PREFLIGHT_AGE_S: u32 = 3_600;

/// Whose pages may send.
#[derive(Debug)]
pub(crate) enum CrossOrigin {
    /// Nobody's.
    None,
    /// Everybody's.
    Any,
    /// Those of these origins.
    Listed(Vec<HeaderValue>),
}

/// What an answer says to the page that asked; nothing where there is none.
#[derive(Debug)]
pub(crate) enum ToPage {
    /// There is no page, or none is known.
    Nothing,
    /// It may not read the answer; another one may.
    Denied,
    /// This origin may read it.
    Allowed(HeaderValue),
}

// === impl CrossOrigin ===

impl CrossOrigin {
    pub(crate) fn new(origins: &[String]) -> Self {
        match origins.first().map(String::as_str) {
            None => Self::None,
            Some("*") => Self::Any,
            Some(_origin) => Self::Listed(origins.iter().filter_map(|it| HeaderValue::from_str(it).ok()).collect()),
        }
    }

    /// What is to be said to the page that sends a request with these headers.
    pub(crate) fn asked(&self, headers: &HeaderMap) -> ToPage {
        match (self, headers.get(ORIGIN)) {
            (Self::None, _) | (Self::Any | Self::Listed(_), None) => ToPage::Nothing,
            (Self::Any, Some(_origin)) => ToPage::Allowed(HeaderValue::from_static("*")),
            (Self::Listed(origins), Some(origin)) if origins.contains(origin) => ToPage::Allowed(origin.clone()),
            (Self::Listed(_), Some(_origin)) => ToPage::Denied,
        }
    }
}

// === impl ToPage ===

impl ToPage {
    /// The answer to a browser that asks whether a page may send. `None`: that is not what is asked.
    pub(crate) fn preflight<B>(&self, request: &Request<B>, id: &HeaderValue) -> Option<Response<GatewayBody>> {
        let given = request.headers();
        let is_asked = request.method() == Method::OPTIONS && given.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_asked || matches!(self, Self::Nothing) {
            return None;
        }
        let mut response = response::empty(StatusCode::OK, id.clone());
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_AGE_S));
        if let Some(asked) = given.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        Some(response)
    }

    /// Says it with an answer, whatever that is.
    pub(crate) fn say(self, response: &mut Response<GatewayBody>) {
        let headers = response.headers_mut();
        match self {
            Self::Nothing => return,
            Self::Denied => {}
            Self::Allowed(origin) => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
            }
        }
        headers.insert(VARY, HeaderValue::from_static("origin"));
    }
}
