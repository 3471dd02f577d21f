//! `[control]`: the management API.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use schemas::control::Limits;
use schemas::ids::{ApplicationId, OrganizationId};
use secrecy::SecretString;

use super::admin_keys;
use super::control_log::{self, ControlLogConfig};
use super::key::{Key, Kind, Section, Unit};
use super::listener::{self, TlsFiles};
use super::plans;
use super::reader::Reader;
use super::shutdown::ShutdownConfig;
use super::sources::SourcesConfig;
use crate::proxies::TrustedProxies;
use crate::shutdown::drain_time;

pub(super) const SECTION: Section = Section {
    name: "control",
    about: "The control plane: the management API and the only writer of the `control` topic.",
    keys: KEYS,
};

const KEYS: &[Key] = &[
    Key {
        path: "control.listen",
        kind: Kind::Address,
        default: "0.0.0.0:8081",
        title: "Listen address",
        effect: "Where the management API is served.",
    },
    admin_keys::ONE,
    admin_keys::MORE,
    Key {
        path: "control.organization_id",
        kind: Kind::Text,
        default: "0b5e55ed-0000-7000-8000-000000000001",
        title: "Organization id",
        effect: "UUID of the organization that is there from the start. Records on the topic `events` name its applications by uid or \
                 id, those of other organizations by id only.",
    },
    Key {
        path: "control.organization_name",
        kind: Kind::Text,
        default: "default",
        title: "Organization name",
        effect: "Its name, 1 to 50 characters.",
    },
    Key {
        path: "control.operational_application",
        kind: Kind::Text,
        default: "",
        title: "Application for operational events",
        effect: "Id of the application that gets an event when a subscription is disabled, works again, or has a delivery that is \
                 given up (docs/operational-events.md). None where it is empty. The control plane writes them to `events`.",
    },
    Key {
        path: "control.request_limit_bytes",
        kind: Kind::Integer(1_024, 16_777_216, Unit::Bytes),
        default: "1048576",
        title: "Request limit",
        effect: "Largest request body; above it 413.",
    },
    Key {
        path: "control.max_in_flight_bytes",
        kind: Kind::Integer(4_194_304, 1_099_511_627_776, Unit::Bytes),
        default: "268435456",
        title: "Bytes in flight",
        effect: "What requests that are not answered yet hold in memory, as parsed: some times the bytes of their bodies. One \
                 organization, with all of its tokens, holds at most half of what the others leave, but always one body: beyond \
                 that 429 `RateLimited`, beyond all of it 503 `overloaded`, both with `Retry-After`; one request that would hold \
                 more alone is a 413.",
    },
    Key {
        path: "control.request_timeout_ms",
        kind: Kind::Integer(500, 300_000, Unit::Millis),
        default: "10000",
        title: "Request timeout",
        effect: "From the end of the head to the answer; then 503.",
    },
    Key {
        path: "control.header_read_timeout_ms",
        kind: Kind::Integer(100, 300_000, Unit::Millis),
        default: "5000",
        title: "Header read timeout",
        effect: "From a request's first byte to the end of its head, for the first one from the accept on; then the \
                 connection is closed.",
    },
    listener::idle("control.idle_timeout_ms"),
    listener::write("control.write_timeout_ms"),
    listener::connections("control.max_connections", "1000"),
    listener::per_address("control.connections_per_address", "250"),
    listener::certificate("control.tls_certificate"),
    listener::key("control.tls_key"),
    listener::client_ca("control.tls_client_ca"),
    listener::trusted_proxies("control.trusted_proxies"),
    listener::proxy_header("control.proxy_header"),
    Key {
        path: "control.max_subscriptions",
        kind: Kind::Integer(1, 100_000_000, Unit::Count),
        default: "1000000",
        title: "Subscriptions",
        effect: "Of the whole instance: every process holds them in memory.",
    },
    Key {
        path: "control.application_bytes",
        kind: Kind::Integer(1_048_576, 1_099_511_627_776, Unit::Bytes),
        default: "268435456",
        title: "Bytes of an application",
        effect: "What its objects take in the memory of every process, as Hookbus weighs them: a usual subscription less than \
                 1,000. Beyond it a write is refused, `limit_reached`.",
    },
    Key {
        path: "control.organization_bytes",
        kind: Kind::Integer(1_048_576, 1_099_511_627_776, Unit::Bytes),
        default: "268435456",
        title: "Bytes of an organization",
        effect: "The same of an organization with all of its applications. Where organizations do not trust each other, keep it at \
                 a small part of `control.instance_bytes`: as many as fit there can fill the instance for all others.",
    },
    Key {
        path: "control.instance_bytes",
        kind: Kind::Integer(1_048_576, 1_099_511_627_776, Unit::Bytes),
        default: "2147483648",
        title: "Bytes of all objects",
        effect: "The same of the whole instance.",
    },
    Key {
        path: "control.reads_per_second",
        kind: Kind::Integer(0, 100_000, Unit::Count),
        default: "100",
        title: "Reads of a token",
        effect: "Requests per second that change nothing, of each token and on each replica; ten seconds' worth may come at once. \
                 An organization with all of its tokens has four times as many. 0 is no limit, and the admin key has none. \
                 Beyond it 429 `RateLimited` with `Retry-After`.",
    },
    Key {
        path: "control.writes_per_second",
        kind: Kind::Integer(0, 100_000, Unit::Count),
        default: "20",
        title: "Writes of a token",
        effect: "The same of all other requests.",
    },
    Key {
        path: "control.unknown_tokens_per_second",
        kind: Kind::Integer(0, 100_000, Unit::Count),
        default: "20",
        title: "Unknown tokens of an address",
        effect: "Requests per second with a token that is not known, of each address: each of them asks Kafka whether the token is \
                 new. Ten seconds' worth may come at once; 0 is no limit.",
    },
    Key {
        path: "control.applications_per_organization",
        kind: Kind::Integer(0, 100_000_000, Unit::Count),
        default: "0",
        title: "Applications of an organization",
        effect: "Where it has no limit of its own; 0 is no limit. Beyond it 429 `TooManyApplicationsPerOrganization`.",
    },
    Key {
        path: "control.subscriptions_per_application",
        kind: Kind::Integer(0, 100_000_000, Unit::Count),
        default: "0",
        title: "Subscriptions of an application",
        effect: "Where neither it nor its organization has a limit; 0 is no limit. Beyond it 429 \
                 `TooManySubscriptionsPerApplication`.",
    },
    Key {
        path: "control.event_types_per_application",
        kind: Kind::Integer(0, 100_000_000, Unit::Count),
        default: "0",
        title: "Event types of an application",
        effect: "Where neither it nor its organization has a limit; 0 is no limit. Beyond it 429 \
                 `TooManyEventTypesPerApplication`.",
    },
    plans::PLANS,
    Key {
        path: "control.cors_origins",
        kind: Kind::List,
        default: "",
        title: "Origins of browsers",
        effect: "Whose pages may call the management API, and send events to the gateway: origins such as \
                 https://console.example.com, or `*` for all of them. None by default. Cookies are never used, so none are \
                 ever allowed.",
    },
    control_log::STORE,
    control_log::FOLDER,
    control_log::POSTGRES_URL,
    control_log::POSTGRES_CA_FILE,
    control_log::KEEP,
    control_log::MEMORY,
    control_log::READERS,
    Key {
        path: "control.access_log",
        kind: Kind::Flag,
        default: "true",
        title: "Access log",
        effect: "One line per request at level info: method, route (its template: paths may hold tokens), status, duration. \
                 Without it the line has level debug.",
    },
];

