//! Why a request got no answer, in words people search for.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;
use rustls::{AlertDescription, CertificateError, Error as RustlsError, PeerIncompatible};

use super::way::ConnectTimes;
use super::wire::Flood;
use crate::classify::NoAnswer;

/// Of a reason that is somebody else's text.
const REASON_BYTES: usize = 200;

/// How far a request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptPhase {
    /// Its name is looked up.
    Name,
    /// The egress proxy is looked up and dialled.
    Proxy,
    /// The egress proxy was asked to connect.
    Tunnel,
    /// A connection is made.
    Connect,
    /// TLS is agreed on.
    Tls,
    /// The server's preface of HTTP/2 is waited for.
    Preface,
    /// It is being sent.
    Send,
    /// The answer's head is waited for.
    Head,
    /// The answer's body is read.
    Body,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoConnection {
    /// The target policy refuses the address.
    pub(crate) is_refused: bool,
    /// Its time ran out.
    pub(crate) is_late: bool,
    /// Its class.
    pub(crate) error: NoAnswer,
    /// How far it got.
    pub(crate) phase: AttemptPhase,
    /// Where to, if an address was reached for.
    pub(crate) address: Option<SocketAddr>,
    /// How long the steps took, as far as they came to an end.
    pub(crate) times: ConnectTimes,
    /// Its cause.
    pub(crate) reason: Cow<'static, str>,
}

// === impl AttemptPhase ===

impl AttemptPhase {
    /// The word in an attempt's detail.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Proxy => "egress proxy",
            Self::Tunnel => "connect through the egress proxy",
            Self::Connect => "connect",
            Self::Tls => "TLS",
            Self::Preface => "HTTP/2 preface",
            Self::Send => "send",
            Self::Head => "head",
            Self::Body => "body",
        }
    }
}

// === impl NoConnection ===

impl NoConnection {
    /// A step on the way failed.
    pub(crate) fn new(
        error: NoAnswer,
        phase: AttemptPhase,
        address: Option<SocketAddr>,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        let times = ConnectTimes::default();
        Self { is_refused: false, is_late: false, error, phase, address, times, reason: reason.into() }
    }

    /// The target policy refuses every address of the name.
    pub(crate) fn refused(reason: String) -> Self {
        let phase = AttemptPhase::Name;
        Self { is_refused: true, ..Self::new(NoAnswer::Dns, phase, None, reason) }
    }

    /// A step on the way failed by an error of the system.
    pub(super) fn io(error: &io::Error, phase: AttemptPhase, address: Option<SocketAddr>) -> Self {
        let (class, reason) = of_io(error);
        // Whoever breaks off a handshake was there.
        let class = match (phase, class) {
            (AttemptPhase::Tls, NoAnswer::Reset) => NoAnswer::Tls,
            (AttemptPhase::Name | AttemptPhase::Connect, NoAnswer::Reset) => NoAnswer::Connect,
            (_, class) => class,
        };
        let reason = if phase == AttemptPhase::Tls && reason == CLOSED { CLOSED_IN_HANDSHAKE.into() } else { reason };
        Self::new(class, phase, address, reason)
    }

    /// Nothing came of it in time.
    pub(crate) fn late(phase: AttemptPhase, address: Option<SocketAddr>, limit: std::time::Duration) -> Self {
        let error = match phase {
            AttemptPhase::Name => NoAnswer::Dns,
            AttemptPhase::Proxy => NoAnswer::Local,
            // The proxy may wait for the target.
            AttemptPhase::Connect | AttemptPhase::Tunnel => NoAnswer::Connect,
            AttemptPhase::Tls => NoAnswer::Tls,
            AttemptPhase::Preface | AttemptPhase::Send | AttemptPhase::Head | AttemptPhase::Body => NoAnswer::Timeout,
        };
        let reason = format!("timed out after {} ms", limit.as_millis());
        Self { is_late: true, ..Self::new(error, phase, address, reason) }
    }
}

/// Errors of the system, in words.
const KINDS: &[(io::ErrorKind, &str)] = &[
    (io::ErrorKind::ConnectionRefused, "connection refused"),
    (io::ErrorKind::ConnectionReset, "connection reset"),
    (io::ErrorKind::BrokenPipe, "connection reset"),
    (io::ErrorKind::ConnectionAborted, "connection aborted"),
    (io::ErrorKind::HostUnreachable, "no route to the host"),
    (io::ErrorKind::NetworkUnreachable, "network unreachable"),
    (io::ErrorKind::TimedOut, "connection timed out"),
    (io::ErrorKind::UnexpectedEof, CLOSED),
];
const PROTOCOL_VERSION: &str = "protocol version: the endpoint speaks neither TLS 1.2 nor TLS 1.3";
const CERTIFICATE_REFUSED: &str = "client certificate refused";
/// What an endpoint says when it ends TLS.
const ALERTS: &[(AlertDescription, &str)] = &[
    (AlertDescription::CertificateRequired, "client certificate required"),
    (AlertDescription::ProtocolVersion, PROTOCOL_VERSION),
    (
        AlertDescription::HandshakeFailure,
        "handshake failure: no cipher suite in common, or client certificate required",
    ),
    (AlertDescription::UnrecognisedName, "name mismatch: the endpoint does not know the name"),
    (AlertDescription::BadCertificate, CERTIFICATE_REFUSED),
    (AlertDescription::UnknownCA, CERTIFICATE_REFUSED),
    (AlertDescription::CertificateUnknown, CERTIFICATE_REFUSED),
    (AlertDescription::UnsupportedCertificate, CERTIFICATE_REFUSED),
    (AlertDescription::CertificateExpired, "client certificate expired"),
    (AlertDescription::CertificateRevoked, "client certificate revoked"),
];

