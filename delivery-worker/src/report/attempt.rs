//! An attempt that was made, as records and people are told of it.

use std::borrow::Cow;

use schemas::attempt::Exchange;
use schemas::delivery::{Delivery, LastAttempt};

use crate::client::Answer;
use crate::request::Signed;

/// An attempt that was made.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// When it began, Unix ms.
    pub(crate) started_ms: i64,
    /// How long it took.
    pub(crate) elapsed_ms: i64,
    /// From its begin to the answer's head, if one came.
    pub(crate) first_byte_ms: Option<i64>,
    /// Offset on `control` of the subscription as it was used.
    pub(crate) target: i64,
    /// How the request was signed.
    pub(crate) signed: Signed,
    /// What came back.
    pub(crate) answer: Answer,
}

// === impl Attempt ===

impl Attempt {
    /// What its lifecycle record says of it.
    pub(super) fn exchange(&self, delivery: &Delivery) -> Exchange<'_> {
        let answer = &self.answer;
        let times = answer.way.map(|way| way.own_times()).unwrap_or_default();
        let signed = self.signed.as_str();
        Exchange {
            started_ms: self.started_ms,
            elapsed_ms: self.elapsed_ms,
            status: answer.status.map(|status| status.as_u16()),
            error: answer.error.map(|error| Cow::Borrowed(error.as_str())),
            due_ms: Some(delivery.hop.due_ms).filter(|due_ms| *due_ms > 0),
            first_byte_ms: self.first_byte_ms,
            to: answer.way.map(|way| way.to),
            http: answer.way.and_then(|way| way.protocol).map(|protocol| Cow::Borrowed(protocol.version())),
            dns_ms: times.dns_ms,
            connect_ms: times.connect_ms,
            tls_ms: times.tls_ms,
            target: Some(self.target),
            signed: (!signed.is_empty()).then_some(Cow::Borrowed(signed)),
            ..Exchange::default()
        }
    }

    /// What retries and dead letters say of it; `error` is how it reads as one line.
    pub(crate) fn last<'a>(&self, error: &'a str) -> LastAttempt<'a> {
        LastAttempt { status: self.answer.status.map(|status| status.as_u16()), error }
    }
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.answer.status, self.answer.error) {
            (Some(status), None) => write!(f, "status {}", status.as_u16())?,
            (Some(status), Some(error)) => write!(f, "status {}, then {}", status.as_u16(), error.as_str())?,
            (None, Some(error)) => f.write_str(error.as_str())?,
            (None, None) => f.write_str("not sent")?,
        }
        self.answer.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}
