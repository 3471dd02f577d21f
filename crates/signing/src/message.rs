//! The exact bytes that each scheme signs. Signing and verifying both come here, so they cannot drift apart.

use ring::hmac;

use crate::Body;

/// An HMAC over `id.timestamp.body`.
pub(crate) fn standard(key: &hmac::Key, id: &str, timestamp: &str, body: Body<'_>) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(id.as_bytes());
    context.update(b".");
    context.update(timestamp.as_bytes());
    context.update(b".");
    finish(context, body)
}

/// The same message as one buffer: ed25519 reads it twice, so it cannot be streamed.
pub(crate) fn standard_bytes(id: &str, timestamp: &str, body: Body<'_>) -> Vec<u8> {
    let size: usize = body.iter().map(|part| part.len()).sum();
    let mut message = Vec::with_capacity(id.len() + timestamp.len() + 2 + size);
    message.extend_from_slice(id.as_bytes());
    message.push(b'.');
    message.extend_from_slice(timestamp.as_bytes());
    message.push(b'.');
    for part in body {
        message.extend_from_slice(part);
    }
    message
}

/// An HMAC over `t.names.values.body`; `headers` gives the pairs in signed order, and is walked twice.
pub(crate) fn hook0_v1<'a>(
    key: &hmac::Key,
    timestamp: &str,
    mut headers: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    body: Body<'_>,
) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(timestamp.as_bytes());
    context.update(b".");
    for (index, (name, _)) in headers.clone().enumerate() {
        if index > 0 {
            context.update(b" ");
        }
        context.update(name.as_bytes());
    }
    for (_, value) in headers.clone() {
        context.update(b".");
        context.update(value.as_bytes());
    }
    if headers.next().is_none() {
        context.update(b".");
    }
    context.update(b".");
    finish(context, body)
}

/// An HMAC over `t.body`.
pub(crate) fn hook0_v0(key: &hmac::Key, timestamp: &str, body: Body<'_>) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(timestamp.as_bytes());
    context.update(b".");
    finish(context, body)
}

/// An HMAC over the body alone.
pub(crate) fn body_only(key: &hmac::Key, body: Body<'_>) -> hmac::Tag {
    finish(hmac::Context::with_key(key), body)
}

fn finish(mut context: hmac::Context, body: Body<'_>) -> hmac::Tag {
    for part in body {
        context.update(part);
    }
    context.sign()
}
