//! A request without an answer: its class for the verdict, its cause for people, and whether it may go out once more.
//!
//! | what happened | repeated at once |
//! |---|---|
//! | it never left: the connection was closed before | yes |
//! | the server says it did not take it: GOAWAY below its stream, REFUSED_STREAM | yes |
//! | a kept connection ended before the first byte of an answer | once: the server closed it while it was idle |
//! | anything else | no, that is an attempt |

use std::borrow::Cow;
use std::error::Error as StdError;
use std::time::Duration;

use h2::Reason;
use hyper::client::conn::TrySendError;

use super::{Answer, HttpRequest};
use crate::classify::{AttemptVerdict, NoAnswer, unanswered};
use crate::pool::{AttemptPhase, Carrier, NoConnection, Way, of_cause, of_io};

/// See the module.
#[derive(Debug)]
pub(super) struct Lost {
    why: NoConnection,
    way: Option<Way>,
    unprocessed: Unprocessed,
    /// See [`Lost::condemns`].
    condemns: bool,
}

/// Whether the endpoint can have seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unprocessed {
    /// It can.
    No,
    /// It never left, or its server says so.
    Surely,
    /// A kept connection was closed under it.
    Stale,
}

// === impl Lost ===

impl Lost {
    /// The URI of the request leads nowhere.
    pub(super) fn nowhere() -> Self {
        NoConnection::refused("the target is no http or https URL with a host".to_owned()).into()
    }

    /// The connection broke, or what came over it is no answer. `before` are its bytes when the request began.
    pub(super) fn broken(carrier: &Carrier, before: (u64, u64), mut error: TrySendError<HttpRequest>) -> Self {
        // What comes back is written for that connection: it is made anew for the next.
        let is_unsent = error.take_message().is_some();
        let error = error.into_error();
        let (class, reason) = cause(&error);
        let is_heard = carrier.bytes().0 > before.0;
        let unprocessed = if is_unsent || is_declined(&error) {
            Unprocessed::Surely
        } else if carrier.is_kept() && !is_heard && class == NoAnswer::Reset {
            Unprocessed::Stale
        } else {
            Unprocessed::No
        };
        let phase = if class == NoAnswer::Tls { AttemptPhase::Tls } else { AttemptPhase::Head };
        let condemns = match carrier {
            Carrier::Http1(_) => unprocessed != Unprocessed::No,
            // What ends one stream says nothing about the others.
            Carrier::Http2(_) => http2(&error).is_none_or(|error| !error.is_reset()),
        };
        Self { unprocessed, condemns, ..Self::over(carrier, NoConnection::new(class, phase, None, reason)) }
    }

    /// Nothing came in time. `before` are the bytes and the answers of its connection when the request began: where others were answered
    /// since, one that hangs says nothing about it.
    pub(super) fn late(carrier: &Carrier, before: ((u64, u64), u64), length: u64, limit: Duration) -> Self {
        let (bytes, answers) = before;
        let is_sent = carrier.bytes().1 - bytes.1 >= length;
        let phase = if is_sent { AttemptPhase::Head } else { AttemptPhase::Send };
        let condemns = carrier.answers() == answers;
        Self { condemns, ..Self::over(carrier, NoConnection::late(phase, None, limit)) }
    }

    /// The answer's body broke off.
    pub(super) fn of_body(carrier: &Carrier, error: &hyper::Error) -> Self {
        let (class, reason) = cause(error);
        Self::over(carrier, NoConnection::new(class, AttemptPhase::Body, None, reason))
    }

    /// The answer's body did not end in time.
    pub(super) fn late_body(carrier: &Carrier, limit: Duration) -> Self {
        Self::over(carrier, NoConnection::late(AttemptPhase::Body, None, limit))
    }

    fn over(carrier: &Carrier, why: NoConnection) -> Self {
        let way = carrier.way();
        let why = NoConnection { address: Some(way.to), ..why };
        Self { why, way: Some(way), unprocessed: Unprocessed::No, condemns: true }
    }

    /// Its class.
    pub(super) fn error(&self) -> NoAnswer {
        self.why.error
    }

    /// How often it may go out once more.
    pub(super) fn repeats(&self, most: u32) -> u32 {
        match self.unprocessed {
            Unprocessed::No => 0,
            Unprocessed::Surely => most,
            Unprocessed::Stale => 1,
        }
    }

    /// Whether nothing more should go over its connection, nor over others that were not heard of since.
    pub(super) fn condemns(&self) -> bool {
        self.condemns
    }

    /// The end of it.
    pub(super) fn into_answer(self) -> Answer {
        if self.why.is_refused {
            return Answer::of(AttemptVerdict::Refused(self.why.reason.into_owned()));
        }
        let mut answer = Answer::of(unanswered(self.why.error));
        answer.error = Some(self.why.error);
        answer.detail = Some(self.to_string());
        answer.way = self.way.or_else(|| self.why.address.map(|to| Way::tried(to, self.why.times)));
        answer
    }
}

impl From<NoConnection> for Lost {
    fn from(why: NoConnection) -> Self {
        Self { why, way: None, unprocessed: Unprocessed::No, condemns: true }
    }
}

/// `head: timed out after 2000 ms (203.0.113.7:443, HTTP/2, kept connection)`.
impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let NoConnection { phase, reason, address, .. } = &self.why;
        write!(f, "{}: {reason}", phase.as_str())?;
        match (address, self.way) {
            (Some(address), Some(Way { protocol: Some(protocol), is_kept, .. })) => {
                let protocol = protocol.as_str();
                write!(f, " ({address}, {protocol}, {} connection)", if is_kept { "kept" } else { "new" })
            }
            (Some(address), _) => write!(f, " ({address})"),
            (None, _) => Ok(()),
        }
    }
}

/// Class and cause of what hyper says.
fn cause(error: &hyper::Error) -> (NoAnswer, Cow<'static, str>) {
    if let Some(known) = of_http2(error) {
        return known;
    }
    if let Some(known) = of_cause(error) {
        return known;
    }
    if error.is_timeout() {
        (NoAnswer::Timeout, "the connection no longer answers pings".into())
    } else if error.is_parse() {
        (NoAnswer::Protocol, format!("no HTTP: {error}").into())
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        (NoAnswer::Reset, "connection closed".into())
    } else {
        (NoAnswer::Reset, error.to_string().into())
    }
}

fn of_http2(error: &hyper::Error) -> Option<(NoAnswer, Cow<'static, str>)> {
    let error = http2(error)?;
    if let Some(io) = error.get_io() {
        return Some(of_io(io));
    }
    let what = if error.is_go_away() { "HTTP/2 GOAWAY" } else { "HTTP/2 stream reset" };
    let reason = error.reason().map_or(Cow::Borrowed("without a reason"), |reason| format!("{reason:?}").into());
    let class = if error.is_library() { NoAnswer::Protocol } else { NoAnswer::Reset };
    Some((class, format!("{what}: {reason}").into()))
}

/// Whether the server says that it did not process the request.
fn is_declined(error: &hyper::Error) -> bool {
    http2(error).is_some_and(|error| {
        error.is_remote()
            && (error.is_go_away() || (error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM)))
    })
}

fn http2(error: &hyper::Error) -> Option<&h2::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
