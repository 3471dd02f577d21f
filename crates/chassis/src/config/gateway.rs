//! `[gateway]`: the ingest port and its limits. Every limit answers "what if somebody sends more of it".

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;

use super::admin_keys;
use super::forward::{self, ForwardConfig};
use super::key::{Key, Kind, Section, Unit};
use super::listener::{self, TlsFiles};
use super::reader::Reader;
use super::shutdown::ShutdownConfig;
use crate::proxies::TrustedProxies;
use crate::shutdown::drain_time;

pub(super) const SECTION: Section = Section {
    name: "gateway",
    about: "The ingest gateway: where events come in over HTTP, and how much of everything it takes.",
    keys: KEYS,
};

const KEYS: &[Key] = &[
    Key {
        path: "gateway.listen",
        kind: Kind::Address,
        default: "0.0.0.0:8080",
        title: "Listen address",
        effect: "Where events are taken.",
    },
    Key {
        path: "gateway.request_limit_bytes",
        kind: Kind::Integer(1_024, 67_108_864, Unit::Bytes),
        default: "2097152",
        title: "Request limit",
        effect: "Largest request body; above it 413.",
    },
    Key {
        path: "gateway.header_count_limit",
        kind: Kind::Integer(8, 1_024, Unit::Count),
        default: "64",
        title: "Header count",
        effect: "Most headers of a request; above it 431.",
    },
    Key {
        path: "gateway.header_limit_bytes",
        kind: Kind::Integer(8_192, 1_048_576, Unit::Bytes),
        default: "16384",
        title: "Header size",
        effect: "Largest head of a request; above it 431.",
    },
    Key {
        path: "gateway.header_read_timeout_ms",
        kind: Kind::Integer(100, 300_000, Unit::Millis),
        default: "5000",
        title: "Header read timeout",
        effect: "From a request's first byte to the end of its head, for the first one from the accept on; then the \
                 connection is closed.",
    },
    Key {
        path: "gateway.body_read_timeout_ms",
        kind: Kind::Integer(100, 300_000, Unit::Millis),
        default: "10000",
        title: "Body read timeout",
        effect: "From the end of the head to the end of the body; then 408.",
    },
    Key {
        path: "gateway.request_timeout_ms",
        kind: Kind::Integer(100, 300_000, Unit::Millis),
        default: "5000",
        title: "Request timeout",
        effect: "From the end of the body to the answer; then 503.",
    },
    Key {
        path: "gateway.message_timeout_ms",
        kind: Kind::Integer(50, 299_999, Unit::Millis),
        default: "3000",
        title: "Message timeout",
        effect: "How long a record may wait for Kafka's acknowledgement. Less than the request timeout, so that no \
                 record is written after its 503.",
    },
    Key {
        path: "gateway.linger_ms",
        kind: Kind::Integer(0, 1_000, Unit::Millis),
        default: "1",
        title: "Linger",
        effect: "How long a record waits for others to share a request to the broker.",
    },
    listener::idle("gateway.idle_timeout_ms"),
    listener::write("gateway.write_timeout_ms"),
    listener::connections("gateway.max_connections", "10000"),
    listener::per_address("gateway.connections_per_address", "2500"),
    listener::certificate("gateway.tls_certificate"),
    listener::key("gateway.tls_key"),
    listener::client_ca("gateway.tls_client_ca"),
    listener::trusted_proxies("gateway.trusted_proxies"),
    listener::proxy_header("gateway.proxy_header"),
    forward::TO,
    forward::TIMEOUT,
    forward::AT_ONCE,
    forward::CA_FILE,
    Key {
        path: "gateway.max_in_flight_bytes",
        kind: Kind::Integer(1_048_576, 1_099_511_627_776, Unit::Bytes),
        default: "268435456",
        title: "Bytes in flight",
        effect: "Bodies held in memory at once; above it 503. One organization holds at most half of what the others leave, \
                 but always one body.",
    },
    Key {
        path: "gateway.queue_bytes",
        kind: Kind::Integer(1_048_576, 1_099_511_627_776, Unit::Bytes),
        default: "134217728",
        title: "Producer queue",
        effect: "Records waiting for Kafka; above it 503.",
    },
    Key {
        path: "gateway.recent_ids",
        kind: Kind::Integer(0, 100_000_000, Unit::Count),
        default: "1000000",
        title: "Recent ids",
        effect: "Acknowledged event ids that are remembered to answer a repeat with 409; others are dropped by the \
                 fan-out, as are those of applications with a `dedup_window_ms`.",
    },
    Key {
        path: "gateway.batch_max_events",
        kind: Kind::Integer(1, 10_000, Unit::Count),
        default: "1000",
        title: "Events of a batch",
        effect: "Most events of one batch request.",
    },
    Key {
        path: "gateway.rate_per_second",
        kind: Kind::Integer(0, 10_000_000, Unit::PerSecond),
        default: "0",
        title: "Rate limit",
        effect: "Events per second over all replicas, with a burst of one second: of all applications of an organization \
                 together where neither they nor it have a limit; where the organization has one, of each application \
                 without one. 0 is no limit. Beyond it 429 `RateLimited`. As many may be refused, whose bodies were read all \
                 the same, with what a batch has over the rate as one; what one request has beyond that is owed, up to 10 s of it.",
    },
    Key {
        path: "gateway.quota_per_day",
        kind: Kind::Integer(0, 1_000_000_000_000, Unit::PerDay),
        default: "0",
        title: "Daily quota",
        effect: "Events per day (UTC) over all replicas: of all applications of an organization together where neither they \
                 nor it have a limit; where the organization has one, of each application without one. 0 is no limit. \
                 Beyond it 429 `TooManyEventsToday`.",
    },
    Key {
        path: "gateway.replicas",
        kind: Kind::Integer(0, 10_000, Unit::Count),
        default: "1",
        title: "Replicas",
        effect: "Gateways that share the limits: each enforces its part (limit / replicas, rounded up) of what it took \
                 itself. 0: each counts the gateways that tell `status` that they run, for numbers that something else \
                 changes; one that starts counts some seconds later, one that crashed for two to three minutes. A part is \
                 forgotten at a restart, so a day may let one part more pass per restart and per gateway that joins.",
    },
];

