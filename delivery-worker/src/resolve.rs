//! Names of targets become addresses that may be dialled.
//!
//! ```text
//! resolve(host, port) --an address--> judged
//!         |
//!         +--a name--> lookups: kept? --no--> one look-up at a time, which the others join
//!                         ^                      |  a place (lookups of a domain, and of the process, are limited)
//!                         |                      v
//!                      cache <------- name_servers: /etc/hosts, then the name servers, at most 2 s
//!                         |
//!                         +--> each address is judged (crates/target) --> order: both families in turn --> at most 8
//! ```
//!
//! The address that was judged is the one that is dialled: there is no second look-up that could answer something else. What is
//! kept is what name servers said; it is judged each time, so that every policy may ask the same cache.
//!
//! No thread waits for a name. A name server that does not answer costs its own domain places and nobody else.

mod cache;
mod lookups;
mod name_servers;
mod order;
mod places;
#[cfg(test)]
mod tests;
mod upstream;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use chassis::config::EgressProxy;
use target::{TargetPolicy, TargetRefused};
use url::Host;

use self::lookups::Lookups;
pub(crate) use self::name_servers::LookupError;
use self::name_servers::NameServers;

/// Addresses of a name that are tried: who has a thousand has them for others too.
const DIALLED: usize = 8;

/// Resolves and judges. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct TargetResolver {
    policy: TargetPolicy,
    lookups: Lookups,
    /// What is dialled instead, and told the address.
    egress: Option<Arc<EgressProxy>>,
}

/// Why there is no address to dial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResolveError {
    /// The policy refuses what stands in the URL: nothing can mend it but another URL.
    #[error(transparent)]
    Refused(#[from] TargetRefused),
    /// The policy refuses every address that the name has now.
    #[error("`{name}` has no address that may be called: {refused}")]
    RefusedNow {
        /// The name.
        name: String,
        /// The first refusal.
        refused: TargetRefused,
    },
    /// The name has no address, or nobody says.
    #[error("`{name}`: {error}")]
    Unresolved {
        /// The name.
        name: String,
        /// Why.
        error: LookupError,
    },
}

impl TargetResolver {
    /// Asks these name servers, or those of the system if there are none.
    pub(crate) fn new(policy: TargetPolicy, servers: &[SocketAddr]) -> Self {
        Self { policy, lookups: Lookups::new(NameServers::new(servers)), egress: None }
    }

    /// The same, for connections through a proxy.
    pub(crate) fn through(self, proxy: Option<EgressProxy>) -> Self {
        Self { egress: proxy.map(Arc::new), ..self }
    }

    /// The proxy that connections go through.
    pub(crate) fn egress(&self) -> Option<&EgressProxy> {
        self.egress.as_deref()
    }

    /// The addresses of a host of the operator's own, which no policy judges, in the order to try them.
    ///
    /// # Errors
    /// It has none, or nobody says.
    pub(crate) async fn unjudged(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, LookupError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let found = self.lookups.addresses(host).await?;
        let ordered = order::by_turns(&found, order::has_route).into_iter().take(DIALLED);
        Ok(ordered.map(|address| SocketAddr::new(address, port)).collect())
    }

    /// The addresses that a host may be dialled at, in the order to try them: at least one.
    ///
    /// # Errors
    /// There is none. Unless it is [`ResolveError::Refused`], that may be otherwise next time.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
        let name = match literal(host) {
            Ok(Host::Domain(name)) => name,
            Ok(Host::Ipv4(address)) => return self.literal(address.into(), port),
            Ok(Host::Ipv6(address)) => return self.literal(address.into(), port),
            Err(unreadable) => return Err(TargetRefused::NotUrl(unreadable).into()),
        };
        self.policy.check_name(&name, port)?;
        let found = self.lookups.addresses(&name).await;
        let found = found.map_err(|error| ResolveError::Unresolved { name: name.clone(), error })?;
        let brokers = self.brokers(port).await?;
        let mut refused = None;
        let mut open = Vec::with_capacity(found.len());
        for address in found.iter() {
            match self.judge(&name, SocketAddr::new(*address, port), &brokers) {
                Ok(()) => open.push(*address),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        if let (true, Some(refused)) = (open.is_empty(), refused) {
            self.lookups.distrust(&name);
            return Err(ResolveError::RefusedNow { name, refused });
        }
        let ordered = order::by_turns(&open, order::has_route).into_iter().take(DIALLED);
        Ok(ordered.map(|address| SocketAddr::new(address, port)).collect())
    }

    fn literal(&self, address: IpAddr, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
        let address = SocketAddr::new(address, port);
        self.policy.check_address(None, address)?;
        Ok(vec![address])
    }

    fn judge(&self, name: &str, address: SocketAddr, brokers: &[IpAddr]) -> Result<(), TargetRefused> {
        if brokers.contains(&address.ip().to_canonical()) {
            return Err(TargetRefused::Own(address.to_string()));
        }
        self.policy.check_address(Some(name), address)
    }

    /// Addresses of Kafka's brokers at this port that are known by name. Hardly anybody receives at Kafka's port, so hardly
    /// ever one is looked up.
    async fn brokers(&self, port: u16) -> Result<Vec<IpAddr>, ResolveError> {
        let mut brokers = Vec::new();
        for name in self.policy.rules().own.broker_names(port) {
            match self.lookups.addresses(name).await {
                Ok(found) => brokers.extend(found.iter().map(IpAddr::to_canonical)),
                // These name servers do not know it, so they led nobody there.
                Err(LookupError::NoSuchName | LookupError::NoAddress) => {}
                Err(error @ LookupError::Unanswered(_)) => {
                    return Err(ResolveError::Unresolved { name: name.to_owned(), error });
                }
            }
        }
        Ok(brokers)
    }
}

/// Reads a host as a URL's is read; a v6 address stands in brackets or not.
fn literal(host: &str) -> Result<Host, url::ParseError> {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => Ok(Host::Ipv4(address)),
        Ok(IpAddr::V6(address)) => Ok(Host::Ipv6(address)),
        Err(_no_address) => Host::parse(host),
    }
}
