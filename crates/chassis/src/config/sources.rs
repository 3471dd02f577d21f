//! `[sources]`: topics of others that are read as they are.

use std::time::Duration;

use super::key::{Key, Kind, Section, Unit};
use super::reader::Reader;

pub(super) const SECTION: Section = Section {
    name: "sources",
    about: "Sources: topics of others that the fan-out worker reads beside `events` (docs/sources.md).",
    keys: KEYS,
};

const KEYS: &[Key] = &[
    Key {
        path: "sources.enabled",
        kind: Kind::Flag,
        default: "true",
        title: "Sources",
        effect: "Whether fan-out workers read sources and the management API makes them. Where it is false, those that are there \
                 can be looked at, changed and deleted, and nothing of them is read.",
    },
    Key {
        path: "sources.live_bytes",
        kind: Kind::Integer(1_048_576, 1_099_511_627_776, Unit::Bytes),
        default: "268435456",
        title: "Bytes in memory",
        effect: "Read from sources and not yet committed, over all partitions of a fan-out worker, beside those of `events`.",
    },
    Key {
        path: "sources.refresh_ms",
        kind: Kind::Integer(1_000, 300_000, Unit::Millis),
        default: "10000",
        title: "Look for topics",
        effect: "How often the topics of the cluster are compared with what sources name. A change of a source is seen at once.",
    },
    Key {
        path: "sources.max_sources",
        kind: Kind::Integer(1, 100_000, Unit::Count),
        default: "1000",
        title: "Number of sources",
        effect: "Of the whole instance; one more is refused, `limit_reached`.",
    },
    Key {
        path: "sources.max_partitions",
        kind: Kind::Integer(1, 200_000, Unit::Count),
        default: "20000",
        title: "Partitions of sources",
        effect: "Of the topics of all sources together. A source whose topics have more than are left is refused, `limit_reached`; \
                 topics that come later are read in order of their names up to it.",
    },
    Key {
        path: "sources.decoded_limit_bytes",
        kind: Kind::Integer(0, 16_777_216, Unit::Bytes),
        default: "0",
        title: "Decoded limit",
        effect: "Largest payload that a record may be decoded to; a larger one is rejected. 0 is topics.payload_limit_bytes, \
                 above which it cannot be.",
    },
    Key {
        path: "sources.schema_cache_bytes",
        kind: Kind::Integer(16_777_216, 68_719_476_736, Unit::Bytes),
        default: "268435456",
        title: "Bytes of schemas",
        effect: "Compiled schemas of registries that a fan-out worker keeps, 10,000 of them at most. One that takes more than half of \
                 it cannot be used.",
    },
    Key {
        path: "sources.schema_not_found_grace_ms",
        kind: Kind::Integer(0, 300_000, Unit::Millis),
        default: "5000",
        title: "Late schemas",
        effect: "So long a registry is asked again for a schema that it does not have, because a replica of it may lag; then records \
                 that need it are rejected, `schema_not_found`.",
    },
];

/// The `[sources]` section, with what it needs of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcesConfig {
    /// Whether they are read.
    pub enabled: bool,
    /// Bytes read and not committed, over all partitions.
    pub live_bytes: usize,
    /// Between two looks at the topics of the cluster.
    pub refresh: Duration,
    /// Most sources of the instance.
    pub max_sources: usize,
    /// Most partitions of all sources.
    pub max_partitions: usize,
    /// Largest payload that a record is decoded to, bytes.
    pub decoded_limit: usize,
    /// Bytes of compiled schemas that are kept.
    pub schema_cache_bytes: usize,
    /// How long a schema that its registry does not have may be late.
    pub schema_not_found_grace: Duration,
    /// What our own topics begin with, and no source's topic may; from `topics.prefix`.
    pub own_prefix: String,
}

impl Default for SourcesConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            live_bytes: 1 << 28,
            refresh: Duration::from_secs(10),
            max_sources: 1_000,
            max_partitions: 20_000,
            decoded_limit: 699_050,
            schema_cache_bytes: 1 << 28,
            schema_not_found_grace: Duration::from_secs(5),
            own_prefix: "hookbus.".to_owned(),
        }
    }
}

impl SourcesConfig {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        from.at_most("sources.decoded_limit_bytes", "topics.payload_limit_bytes");
        Self::values(from)
    }

    /// The same for another section, without saying a second time what is wrong.
    pub(super) fn values(from: &Reader<'_>) -> Self {
        let decoded = from.positive("sources.decoded_limit_bytes");
        Self {
            enabled: from.flag("sources.enabled"),
            live_bytes: from.number("sources.live_bytes"),
            refresh: from.millis("sources.refresh_ms"),
            max_sources: from.number("sources.max_sources"),
            max_partitions: from.number("sources.max_partitions"),
            decoded_limit: decoded.unwrap_or_else(|| from.number("topics.payload_limit_bytes")),
            schema_cache_bytes: from.number("sources.schema_cache_bytes"),
            schema_not_found_grace: from.millis("sources.schema_not_found_grace_ms"),
            own_prefix: from.text("topics.prefix"),
        }
    }
}
