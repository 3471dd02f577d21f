//! `[delivery]`: how requests are made, how many at once, whom they may reach.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use target::{HostSuffix, Nat64Prefix};

use super::egress::EgressProxy;
use super::key::{Key, Kind, Section, Unit};
use super::reader::Reader;

pub(super) const SECTION: Section = Section {
    name: "delivery",
    about: "The delivery worker: signed requests, their limits and what their targets may be.",
    keys: KEYS,
};

/// Where name servers listen.
const DNS_PORT: u16 = 53;

const KEYS: &[Key] = &[
    Key {
        path: "delivery.concurrency",
        kind: Kind::Integer(1, 100_000, Unit::Count),
        default: "4096",
        title: "Requests of a worker",
        effect: "In flight at once over all subscriptions; one that hangs costs little more than its place. The last \
                 quarter is for subscriptions whose requests come back, and for the first one of each other.",
    },
    Key {
        path: "delivery.in_flight_bytes",
        kind: Kind::Integer(65_536, 4_294_967_296, Unit::Bytes),
        default: "67108864",
        title: "Bytes of a worker's requests",
        effect: "Of the deliveries that are in flight at once over all subscriptions, at least one.",
    },
    Key {
        path: "delivery.lane_concurrency",
        kind: Kind::Integer(1, 1_000, Unit::Count),
        default: "32",
        title: "Requests of a subscription",
        effect: "In flight at once at most, unless the subscription says otherwise. It begins with 4, and with fewer where \
                 requests are lost.",
    },
    Key {
        path: "delivery.connect_timeout_ms",
        kind: Kind::Integer(50, 300_000, Unit::Millis),
        default: "5000",
        title: "Connect timeout",
        effect: "Name, connection, TLS and HTTP/2 preface together.",
    },
    Key {
        path: "delivery.attempt_timeout_ms",
        kind: Kind::Integer(100, 300_000, Unit::Millis),
        default: "15000",
        title: "Attempt timeout",
        effect: "The whole attempt, response body included.",
    },
    Key {
        path: "delivery.lane_wait_ms",
        kind: Kind::Integer(10, 60_000, Unit::Millis),
        default: "1000",
        title: "Lane wait",
        effect: "Where a partition's look-ahead is short of room, a delivery that would wait longer for its own \
                 subscription leaves it: its offset is listed, and it is read back when its turn comes.",
    },
    Key {
        path: "delivery.live_records",
        kind: Kind::Integer(1, 1_000, Unit::Count),
        default: "1000",
        title: "Records in memory",
        effect: "Read and not yet settled, per partition; bounded by what fits the commit metadata.",
    },
    Key {
        path: "delivery.live_bytes",
        kind: Kind::Integer(65_536, 1_073_741_824, Unit::Bytes),
        default: "16777216",
        title: "Bytes in memory",
        effect: "Read and not yet settled, per partition, at least one record.",
    },
    Key {
        path: "delivery.queue_bytes",
        kind: Kind::Integer(1_048_576, 1_073_741_824, Unit::Bytes),
        default: "67108864",
        title: "Bytes of listed deliveries",
        effect: "Payloads that are kept or read back before their turn, of a worker; a quarter for one subscription.",
    },
    Key {
        path: "delivery.queue_entries",
        kind: Kind::Integer(10_000, 1_000_000_000, Unit::Count),
        default: "20000000",
        title: "Listed deliveries",
        effect: "That wait in the lists of a worker, 3 to 6 bytes each; with as many, intake waits.",
    },
    Key {
        path: "delivery.read_back_bytes",
        kind: Kind::Integer(1_048_576, 10_737_418_240, Unit::Bytes),
        default: "134217728",
        title: "Bytes read back",
        effect: "Of the log, per second and worker, while listed deliveries are read back.",
    },
    Key {
        path: "delivery.batch_records",
        kind: Kind::Integer(1, 10_000, Unit::Count),
        default: "1000",
        title: "Records of a transaction",
        effect: "A batch of outcomes closes at this many.",
    },
    Key {
        path: "delivery.batch_bytes",
        kind: Kind::Integer(1_024, 67_108_864, Unit::Bytes),
        default: "1048576",
        title: "Bytes of a transaction",
        effect: "A batch of outcomes closes at this size.",
    },
    Key {
        path: "delivery.allow_http",
        kind: Kind::Flag,
        default: "false",
        title: "Allow http",
        effect: "Targets without TLS are refused unless this is true.",
    },
    Key {
        path: "delivery.allow_networks",
        kind: Kind::List,
        default: "",
        title: "Allowed networks",
        effect: "Private, loopback and reserved networks that targets may be in (`10.0.0.0/8`); metadata addresses \
                 never.",
    },
    Key {
        path: "delivery.allow_hosts",
        kind: Kind::List,
        default: "",
        title: "Allowed names",
        effect: "Names that may resolve to such networks: `corp.example` stands for itself and every name below it. \
                 Metadata addresses, what the process itself listens on, Kafka's brokers and the egress proxy stay refused.",
    },
    Key {
        path: "delivery.nat64_prefixes",
        kind: Kind::List,
        default: "",
        title: "NAT64 prefixes",
        effect: "IPv6 networks behind which your network translates to IPv4 (NAT64 with a prefix of its own, RFC 6052): \
                 the address inside is what is judged. 64:ff9b::/96 is known.",
    },
    Key {
        path: "delivery.dns_servers",
        kind: Kind::List,
        default: "",
        title: "Name servers",
        effect: "Asked for the names of targets, as addresses with or without a port (`10.0.0.53`), instead of those of \
                 `/etc/resolv.conf`, whose search list then does not apply. `/etc/hosts` is read first in any case.",
    },
    Key {
        path: "delivery.egress_proxy",
        kind: Kind::Secret,
        default: "",
        title: "Egress proxy",
        effect: "An HTTP proxy that connects to targets and token endpoints (`http://proxy:3128`, \
                 `http://user:password@proxy:3128`, both as they stand and not percent-encoded). Names are resolved and judged here \
                 all the same, and it is told addresses, for targets with `http://` too; where it cannot be reached or does not \
                 serve this worker, that is no attempt of a delivery.",
    },
    Key {
        path: "delivery.ca_file",
        kind: Kind::Text,
        default: "",
        title: "Certificate authorities",
        effect: "A PEM file with authorities of your own that targets' certificates may come from, beside the public ones.",
    },
    Key {
        path: "delivery.breaker_failures",
        kind: Kind::Integer(1, 10_000, Unit::Count),
        default: "20",
        title: "Failures that open the circuit",
        effect: "In a row for at least a second, of one subscription or of several of one origin (host and port); or a \
                 quarter of them over half a minute; or 80 % of at least so many within ten seconds. Nothing is sent for 5 s \
                 then, doubling to 5 min, and 1, 2, 4, 8 at a time after it.",
    },
    Key {
        path: "delivery.disable_after_hours",
        kind: Kind::Integer(0, 8_760, Unit::Hours),
        default: "120",
        title: "Failing subscriptions",
        effect: "An endpoint that has been failing for so long without one success is disabled, unless its subscription \
                 says otherwise. 0: never.",
    },
    Key {
        path: "delivery.endpoint_metrics",
        kind: Kind::Integer(0, 10_000, Unit::Count),
        default: "100",
        title: "Failing endpoints with metrics of their own",
        effect: "Of the subscriptions whose last requests failed, so many have series with their ids, the worst of each \
                 worker: for alerts that name them. How many there are in all is counted whatever this says. 0: none.",
    },
    Key {
        path: "delivery.response_headers_limit_bytes",
        kind: Kind::Integer(0, 65_536, Unit::Bytes),
        default: "4096",
        title: "Response headers kept",
        effect: "In the delivery log, the rest is cut.",
    },
    Key {
        path: "delivery.response_body_limit_bytes",
        kind: Kind::Integer(0, 65_536, Unit::Bytes),
        default: "4096",
        title: "Response body kept",
        effect: "In the delivery log; the connection is closed when more comes. A body changes no verdict and has a second.",
    },
    Key {
        path: "delivery.retry_after_cap_hours",
        kind: Kind::Integer(1, 168, Unit::Hours),
        default: "24",
        title: "Longest Retry-After",
        effect: "What an endpoint asks for beyond it is cut.",
    },
    Key {
        path: "delivery.schedule",
        kind: Kind::Choice(&["standard", "hook0", "quick"]),
        default: "standard",
        title: "Retry schedule",
        effect: "Of subscriptions without their own: `standard` 12 retries over 77 h, `hook0` 24 over 7.5 days, \
                 `quick` 3 over 7 s (development).",
    },
    Key {
        path: "delivery.max_age_hours",
        kind: Kind::Integer(0, 8_760, Unit::Hours),
        default: "0",
        title: "Longest life",
        effect: "A delivery that is not settled this long after its first write, waiting included, is \
                 dead-lettered, where its subscription says nothing else. 0 is the span of `delivery.schedule` x 1.1 \
                 and a day.",
    },
    Key {
        path: "delivery.pool_idle_timeout_ms",
        kind: Kind::Integer(0, 3_600_000, Unit::Millis),
        default: "60000",
        title: "Idle connections",
        effect: "Kept at most this long for the next request; as many as were in use lately.",
    },
];

