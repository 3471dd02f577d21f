//! `[topics]`: names, sizes and ages of the topics. Becomes `schemas::topics::TopicSettings`, which knows the topics.

pub use schemas::topics::TopicSettings as TopicsConfig;

use super::key::{Key, Kind, Section, Unit};
use super::reader::Reader;
use super::retry;

/// Prefixes are part of transactional ids, where room is short.
const MAX_PREFIX: usize = 20;

pub(super) const SECTION: Section = Section {
    name: "topics",
    about: "The topics as `hookbus topics ensure` creates and verifies them. Partition counts stay as they were created: \
            growing them remaps keys. Topics by name: `retry` stands for every delay topic.",
    keys: KEYS,
};

const KEYS: &[Key] = &[
    Key {
        path: "topics.prefix",
        kind: Kind::Text,
        default: "hookbus.",
        title: "Prefix",
        effect: "Begins every topic name and, without its separator, every group and transactional id. One per \
                 installation in a Kafka cluster; 1 to 20 of `A-Za-z0-9._-`.",
    },
    Key {
        path: "topics.replication_factor",
        kind: Kind::Integer(0, 16, Unit::Count),
        default: "0",
        title: "Replication factor",
        effect: "Of topics that are created; 0 takes the broker's default.",
    },
    Key {
        path: "topics.min_insync_replicas",
        kind: Kind::Integer(0, 16, Unit::Count),
        default: "0",
        title: "Minimum in-sync replicas",
        effect: "Replicas that must have a record before it counts as written; 0 leaves the broker's default.",
    },
    Key {
        path: "topics.payload_limit_bytes",
        kind: Kind::Integer(1_024, 16_777_216, Unit::Bytes),
        default: "699050",
        title: "Payload limit",
        effect: "Largest payload that is accepted; the topics' `max.message.bytes` follow from it.",
    },
    partitions("topics.partitions.events", "8", "Fan-out workers beyond this number are idle."),
    partitions("topics.partitions.deliveries", "16", "Delivery workers beyond this number are idle."),
    partitions("topics.partitions.retry", "8", "Of each delay topic."),
    partitions("topics.partitions.dead_letters", "8", ""),
    partitions("topics.partitions.attempts", "8", ""),
    partitions("topics.partitions.rejected", "8", ""),
    partitions(
        "topics.partitions.retried",
        "8",
        "What was rejected and is planned again, by the partition that it stood in.",
    ),
    partitions("topics.partitions.seen", "16", "Divides the changelog of accepted identities by source partition."),
    retention(
        "topics.retention_hours.events",
        "168",
        "Backlog of the fan-out that survives, and how far back one can replay.",
    ),
    retention(
        "topics.retention_hours.deliveries",
        "336",
        "Backlog of the delivery workers that survives, and how long a dead letter can be sent again.",
    ),
    retention("topics.retention_hours.retry", "336", "Beyond each delay topic's own delay."),
    retention(
        "topics.retention_hours.dead_letters",
        "720",
        "How long dead letters are kept for whoever reads the topic.",
    ),
    retention("topics.retention_hours.attempts", "720", "How far back the delivery log can be rebuilt."),
    retention("topics.retention_hours.rejected", "720", "How long what was rejected is shown and can be retried."),
    retention("topics.retention_hours.retried", "168", "Backlog of what is retried that survives."),
    retention("topics.retention_hours.audit", "8760", ""),
];

const fn partitions(path: &'static str, default: &'static str, effect: &'static str) -> Key {
    Key { path, kind: Kind::Integer(1, 1_024, Unit::Count), default, title: "Partitions", effect }
}

const fn retention(path: &'static str, default: &'static str, effect: &'static str) -> Key {
    Key { path, kind: Kind::Integer(1, 87_600, Unit::Hours), default, title: "Retention", effect }
}

pub(super) fn read(from: &mut Reader<'_>) -> TopicsConfig {
    let prefix = from.text("topics.prefix");
    let fits = (1..=MAX_PREFIX).contains(&prefix.len())
        && prefix.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-'));
    from.check(fits, "topics.prefix", format_args!("1 to {MAX_PREFIX} of A-Z a-z 0-9 . _ -"));
    let replication_factor = from.positive("topics.replication_factor");
    if replication_factor.is_some() {
        from.at_most("topics.min_insync_replicas", "topics.replication_factor");
    }
    TopicsConfig {
        prefix,
        replication_factor,
        min_insync_replicas: from.positive("topics.min_insync_replicas"),
        partitions: by_name("topics.partitions.", |path| from.number(path)),
        retention: by_name("topics.retention_hours.", |path| from.hours(path)),
        dedup_window: from.hours("fanout.dedup_window_hours"),
        payload_limit: from.number("topics.payload_limit_bytes"),
        tiers: retry::tiers(from),
    }
}

/// The values below a prefix by the topic's own name (`dead-letters`).
fn by_name<T>(prefix: &str, value: impl Fn(&str) -> T) -> std::collections::BTreeMap<String, T> {
    let below = KEYS.iter().filter_map(|key| Some((key.path.strip_prefix(prefix)?, key.path)));
    below.map(|(name, path)| (name.replace('_', "-"), value(path))).collect()
}
