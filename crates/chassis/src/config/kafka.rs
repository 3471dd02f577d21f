//! `[kafka]`: how to reach Kafka, and under which names this process appears there.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::key::{Key, Kind, Section, Unit};
use super::reader::Reader;
use super::value::{MASK, is_secret_property};

/// Where the default slot comes from: set in every container and most shells.
pub(super) const HOSTNAME: &str = "HOSTNAME";
/// A transactional id travels in the commit metadata, where room is short.
const MAX_ID: usize = 40;
/// What the fan-out's intake of sources is called in its group and its ids.
const SOURCES: &str = "sources";
/// Digits of the hash that replaces the middle of a host name that is too long.
const HASH_DIGITS: usize = 8;

pub(super) const SECTION: Section = Section {
    name: "kafka",
    about: "How to reach Kafka, and under which names a process appears there. Any librdkafka property goes below \
            `[kafka.properties]` (SASL, TLS); those that correctness depends on are refused.",
    keys: KEYS,
};

const KEYS: &[Key] = &[
    Key {
        path: "kafka.brokers",
        kind: Kind::Text,
        default: "127.0.0.1:9092",
        title: "Brokers",
        effect: "Bootstrap addresses `host:port`, separated by commas; two or three are enough to find the others.",
    },
    Key {
        path: "kafka.slot",
        kind: Kind::Text,
        default: "",
        title: "Slot",
        effect: "This process's name among its role's: part of the transactional id, so that a restart fences its \
                 predecessor. Must be stable over restarts and unique per role. Default: the host name, cut to fit.",
    },
    Key {
        path: "kafka.session_timeout_ms",
        kind: Kind::Integer(1_000, 300_000, Unit::Millis),
        default: "8000",
        title: "Session timeout",
        effect: "How long the group waits for a dead worker before its partitions move; workers stop sending after \
                 half of it without contact.",
    },
    Key {
        path: "kafka.transaction_timeout_ms",
        kind: Kind::Integer(1_000, 900_000, Unit::Millis),
        default: "10000",
        title: "Transaction timeout",
        effect: "After it the broker aborts a dead worker's open transaction, which holds back readers until then.",
    },
    Key {
        path: "kafka.handover_wait_ms",
        kind: Kind::Integer(0, 60_000, Unit::Millis),
        default: "3000",
        title: "Handover wait",
        effect: "How long a revoked partition may wait for what is in flight. All partitions of the worker stand \
                 still meanwhile.",
    },
    Key {
        path: "kafka.live_budget_bytes",
        kind: Kind::Integer(1_048_576, 1_099_511_627_776, Unit::Bytes),
        default: "268435456",
        title: "Records in memory",
        effect: "Bytes that a worker has read and not yet committed, over all its partitions, which share it; each may \
                 exceed it by one record. librdkafka's prefetch comes on top: 32 MiB, and 16 MiB per broker.",
    },
    Key {
        path: "kafka.properties",
        kind: Kind::Properties,
        default: "",
        title: "librdkafka properties",
        effect: "`\"security.protocol\" = \"SASL_SSL\"` in the file, `HOOKBUS__KAFKA__PROPERTIES__SECURITY_PROTOCOL` \
                 in the environment.",
    },
];

/// The `[kafka]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaConfig {
    /// Bootstrap addresses, separated by commas.
    pub brokers: String,
    /// librdkafka properties, as the user gave them.
    pub properties: Properties,
    /// Name of the installation in group and transactional ids: the topic prefix without its separator.
    pub installation: String,
    /// This process among its role's; `[A-Za-z0-9._-]`, so short that every role's transactional id fits.
    pub slot: String,
    /// After this long without a heartbeat the group gives a worker's partitions away.
    pub session_timeout: Duration,
    /// After this long the broker aborts an open transaction.
    pub transaction_timeout: Duration,
    /// How long a revoke waits for what is in flight.
    pub handover_wait: Duration,
    /// Bytes that one worker has read and not yet committed.
    pub live_budget_bytes: usize,
}

/// librdkafka properties. `Debug` masks those that hold secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

/// The roles of the one binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Takes events over HTTP.
    Gateway,
    /// Events times subscriptions.
    Fanout,
    /// Signed requests.
    Delivery,
    /// Waits and promotes.
    Retry,
    /// The management API.
    Control,
}

// === impl KafkaConfig ===

impl KafkaConfig {
    /// The transactional id of a role in this slot: `hookbus-fanout-<slot>`, at most 40 characters.
    #[must_use]
    pub fn transactional_id(&self, role: Role) -> String {
        format!("{}-{role}-{}", self.installation, self.slot)
    }

    /// The consumer group of a role: `hookbus.fanout`.
    #[must_use]
    pub fn group(&self, role: Role) -> String {
        format!("{}.{role}", self.installation)
    }

    /// The client id of a role in this slot, for the broker's logs and quotas.
    #[must_use]
    pub fn client_id(&self, role: Role) -> String {
        self.transactional_id(role)
    }

    /// The group under which the fan-out reads sources: `hookbus.sources`.
    #[must_use]
    pub fn sources_group(&self) -> String {
        format!("{}.{SOURCES}", self.installation)
    }

