//! What the endpoint saw: every request, in order, findable by path, waited for by notification.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU16, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::Notify;

/// Whether the signatures of a request hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// Nobody told the endpoint a secret for this route.
    Unchecked,
    /// Every signature that is there verifies, and at least one is.
    Valid {
        /// `webhook-signature` was there.
        standard: bool,
        /// `X-Hook0-Signature` was there.
        hook0: bool,
    },
    /// There is none, or one does not verify.
    Invalid(String),
}

/// One request.
#[derive(Debug)]
pub struct Seen {
    /// Position among all requests, from 0.
    pub number: u64,
    /// Which call of its route's script it was, from 1; always 1 where every call gets the same reply.
    pub call: u32,
    /// When its head had arrived, Unix ms.
    pub arrived_ms: i64,
    /// Its method.
    pub method: Method,
    /// Its path, without the query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, cut to the endpoint's limit.
    pub body: Bytes,
    /// Length of the whole body.
    pub body_length: usize,
    /// [`body_hash`] of the whole body.
    pub body_hash: u64,
    /// [`body_hash`] of the payload in the body: of `data` in an envelope or a structured `CloudEvent`, else of all of it.
    pub payload_hash: u64,
    /// Whether the whole body arrived. What did not is no delivery.
    pub complete: bool,
    /// Whether its signatures verify.
    pub signature: Signature,
    answered_ms: AtomicI64,
    answered_status: AtomicU16,
    ended_ms: AtomicI64,
}

/// An answer that was handed to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its status.
    pub status: u16,
    /// When, Unix ms.
    pub at_ms: i64,
}

/// The request before the log gives it a number.
pub(crate) struct Arrival {
    pub(crate) call: u32,
    pub(crate) arrived_ms: i64,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) complete: bool,
    pub(crate) signature: Signature,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct SeenLog {
    body_limit: usize,
    keep: bool,
    entries: Mutex<Entries>,
    /// Woken at every arrival and answer.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Entries {
    list: Vec<Arc<Seen>>,
    next: u64,
    /// Complete requests by path and by every folder above it.
    counts: HashMap<String, u64>,
}

/// A hash to compare bodies with, the same in every process.
#[must_use]
pub fn body_hash(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    hasher.finish()
}

/// Of what was accepted, in whatever form it was delivered.
fn payload_hash(headers: &HeaderMap, body: &[u8]) -> u64 {
    let content_type = headers.get("content-type").map_or(&[][..], HeaderValue::as_bytes);
    let holds_data = content_type == b"application/cloudevents+json" || body.starts_with(b"{\"event_id\":");
    let fields = holds_data.then(|| serde_json::from_slice::<BTreeMap<String, &RawValue>>(body).ok()).flatten();
    let Some(fields) = fields else { return body_hash(body) };
    match (fields.get("data"), fields.get("data_base64")) {
        (Some(data), _) => body_hash(data.get().as_bytes()),
        (None, Some(encoded)) => {
            let text: String = serde_json::from_str(encoded.get()).unwrap_or_default();
            STANDARD.decode(text).map_or(0, |payload| body_hash(&payload))
        }
        (None, None) => body_hash(b""),
    }
}

// === impl Seen ===

impl Seen {
    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `X-Hookbus-Delivery-Id`.
    #[must_use]
    pub fn delivery(&self) -> Option<&str> {
        self.header("x-hookbus-delivery-id")
    }

    /// `X-Hookbus-Attempt`.
    #[must_use]
    pub fn attempt(&self) -> Option<u32> {
        self.header("x-hookbus-attempt")?.parse().ok()
    }

    /// `X-Event-Id`.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        self.header("x-event-id")
    }

    /// The answer, if one was given.
    #[must_use]
    pub fn answered(&self) -> Option<Answered> {
        let at_ms = self.answered_ms.load(Ordering::Acquire);
        (at_ms != 0).then(|| Answered { status: self.answered_status.load(Ordering::Relaxed), at_ms })
    }

    /// When it was over without an answer, Unix ms: reset, or its sender had gone. `None` too while it hangs.
    #[must_use]
    pub fn ended(&self) -> Option<i64> {
        let at_ms = self.ended_ms.load(Ordering::Acquire);
        (at_ms != 0).then_some(at_ms)
    }

    /// Whether it was answered with a 2xx: then the sender may have counted it as delivered.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.answered().is_some_and(|answered| (200..300).contains(&answered.status))
    }
}

// === impl SeenLog ===

impl SeenLog {
    pub(crate) fn new(body_limit: usize, keep: bool) -> Self {
        Self { body_limit, keep, entries: Mutex::default(), changed: Notify::new() }
    }

