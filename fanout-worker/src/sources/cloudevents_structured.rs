//! CloudEvents 1.0 Kafka binding, structured mode with the JSON format: the value is an envelope, the payload stands in it.
//!
//! The payload is the slice of the value that `data` occupies, so its bytes are those the producer wrote. A string of a
//! media type that is not JSON is that text, and `data_base64` is the bytes it encodes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemas::header;
use schemas::record::{Headers, Record, TopicPartition};
use schemas::rejected::RejectReason;
use serde_json::value::RawValue;

use super::{Attributes, Event, Rejection, Resolved, cloudevents_binary};

/// What CloudEvents means when the envelope does not say it.
const JSON: &str = "application/json";
/// Extension attributes that travel on as headers; more are left out.
const MAX_EXTENSIONS: usize = 32;

type Envelope<'a> = BTreeMap<String, &'a RawValue>;

pub(super) fn decode<'a>(record: &'a Record, value: &'a Bytes, from: &TopicPartition) -> Result<Event<'a>, Rejection> {
    let application = cloudevents_binary::application(record.headers.get(header::APPLICATION))?;
    let mut envelope: Envelope<'a> =
        serde_json::from_slice(value).map_err(|error| undecodable(format!("not a CloudEvents envelope: {error}")))?;
    let attributes = Attributes {
        spec_version: take(&mut envelope, "specversion")?,
        id: take(&mut envelope, "id")?,
        source: take(&mut envelope, "source")?,
        event_type: take(&mut envelope, "type")?,
        time: take(&mut envelope, "time")?,
    };
    let resolved = attributes.resolve(record, from)?;
    let given_type = take(&mut envelope, "datacontenttype")?;
    let (data, base64) = (envelope.remove("data"), envelope.remove("data_base64"));
    let content_type = given_type.or_else(|| data.is_some().then_some(Cow::Borrowed(JSON)));
    let payload = payload(value, data, base64, content_type.as_deref().unwrap_or(JSON))?;
    let headers = headers(record, &resolved, content_type.as_deref(), envelope)?;
    Ok(Event {
        application,
        id: resolved.id,
        is_positional: resolved.is_positional,
        source: resolved.source,
        event_type: resolved.event_type,
        time: resolved.time,
        content_type,
        labels: record.headers.get(header::LABELS),
        metadata: record.headers.get(header::METADATA),
        ip: record.headers.text(header::IP),
        payload,
        headers,
    })
}

fn undecodable(detail: impl Into<Cow<'static, str>>) -> Rejection {
    Rejection::new(RejectReason::Undecodable, detail)
}

/// Takes an attribute out of the envelope: a string, or a number or boolean as its text. `null` is absent.
fn take(envelope: &mut Envelope<'_>, name: &str) -> Result<Option<Cow<'static, str>>, Rejection> {
    envelope.remove(name).map_or(Ok(None), |raw| scalar(name, raw))
}

fn scalar(name: &str, raw: &RawValue) -> Result<Option<Cow<'static, str>>, Rejection> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => {
            let text: String = serde_json::from_str(text)
                .map_err(|error| undecodable(format!("attribute `{name}` is not a JSON string: {error}")))?;
            Ok(Some(text.into()))
        }
        Some(b'{' | b'[') => Err(Rejection::attribute(format!("attribute `{name}` is not a scalar"))),
        Some(b'n') => Ok(None),
        Some(_) | None => Ok(Some(text.to_owned().into())),
    }
}

fn payload(
    value: &Bytes,
    data: Option<&RawValue>,
    base64: Option<&RawValue>,
    content_type: &str,
) -> Result<Bytes, Rejection> {
    match (data, base64) {
        (Some(_), Some(_)) => Err(undecodable("the envelope has both `data` and `data_base64`")),
        (None, None) => Ok(Bytes::new()),
        (Some(data), None) if data.get().starts_with('"') && !is_json(content_type) => {
            let text: String = serde_json::from_str(data.get())
                .map_err(|error| undecodable(format!("`data` is not a JSON string: {error}")))?;
            Ok(text.into())
        }
        (Some(data), None) => Ok(value.slice_ref(data.get().as_bytes())),
        (None, Some(base64)) => {
            let text: Cow<'_, str> = serde_json::from_str(base64.get())
                .map_err(|error| undecodable(format!("`data_base64` is not a JSON string: {error}")))?;
            let bytes = STANDARD.decode(text.as_bytes());
            Ok(bytes.map_err(|error| undecodable(format!("`data_base64` is not base64: {error}")))?.into())
        }
    }
}

/// `application/json`, `text/json`, `application/vnd.acme+json`, with or without parameters.
fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.ends_with("/json") || media_type.ends_with("+json")
}

/// The same headers as in binary mode: from here on nobody needs to know how the event was written.
fn headers(
    record: &Record,
    resolved: &Resolved<'_>,
    content_type: Option<&str>,
    extensions: Envelope<'_>,
) -> Result<Headers, Rejection> {
    let mut builder = Headers::builder(16, 512);
    builder
        .push(header::CE_SPECVERSION, b"1.0")
        .push(header::CE_ID, resolved.id.as_bytes())
        .push(header::CE_TYPE, resolved.event_type.as_bytes())
        .push(header::CE_SOURCE, resolved.source.as_bytes());
    if let Some(time) = &resolved.time {
        builder.push(header::CE_TIME, time.as_bytes());
    }
    if let Some(content_type) = content_type {
        builder.push(header::CONTENT_TYPE, content_type.as_bytes());
    }
    for (name, raw) in extensions.into_iter().take(MAX_EXTENSIONS) {
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if is_name && let Some(text) = scalar(&name, raw)? {
            builder.push(&format!("ce_{name}"), text.as_bytes());
        }
    }
    builder.copy_if(&record.headers, |name| {
        let own = header::INBOUND.iter().chain([&header::TRACEPARENT]);
        own.map(|own| own.as_bytes()).any(|own| own == name)
    });
    Ok(builder.build())
}
