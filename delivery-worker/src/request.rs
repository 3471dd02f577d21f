//! Builds one signed request. Pure: the delivery, its subscription and the time in, the request out.
//!
//! Headers in the order of the contract: `host`, custom ones, `content-type`, `x-event-id`, `x-event-type` (these but
//! `host` are what Hook0's signature covers), then the Standard Webhooks set, Hook0's signature, ours, and what is said of a
//! deprecated type. The body of the `raw` form is the payload's own
//! buffer, never a copy.

mod body;
mod cloudevents;
mod envelope;
mod signed;
mod target;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;
use catalog::{PrepareError, Subscription};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::Full;
use jiff::fmt::rfc2822::DateTimePrinter;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use schemas::delivery::{Delivery, Deprecation, MadeBy};
use schemas::identity;
use uuid::Uuid;

use crate::classify::{AttemptVerdict, NoAnswer, unanswered};

pub(crate) use self::signed::Signed;
pub(crate) use self::target::{Prepared, Target};

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const EVENT_ID: HeaderName = HeaderName::from_static("x-event-id");
const EVENT_TYPE: HeaderName = HeaderName::from_static("x-event-type");
const HOOK0_SIGNATURE: HeaderName = HeaderName::from_static("x-hook0-signature");
const DELIVERY_ID: HeaderName = HeaderName::from_static("x-hookbus-delivery-id");
const ATTEMPT: HeaderName = HeaderName::from_static("x-hookbus-attempt");
const REPLAY: HeaderName = HeaderName::from_static("x-hookbus-replay");
const BACKFILL: HeaderName = HeaderName::from_static("x-hookbus-backfill");
/// RFC 9745.
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
/// RFC 8594.
const SUNSET: HeaderName = HeaderName::from_static("sunset");

const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("Hookbus/", env!("CARGO_PKG_VERSION")));

/// Everything that is not visible ASCII, and `%` itself.
const NOT_VISIBLE: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The request of one attempt made at `now_ms`.
///
/// # Errors
/// The verdict when it cannot be written or signed.
pub(crate) fn build(
    delivery: &Delivery,
    subscription: &Subscription,
    target: &Target,
    now_ms: i64,
) -> Result<Request<Full<Bytes>>, AttemptVerdict> {
    let (body, content_type) = body::of(delivery, subscription)?;
    let mut headers = HeaderMap::with_capacity(20 + target.custom.len());
    headers.insert(HOST, target.host.clone());
    for (name, value) in &target.custom {
        headers.append(name.clone(), value.clone());
    }
    headers.insert(CONTENT_TYPE, writable("content-type", content_type)?);
    headers.insert(EVENT_ID, writable("x-event-id", &visible(delivery.event_id()))?);
    headers.insert(EVENT_TYPE, writable("x-event-type", &visible(delivery.event_type()))?);
    sign(&mut headers, delivery, subscription, &body, now_ms)?;
    if !headers.contains_key(USER_AGENT) {
        headers.insert(USER_AGENT, AGENT);
    }
    if !headers.contains_key(ACCEPT) {
        headers.insert(ACCEPT, ANYTHING);
    }
    if body.is_empty() {
        // Of an empty body nobody else says so, and servers that want a length answer 411.
        headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
    headers.insert(DELIVERY_ID, uuid_value(delivery.id.0));
    headers.insert(ATTEMPT, HeaderValue::from(delivery.hop.attempt));
    if let Some(made_by) = replayed_by(delivery) {
        headers.insert(REPLAY, made_by);
    }
    if delivery.generation.0.is_none() && delivery.made_by() == Some(MadeBy::Backfill.as_str()) {
        headers.insert(BACKFILL, HeaderValue::from_static("true"));
    }
    if let Some(deprecation) = delivery.deprecation() {
        announce(&mut headers, deprecation);
    }
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = target.method.clone();
    *request.uri_mut() = target.uri.clone();
    *request.headers_mut() = headers;
    Ok(request)
}

/// What made it anew from an event that had deliveries before. A ping is an event of its own, by the id that made it.
fn replayed_by(delivery: &Delivery) -> Option<HeaderValue> {
    let generation = delivery.generation.0?;
    if delivery.event_id().parse() == Ok(generation) {
        return None;
    }
    let word = delivery.made_by().and_then(|made_by| HeaderValue::from_str(made_by).ok());
    // Whoever made it has not said what it is.
    Some(word.unwrap_or_else(|| HeaderValue::from_static("true")))
}

/// Says since when the event's type is deprecated, and when it may end. Custom headers of these names, from before they were
/// ours, stay as they are; no header is better than one that cannot be read.
fn announce(headers: &mut HeaderMap, deprecation: Deprecation) {
    let time = |ms| jiff::Timestamp::from_millisecond(ms).ok();
    let sunset =
        time(deprecation.sunset_ms).and_then(|at| DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok());
    let values =
        [(DEPRECATION, time(deprecation.deprecated_ms).map(|at| format!("@{}", at.as_second()))), (SUNSET, sunset)];
    for (name, text) in values {
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok())
            && !headers.contains_key(&name)
        {
            headers.insert(name, value);
        }
    }
}