    /// The transactional id, and the client id, of the fan-out's intake of sources: `hookbus-sources-<slot>`, at most 40 characters.
    #[must_use]
    pub fn sources_id(&self) -> String {
        format!("{}-{SOURCES}-{}", self.installation, self.slot)
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        let brokers = from.text("kafka.brokers");
        from.check(are_brokers(&brokers), "kafka.brokers", "host:port, separated by commas");
        from.below("kafka.handover_wait_ms", "kafka.session_timeout_ms");
        let prefix = from.text("topics.prefix");
        let installation = installation(&prefix);
        let slot = slot(from, &installation);
        Self {
            brokers,
            properties: Properties(from.properties("kafka.properties")),
            installation,
            slot,
            session_timeout: from.millis("kafka.session_timeout_ms"),
            transaction_timeout: from.millis("kafka.transaction_timeout_ms"),
            handover_wait: from.millis("kafka.handover_wait_ms"),
            live_budget_bytes: from.number("kafka.live_budget_bytes"),
        }
    }
}

// === impl Properties ===

impl Properties {
    /// By name.
    #[must_use]
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

impl From<BTreeMap<String, String>> for Properties {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self(map)
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masked = |(name, value): (&String, &String)| {
            (name.clone(), if is_secret_property(name) { MASK.to_owned() } else { value.clone() })
        };
        f.debug_map().entries(self.0.iter().map(masked)).finish()
    }
}

// === impl Role ===

impl Role {
    /// All roles, in flow order.
    pub const ALL: [Self; 5] = [Self::Gateway, Self::Fanout, Self::Delivery, Self::Retry, Self::Control];

    /// The role's name: subcommand, metric prefix, part of group and transactional ids.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Fanout => "fanout",
            Self::Delivery => "delivery",
            Self::Retry => "retry",
            Self::Control => "control",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn are_brokers(brokers: &str) -> bool {
    let is_broker = |broker: &str| {
        let broker = broker.trim();
        let address = broker.rsplit_once("://").map_or(broker, |(_, address)| address);
        let parts = address.rsplit_once(':');
        parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
    };
    brokers.split(',').all(is_broker)
}

/// Two installations in one Kafka differ by their topic prefix; so must their groups and transactional ids.
fn installation(prefix: &str) -> String {
    let name = prefix.trim_end_matches(['.', '-', '_']);
    if name.is_empty() { "hookbus".to_owned() } else { name.to_owned() }
}

fn slot(from: &mut Reader<'_>, installation: &str) -> String {
    let longest_role = Role::ALL.iter().map(|role| role.name().len()).max().unwrap_or(0).max(SOURCES.len());
    let room = MAX_ID.saturating_sub(installation.len() + longest_role + 2);
    if let Some(slot) = from.optional("kafka.slot") {
        let fits = slot.len() <= room && slot.chars().all(is_id);
        let expected = format!("1 to {room} of A-Z a-z 0-9 . _ - (a transactional id has at most {MAX_ID} characters)");
        from.check(fits, "kafka.slot", expected);
        return slot;
    }
    let Some(host) = host_name(from) else {
        from.check(false, "kafka.slot", "a name, because the host name is not known");
        return String::new();
    };
    let slot = shortened(&host, room);
    from.became("kafka.slot", &slot);
    slot
}

fn host_name(from: &Reader<'_>) -> Option<String> {
    if let Some(name) = from.environment(HOSTNAME) {
        return Some(name.to_owned());
    }
    let files = ["/proc/sys/kernel/hostname", "/etc/hostname"];
    let names = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    names.map(|name| name.trim().to_owned()).find(|name| !name.is_empty())
}

/// A host name as a slot: foreign characters become `-`; what is too long keeps its head and a hash of the whole.
fn shortened(host: &str, room: usize) -> String {
    let name: String = host.chars().map(|letter| if is_id(letter) { letter } else { '-' }).collect();
    if name.len() <= room {
        return name;
    }
    let head: String = name.chars().take(room.saturating_sub(HASH_DIGITS + 1)).collect();
    format!("{head}-{:08x}", fnv1a(host))
}

/// FNV-1a, 32 bits: the same over versions and machines, which std's hasher does not promise.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn is_id(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_become_slots_that_fit_and_differ() {
        assert_eq!(shortened("node1", 23), "node1");
        assert_eq!(shortened("my host", 23), "my-host");
        let one = shortened("hookbus-delivery-7c9d5f6b8-abcde", 23);
        let other = shortened("hookbus-delivery-7c9d5f6b8-abcdf", 23);
        assert_eq!(one.len(), 23);
        assert_ne!(one, other);
        assert_eq!(one, shortened("hookbus-delivery-7c9d5f6b8-abcde", 23));
    }

    #[test]
    fn brokers_have_ports() {
        for good in ["a:1", "a:9092,b:9092", "[::1]:9092", "SASL_SSL://a:9093, b:9093"] {
            assert!(are_brokers(good), "{good}");
        }
        for bad in ["", "a", "a:", ":9092", "a:0", "a:9092,", "a:x"] {
            assert!(!are_brokers(bad), "{bad}");
        }
    }

    #[test]
    fn the_installation_is_the_prefix_without_its_separator() {
        assert_eq!(installation("hookbus."), "hookbus");
        assert_eq!(installation("team-a-"), "team-a");
        assert_eq!(installation("."), "hookbus");
    }

    #[test]
    fn secrets_are_masked_in_debug() {
        let map = BTreeMap::from([("sasl.password".to_owned(), "geheim".to_owned()), ("a".to_owned(), "b".to_owned())]);
        assert_eq!(format!("{:?}", Properties(map)), r#"{"a": "b", "sasl.password": "***"}"#);
    }
}
