//! What an attempt means. Pure and total: every status and every failure has a verdict.
//!
//! | answer | verdict |
//! |---|---|
//! | 2xx | delivered |
//! | `webhook-delivery: disable` on anything but a 2xx, 410 | gone: ends it, the control plane disables the subscription |
//! | `webhook-delivery: abort-message` on anything but a 2xx | aborted: ends it |
//! | 408, 425, 429, 502, 503, 504 | failed; `Retry-After` counts |
//! | everything else, no answer | failed |
//! | nothing was sent: this worker could not | failed, and no attempt: it is repeated under the same number |
//! | the name has, now, no address that may be called | failed: a name server may say otherwise next time |
//! | a URL that is refused as it is written: scheme, address, no URL | refused: ends it |
//! | request that cannot be written | unwritable: ends it |

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

/// The receiver's own wish, from Standard Webhooks.
const WISH: &str = "webhook-delivery";

/// What an attempt means for its delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttemptVerdict {
    /// The endpoint took it.
    Delivered,
    /// It did not, or could not be reached.
    Failed(Failure),
    /// The endpoint wants nothing any more.
    Gone(&'static str),
    /// The endpoint does not want this one.
    Aborted,
    /// The target policy does not allow the URL as it is written; no answer of a name server can mend that.
    Refused(String),
    /// There is no way to write the request.
    Unwritable(String),
}

/// A failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What the endpoint asked to wait.
    pub(crate) retry_after: Option<Duration>,
    /// What it says about how much the endpoint takes.
    pub(crate) pressure: Pressure,
    /// What it says about the way there.
    pub(crate) reach: Reach,
}

/// What a failed attempt says about how much its endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    /// Nothing.
    None,
    /// 429: so many are too many.
    TooMany,
    /// 502, 504: somebody before it got nothing out of it.
    Overloaded,
    /// 503: all of it is down, or has too much to do.
    Unavailable,
    /// No answer in time.
    TimedOut,
}

/// Whether the request got through to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Somebody was there.
    Reached,
    /// Nobody knows.
    Unknown,
    /// No name, no connection.
    Unreachable,
    /// It was not sent: this worker cannot use its subscription's secrets.
    Unsigned,
    /// It was not sent: this worker or its host lacks what a connection needs.
    Local,
}

/// Why no whole answer came. The words stand in the delivery log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NoAnswer {
    /// The name does not resolve.
    Dns,
    /// The name resolves, for now, only to addresses that the target policy refuses.
    Refused,
    /// No connection.
    Connect,
    /// TLS failed.
    Tls,
    /// Not within the attempt timeout.
    Timeout,
    /// The connection broke.
    Reset,
    /// What came is no HTTP.
    Protocol,
    /// The subscription's secrets cannot be used by this worker.
    Unsigned,
    /// The subscription's token endpoint gave no token.
    Token,
    /// This worker or its host lacks what a connection needs: descriptors, ports, memory.
    Local,
}

impl NoAnswer {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 10] = [
        Self::Dns,
        Self::Refused,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Reset,
        Self::Protocol,
        Self::Unsigned,
        Self::Token,
        Self::Local,
    ];

    /// The word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Unsigned => "unsigned",
            Self::Token => "token",
            Self::Local => "local",
        }
    }
}

impl AttemptVerdict {
    /// Whether nothing was sent, and for no reason that lies with the endpoint.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self, Self::Failed(Failure { reach: Reach::Unsigned | Reach::Local, .. }))
    }
}

/// The verdict on an answer.
pub(crate) fn answered(status: StatusCode, headers: &HeaderMap, now_ms: i64) -> AttemptVerdict {
    if status.is_success() {
        return AttemptVerdict::Delivered;
    }
    match headers.get(WISH).map(|wish| wish.as_bytes().trim_ascii()) {
        Some(b"disable") => return AttemptVerdict::Gone("the endpoint asked to be disabled"),
        Some(b"abort-message") => return AttemptVerdict::Aborted,
        Some(_) | None => {}
    }
    if status == StatusCode::GONE {
        return AttemptVerdict::Gone("the endpoint answered 410");
    }
    let pressure = match status.as_u16() {
        429 => Pressure::TooMany,
        502 | 504 => Pressure::Overloaded,
        503 => Pressure::Unavailable,
        _ => Pressure::None,
    };
    let waits = matches!(status.as_u16(), 408 | 425 | 429 | 502 | 503 | 504);
    let retry_after = if waits { retry_after(headers, now_ms) } else { None };
    AttemptVerdict::Failed(Failure { retry_after, pressure, reach: Reach::Reached })
}

