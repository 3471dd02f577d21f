//! Which targets may be called. The same rules are applied by the delivery worker to the addresses a name resolves to; here
//! they are applied at write time to the URL and to addresses written in it, so that a mistake is told at once.
//!
//! A URL is parsed once, by the `url` crate: its spelling of an address (`http://0x7f.1`, `[::ffff:127.0.0.1]`) is then plain.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

/// The longest URL.
const MAX_URL_BYTES: usize = 2_048;

/// What the operator allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetPolicy {
    /// Whether targets without TLS are allowed.
    pub allow_http: bool,
    /// Networks that are refused by default and allowed here. Metadata addresses are refused all the same.
    pub allow_networks: Vec<IpNet>,
}

/// Why a target is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No URL at all.
    #[error("not a URL: {0}")]
    NotUrl(url::ParseError),
    /// Too long.
    #[error("longer than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// Another scheme.
    #[error("only https is allowed, not {0}")]
    Scheme(String),
    /// No host.
    #[error("it has no host")]
    NoHost,
    /// User information in the URL.
    #[error("a user name or password must not stand in the URL: use a custom header")]
    Credentials,
    /// A name that means this machine.
    #[error("`{0}` is a name of the sender itself")]
    LocalName(String),
    /// An address of a refused range.
    #[error("{address} is {range}")]
    Address {
        /// The address.
        address: IpAddr,
        /// What it is.
        range: &'static str,
    },
}

// === impl TargetPolicy ===

impl TargetPolicy {
    /// Parses and checks a target; the normalised form is what is kept.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self, text: &str) -> Result<Url, Refusal> {
        if text.len() > MAX_URL_BYTES {
            return Err(Refusal::TooLong);
        }
        let mut url = Url::parse(text.trim()).map_err(Refusal::NotUrl)?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            other => return Err(Refusal::Scheme(other.to_owned())),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        // A fragment never goes over the wire.
        url.set_fragment(None);
        match url.host().ok_or(Refusal::NoHost)? {
            Host::Domain(name) => self.check_name(name)?,
            Host::Ipv4(address) => self.check_address(IpAddr::V4(address))?,
            Host::Ipv6(address) => self.check_address(IpAddr::V6(address))?,
        }
        Ok(url)
    }

    /// Whether an address may be called.
    ///
    /// # Errors
    /// What it is.
    pub fn check_address(&self, address: IpAddr) -> Result<(), Refusal> {
        let plain = embedded(address);
        let refuse = |range| Err(Refusal::Address { address, range });
        if is_metadata(plain) || is_metadata(address) {
            return refuse("a metadata address");
        }
        if self.allow_networks.iter().any(|network| network.contains(&address) || network.contains(&plain)) {
            return Ok(());
        }
        let range = match plain {
            IpAddr::V4(v4) => refused_v4(v4),
            IpAddr::V6(v6) => refused_v6(v6),
        };
        range.map_or(Ok(()), refuse)
    }

    /// Names that resolve to the sender itself wherever they are asked for; all others are checked when they are resolved.
    fn check_name(&self, name: &str) -> Result<(), Refusal> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if name == "metadata.google.internal" {
            return Err(Refusal::LocalName(name));
        }
        let local = name == "localhost" || name.ends_with(".localhost");
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        if local && self.check_address(loopback).is_err() { Err(Refusal::LocalName(name)) } else { Ok(()) }
    }
}

/// The address that is reached in the end: an IPv4 address written inside an IPv6 one counts as itself.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return IpAddr::V4(v4);
    }
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([one, two], [three, four]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(one, two, three, four))
    };
    match (a, b, c, d, e, f) {
        // NAT64 (RFC 6052) and the deprecated IPv4-compatible form.
        (0x64, 0xff9b, 0, 0, 0, 0) => v4(g, h),
        (0, 0, 0, 0, 0, 0) if !v6.is_loopback() && !v6.is_unspecified() => v4(g, h),
        // 6to4 (RFC 3056).
        (0x2002, ..) => v4(b, c),
        _ => address,
    }
}

fn is_metadata(address: IpAddr) -> bool {
    match address {
        // AWS, Azure, GCP, DigitalOcean and others; AWS task and pod credentials; Alibaba; Azure's platform address; Oracle.
        IpAddr::V4(v4) => matches!(
            v4.octets(),
            [169, 254, 169, 254 | 253]
                | [169, 254, 170, 2 | 23]
                | [100, 100, 100, 200]
                | [168, 63, 129, 16]
                | [192, 0, 0, 192]
        ),
        // AWS: instance metadata and pod identity; GCP.
        IpAddr::V6(v6) => matches!(
            v6.segments(),
            [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254 | 0x23] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254]
        ),
    }
}

fn refused_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = address.octets();
    Some(match (a, b, c) {
        (0, ..) => "an unspecified address",
        (127, ..) => "a loopback address",
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => "a private address",
        (169, 254, _) => "a link-local address",
        (100, 64..=127, _) => "a carrier's shared address",
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => "a reserved address",
        (224..=239, ..) => "a multicast address",
        (240..=255, ..) => "a reserved address",
        _ => return None,
    })
}

fn refused_v6(address: Ipv6Addr) -> Option<&'static str> {
    let [a, b, ..] = address.segments();
    Some(match a {
        _ if address.is_loopback() => "a loopback address",
        _ if address.is_unspecified() => "an unspecified address",
        0xfc00..=0xfdff => "a private address",
        0xfe80..=0xfebf => "a link-local address",
        0xfec0..=0xfeff => "a private address",
        0xff00..=0xffff => "a multicast address",
        0x2001 if b == 0x0db8 => "a reserved address",
        0x2001 if b < 0x0200 => "a reserved address",
        0x3fff if b < 0x1000 => "a reserved address",
        // Only 2000::/3 is handed out; NAT64's local prefix, discard and the rest are not.
        0x2000..=0x3fff => return None,
        _ => "a reserved address",
    })
}

#[cfg(test)]
mod tests;
