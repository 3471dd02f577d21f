//! Who called, where a balancer stands in between: what proxies say is believed of those that are trusted, and of nobody else.
//!
//! Each proxy adds the address that it was called from, on the right. So the list is read from its right end, as long as an
//! address is that of a proxy that is trusted: the first one that is not is the caller's, and whatever stands to the left of it was
//! said by the caller, who may say anything.
//!
//! Which header they add to is configured: a proxy that writes one of the two passes the other on as the caller sent it.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Entries that are looked at: more proxies stand behind one another nowhere.
const MAX_ENTRIES: usize = 32;

/// The header that proxies say it in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Networks whose proxies are believed. Clones are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: std::sync::Arc<[IpNet]>,
    header: ProxyHeader,
}

// === impl TrustedProxies ===

impl TrustedProxies {
    /// Of these networks (none: nobody is believed), which write this header.
    #[must_use]
    pub fn new(networks: &[IpNet], header: ProxyHeader) -> Self {
        Self { networks: networks.into(), header }
    }

    /// The address of whoever called, by whom the connection comes from and what the request's header says: its right-most address that
    /// is not trusted. Where all are, or one cannot be read, it is the last one that could.
    #[must_use]
    pub fn caller(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trust(peer) {
            return peer;
        }
        let mut caller = peer;
        let entries = match self.header {
            ProxyHeader::Forwarded => from_the_right(headers, &FORWARDED, |entry| address(for_parameter(entry)?)),
            ProxyHeader::XForwardedFor => from_the_right(headers, &X_FORWARDED_FOR, address),
        };
        for entry in entries {
            let Some(address) = entry else { return caller };
            caller = address;
            if !self.trust(address) {
                return caller;
            }
        }
        caller
    }

    /// Whether an address is one of theirs.
    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// The entries of all lines of a header, the last one first.
fn from_the_right(
    headers: &HeaderMap,
    name: &HeaderName,
    read: impl Fn(&str) -> Option<IpAddr>,
) -> Vec<Option<IpAddr>> {
    let lines: Vec<&str> = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("?")).collect();
    let entries = lines.iter().rev().flat_map(|line| line.rsplit(','));
    entries.take(MAX_ENTRIES).map(|entry| read(entry.trim())).collect()
}

/// `for` of an entry of `Forwarded` (RFC 7239): `for="[2001:db8::1]:4711";proto=https`.
fn for_parameter(entry: &str) -> Option<&str> {
    let mut pairs = entry.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    Some(value.trim().trim_matches('"'))
}

/// An address, perhaps with a port or in brackets. Names (`unknown`, `_hidden`) are none.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let parsed: Option<IpAddr> = bare.parse().ok();
    parsed.or_else(|| text.parse::<SocketAddr>().ok().map(|with_port| with_port.ip())).map(|it| it.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn caller(trusted: &[&str], peer: &str, lines: &[(&'static str, &'static str)]) -> String {
        caller_by(ProxyHeader::XForwardedFor, trusted, peer, lines)
    }

    fn caller_by(header: ProxyHeader, trusted: &[&str], peer: &str, lines: &[(&'static str, &'static str)]) -> String {
        let networks: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(*name, HeaderValue::from_static(line));
        }
        TrustedProxies::new(&networks, header).caller(peer.parse().unwrap(), &headers).to_string()
    }

    const PROXIES: &[&str] = &["10.0.0.0/8", "fd00::/8"];

    #[test]
    fn the_right_most_address_that_is_not_trusted_is_the_callers() {
        let of = |line| caller(PROXIES, "10.0.0.1", &[("x-forwarded-for", line)]);
        assert_eq!(of("203.0.113.7"), "203.0.113.7");
        assert_eq!(of("198.51.100.1, 203.0.113.7, 10.2.2.2"), "203.0.113.7", "what the caller says itself stands left");
        assert_eq!(of("203.0.113.7:4711"), "203.0.113.7");
        assert_eq!(of("2001:db8::7"), "2001:db8::7");
        assert_eq!(of("[2001:db8::7]:4711"), "2001:db8::7");
        assert_eq!(of("::ffff:203.0.113.7"), "203.0.113.7");
        let two = [("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "203.0.113.7, fd00::2")];
        assert_eq!(caller(PROXIES, "::ffff:10.0.0.1", &two), "203.0.113.7", "lines of one name are one list");
    }

    #[test]
    fn who_is_not_trusted_says_nothing() {
        let line = [("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.7")];
        assert_eq!(caller(PROXIES, "192.0.2.1", &line), "192.0.2.1");
        assert_eq!(caller(&[], "10.0.0.1", &line), "10.0.0.1");
    }

    #[test]
    fn forwarded_is_read_by_its_own_rules_where_the_proxies_write_it() {
        let of = |line| caller_by(ProxyHeader::Forwarded, PROXIES, "10.0.0.1", &[("forwarded", line)]);
        assert_eq!(of("for=198.51.100.1, for=203.0.113.7;proto=https;by=10.0.0.1"), "203.0.113.7");
        assert_eq!(of("proto=https; For=\"[2001:db8::7]:4711\""), "2001:db8::7");
        assert_eq!(of("for=203.0.113.7, for=10.3.3.3"), "203.0.113.7");
        assert_eq!(of("for=_hidden"), "10.0.0.1");
    }

    #[test]
    fn a_header_that_the_proxies_do_not_write_is_the_callers_own_word() {
        let lines = [("forwarded", "for=198.51.100.9"), ("x-forwarded-for", "203.0.113.7")];
        assert_eq!(caller(PROXIES, "10.0.0.1", &lines), "203.0.113.7");
        assert_eq!(caller_by(ProxyHeader::Forwarded, PROXIES, "10.0.0.1", &lines), "198.51.100.9");
    }

    #[test]
    fn what_cannot_be_read_ends_the_list() {
        let of = |line| caller(PROXIES, "10.0.0.1", &[("x-forwarded-for", line)]);
        assert_eq!(of("203.0.113.7, unknown, 10.2.2.2"), "10.2.2.2", "nobody knows what stands behind");
        assert_eq!(of("nonsense"), "10.0.0.1");
        assert_eq!(of(""), "10.0.0.1");
        assert_eq!(of("10.1.1.1, 10.2.2.2"), "10.1.1.1", "a caller inside");
        assert_eq!(caller(PROXIES, "10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn a_list_without_end_is_not_read_to_its_end() {
        let line: &'static str = vec!["10.1.1.1"; 10_000].join(",").leak();
        assert_eq!(caller(PROXIES, "10.0.0.1", &[("x-forwarded-for", line)]), "10.1.1.1");
    }
}