/// The `[delivery]` section, with what it needs of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryConfig {
    /// Requests in flight over all subscriptions.
    pub concurrency: usize,
    /// Bytes of their deliveries.
    pub in_flight_bytes: usize,
    /// Requests in flight of one subscription, unless it says otherwise.
    pub lane_concurrency: usize,
    /// Longest connect: name, connection, TLS, HTTP/2 preface.
    pub connect_timeout: Duration,
    /// Longest attempt, response body included.
    pub attempt_timeout: Duration,
    /// What a lane does within this time is not listed.
    pub lane_wait: Duration,
    /// Records read and not settled, per partition.
    pub live_records: usize,
    /// Bytes read and not settled, per partition.
    pub live_bytes: usize,
    /// Bytes of listed deliveries in memory.
    pub queue_bytes: usize,
    /// Listed deliveries of a worker.
    pub queue_entries: usize,
    /// Bytes of log read per second for listed deliveries.
    pub read_back_bytes: usize,
    /// Most records of a transaction.
    pub batch_records: usize,
    /// Bytes after which a transaction closes.
    pub batch_bytes: usize,
    /// Whether targets without TLS are allowed.
    pub allow_http: bool,
    /// Networks that are refused by default and allowed here.
    pub allow_networks: Vec<IpNet>,
    /// Names, with all below them, that may resolve to such networks.
    pub allow_hosts: Vec<HostSuffix>,
    /// Networks that are translated to IPv4, beside the well-known one.
    pub nat64_prefixes: Vec<Nat64Prefix>,
    /// Name servers that are asked for targets; none: those of the system.
    pub dns_servers: Vec<SocketAddr>,
    /// What requests go through.
    pub egress_proxy: Option<EgressProxy>,
    /// Authorities beside the public ones, PEM.
    pub ca_file: Option<PathBuf>,
    /// Failures in a row that open a subscription's circuit.
    pub breaker_failures: u32,
    /// Failing without a success for so long is reported, unless the subscription says otherwise; zero: never.
    pub disable_after: Duration,
    /// Failing endpoints that have metrics of their own.
    pub endpoint_metrics: usize,
    /// Bytes of response headers kept.
    pub response_headers_limit: usize,
    /// Bytes of response body kept.
    pub response_body_limit: usize,
    /// Longest `Retry-After` that is honoured.
    pub retry_after_cap: Duration,
    /// Name of the schedule of subscriptions without their own: a preset of `retry`.
    pub schedule: String,
    /// How long an idle connection is kept.
    pub pool_idle_timeout: Duration,
    /// The delay topics by name and delay, from `retry.tiers`.
    pub tiers: Vec<(String, Duration)>,
}

