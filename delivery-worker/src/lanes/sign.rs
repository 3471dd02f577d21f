//! What the end of a request says about its lane's endpoint, and about the origin that it shares with others.
//!
//! | end | lane's window | rate | lane's circuit | origin |
//! |---|---|---|---|---|
//! | taken; gone or aborted on purpose | grows | grows | success | answers |
//! | 429 | halves | what succeeded lately | failure in a row | answers |
//! | 502, 504 | halves | the same, where much succeeded | failure | answers |
//! | 503 | halves | the same | failure | **failure** |
//! | timed out, no connection | halves | measured | failure | **failure** |
//! | any other failure | - | measured | failure | answers |
//! | no token | - | measured | failure | - |
//! | not sent: this worker lacks a key, or what a connection needs | - | - | nothing; its lack holds it ([`super::lack`]) | - |
//! | refused, unwritable; no connection, and what it lacks, while egress is held | - | - | nothing | - |

use std::time::Duration;

use super::throttle::Refusing;
use crate::classify::{AttemptVerdict, Pressure, Reach};

/// What the end of a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The endpoint took it.
    Taken,
    /// It answered on purpose that it does not want it.
    Declined,
    /// It turned it away.
    Refusing(Refusing),
    /// 503: it, or all of its origin, is down.
    Unavailable,
    /// Nobody answered, in time or at all.
    Silent,
    /// It failed in any other way.
    Failed,
    /// It failed before anybody at its origin was asked.
    Unasked,
    /// This worker lacks something: nothing was sent.
    Unsent,
    /// Nothing.
    Nothing,
}

impl Sign {
    /// Of a verdict. While egress is held no connection says nothing, nor does the lack of one.
    pub(crate) fn of(verdict: &AttemptVerdict, is_egress_held: bool) -> Self {
        let failure = match verdict {
            AttemptVerdict::Delivered => return Self::Taken,
            AttemptVerdict::Gone(_) | AttemptVerdict::Aborted => return Self::Declined,
            AttemptVerdict::Refused(_) | AttemptVerdict::Unwritable(_) => return Self::Nothing,
            AttemptVerdict::Failed(failure) => failure,
        };
        match (failure.reach, failure.pressure) {
            (Reach::Unreachable | Reach::Local, _) if is_egress_held => Self::Nothing,
            (Reach::Unsigned | Reach::Local, _) => Self::Unsent,
            (Reach::Unreachable, _) | (_, Pressure::TimedOut) => Self::Silent,
            (_, Pressure::TooMany) => Self::Refusing(Refusing::TooMany),
            (_, Pressure::Overloaded) => Self::Refusing(Refusing::Overloaded),
            (_, Pressure::Unavailable) => Self::Unavailable,
            (Reach::Unknown, Pressure::None) => Self::Unasked,
            (Reach::Reached, Pressure::None) => Self::Failed,
        }
    }

    /// More was sent than the endpoint takes.
    pub(crate) fn is_loss(self) -> bool {
        matches!(self, Self::Refusing(_) | Self::Unavailable | Self::Silent)
    }

    /// How it turned the request away, if it did.
    pub(crate) fn refusing(self) -> Option<Refusing> {
        match self {
            Self::Refusing(how) => Some(how),
            Self::Unavailable => Some(Refusing::Overloaded),
            Self::Taken | Self::Declined | Self::Silent | Self::Failed => None,
            Self::Unasked | Self::Unsent | Self::Nothing => None,
        }
    }

    /// What it says about the origin: whether it works. `None`: nothing.
    pub(crate) fn of_origin(self) -> Option<bool> {
        match self {
            Self::Taken | Self::Declined | Self::Refusing(_) | Self::Failed => Some(true),
            Self::Unavailable | Self::Silent => Some(false),
            Self::Unasked | Self::Unsent | Self::Nothing => None,
        }
    }
}

/// How long the endpoint asked to wait, cut, ms.
pub(crate) fn asked_ms(verdict: &AttemptVerdict, longest_ms: i64) -> Option<i64> {
    let AttemptVerdict::Failed(failure) = verdict else { return None };
    let asked: Duration = failure.retry_after?;
    Some(i64::try_from(asked.as_millis()).unwrap_or(i64::MAX).min(longest_ms))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;
    use crate::classify::{NoAnswer, answered, unanswered};

    fn of(status: u16) -> Sign {
        Sign::of(&answered(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), 0), false)
    }

    #[test]
    fn only_what_never_got_an_answer_and_503_speak_against_the_origin() {
        let against: Vec<u16> = (200..600).filter(|status| of(*status).of_origin() == Some(false)).collect();
        assert_eq!(against, [503]);
        let silent = NoAnswer::ALL.map(unanswered).map(|verdict| Sign::of(&verdict, false));
        let silent: Vec<NoAnswer> = NoAnswer::ALL
            .into_iter()
            .zip(silent)
            .filter(|(_, sign)| sign.of_origin() == Some(false))
            .map(|it| it.0)
            .collect();
        assert_eq!(silent, [NoAnswer::Dns, NoAnswer::Connect, NoAnswer::Timeout]);
    }

    #[test]
    fn losses_are_429_502_to_504_and_silence() {
        let losses: Vec<u16> = (200..600).filter(|status| of(*status).is_loss()).collect();
        assert_eq!(losses, [429, 502, 503, 504]);
        assert!(Sign::of(&unanswered(NoAnswer::Timeout), false).is_loss());
        assert_eq!(Sign::of(&unanswered(NoAnswer::Token), false), Sign::Unasked);
        assert_eq!(Sign::of(&unanswered(NoAnswer::Unsigned), false), Sign::Unsent);
        assert_eq!(Sign::of(&unanswered(NoAnswer::Local), false), Sign::Unsent);
        assert_eq!(Sign::of(&unanswered(NoAnswer::Local), true), Sign::Nothing, "the whole worker's");
        assert_eq!(Sign::of(&unanswered(NoAnswer::Connect), true), Sign::Nothing, "our own network");
    }

    #[test]
    fn a_wait_is_cut() {
        let after = HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static("9999999999999"))]);
        let asked = |status| asked_ms(&answered(status, &after, 0), 60_000);
        assert_eq!((asked(StatusCode::SERVICE_UNAVAILABLE), asked(StatusCode::OK)), (Some(60_000), None));
    }
}
