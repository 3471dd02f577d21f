//! How often the clients of this process met errors of Kafka, by what they say: counted beside every log line, also the ones that
//! the log swallows.

use std::sync::atomic::{AtomicU64, Ordering};

use rdkafka::types::RDKafkaErrorCode as Code;

use crate::error::ErrorCode;

/// What an error says, as a label.
const KINDS: [&str; 6] = ["unreachable", "login", "denied", "timed_out", "fenced", "other"];

static COUNTS: [AtomicU64; KINDS.len()] = [const { AtomicU64::new(0) }; KINDS.len()];

/// Errors that the clients of this process have met since its start, by kind. Every kind is there, also with 0.
#[must_use]
pub fn error_counts() -> [(&'static str, u64); KINDS.len()] {
    std::array::from_fn(|at| (KINDS[at], COUNTS[at].load(Ordering::Relaxed)))
}

/// Counts one more.
pub(crate) fn count(code: Option<ErrorCode>) {
    let kind = kind(code);
    if let Some(count) = KINDS.iter().position(|known| *known == kind).and_then(|at| COUNTS.get(at)) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn kind(code: Option<ErrorCode>) -> &'static str {
    let Some(code) = code else { return "other" };
    if code.is_login() || code.0 == Code::SSL {
        "login"
    } else if matches!(code.0, Code::OperationTimedOut | Code::RequestTimedOut | Code::MessageTimedOut) {
        "timed_out"
    } else if code.is_unreachable() || code.0 == Code::Resolve {
        "unreachable"
    } else if code.is_denied() {
        "denied"
    } else if code.is_fencing() {
        "fenced"
    } else {
        "other"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_counted_and_there_from_the_start() {
        let kinds = [
            Code::AllBrokersDown,
            Code::Authentication,
            Code::TopicAuthorizationFailed,
            Code::OperationTimedOut,
            Code::Fenced,
            Code::NotCoordinator,
        ];
        assert_eq!(kinds.map(|code| kind(Some(ErrorCode(code)))), KINDS);
        assert_eq!(error_counts().map(|(kind, _)| kind), KINDS);
        let of = |kind| error_counts().into_iter().find(|(known, _)| *known == kind).unwrap().1;
        let before = of("fenced");
        count(Some(ErrorCode(Code::Fenced)));
        assert!(of("fenced") > before);
    }
}
