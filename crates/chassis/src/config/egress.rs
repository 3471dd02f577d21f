//! The proxy that requests to targets go through.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// An HTTP proxy that connects (`CONNECT`) to whatever it is told. Shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct EgressProxy {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `user:password` as they stand, if it wants to know who asks.
    pub credentials: Option<String>,
}

impl FromStr for EgressProxy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "http://host:port or http://user:password@host:port";
        let rest = text.strip_prefix("http://").ok_or(EXPECTED)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, rest),
        };
        let (host, port) = place.rsplit_once(':').ok_or(EXPECTED)?;
        let host = host.trim_matches(['[', ']']);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_host = host.parse::<Ipv6Addr>().is_ok() || (!host.is_empty() && host.bytes().all(is_name));
        if !is_host {
            return Err(EXPECTED);
        }
        let port = port.parse().ok().filter(|port| *port > 0).ok_or(EXPECTED)?;
        let is_plain = |pair: &str| pair.contains(':') && pair.bytes().all(|byte| byte.is_ascii_graphic());
        if credentials.is_some_and(|pair| !is_plain(pair)) {
            return Err(EXPECTED);
        }
        Ok(Self { host: host.to_owned(), port, credentials: credentials.map(str::to_owned) })
    }
}

impl fmt::Debug for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = self.credentials.as_ref().map(|_secret| "redacted");
        f.debug_struct("EgressProxy")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("credentials", &credentials)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_place_and_perhaps_a_password_which_is_never_shown() {
        let plain: EgressProxy = "http://proxy.internal:3128".parse().unwrap();
        assert_eq!((&*plain.host, plain.port, &plain.credentials), ("proxy.internal", 3_128, &None));
        let known: EgressProxy = "http://hookbus:p@ss:w0rd@[fd00::1]:8080/".parse().unwrap();
        assert_eq!((&*known.host, known.port), ("fd00::1", 8_080));
        assert_eq!(known.credentials.as_deref(), Some("hookbus:p@ss:w0rd"));
        assert!(!format!("{known:?}").contains("w0rd"));
        for bad in [
            "",
            "proxy:3128",
            "https://proxy:3128",
            "http://proxy",
            "http://:3128",
            "http://proxy:0",
            "http://user@proxy:1",
            "http://proxy:80:3128",
            "http://[proxy:80]:3128",
            "http://a b:1",
        ] {
            assert!(bad.parse::<EgressProxy>().is_err(), "{bad}");
        }
    }
}
