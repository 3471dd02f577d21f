//! `[fanout]`: deduplication, matching and the size of a transaction.

use std::time::Duration;

use schemas::ids::OrganizationId;

use super::key::{Key, Kind, Section, Unit};
use super::reader::Reader;

pub(super) const SECTION: Section = Section {
    name: "fanout",
    about: "The fan-out worker: events times subscriptions, each repeat dropped.",
    keys: KEYS,
};

const KEYS: &[Key] = &[
    Key {
        path: "fanout.dedup_window_hours",
        kind: Kind::Integer(1, 720, Unit::Hours),
        default: "24",
        title: "Dedup window",
        effect: "How long an event's identity is remembered; a repeat within it fires nothing. An application may ask for a \
                 shorter time (`dedup_window_ms`). `seen` is kept one day longer.",
    },
    Key {
        path: "fanout.dedup_ids",
        kind: Kind::Integer(1_000, 1_000_000_000, Unit::Count),
        default: "10000000",
        title: "Dedup budget",
        effect: "Identities one worker remembers at about 33 bytes each, also while it restores partitions; what leaves before the \
                 window's end is counted.",
    },
    Key {
        path: "fanout.max_matches",
        kind: Kind::Integer(1, 1_000_000, Unit::Count),
        default: "100000",
        title: "Matches of an event",
        effect: "An event that matches more subscriptions is rejected.",
    },
    Key {
        path: "fanout.max_expansion_bytes",
        kind: Kind::Integer(1_048_576, 1_099_511_627_776, Unit::Bytes),
        default: "8589934592",
        title: "Bytes of an event's deliveries",
        effect: "An event of which more would be written (matches x payload and headers) is rejected. One delivery is always written.",
    },
    Key {
        path: "fanout.slice_records",
        kind: Kind::Integer(1, 10_000, Unit::Count),
        default: "2000",
        title: "Deliveries of a slice",
        effect: "An event for more subscriptions is written in slices of so many deliveries, one transaction after the other. Its \
                 partition waits for it, others do not.",
    },
    Key {
        path: "fanout.slice_bytes",
        kind: Kind::Integer(65_536, 67_108_864, Unit::Bytes),
        default: "2097152",
        title: "Bytes of a slice",
        effect: "As fanout.slice_records, in bytes. A slice must pass within kafka.transaction_timeout_ms; it has one delivery at least.",
    },
    Key {
        path: "fanout.batch_records",
        kind: Kind::Integer(1, 10_000, Unit::Count),
        default: "4000",
        title: "Records of a transaction",
        effect: "A batch closes at this many, between events.",
    },
    Key {
        path: "fanout.batch_bytes",
        kind: Kind::Integer(1_024, 67_108_864, Unit::Bytes),
        default: "4194304",
        title: "Bytes of a transaction",
        effect: "A batch closes at this size, between events.",
    },
    Key {
        path: "fanout.live_records",
        kind: Kind::Integer(1, 1_000_000, Unit::Count),
        default: "2000",
        title: "Records in memory",
        effect: "Read and not yet committed, per partition. More wait longer in memory, outside the processor's caches.",
    },
    Key {
        path: "fanout.live_bytes",
        kind: Kind::Integer(65_536, 1_073_741_824, Unit::Bytes),
        default: "16777216",
        title: "Bytes in memory",
        effect: "Read and not yet committed, per partition, at least one record.",
    },
];

/// The `[fanout]` section, with what it needs of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FanoutConfig {
    /// Whose uids records of `events` name; from `control.organization_id`.
    pub organization_id: OrganizationId,
    /// How long an identity is remembered.
    pub dedup_window: Duration,
    /// Identities remembered by one worker.
    pub dedup_ids: usize,
    /// Most subscriptions an event may match.
    pub max_matches: usize,
    /// Most bytes of one event's deliveries, unless it has only one.
    pub max_expansion_bytes: usize,
    /// Deliveries of one event in one transaction.
    pub slice_records: usize,
    /// Their bytes, unless it is only one.
    pub slice_bytes: usize,
    /// Most records of a transaction, unless one slice has more.
    pub batch_records: usize,
    /// Bytes after which a transaction closes.
    pub batch_bytes: usize,
    /// Records read and not committed, per partition.
    pub live_records: usize,
    /// Bytes read and not committed, per partition.
    pub live_bytes: usize,
    /// Deadline of a delivery from its first write, unless its subscription says otherwise; from `delivery.max_age_hours`.
    pub max_age: Option<Duration>,
    /// Its deadline follows the schedule of this name where nobody says otherwise; from `delivery.schedule`.
    pub schedule: String,
}

impl FanoutConfig {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        let organization_id = from.text("control.organization_id").parse();
        Self {
            // The control section says what is wrong with it.
            organization_id: organization_id.unwrap_or(OrganizationId(uuid::Uuid::nil())),
            dedup_window: from.hours("fanout.dedup_window_hours"),
            dedup_ids: from.number("fanout.dedup_ids"),
            max_matches: from.number("fanout.max_matches"),
            max_expansion_bytes: from.number("fanout.max_expansion_bytes"),
            slice_records: from.number("fanout.slice_records"),
            slice_bytes: from.number("fanout.slice_bytes"),
            batch_records: from.number("fanout.batch_records"),
            batch_bytes: from.number("fanout.batch_bytes"),
            live_records: from.number("fanout.live_records"),
            live_bytes: from.number("fanout.live_bytes"),
            max_age: Some(from.hours("delivery.max_age_hours")).filter(|given| !given.is_zero()),
            schedule: from.text("delivery.schedule"),
        }
    }
}