/// Signs over what stands in the headers so far, and adds the signatures.
fn sign(
    headers: &mut HeaderMap,
    delivery: &Delivery,
    subscription: &Subscription,
    body: &Bytes,
    now_ms: i64,
) -> Result<(), AttemptVerdict> {
    let signer = subscription.signer(now_ms).map_err(|error| unprepared(&error))?;
    let timestamp = now_ms.div_euclid(1_000);
    let id = webhook_id(delivery);
    let body: &[&[u8]] = &[body];
    let hook0 = {
        let mut signed: Vec<(&str, &str)> = Vec::with_capacity(headers.len());
        for (name, value) in headers.iter().filter(|(name, _)| *name != HOST) {
            let value = value.to_str().map_err(|_invalid| not_text(name))?;
            signed.push((name.as_str(), value));
        }
        signed.sort_unstable_by_key(|(name, _)| *name);
        signer.hook0(timestamp, &signed, body)
    };
    let standard = signer.standard(&id, timestamp, body);
    headers.insert(WEBHOOK_ID, writable("webhook-id", &id)?);
    headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(timestamp));
    if let Some(value) = standard {
        headers.insert(WEBHOOK_SIGNATURE, owned("webhook-signature", value)?);
    }
    if let Some(value) = hook0 {
        headers.insert(HOOK0_SIGNATURE, owned("x-hook0-signature", value)?);
    }
    Ok(())
}

/// As [`identity::EventIdentity::webhook_id`], without owning the parts.
fn webhook_id(delivery: &Delivery) -> Cow<'_, str> {
    let (source, id) = (delivery.event_source(), delivery.event_id());
    let over_http = identity::is_gateway_source(delivery.application, source);
    let plain = id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.');
    if over_http && plain {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(identity::event_uuid(delivery.application, source, id).to_string())
    }
}

/// As it is, if it is visible ASCII without `%`; else percent-encoded, so that decoding always gives the original back.
fn visible(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%') {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(utf8_percent_encode(text, NOT_VISIBLE).to_string())
    }
}

fn uuid_value(id: Uuid) -> HeaderValue {
    let mut buffer = Uuid::encode_buffer();
    let text = id.hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(text).expect("a UUID is visible ASCII")
}

fn writable(name: &str, value: &str) -> Result<HeaderValue, AttemptVerdict> {
    HeaderValue::from_str(value).map_err(|_invalid| cannot_write(name))
}

fn owned(name: &str, value: String) -> Result<HeaderValue, AttemptVerdict> {
    HeaderValue::from_maybe_shared(Bytes::from(value)).map_err(|_invalid| cannot_write(name))
}

fn cannot_write(name: &str) -> AttemptVerdict {
    AttemptVerdict::Unwritable(format!("the header `{name}` cannot be written"))
}

fn not_text(name: &HeaderName) -> AttemptVerdict {
    cannot_write(name.as_str())
}

fn unprepared(error: &PrepareError) -> AttemptVerdict {
    match error {
        PrepareError::Url { reason, .. } => AttemptVerdict::Refused(format!("the target is not a URL: {reason}")),
        // A key that this worker lacks or a secret that somebody broke: an operator can mend both, so it is tried again.
        PrepareError::Sealed { .. } | PrepareError::Signing { .. } => unanswered(NoAnswer::Unsigned),
    }
}