    /// Remembers a request.
    pub(crate) fn push(&self, arrival: Arrival) -> Arc<Seen> {
        let body_length = arrival.body.len();
        let (body_hash, payload_hash) =
            if self.keep { (body_hash(&arrival.body), payload_hash(&arrival.headers, &arrival.body)) } else { (0, 0) };
        let mut entries = self.entries.lock();
        if arrival.complete {
            entries.count(&arrival.path);
        }
        let seen = Arc::new(Seen {
            number: entries.next,
            call: arrival.call,
            arrived_ms: arrival.arrived_ms,
            method: arrival.method,
            path: arrival.path,
            headers: unpinned(&arrival.headers),
            body: Bytes::copy_from_slice(&arrival.body[..body_length.min(self.body_limit)]),
            body_length,
            body_hash,
            payload_hash,
            complete: arrival.complete,
            signature: arrival.signature,
            answered_ms: AtomicI64::new(0),
            answered_status: AtomicU16::new(0),
            ended_ms: AtomicI64::new(0),
        });
        entries.next += 1;
        if self.keep {
            entries.list.push(Arc::clone(&seen));
        }
        drop(entries);
        self.changed.notify_waiters();
        seen
    }

    /// Remembers that it was answered.
    pub(crate) fn answer(&self, seen: &Seen, status: u16, now_ms: i64) {
        seen.answered_status.store(status, Ordering::Relaxed);
        seen.answered_ms.store(now_ms, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Remembers that it was over, if it was not answered.
    pub(crate) fn end(&self, seen: &Seen, now_ms: i64) {
        if seen.answered().is_none() {
            seen.ended_ms.store(now_ms, Ordering::Release);
            self.changed.notify_waiters();
        }
    }

    /// Complete requests to a path and to everything below it.
    pub(crate) fn count(&self, path: &str) -> u64 {
        self.entries.lock().counts.get(trimmed(path)).copied().unwrap_or(0)
    }

    /// The requests to a path and to everything below it.
    pub(crate) fn requests(&self, path: &str) -> Vec<Arc<Seen>> {
        let entries = self.entries.lock();
        entries.list.iter().filter(|seen| is_below(&seen.path, path)).map(Arc::clone).collect()
    }

    /// The requests with this number and later ones.
    pub(crate) fn since(&self, number: u64) -> Vec<Arc<Seen>> {
        let entries = self.entries.lock();
        // Numbers are positions in the list, as long as requests are kept.
        let from = usize::try_from(number).unwrap_or(usize::MAX).min(entries.list.len());
        entries.list[from..].iter().map(Arc::clone).collect()
    }

    /// Waits until the question has an answer; asked again after every arrival and every answer.
    pub(crate) async fn until<T>(&self, mut ask: impl FnMut(&Self) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(answer) = ask(self) {
                return answer;
            }
            changed.await;
        }
    }
}

// === impl Entries ===

impl Entries {
    fn count(&mut self, path: &str) {
        let mut folder = trimmed(path);
        loop {
            match self.counts.get_mut(folder) {
                Some(count) => *count += 1,
                None => drop(self.counts.insert(folder.to_owned(), 1)),
            }
            match folder.rsplit_once('/') {
                Some((above, _)) => folder = above,
                None => return,
            }
        }
    }
}

/// A copy of its own: the values as they came are slices of the connection's read buffer, and would keep all of it.
fn unpinned(headers: &HeaderMap) -> HeaderMap {
    let mut own = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("it was a header value before");
        own.append(name.clone(), value);
    }
    own
}

/// `/a/` and `/a` are one path, and `/` is the empty one above all.
pub(crate) fn trimmed(path: &str) -> &str {
    path.trim_end_matches('/')
}

/// Whether a path is a folder or lies in it.
pub(crate) fn is_below(path: &str, folder: &str) -> bool {
    match path.strip_prefix(trimmed(folder)) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(path: &str, complete: bool) -> Arrival {
        Arrival {
            call: 1,
            arrived_ms: 1,
            method: Method::POST,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"0123456789"),
            complete,
            signature: Signature::Unchecked,
        }
    }

    #[test]
    fn requests_are_counted_for_their_path_and_every_folder_above() {
        let log = SeenLog::new(4, true);
        for path in ["/a/1", "/a/2", "/a", "/ab", "/a/1/"] {
            log.push(arrival(path, true));
        }
        log.push(arrival("/a/1", false));
        let counts: Vec<u64> = ["/", "/a", "/a/1", "/ab", "/b"].iter().map(|path| log.count(path)).collect();
        assert_eq!(counts, [5, 4, 2, 1, 0], "what is incomplete does not count");
        assert_eq!(log.requests("/a").len(), 5, "but is shown");
        let first = &log.requests("/a/1")[0];
        assert_eq!((&first.body[..], first.body_length), (&b"0123"[..], 10));
        assert_eq!(first.body_hash, body_hash(b"0123456789"));
    }

    #[tokio::test]
    async fn a_waiter_is_woken_by_arrivals_and_answers() {
        let log = Arc::new(SeenLog::new(4, true));
        let answered = log.until(|log| log.requests("/").first().and_then(|seen| seen.answered()));
        let act = async {
            let seen = log.push(arrival("/x", true));
            tokio::task::yield_now().await;
            log.answer(&seen, 204, 7);
        };
        let (answered, ()) = tokio::join!(answered, act);
        assert_eq!(answered, Answered { status: 204, at_ms: 7 });
    }
}
