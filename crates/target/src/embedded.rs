//! IPv4 addresses that stand inside IPv6 ones. Pure.
//!
//! | form | spelling | who takes a packet to the v4 address |
//! |---|---|---|
//! | NAT64 (RFC 6052) | `64:ff9b::a.b.c.d`, and the operator's own prefixes | a translator: the v6 address is only its spelling |
//! | 6to4 (RFC 3056) | `2002:aabb:ccdd::` | a relay, likewise |
//! | ISATAP (RFC 5214) | `…:0:5efe:a.b.c.d` in any network | a tunnel, once the v6 network is reached |
//! | compatible, translated (RFC 4291, RFC 2765) | `::a.b.c.d`, `::ffff:0:a.b.c.d` | nobody any more |
//! | Teredo (RFC 4380) | `2001:0:<server>:…:<client, inverted>` | nobody any more |
//!
//! Mapped addresses (`::ffff:a.b.c.d`) are v4 ones and made so before anybody looks here.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::Ipv6Net;

/// The lengths that RFC 6052 defines.
const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];
/// This octet of an address is always 0 (RFC 6052, 2.2): a v4 address is written around it.
const RESERVED_OCTET: usize = 8;

/// A network behind which a translator reaches v4 addresses (NAT64), beside the well-known `64:ff9b::/96`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat64Prefix(Ipv6Net);

/// A text or a network that is no NAT64 prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no NAT64 prefix: an IPv6 network of length 32, 40, 48, 56, 64 or 96")]
pub struct NoNat64Prefix;

/// What stands inside a v6 address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Embedded {
    /// The v6 address is nothing but a spelling of the v4 one.
    pub(crate) is_translated: bool,
    addresses: [Option<Ipv4Addr>; 2],
}

// === impl Nat64Prefix ===

impl Nat64Prefix {
    /// `64:ff9b::/96`.
    const WELL_KNOWN: Self = Self(Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96));

    /// The v4 address behind an address of this network.
    fn behind(self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        if !self.0.contains(&address) {
            return None;
        }
        let octets = address.octets();
        let first = usize::from(self.0.prefix_len() / 8);
        let mut rest = (first..octets.len()).filter(|at| *at != RESERVED_OCTET).map(|at| octets[at]);
        Some(Ipv4Addr::new(rest.next()?, rest.next()?, rest.next()?, rest.next()?))
    }
}

impl TryFrom<Ipv6Net> for Nat64Prefix {
    type Error = NoNat64Prefix;

    fn try_from(network: Ipv6Net) -> Result<Self, NoNat64Prefix> {
        if LENGTHS.contains(&network.prefix_len()) { Ok(Self(network.trunc())) } else { Err(NoNat64Prefix) }
    }
}

impl FromStr for Nat64Prefix {
    type Err = NoNat64Prefix;

    fn from_str(text: &str) -> Result<Self, NoNat64Prefix> {
        text.parse::<Ipv6Net>().map_err(|_unreadable| NoNat64Prefix)?.try_into()
    }
}

impl fmt::Display for Nat64Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Embedded ===

impl Embedded {
    /// Looks into an address, behind these prefixes too.
    pub(crate) fn in_address(address: Ipv6Addr, nat64: &[Nat64Prefix]) -> Self {
        let known = std::iter::once(&Nat64Prefix::WELL_KNOWN).chain(nat64);
        if let Some(inner) = known.filter_map(|prefix| prefix.behind(address)).next() {
            return Self { is_translated: true, addresses: [Some(inner), None] };
        }
        let [a, b, c, d, e, f, g, h] = address.segments();
        match (a, b, c, d, e, f) {
            (0x2002, ..) => Self { is_translated: true, addresses: [Some(joined(b, c)), None] },
            (0x2001, 0, ..) => Self { is_translated: false, addresses: [Some(joined(c, d)), Some(joined(!g, !h))] },
            (0, 0, 0, 0, 0, 0) if address.to_bits() > 1 => Self::inside(joined(g, h)),
            (0, 0, 0, 0, 0xffff, 0) | (_, _, _, _, 0 | 0x200, 0x5efe) => Self::inside(joined(g, h)),
            _other => Self::default(),
        }
    }

    /// The v4 addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.addresses.into_iter().flatten()
    }

    fn inside(address: Ipv4Addr) -> Self {
        Self { is_translated: false, addresses: [Some(address), None] }
    }
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(address: &str, nat64: &[&str]) -> (bool, Vec<String>) {
        let nat64: Vec<Nat64Prefix> = nat64.iter().map(|prefix| prefix.parse().unwrap()).collect();
        let embedded = Embedded::in_address(address.parse().unwrap(), &nat64);
        (embedded.is_translated, embedded.addresses().map(|inner| inner.to_string()).collect())
    }

    /// The table of RFC 6052, 2.4: one v4 address behind a prefix of each length.
    #[test]
    fn nat64_addresses_are_read_at_every_length() {
        for (prefix, address) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100:0"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ] {
            assert_eq!(inside(address, &[prefix]), (true, vec!["192.0.2.33".to_owned()]), "{prefix}");
        }
        assert_eq!(
            inside("64:ff9b::192.0.2.33", &[]).1,
            ["192.0.2.33"],
            "the well-known prefix needs no configuration"
        );
        assert_eq!(inside("2001:db8:122:344::192.0.2.33", &[]), (false, vec![]), "another one does");
        assert_eq!("2001:db8::/33".parse::<Nat64Prefix>(), Err(NoNat64Prefix));
        assert_eq!("10.0.0.0/8".parse::<Nat64Prefix>(), Err(NoNat64Prefix));
    }

    #[test]
    fn every_form_tells_its_inner_addresses() {
        assert_eq!(inside("2002:c000:221::1", &[]), (true, vec!["192.0.2.33".to_owned()]));
        assert_eq!(inside("::192.0.2.33", &[]), (false, vec!["192.0.2.33".to_owned()]));
        assert_eq!(inside("::ffff:0:192.0.2.33", &[]), (false, vec!["192.0.2.33".to_owned()]));
        let teredo = inside("2001:0:4136:e378:8000:63bf:3fff:fdd2", &[]);
        assert_eq!(teredo, (false, vec!["65.54.227.120".to_owned(), "192.0.2.45".to_owned()]), "server, then client");
        for isatap in ["2606:4700::5efe:192.0.2.33", "2606:4700::200:5efe:192.0.2.33", "fe80::5efe:192.0.2.33"] {
            assert_eq!(inside(isatap, &[]), (false, vec!["192.0.2.33".to_owned()]), "{isatap}");
        }
        for none in ["::", "::1", "2606:4700::1111", "2001:db8::1"] {
            assert_eq!(inside(none, &[]), (false, vec![]), "{none}");
        }
    }
}
