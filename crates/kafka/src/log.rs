//! Log lines of the Kafka clients, rate-limited: one line per kind and ten seconds, with the number of lines swallowed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError as Native;
use rdkafka::types::RDKafkaErrorCode;
use tracing::{debug, error, info, warn};

use crate::clock::boot_ms;
use crate::error::{ErrorCode, KafkaError};
use crate::error_counts;

/// librdkafka's facility of connections that fail.
const FAILED_CONNECTION: &str = "FAIL";
/// At most one line per key in this time.
const PERIOD_MS: i64 = 10_000;
/// Keys that are remembered; more than there are kinds of lines.
const MAX_KEYS: usize = 256;

static LIMITER: Mutex<Option<HashMap<String, (i64, u64)>>> = Mutex::new(None);

/// How many lines of this key were swallowed since the last one; `None`: swallow this one too.
pub(crate) fn allowed(key: &str) -> Option<u64> {
    let now = boot_ms();
    let mut limiter = LIMITER.lock();
    let keys = limiter.get_or_insert_default();
    if keys.len() >= MAX_KEYS {
        keys.retain(|_, (last, _)| now - *last < PERIOD_MS);
    }
    let Some((last, swallowed)) = keys.get_mut(key) else {
        keys.insert(key.to_owned(), (now, 0));
        return Some(0);
    };
    if now - *last < PERIOD_MS {
        *swallowed += 1;
        return None;
    }
    *last = now;
    Some(std::mem::take(swallowed))
}

/// A call failed and will be tried again.
pub(crate) fn call_failed(error: &KafkaError) {
    let text = error.to_string();
    let code = if let KafkaError::Call { code, .. } = error { Some(*code) } else { None };
    error_counts::count(code);
    if let Some(swallowed) = allowed(&key(&text, code)) {
        warn!(swallowed, "{text}; trying again");
    }
}

/// What is one kind of line: `text`, but that brokers are away is found out by every client and every call on its own, and is one.
fn key(text: &str, code: Option<ErrorCode>) -> String {
    match code.filter(|code| code.is_unreachable()) {
        Some(code) => format!("{code:?}"),
        None => text.to_owned(),
    }
}

/// A line of librdkafka's own log.
pub(crate) fn librdkafka(client: &'static str, level: RDKafkaLogLevel, facility: &str, message: &str) {
    let Some(swallowed) = allowed(&format!("{client} {facility}")) else { return };
    match level {
        // An error of the client, too, and told as that.
        RDKafkaLogLevel::Error if facility == FAILED_CONNECTION => {
            debug!(client, facility, swallowed, "{message}");
        }
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            error!(client, facility, swallowed, "{message}");
        }
        RDKafkaLogLevel::Warning => warn!(client, facility, swallowed, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => info!(client, facility, swallowed, "{message}"),
        RDKafkaLogLevel::Debug => debug!(client, facility, swallowed, "{message}"),
    }
}

/// An error librdkafka reports beside any call: brokers that are away, refused credentials.
pub(crate) fn client_error(client: &'static str, error: &Native, reason: &str) {
    let code = error.rdkafka_error_code();
    if code == Some(RDKafkaErrorCode::PartitionEOF) {
        // News for whoever asked for it, no failure.
        return;
    }
    error_counts::count(code.map(ErrorCode));
    if let Some(swallowed) = allowed(&key(&format!("{client} {code:?}"), code.map(ErrorCode))) {
        warn!(client, ?code, swallowed, "{reason}");
    }
}

/// The context of clients that are not polled for anything but their log.
pub(crate) struct Named {
    name: &'static str,
    over: Option<Arc<AtomicBool>>,
}

impl Named {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, over: None }
    }

    /// A client that lives a moment longer than its owner: what it meets once `over` is set (a broker that stops with
    /// this process) is nobody's failure.
    pub(crate) const fn until(name: &'static str, over: Arc<AtomicBool>) -> Self {
        Self { name, over: Some(over) }
    }

    fn is_over(&self) -> bool {
        self.over.as_ref().is_some_and(|over| over.load(Ordering::Acquire))
    }
}

impl rdkafka::ClientContext for Named {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if !self.is_over() {
            librdkafka(self.name, level, facility, message);
        }
    }

    fn error(&self, error: Native, reason: &str) {
        if !self.is_over() {
            client_error(self.name, &error, reason);
        }
    }
}

impl rdkafka::consumer::ConsumerContext for Named {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_no_broker_can_be_reached_is_one_line_whoever_finds_it_out() {
        let code = |code| Some(ErrorCode(code));
        let down = RDKafkaErrorCode::AllBrokersDown;
        assert_eq!(key("tail AllBrokersDown", code(down)), key("reading t failed: AllBrokersDown", code(down)));
        let other = RDKafkaErrorCode::NotCoordinator;
        assert_ne!(key("offsets of a", code(other)), key("offsets of b", code(other)));
        assert_ne!(key("a", None), key("b", None));
    }
}
