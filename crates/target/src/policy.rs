//! The rules put together: what both doors ask.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use url::{Host, Url};

use crate::embedded::{Embedded, Nat64Prefix};
use crate::ranges::{kind_v4, kind_v6};
use crate::{AllowList, OwnAddresses, TargetRefused, metadata};

/// The longest URL.
const MAX_URL_BYTES: usize = 2_048;

/// What holds for a whole instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetRules {
    /// Whether targets without TLS are allowed.
    pub allow_http: bool,
    /// Behind which networks v4 addresses are reached, beside the well-known one.
    pub nat64: Vec<Nat64Prefix>,
    /// What Hookbus itself is reached at.
    pub own: OwnAddresses,
}

/// Which targets may be called. Clones are the same one. By default: public addresses, by https.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetPolicy {
    rules: Arc<TargetRules>,
    allow: Arc<AllowList>,
}

impl TargetPolicy {
    /// The rules of an instance with a list of what is open beyond them.
    #[must_use]
    pub fn new(rules: TargetRules, allow: AllowList) -> Self {
        Self { rules: Arc::new(rules), allow: Arc::new(allow) }
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &TargetRules {
        &self.rules
    }

    /// Reads a target that somebody writes; the normalised form is what is kept.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn read(&self, text: &str) -> Result<Url, TargetRefused> {
        // What is far too long is not even parsed.
        is_short(text)?;
        let mut url = Url::parse(text.trim()).map_err(TargetRefused::NotUrl)?;
        // A fragment never goes over the wire.
        url.set_fragment(None);
        self.check_url(&url)?;
        Ok(url)
    }

    /// Checks what can be checked of a target without resolving its name.
    ///
    /// # Errors
    /// The first rule that is broken. No answer of a name server can mend it.
    pub fn check_url(&self, url: &Url) -> Result<(), TargetRefused> {
        is_short(url.as_str())?;
        match url.scheme() {
            "https" => {}
            "http" if self.rules.allow_http => {}
            other => return Err(TargetRefused::Scheme(other.to_owned())),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetRefused::Credentials);
        }
        let port = url.port_or_known_default().unwrap_or_default();
        match url.host().ok_or(TargetRefused::NoHost)? {
            Host::Domain(name) => self.check_name(name, port),
            Host::Ipv4(address) => self.check_address(None, SocketAddr::new(address.into(), port)),
            Host::Ipv6(address) => self.check_address(None, SocketAddr::new(address.into(), port)),
        }
    }

    /// Checks a name as far as that is possible without resolving it.
    ///
    /// # Errors
    /// It is known to be a metadata service, this host, or Kafka.
    pub fn check_name(&self, name: &str, port: u16) -> Result<(), TargetRefused> {
        let name = plain(name);
        if metadata::is_name(&name) {
            return Err(TargetRefused::MetadataName(name));
        }
        if self.rules.own.has_name(&name, port) {
            return Err(TargetRefused::Own(format!("{name}:{port}")));
        }
        let is_local = name == "localhost" || name.ends_with(".localhost");
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let is_open = self.allow.has_name(&name) || self.allow.has_address(loopback);
        if is_local && !is_open { Err(TargetRefused::LocalName(name)) } else { Ok(()) }
    }

    /// Checks an address, one that stands in a URL or one that a name resolved to.
    ///
    /// # Errors
    /// What it is, if it may not be connected to.
    pub fn check_address(&self, name: Option<&str>, address: SocketAddr) -> Result<(), TargetRefused> {
        if self.rules.own.has_address(address) {
            return Err(TargetRefused::Own(address.to_string()));
        }
        let refused = |kind| Err(TargetRefused::Address { address: address.ip(), kind });
        let outer = address.ip().to_canonical();
        let embedded = match outer {
            IpAddr::V4(_) => Embedded::default(),
            IpAddr::V6(address) => Embedded::in_address(address, &self.rules.nat64),
        };
        if metadata::is_address(outer) || embedded.addresses().any(|inner| metadata::is_address(inner.into())) {
            return refused("a metadata address");
        }
        if self.allow.has_address(outer) || name.is_some_and(|name| self.allow.has_name(&plain(name))) {
            return Ok(());
        }
        let kind = match outer {
            IpAddr::V4(address) => kind_v4(address),
            // Only its inner address is anything.
            IpAddr::V6(_) if embedded.is_translated => None,
            IpAddr::V6(address) => kind_v6(address),
        };
        let closed = |inner: &Ipv4Addr| !self.allow.has_address(IpAddr::V4(*inner));
        let inner = || embedded.addresses().filter(closed).find_map(kind_v4);
        kind.or_else(inner).map_or(Ok(()), refused)
    }
}

/// A name as it is compared.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn is_short(text: &str) -> Result<(), TargetRefused> {
    if text.len() > MAX_URL_BYTES { Err(TargetRefused::TooLong { max_bytes: MAX_URL_BYTES }) } else { Ok(()) }
}