const CLOSED: &str = "connection closed";
const CLOSED_IN_HANDSHAKE: &str = "connection closed during the handshake";

/// Class and cause of an error of the system, or of TLS inside it.
pub(crate) fn of_io(error: &io::Error) -> (NoAnswer, Cow<'static, str>) {
    if let Some(inner) = error.get_ref() {
        if let Some(tls) = inner.downcast_ref::<RustlsError>() {
            return (NoAnswer::Tls, of_tls(tls));
        }
        // Of an error of the system HTTP/2 keeps the words alone.
        if inner.is::<Flood>() || inner.to_string() == Flood.to_string() {
            return (NoAnswer::Protocol, "the endpoint sends more than an answer may have".into());
        }
    }
    if let Some(lack) = own_lack(error) {
        return (NoAnswer::Local, lack.into());
    }
    let known = KINDS.iter().find(|(kind, _)| *kind == error.kind());
    (NoAnswer::Reset, known.map_or_else(|| short(error), |(_, words)| Cow::Borrowed(*words)))
}

/// What this host lacks, if that is the cause: nothing of it is the endpoint's doing.
fn own_lack(error: &io::Error) -> Option<&'static str> {
    Some(match Errno::from_io_error(error)? {
        Errno::MFILE | Errno::NFILE => "this worker has no descriptor left for a connection",
        Errno::ADDRNOTAVAIL | Errno::AGAIN => "this host has no local port left for a connection",
        Errno::NOBUFS | Errno::NOMEM => "this host has no memory left for a connection",
        Errno::PERM | Errno::ACCESS => "this host's own rules do not let the connection out",
        _theirs => return None,
    })
}

/// The cause of a failed handshake, or of an alert that came after it.
pub(crate) fn of_tls(error: &RustlsError) -> Cow<'static, str> {
    if let RustlsError::InvalidCertificate(why) = error {
        return of_certificate(why);
    }
    if let RustlsError::AlertReceived(alert) = error {
        let known = ALERTS.iter().find(|(known, _)| known == alert);
        return known.map_or_else(|| format!("alert {alert:?}").into(), |(_, words)| Cow::Borrowed(*words));
    }
    if let RustlsError::PeerIncompatible(why) = error {
        let is_version = matches!(
            why,
            PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
        );
        return if is_version {
            PROTOCOL_VERSION.into()
        } else {
            clipped(format!("nothing in common: {why:?}")).into()
        };
    }
    if matches!(error, RustlsError::InvalidMessage(_)) {
        return "not TLS: what came is no TLS message".into();
    }
    short(error)
}

fn of_certificate(why: &CertificateError) -> Cow<'static, str> {
    use CertificateError as Why;
    let words = if matches!(why, Why::Expired | Why::ExpiredContext { .. }) {
        "certificate expired"
    } else if matches!(why, Why::NotValidYet | Why::NotValidYetContext { .. }) {
        "certificate not valid yet"
    } else if matches!(why, Why::NotValidForName | Why::NotValidForNameContext { .. }) {
        "name mismatch: the certificate is for another name"
    } else if matches!(why, Why::UnknownIssuer) {
        "unknown issuer: no trusted authority has signed the certificate"
    } else if matches!(why, Why::BadSignature) {
        "unknown issuer: its authority is not the one that is trusted under that name"
    } else if matches!(why, Why::Revoked) {
        "certificate revoked"
    } else {
        return clipped(format!("certificate refused: {why:?}")).into();
    };
    words.into()
}

/// The first of these errors that says something, from the outside in: an error of the system, or of TLS.
pub(crate) fn of_cause(error: &(dyn StdError + 'static)) -> Option<(NoAnswer, Cow<'static, str>)> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<RustlsError>() {
            return Some((NoAnswer::Tls, of_tls(tls)));
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(of_io(io));
        }
        cause = error.source();
    }
    None
}

fn short(error: &dyn std::fmt::Display) -> Cow<'static, str> {
    clipped(error.to_string()).into()
}

/// Its beginning, if it is long.
pub(crate) fn clipped(mut text: String) -> String {
    if text.len() > REASON_BYTES {
        text.truncate(text.floor_char_boundary(REASON_BYTES));
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_host_lacks_is_not_the_endpoints_doing() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM] {
            let error = io::Error::from(errno);
            assert_eq!(NoConnection::io(&error, AttemptPhase::Connect, None).error, NoAnswer::Local, "{errno:?}");
        }
        for errno in [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::TIMEDOUT] {
            let error = io::Error::from(errno);
            assert_eq!(NoConnection::io(&error, AttemptPhase::Connect, None).error, NoAnswer::Connect, "{errno:?}");
        }
    }

    #[test]
    fn who_breaks_off_a_handshake_was_there() {
        let eof = io::Error::from(io::ErrorKind::UnexpectedEof);
        let ended = NoConnection::io(&eof, AttemptPhase::Tls, None);
        assert_eq!((ended.error, &*ended.reason), (NoAnswer::Tls, CLOSED_IN_HANDSHAKE));
    }

    #[test]
    fn somebody_elses_text_is_short() {
        assert_eq!(clipped("é".repeat(150)).len(), REASON_BYTES + 3);
        assert_eq!(clipped("short".to_owned()), "short");
    }
}
