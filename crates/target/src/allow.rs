//! What an operator opens of what is refused by default: networks, and names by their end. Pure.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use url::Host;

/// What may be called beyond public addresses. Metadata services and Hookbus's own addresses stay refused.
///
/// One per instance today. It stands apart from [`crate::TargetRules`], which hold for the whole instance, so that an
/// application can have one of its own: its policy is the same rules with another list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    /// Addresses in these networks.
    pub networks: Vec<IpNet>,
    /// Addresses that names under these resolve to, whatever they are.
    pub hosts: Vec<HostSuffix>,
}

/// A name that stands for itself and for every name below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSuffix(String);

/// A text that is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no host name, such as corp.example, which stands for itself and every name below it")]
pub struct NoHostSuffix;

// === impl AllowList ===

impl AllowList {
    /// Whether a network holds the address.
    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Whether the name (in lower case, without a dot at its end) is one of these or below one.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.hosts.iter().any(|suffix| suffix.covers(name))
    }
}

// === impl HostSuffix ===

impl HostSuffix {
    fn covers(&self, name: &str) -> bool {
        let above = name.strip_suffix(self.0.as_str());
        above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    }
}

impl FromStr for HostSuffix {
    type Err = NoHostSuffix;

    /// Reads `corp.example`; `.corp.example`, `*.corp.example` and `corp.example.` are the same.
    fn from_str(text: &str) -> Result<Self, NoHostSuffix> {
        let bare = text.trim().trim_start_matches("*.").trim_matches('.');
        match Host::parse(bare) {
            Ok(Host::Domain(name)) if !name.is_empty() && !name.contains('*') => Ok(Self(name)),
            Ok(Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_)) | Err(_) => Err(NoHostSuffix),
        }
    }
}

impl fmt::Display for HostSuffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_covers_itself_and_what_is_below_it() {
        for spelling in ["corp.example", "CORP.Example.", ".corp.example", "*.corp.example", " corp.example "] {
            let suffix: HostSuffix = spelling.parse().unwrap();
            for covered in ["corp.example", "a.corp.example", "a.b.corp.example"] {
                assert!(suffix.covers(covered), "{spelling} covers {covered}");
            }
            for other in ["xcorp.example", "corp.example.com", "example", "", "orp.example"] {
                assert!(!suffix.covers(other), "{spelling} does not cover {other}");
            }
        }
        let german: HostSuffix = "b\u{fc}cher.example".parse().unwrap();
        assert!(german.covers("shop.xn--bcher-kva.example"), "names are compared as they are sent");
        for wrong in ["", ".", "*", "*.", "10.0.0.1", "[::1]", "a b", "a.*.example"] {
            assert_eq!(wrong.parse::<HostSuffix>(), Err(NoHostSuffix), "{wrong}");
        }
    }
}
