//! Where the gateway passes on what is no event route, and how much of it at once.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::uri::{Authority, Scheme, Uri};

use super::key::{Key, Kind, Unit};
use super::reader::Reader;

pub(super) const TO: Key = Key {
    path: "gateway.forward_to",
    kind: Kind::Text,
    default: "",
    title: "Control plane",
    effect: "URL of the control plane, such as `http://control:8081`. With it the gateway passes on what is no event route, so that one \
             address serves all of the API; without it that is a 404. A process that has both roles needs none.",
};

pub(super) const TIMEOUT: Key = Key {
    path: "gateway.forward_timeout_ms",
    kind: Kind::Integer(500, 300_000, Unit::Millis),
    default: "30000",
    title: "Forward timeout",
    effect: "How long the control plane may take to begin its answer to what was passed on, the request's body included, and then \
             between two pieces of it. Above `control.request_timeout_ms`.",
};

pub(super) const AT_ONCE: Key = Key {
    path: "gateway.forward_at_once",
    kind: Kind::Integer(1, 100_000, Unit::Count),
    default: "256",
    title: "Forwarded at once",
    effect: "Requests that are being passed on; more are answered with 503.",
};

pub(super) const CA_FILE: Key = Key {
    path: "gateway.forward_ca_file",
    kind: Kind::Text,
    default: "",
    title: "Authorities of the control plane",
    effect: "File with the only authorities that its certificate may come from, as PEM. Default: those of the host.",
};

/// Where the control plane is, and what is passed on to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardConfig {
    /// Its address.
    pub to: ControlUrl,
    /// Until an answer begins, and between two pieces of it.
    pub timeout: Duration,
    /// Requests at once.
    pub at_once: usize,
    /// The only authorities that are believed, as PEM; `None`: the host's.
    pub ca_file: Option<PathBuf>,
}

/// Scheme and place of a control plane.
#[derive(Clone, PartialEq, Eq)]
pub struct ControlUrl {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
}

// === impl ForwardConfig ===

impl ForwardConfig {
    /// `None`: nothing is passed on.
    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let parsed = from.optional(TO.path)?.parse();
        let to = parsed.map_err(|expected: &str| from.check(false, TO.path, expected)).ok()?;
        Some(Self {
            to,
            timeout: from.millis(TIMEOUT.path),
            at_once: from.number(AT_ONCE.path),
            ca_file: from.optional(CA_FILE.path).map(PathBuf::from),
        })
    }
}

// === impl ControlUrl ===

impl FromStr for ControlUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "http://host:port or https://host:port, without a path";
        let uri: Uri = text.parse().map_err(|_no_uri| EXPECTED)?;
        let is_bare = uri.query().is_none() && matches!(uri.path(), "" | "/");
        let parts = uri.into_parts();
        let scheme = parts.scheme.filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
        let authority = parts.authority.filter(|place| !place.host().is_empty() && !place.as_str().contains('@'));
        match (scheme, authority) {
            (Some(scheme), Some(authority)) if is_bare => Ok(Self { scheme, authority }),
            _other => Err(EXPECTED),
        }
    }
}

impl fmt::Debug for ControlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_plane_is_a_scheme_and_a_place() {
        for good in ["http://control:8081", "https://control.example.com/", "http://[fd00::1]:8081"] {
            let url: ControlUrl = good.parse().unwrap();
            assert_eq!(format!("{url:?}"), good.trim_end_matches('/'));
        }
        for bad in
            ["", "control:8081", "ftp://control", "http://control/api", "http://control?x", "http://u:p@control", "/"]
        {
            assert!(bad.parse::<ControlUrl>().is_err(), "{bad}");
        }
    }
}
