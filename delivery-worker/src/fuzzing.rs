//! Door of the fuzz target for `Retry-After` (tests/fuzz). In no product: the feature `fuzzing` is turned on by tests/fuzz alone.
#![expect(clippy::panic, reason = "a target says by a panic what it has found")]

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::classify::{AttemptVerdict, answered};

/// How long an answer of 503 with such a header asks to wait; `None` where it asks for nothing.
#[must_use]
pub fn retry_after(value: &[u8], now_ms: i64) -> Option<Duration> {
    let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_bytes(value).ok()?)]);
    let verdict = answered(StatusCode::SERVICE_UNAVAILABLE, &headers, now_ms);
    let AttemptVerdict::Failed(failure) = verdict else { panic!("503 is a failure, not {verdict:?}") };
    failure.retry_after
}