/// The `[gateway]` section, with what it needs of others.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where events are taken.
    pub listen: SocketAddr,
    /// Largest payload, from `topics.payload_limit_bytes`.
    pub payload_limit: usize,
    /// Largest request body.
    pub request_limit: usize,
    /// Most headers of a request.
    pub header_count_limit: usize,
    /// Largest head of a request, in bytes.
    pub header_limit: usize,
    /// From a request's first byte to the end of its head.
    pub header_read_timeout: Duration,
    /// From the end of the head to the end of the body.
    pub body_read_timeout: Duration,
    /// From the end of the body to the answer.
    pub request_timeout: Duration,
    /// Longest wait for Kafka's acknowledgement; below `request_timeout`.
    pub message_timeout: Duration,
    /// How long a record waits for others to share a request.
    pub linger: Duration,
    /// Connections without a request are closed after it.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of an answer.
    pub write_timeout: Duration,
    /// Connections served at once.
    pub max_connections: usize,
    /// Connections of one address without a known token; `None` is no limit.
    pub connections_per_address: Option<usize>,
    /// TLS of the listener; without it plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whose word counts on who called.
    pub trusted_proxies: TrustedProxies,
    /// How long its listener waits at the end for what is in flight.
    pub drain: Duration,
    /// Where what is no event route is passed on.
    pub forward: Option<ForwardConfig>,
    /// Bytes of bodies held at once.
    pub max_in_flight_bytes: usize,
    /// Bytes of records waiting for Kafka.
    pub queue_bytes: usize,
    /// Acknowledged ids that are remembered; 0 remembers none.
    pub recent_ids: usize,
    /// Most events of one batch request.
    pub batch_max_events: usize,
    /// Events per second where nobody has a limit; `None` is no limit.
    pub rate_per_second: Option<u32>,
    /// Events per day where nobody has a limit; `None` is no limit.
    pub quota_per_day: Option<u64>,
    /// Gateways that share the limits; `None`: they are counted.
    pub replicas: Option<u32>,
    /// Origins of browsers whose pages may send, from `control.cors_origins`; empty: none.
    pub cors_origins: Vec<String>,
    /// The admin keys that may send for every application, from `control.admin_key` and `control.admin_keys`.
    pub admin_keys: Vec<SecretString>,
}

impl GatewayConfig {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        from.below("gateway.message_timeout_ms", "gateway.request_timeout_ms");
        from.at_most("topics.payload_limit_bytes", "gateway.request_limit_bytes");
        from.at_most("gateway.request_limit_bytes", "gateway.max_in_flight_bytes");
        from.at_most("gateway.request_limit_bytes", "gateway.queue_bytes");
        Self {
            listen: from.address("gateway.listen"),
            payload_limit: from.number("topics.payload_limit_bytes"),
            request_limit: from.number("gateway.request_limit_bytes"),
            header_count_limit: from.number("gateway.header_count_limit"),
            header_limit: from.number("gateway.header_limit_bytes"),
            header_read_timeout: from.millis("gateway.header_read_timeout_ms"),
            body_read_timeout: from.millis("gateway.body_read_timeout_ms"),
            request_timeout: from.millis("gateway.request_timeout_ms"),
            message_timeout: from.millis("gateway.message_timeout_ms"),
            linger: from.millis("gateway.linger_ms"),
            idle_timeout: from.millis("gateway.idle_timeout_ms"),
            write_timeout: from.millis("gateway.write_timeout_ms"),
            max_connections: from.number("gateway.max_connections"),
            connections_per_address: from.positive("gateway.connections_per_address"),
            tls: listener::read_tls(from, "gateway"),
            trusted_proxies: listener::read_trusted_proxies(from, "gateway"),
            drain: drain_time(ShutdownConfig::read(from).grace),
            forward: ForwardConfig::read(from),
            max_in_flight_bytes: from.number("gateway.max_in_flight_bytes"),
            queue_bytes: from.number("gateway.queue_bytes"),
            recent_ids: from.number("gateway.recent_ids"),
            batch_max_events: from.number("gateway.batch_max_events"),
            rate_per_second: from.positive("gateway.rate_per_second"),
            quota_per_day: from.positive("gateway.quota_per_day"),
            replicas: from.positive("gateway.replicas"),
            cors_origins: from.list("control.cors_origins"),
            admin_keys: admin_keys::read(from),
        }
    }
}