/// The `[control]` section.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// Where the management API is served.
    pub listen: SocketAddr,
    /// Bearer tokens that may do everything; without one nobody may.
    pub admin_keys: Vec<SecretString>,
    /// The organization that is there from the start.
    pub organization_id: OrganizationId,
    /// Its name.
    pub organization_name: String,
    /// The application that gets operational events.
    pub operational_application: Option<ApplicationId>,
    /// Largest request body.
    pub request_limit: usize,
    /// Bytes that requests in flight hold, as parsed.
    pub max_in_flight: usize,
    /// From the end of the head to the answer.
    pub request_timeout: Duration,
    /// From a request's first byte to the end of its head.
    pub header_read_timeout: Duration,
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
    /// Most subscriptions of the whole instance.
    pub max_subscriptions: usize,
    /// Most bytes of memory that objects take.
    pub bytes: ByteLimits,
    /// How often tokens may ask.
    pub rates: ControlRates,
    /// What binds organizations and applications without limits of their own; the gateway's for events.
    pub limits: Limits,
    /// Limits that are given to an organization all at once, by name.
    pub plans: BTreeMap<String, Limits>,
    /// Whose pages may call the API from a browser.
    pub cors_origins: Vec<String>,
    /// The longest time that an application's event ids count as repeats; from `fanout.dedup_window_hours`.
    pub dedup_window: Duration,
    /// What sources may be; the `[sources]` section.
    pub sources: SourcesConfig,
    /// The delivery log.
    pub log: ControlLogConfig,
    /// Whether requests are logged at level info.
    pub access_log: bool,
}

