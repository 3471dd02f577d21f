//! Whom to ask, by hickory: as `/etc/resolv.conf` and `/etc/hosts` said when they were read, or the configuration.
//!
//! From `/etc/resolv.conf` come the servers, the search list, `ndots` and `edns0`; its time limits do not count, a look-up has its
//! own. A name that ends in a dot is not searched for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};

use super::name_servers::{ADDRESSES, LookupError};

/// Of one try. A look-up has time for two, and a lost datagram is sent again within each.
const TRY: Duration = Duration::from_secs(1);
/// Questions under way on one TCP connection; hickory's own 32 would make answers of many records wait.
const QUESTIONS: usize = 512;

/// Whom to ask, as the files said when they were read.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) resolver: TokioResolver,
    hosts: Hosts,
    search: Vec<Name>,
    dots: usize,
}

// === impl Upstream ===

impl Upstream {
    pub(super) fn load(configured: &[SocketAddr]) -> Self {
        let (config, options) = if configured.is_empty() { of_system() } else { of_servers(configured) };
        let hosts = Hosts::from_system().unwrap_or_else(|error| {
            tracing::warn!(%error, "/etc/hosts cannot be read: its names are asked for as any other");
            Hosts::default()
        });
        Self::new(config, options, hosts)
    }

    fn new(config: ResolverConfig, options: ResolverOpts, hosts: Hosts) -> Self {
        let (domain, search, servers) = config.into_parts();
        let search = if search.is_empty() { domain.into_iter().collect() } else { search };
        let dots = options.ndots;
        let config = ResolverConfig::from_name_servers(servers);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver =
            builder.with_options(bounded(options)).build().expect("only TLS can be set up wrongly, and there is none");
        Self { resolver, hosts, search, dots }
    }

    /// The full names that a name may mean, in order.
    pub(super) fn candidates(&self, name: &str) -> Result<Vec<Name>, LookupError> {
        let labels = name.strip_suffix('.').unwrap_or(name).split('.').map(str::as_bytes);
        // No such name can exist: a label or all of it is too long, or a label is empty.
        let relative = Name::from_labels(labels).map_err(|_impossible| LookupError::NoSuchName)?;
        let mut full = relative.clone();
        full.set_fqdn(true);
        let is_searched = !name.ends_with('.') && !full.is_localhost();
        let searched = self.search.iter().filter(|_| is_searched);
        let mut searched: Vec<Name> = searched.filter_map(|end| relative.clone().append_domain(end).ok()).collect();
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let at = if dots >= self.dots || !is_searched { 0 } else { searched.len() };
        searched.insert(at, full);
        Ok(searched)
    }

    /// As `/etc/hosts` says: a name that stands there is asked of nobody, whatever its families.
    pub(super) fn in_hosts(&self, name: &Name) -> Option<Arc<[IpAddr]>> {
        let families = [RecordType::AAAA, RecordType::A].map(|family| Query::query(name.clone(), family));
        let found = families.iter().filter_map(|query| self.hosts.lookup_static_host(query));
        let addresses = found.flat_map(|found| {
            let addresses = found.answers().iter().filter_map(|record| record.data.ip_addr());
            addresses.take(ADDRESSES).collect::<Vec<IpAddr>>()
        });
        let addresses: Arc<[IpAddr]> = addresses.collect();
        (!addresses.is_empty()).then_some(addresses)
    }
}

/// What the system's resolver would do.
fn of_system() -> (ResolverConfig, ResolverOpts) {
    system_conf::read_system_conf().unwrap_or_else(|error| {
        tracing::warn!(%error, "/etc/resolv.conf cannot be used: a name server on this host is asked");
        let local = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
        (ResolverConfig::from_name_servers(vec![local]), ResolverOpts::default())
    })
}

fn of_servers(servers: &[SocketAddr]) -> (ResolverConfig, ResolverOpts) {
    let servers = servers.iter().map(|server| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = server.port();
            connection
        });
        NameServerConfig::new(server.ip(), true, connections.to_vec())
    });
    (ResolverConfig::from_name_servers(servers.collect()), ResolverOpts::default())
}

/// What holds whoever is asked.
fn bounded(mut options: ResolverOpts) -> ResolverOpts {
    options.timeout = TRY;
    options.attempts = 1;
    options.max_active_requests = QUESTIONS;
    // Both are done here: hickory would look into hosts for the first name of a search only, and keeps no stale answer.
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 0;
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(resolv_conf: &str, hosts: &str) -> Upstream {
        let (config, options) = system_conf::parse_resolv_conf(resolv_conf).unwrap();
        let mut read = Hosts::default();
        read.read_hosts_conf(hosts.as_bytes()).unwrap();
        Upstream::new(config, options, read)
    }

    fn candidates(resolv_conf: &str, name: &str) -> Vec<String> {
        let candidates = upstream(resolv_conf, "").candidates(name).unwrap();
        candidates.iter().map(Name::to_ascii).collect()
    }

    #[test]
    fn names_are_searched_for_as_the_system_does() {
        let pod = "nameserver 10.0.0.10\nsearch shop.svc.cluster.local svc.cluster.local\noptions ndots:5\n";
        let found = candidates(pod, "hooks.example.com");
        let expected =
            ["hooks.example.com.shop.svc.cluster.local.", "hooks.example.com.svc.cluster.local.", "hooks.example.com."];
        assert_eq!(found, expected);
        assert_eq!(candidates(pod, "hooks.example.com."), ["hooks.example.com."], "a dot at the end: no search");
        assert_eq!(candidates(pod, "localhost"), ["localhost."]);
        assert_eq!(candidates(pod, "a.b.c.d.e.f").first().unwrap(), "a.b.c.d.e.f.", "dots enough");
        let host = "nameserver 10.0.0.10\ndomain corp.example\n";
        assert_eq!(candidates(host, "kafka"), ["kafka.corp.example.", "kafka."]);
        assert_eq!(candidates(host, "hooks.example.com"), ["hooks.example.com.", "hooks.example.com.corp.example."]);
        assert_eq!(candidates("nameserver 10.0.0.10\n", "kafka").last().unwrap(), "kafka.");
    }

    #[test]
    fn names_in_hosts_are_asked_of_nobody() {
        let upstream = upstream("nameserver 10.0.0.10\n", "10.0.0.5 Hooks.Example hooks # a comment\nfd00::5 hooks\n");
        let found = |name: &str| {
            let found = upstream.in_hosts(&Name::from_ascii(name).unwrap());
            found.map(|found| found.iter().map(IpAddr::to_string).collect::<Vec<_>>())
        };
        assert_eq!(found("hooks.example."), Some(vec!["10.0.0.5".to_owned()]));
        assert_eq!(found("hooks."), Some(vec!["fd00::5".to_owned(), "10.0.0.5".to_owned()]));
        assert_eq!(found("other.example."), None);
    }
}