// === impl DeliveryConfig ===

impl DeliveryConfig {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        from.at_most("delivery.connect_timeout_ms", "delivery.attempt_timeout_ms");
        from.at_most("delivery.lane_concurrency", "delivery.concurrency");
        Self {
            concurrency: from.number("delivery.concurrency"),
            in_flight_bytes: from.number("delivery.in_flight_bytes"),
            lane_concurrency: from.number("delivery.lane_concurrency"),
            connect_timeout: from.millis("delivery.connect_timeout_ms"),
            attempt_timeout: from.millis("delivery.attempt_timeout_ms"),
            lane_wait: from.millis("delivery.lane_wait_ms"),
            live_records: from.number("delivery.live_records"),
            live_bytes: from.number("delivery.live_bytes"),
            queue_bytes: from.number("delivery.queue_bytes"),
            queue_entries: from.number("delivery.queue_entries"),
            read_back_bytes: from.number("delivery.read_back_bytes"),
            batch_records: from.number("delivery.batch_records"),
            batch_bytes: from.number("delivery.batch_bytes"),
            allow_http: from.flag("delivery.allow_http"),
            allow_networks: from.items("delivery.allow_networks", "networks such as 10.0.0.0/8"),
            allow_hosts: from.items("delivery.allow_hosts", "names such as corp.example"),
            nat64_prefixes: from.items("delivery.nat64_prefixes", "IPv6 networks of length 32, 40, 48, 56, 64 or 96"),
            dns_servers: servers(from),
            egress_proxy: proxy(from),
            ca_file: from.optional("delivery.ca_file").map(PathBuf::from),
            breaker_failures: from.number("delivery.breaker_failures"),
            disable_after: from.hours("delivery.disable_after_hours"),
            endpoint_metrics: from.number("delivery.endpoint_metrics"),
            response_headers_limit: from.number("delivery.response_headers_limit_bytes"),
            response_body_limit: from.number("delivery.response_body_limit_bytes"),
            retry_after_cap: from.hours("delivery.retry_after_cap_hours"),
            schedule: from.text("delivery.schedule"),
            pool_idle_timeout: from.millis("delivery.pool_idle_timeout_ms"),
            tiers: super::retry::tiers(from),
        }
    }
}

/// Addresses of name servers, at port 53 where they name none.
fn servers(from: &mut Reader<'_>) -> Vec<SocketAddr> {
    let servers: Vec<NameServerAddress> =
        from.items("delivery.dns_servers", "addresses such as 10.0.0.53 or [fd00::53]:5353");
    servers.into_iter().map(|server| server.0).collect()
}

fn proxy(from: &mut Reader<'_>) -> Option<EgressProxy> {
    let parsed = from.optional("delivery.egress_proxy")?.parse();
    parsed.map_err(|expected: &str| from.check(false, "delivery.egress_proxy", expected)).ok()
}

struct NameServerAddress(SocketAddr);

impl FromStr for NameServerAddress {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let with_port = text.parse().or_else(|_no_port| Ok(SocketAddr::new(text.parse::<IpAddr>()?, DNS_PORT)));
        with_port.map(Self)
    }
}
