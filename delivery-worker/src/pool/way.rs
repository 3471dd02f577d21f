//! What a request went over, for the delivery log. Copied, never allocated: every attempt has one.

use std::net::SocketAddr;
use std::time::Instant;

use chassis::clock;

/// What a request went over, or tried to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The address that was dialled.
    pub(crate) to: SocketAddr,
    /// What is spoken over the connection; `None`: none came of it.
    pub(crate) protocol: Option<Protocol>,
    /// The connection had carried a request before.
    pub(crate) is_kept: bool,
    /// How long the steps of making the connection took.
    pub(crate) times: ConnectTimes,
}

/// What is spoken over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// How long the steps of making a connection took, ms; the one that failed is the last that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectTimes {
    /// Of the look-up of the name.
    pub(crate) dns_ms: Option<u32>,
    /// Of the first address that answered.
    pub(crate) connect_ms: Option<u32>,
    /// Of the handshake.
    pub(crate) tls_ms: Option<u32>,
}

// === impl Way ===

impl Way {
    /// A connect that failed.
    pub(crate) fn tried(to: SocketAddr, times: ConnectTimes) -> Self {
        Self { to, protocol: None, is_kept: false, times }
    }

    /// How long its connection took to be made, if it was made for this request.
    pub(crate) fn own_times(&self) -> ConnectTimes {
        if self.is_kept { ConnectTimes::default() } else { self.times }
    }
}

// === impl Protocol ===

impl Protocol {
    /// Its version, as lifecycle records have it.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::Http1 => "1.1",
            Self::Http2 => "2",
        }
    }

    /// As people are told.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// Milliseconds since then.
pub(super) fn ms_since(began: Instant) -> u32 {
    let passed = clock::instant().saturating_duration_since(began);
    u32::try_from(passed.as_millis()).unwrap_or(u32::MAX)
}
