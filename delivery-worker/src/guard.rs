//! Where requests may go: the target policy against requests that turn on our own network (SSRF).
//!
//! ```text
//! URL --scheme, literal address--> here, before anything is connected (connectors skip resolvers for literals)
//! name --resolver--> every address is looked at; what is refused is never connected to
//! ```
//!
//! The address that was checked is the address that is connected to: the connector takes it from this resolver, there is no
//! second look-up that could answer something else. Redirects are never followed.

pub(crate) mod ranges;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use ipnet::IpNet;
use thiserror::Error;
use tower::Service;
use url::{Host, Url};

/// The policy. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    policy: Arc<Policy>,
}

#[derive(Debug)]
struct Policy {
    allow_http: bool,
    allow_networks: Vec<IpNet>,
}

/// Resolves names to addresses that the policy allows.
#[derive(Clone, Debug)]
pub(crate) struct GuardedResolver {
    resolver: GaiResolver,
    guard: Guard,
}

/// Why there is no address to connect to.
#[derive(Debug, Error)]
pub(crate) enum GuardError {
    /// The policy refuses the target, now and later.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The name does not resolve.
    #[error("the name does not resolve: {0}")]
    Resolve(std::io::Error),
}

/// What the policy refuses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refused {
    /// Another scheme than `https` (or `http` where that is allowed).
    #[error("the scheme `{0}` is not allowed")]
    Scheme(String),
    /// A URL without host.
    #[error("the URL has no host")]
    NoHost,
    /// An address that is not public and not allowed.
    #[error("the address {address} is refused: {kind}")]
    Address {
        /// Which.
        address: IpAddr,
        /// What it is.
        kind: &'static str,
    },
}

impl Guard {
    /// A policy.
    pub(crate) fn new(allow_http: bool, allow_networks: Vec<IpNet>) -> Self {
        Self { policy: Arc::new(Policy { allow_http, allow_networks }) }
    }

    /// Checks what can be checked of a URL without resolving its name.
    ///
    /// # Errors
    /// What the policy refuses.
    pub(crate) fn check_url(&self, url: &Url) -> Result<(), Refused> {
        match url.scheme() {
            "https" => {}
            "http" if self.policy.allow_http => {}
            other => return Err(Refused::Scheme(other.to_owned())),
        }
        match url.host() {
            None => Err(Refused::NoHost),
            Some(Host::Domain(_)) => Ok(()),
            Some(Host::Ipv4(address)) => self.check(address.into()),
            Some(Host::Ipv6(address)) => self.check(address.into()),
        }
    }

    /// Checks an address.
    ///
    /// # Errors
    /// What it is, if it may not be connected to.
    pub(crate) fn check(&self, address: IpAddr) -> Result<(), Refused> {
        let canonical = address.to_canonical();
        let refused = |kind| Refused::Address { address, kind };
        if ranges::is_metadata(canonical) {
            return Err(refused("it serves instance metadata"));
        }
        let Some(kind) = ranges::kind(canonical) else { return Ok(()) };
        let is_allowed = self.policy.allow_networks.iter().any(|network| network.contains(&canonical));
        if is_allowed { Ok(()) } else { Err(refused(kind)) }
    }

    /// A resolver that asks this policy.
    pub(crate) fn resolver(&self) -> GuardedResolver {
        GuardedResolver { resolver: GaiResolver::new(), guard: self.clone() }
    }

    fn allowed(&self, found: impl Iterator<Item = SocketAddr>) -> Result<vec::IntoIter<SocketAddr>, GuardError> {
        let mut refused = None;
        let mut allowed = Vec::new();
        for address in found {
            match self.check(address.ip()) {
                Ok(()) => allowed.push(address),
                Err(error) => refused = Some(error),
            }
        }
        match (allowed.is_empty(), refused) {
            (false, _) => Ok(allowed.into_iter()),
            (true, Some(refused)) => Err(refused.into()),
            (true, None) => Err(GuardError::Resolve(std::io::ErrorKind::NotFound.into())),
        }
    }
}

impl Service<Name> for GuardedResolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = GuardError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.resolver.poll_ready(context).map_err(GuardError::Resolve)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.resolver.call(name);
        let guard = self.guard.clone();
        Box::pin(async move { guard.allowed(found.await.map_err(GuardError::Resolve)?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(networks: &[&str]) -> Guard {
        Guard::new(false, networks.iter().map(|network| network.parse().unwrap()).collect())
    }

    fn is_ok(guard: &Guard, address: &str) -> bool {
        guard.check(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn what_is_not_public_is_refused_in_every_spelling() {
        let guard = guard(&[]);
        for address in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.1.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001:0:1::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ] {
            assert!(!is_ok(&guard, address), "{address}");
        }
        for address in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::1.1.1.1", "2002:101:101::1"] {
            assert!(is_ok(&guard, address), "{address}");
        }
    }

    #[test]
    fn an_allowed_network_is_reached_but_metadata_never() {
        let guard = guard(&["127.0.0.0/8", "0.0.0.0/0", "::/0"]);
        for address in ["127.0.0.1", "::ffff:127.0.0.1", "::1", "10.0.0.1"] {
            assert!(is_ok(&guard, address), "{address}");
        }
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "fd00:ec2::254",
            "100.100.100.200",
        ] {
            assert!(!is_ok(&guard, address), "{address}");
        }
    }

    #[test]
    fn urls_are_checked_before_anything_is_resolved() {
        let check = |guard: &Guard, url: &str| guard.check_url(&Url::parse(url).unwrap());
        let strict = guard(&[]);
        assert_eq!(check(&strict, "http://example.com/"), Err(Refused::Scheme("http".into())));
        assert_eq!(check(&Guard::new(true, Vec::new()), "http://example.com/"), Ok(()));
        assert_eq!(check(&strict, "ftp://example.com/"), Err(Refused::Scheme("ftp".into())));
        for loopback in ["https://127.1/", "https://0x7f.1/", "https://2130706433/", "https://[::1]/", "https://0/"] {
            assert!(matches!(check(&strict, loopback), Err(Refused::Address { .. })), "{loopback}");
        }
        assert_eq!(check(&strict, "https://example.com:8443/x"), Ok(()));
    }

    #[test]
    fn of_mixed_answers_only_the_allowed_are_used() {
        let guard = guard(&[]);
        let addresses = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let found = guard.allowed(addresses(&["127.0.0.1:0", "1.1.1.1:0"]).into_iter()).unwrap();
        assert_eq!(found.collect::<Vec<_>>(), addresses(&["1.1.1.1:0"]));
        let refused = guard.allowed(addresses(&["127.0.0.1:0"]).into_iter());
        assert!(matches!(refused, Err(GuardError::Refused(_))));
        assert!(matches!(guard.allowed(std::iter::empty()), Err(GuardError::Resolve(_))));
    }

    #[tokio::test]
    async fn a_name_of_this_host_is_refused() {
        let mut resolver = guard(&[]).resolver();
        let found = resolver.call("localhost".parse().unwrap()).await;
        assert!(matches!(found, Err(GuardError::Refused(_))), "{found:?}");
    }
}