/// The verdict when none came.
pub(crate) fn unanswered(why: NoAnswer) -> AttemptVerdict {
    let reach = match why {
        NoAnswer::Dns | NoAnswer::Connect => Reach::Unreachable,
        // What name servers say of one name says nothing about the network.
        NoAnswer::Timeout | NoAnswer::Token | NoAnswer::Refused => Reach::Unknown,
        NoAnswer::Unsigned => Reach::Unsigned,
        NoAnswer::Local => Reach::Local,
        NoAnswer::Tls | NoAnswer::Reset | NoAnswer::Protocol => Reach::Reached,
    };
    let pressure = if why == NoAnswer::Timeout { Pressure::TimedOut } else { Pressure::None };
    AttemptVerdict::Failed(Failure { retry_after: None, pressure, reach })
}

/// `Retry-After`: seconds or an HTTP date. What is neither, or is past, asks for nothing.
fn retry_after(headers: &HeaderMap, now_ms: i64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long wait, which is capped anyway.
        return (!text.is_empty()).then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX / 1_000_000)));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let at_ms = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    let now = Duration::from_millis(u64::try_from(now_ms).ok()?);
    at_ms.checked_sub(now).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn answer(status: u16, headers: &[(&'static str, &str)]) -> AttemptVerdict {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        // 2015-10-21T07:28:00Z
        answered(StatusCode::from_u16(status).unwrap(), &map, 1_445_412_480_000)
    }

    fn waits(verdict: AttemptVerdict) -> Option<u64> {
        let AttemptVerdict::Failed(failure) = verdict else { panic!("{verdict:?} is no failure") };
        failure.retry_after.map(|wait| wait.as_secs())
    }

    #[test]
    fn success_is_success_whatever_else_it_says() {
        for status in [200, 201, 204, 299] {
            assert_eq!(
                answer(status, &[("webhook-delivery", "disable"), ("retry-after", "5")]),
                AttemptVerdict::Delivered
            );
        }
    }

    #[test]
    fn the_receiver_may_end_a_message_or_itself() {
        assert!(matches!(answer(410, &[]), AttemptVerdict::Gone(_)));
        assert!(matches!(answer(400, &[("webhook-delivery", " disable ")]), AttemptVerdict::Gone(_)));
        assert_eq!(answer(500, &[("webhook-delivery", "abort-message")]), AttemptVerdict::Aborted);
        assert_eq!(waits(answer(500, &[("webhook-delivery", "later")])), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_counts_only_where_it_means_something() {
        for status in [408, 425, 429, 502, 503, 504] {
            assert_eq!(waits(answer(status, &[("retry-after", "120")])), Some(120), "{status}");
            assert_eq!(waits(answer(status, &[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT")])), Some(30));
        }
        assert_eq!(waits(answer(500, &[("retry-after", "120")])), None);
        for nonsense in ["", "soon", "-1", "1.5", "Wed, 21 Oct 2015 07:27:30 GMT"] {
            assert_eq!(waits(answer(429, &[("retry-after", nonsense)])), None, "{nonsense}");
        }
        assert!(waits(answer(429, &[("retry-after", "99999999999999999999999")])).unwrap() > 86_400);
    }

    #[test]
    fn what_this_worker_lacks_was_never_sent() {
        for why in NoAnswer::ALL {
            let expected = matches!(why, NoAnswer::Unsigned | NoAnswer::Local);
            assert_eq!(unanswered(why).is_unsent(), expected, "{why:?}");
        }
        assert!(!AttemptVerdict::Delivered.is_unsent());
    }

    #[test]
    fn only_what_never_got_through_is_unreachable() {
        for why in NoAnswer::ALL {
            let expected = matches!(why, NoAnswer::Dns | NoAnswer::Connect);
            assert!(
                matches!(unanswered(why), AttemptVerdict::Failed(failure) if (failure.reach == Reach::Unreachable) == expected)
            );
        }
    }

    proptest! {
        #[test]
        fn every_status_has_a_verdict(status in 100_u16..1000, wish in "\\PC{0,20}", after in "\\PC{0,40}") {
            let headers: Vec<(&'static str, &str)> = [("webhook-delivery", wish.as_str()), ("retry-after", after.as_str())]
                .into_iter()
                .filter(|(_, value)| HeaderValue::from_bytes(value.as_bytes()).is_ok())
                .collect();
            let verdict = answer(status, &headers);
            prop_assert_eq!(verdict == AttemptVerdict::Delivered, (200..300).contains(&status));
        }
    }
}