/// How often each token may ask each replica, per second; absent is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlRates {
    /// For what changes nothing.
    pub reads: Option<u32>,
    /// For all else.
    pub writes: Option<u32>,
    /// Of unknown tokens, each address.
    pub unknown: Option<u32>,
}

/// How many bytes of every process's memory objects may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteLimits {
    /// Of one application.
    pub application: u64,
    /// Of one organization with its applications.
    pub organization: u64,
    /// Of all.
    pub instance: u64,
}

impl Default for ByteLimits {
    fn default() -> Self {
        Self { application: 1 << 28, organization: 1 << 28, instance: 1 << 31 }
    }
}

impl ControlConfig {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        let admin_keys = admin_keys::read_checked(from);
        let organization_id = from.text("control.organization_id").parse();
        from.check(organization_id.is_ok(), "control.organization_id", "a UUID");
        let operational = from.optional("control.operational_application").map(|id| id.parse());
        from.check(!matches!(operational, Some(Err(_))), "control.operational_application", "a UUID, or nothing");
        let organization_name = from.text("control.organization_name");
        let named = (1..=50).contains(&organization_name.chars().count());
        from.check(named, "control.organization_name", "1 to 50 characters");
        Self {
            listen: from.address("control.listen"),
            admin_keys,
            organization_id: organization_id.unwrap_or(OrganizationId(uuid::Uuid::nil())),
            organization_name,
            operational_application: operational.and_then(Result::ok),
            request_limit: from.number("control.request_limit_bytes"),
            max_in_flight: from.number("control.max_in_flight_bytes"),
            request_timeout: from.millis("control.request_timeout_ms"),
            header_read_timeout: from.millis("control.header_read_timeout_ms"),
            idle_timeout: from.millis("control.idle_timeout_ms"),
            write_timeout: from.millis("control.write_timeout_ms"),
            max_connections: from.number("control.max_connections"),
            connections_per_address: from.positive("control.connections_per_address"),
            tls: listener::read_tls(from, "control"),
            trusted_proxies: listener::read_trusted_proxies(from, "control"),
            drain: drain_time(ShutdownConfig::read(from).grace),
            max_subscriptions: from.number("control.max_subscriptions"),
            bytes: ByteLimits {
                application: from.number("control.application_bytes"),
                organization: from.number("control.organization_bytes"),
                instance: from.number("control.instance_bytes"),
            },
            rates: ControlRates {
                reads: from.positive("control.reads_per_second"),
                writes: from.positive("control.writes_per_second"),
                unknown: from.positive("control.unknown_tokens_per_second"),
            },
            limits: limits(from),
            plans: plans::read(from),
            cors_origins: origins(from),
            dedup_window: from.hours("fanout.dedup_window_hours"),
            sources: SourcesConfig::values(from),
            log: ControlLogConfig::read(from),
            access_log: from.flag("control.access_log"),
        }
    }
}

fn limits(from: &Reader<'_>) -> Limits {
    let events_per_day: Option<u64> = from.positive("gateway.quota_per_day");
    Limits {
        applications: from.positive("control.applications_per_organization"),
        subscriptions: from.positive("control.subscriptions_per_application"),
        event_types: from.positive("control.event_types_per_application"),
        // Only shown here; beyond what clients' integers hold it is as good as none.
        events_per_day: events_per_day.and_then(|limit| u32::try_from(limit).ok()),
        events_per_second: from.positive("gateway.rate_per_second"),
    }
}

fn origins(from: &mut Reader<'_>) -> Vec<String> {
    let path = "control.cors_origins";
    let origins = from.list(path);
    let bare = |origin: &String| {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        host.is_some_and(|host| !host.is_empty() && host.bytes().all(|it| it.is_ascii_graphic() && it != b'/'))
    };
    let fine = origins.iter().all(bare) || origins == ["*"];
    from.check(fine, path, "origins without a path, such as https://console.example.com, or `*` alone");
    origins
}
