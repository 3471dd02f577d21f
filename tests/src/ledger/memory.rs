//! Invariant 9: what the processes held in memory at most, against what their configuration allows. All numbers stand here.
//!
//! Two things are held against limits. The **gauges** say how many records, bodies and requests a process holds: their limits
//! are the configuration's own, so a queue without a bound goes red as soon as it is one record longer than it may be. The
//! **resident peak** (`VmHWM`) also sees what no gauge counts. Its limit is the sum of what is configured and of what the
//! clients are set to in `crates/kafka`, with one unknown, [`BASE`]. It is made for backlogs: the test that builds one
//! (`tests/faults/limits.rs`) writes at least four times of what the limit leaves above [`BASE`], so that a process that reads
//! all of it cannot stay below, however small it was before.

use std::collections::BTreeMap;
use std::fmt;

use chassis::config::Config;

use crate::pipeline::Role;

/// What a role takes that does nothing: code, stacks, clients. Measured: 31 to 48 MiB in debug builds.
pub const BASE: u64 = 80 * MIB;
/// `queued.max.messages.kbytes` of a poller.
const QUEUED: u64 = 32 * MIB;
/// `fetch.message.max.bytes`: of one partition in one answer, at most [`FETCHED`] in all.
const FETCHED_PARTITION: u64 = MIB;
/// `fetch.max.bytes` of a poller.
const FETCHED: u64 = 7 * MIB;
/// What a poller holds of a partition beyond its credit, and how many records as a multiple of it.
const HELD: u64 = 4 * MIB;
const HELD_RECORDS: u64 = 4;
/// Records the retry scheduler holds of a partition.
const RETRY_RECORDS: u64 = 1_000;
/// Of a record beside its bytes: headers, places, queues.
const RECORD: u64 = 1_024;
/// Headers of a record at most.
const HEADERS: u64 = 64 * 1_024;
/// A batch is there as outputs, as what is sent, and as what comes next.
const BATCHES: u64 = 3;
/// Of the catalog and everything that is kept per subscription.
const SUBSCRIPTION: u64 = 16 * 1_024;
/// Of a remembered identity or event id, tables that are half empty included.
const ID: u64 = 64;
/// Of an identity of the fan-out's budget: its table's size when the budget is spent, whatever comes after (the tests of
/// `fanout-worker/src/deduplicate` say so), and one part of it that is being swept.
const IDENTITY: u64 = 33;
const SWEPT: u64 = 1_700_000;
/// Buffers of one connection.
const CONNECTION: u64 = 32 * 1_024;
/// Requests of the management API at once: no gauge counts them, and no test makes more.
const MANAGED: u64 = 64;
const MIB: u64 = 1_024 * 1_024;

const SUBSCRIPTIONS: &str = "hookbus_catalog_subscriptions";
const CONNECTIONS: &str = "hookbus_gateway_connections";
const IDENTITIES: &str = "hookbus_fanout_dedup_ids";
const SOURCE_PARTITIONS: &str = "hookbus_fanout_sources_partitions";

/// What one process held at most, and what it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Its name.
    pub process: String,
    /// A gauge, or [`RESIDENT`].
    pub what: &'static str,
    /// At most.
    pub most: u64,
    /// It may.
    pub limit: u64,
}

/// [`Measure::what`] of resident memory in bytes.
pub const RESIDENT: &str = "resident bytes";

/// Highest values of the gauges of one process.
pub type Gauges = BTreeMap<&'static str, u64>;

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} had {} of {}, and may have {}", self.process, self.what, self.most, self.limit)
    }
}

/// A line per process: its resident peak and the limit in MiB.
#[must_use]
pub fn summary(measures: &[Measure]) -> String {
    let resident = measures.iter().filter(|measure| measure.what == RESIDENT);
    let lines = resident.map(|it| format!("  {}: {} of {} MiB\n", it.process, it.most / MIB, it.limit / MIB));
    lines.collect()
}

/// The gauges of a role that have a limit, each with it.
#[must_use]
pub fn gauges(config: &Config, role: Role) -> Vec<(&'static str, u64)> {
    let partitions = |topic| partitions(config, topic);
    let subscriptions = (SUBSCRIPTIONS, wide(config.control.max_subscriptions));
    match role {
        Role::Control => {
            vec![subscriptions, ("hookbus_control_body_bytes", wide(config.control.max_in_flight))]
        }
        Role::Gateway => vec![
            subscriptions,
            ("hookbus_gateway_body_bytes", wide(config.gateway.max_in_flight_bytes)),
            (CONNECTIONS, wide(config.gateway.max_connections)),
        ],
        Role::Fanout => {
            // Forgotten once a batch; what is not committed counts.
            let open = partitions("events") * wide(config.fanout.live_records);
            let partitions = (SOURCE_PARTITIONS, wide(config.sources.max_partitions));
            vec![subscriptions, (IDENTITIES, wide(config.fanout.dedup_ids) + open), partitions]
        }
        Role::Delivery => {
            let (live, sent) = (wide(config.delivery.live_records), wide(config.delivery.concurrency));
            // What is in flight when it is listed keeps its payload.
            let listed = wide(config.delivery.queue_bytes) + sent * record(config);
            vec![
                subscriptions,
                // Requests whose partition has gone are there until they end.
                ("hookbus_delivery_live_deliveries", partitions("deliveries") * live + sent),
                ("hookbus_delivery_queue_bytes", listed),
                ("hookbus_delivery_in_flight", sent),
            ]
        }
        Role::Retry => {
            let lines = partitions("retry") * wide(config.retry.tiers.len());
            let bytes = wide(config.retry.look_ahead_bytes) + record(config);
            vec![("hookbus_retry_held_records", lines * RETRY_RECORDS), ("hookbus_retry_held_bytes", lines * bytes)]
        }
    }
}

/// Everything of one process against its limits.
#[must_use]
pub fn measures(config: &Config, role: Role, process: &str, resident: u64, held: &Gauges) -> Vec<Measure> {
    let measure = |what, most, limit| Measure { process: process.to_owned(), what, most, limit };
    let limited = gauges(config, role).into_iter();
    let mut all: Vec<Measure> =
        limited.filter_map(|(what, limit)| Some(measure(what, *held.get(what)?, limit))).collect();
    all.push(measure(RESIDENT, resident, resident_limit(config, role, held)));
    all
}

/// What a role may take. What grows with the number of subscriptions, connections and identities is counted as they are: each
/// of these has a limit of its own among the [`gauges`].
#[must_use]
pub fn resident_limit(config: &Config, role: Role, held: &Gauges) -> u64 {
    let of = |gauge| held.get(gauge).copied().unwrap_or(0);
    let common = BASE + of(SUBSCRIPTIONS) * SUBSCRIPTION;
    let batch = |bytes: usize| BATCHES * (wide(bytes) + record(config));
    match role {
        Role::Control => common + MANAGED * wide(config.control.request_limit),
        Role::Gateway => {
            let queues = wide(config.gateway.max_in_flight_bytes) + wide(config.gateway.queue_bytes);
            common + queues + wide(config.gateway.recent_ids) * ID + of(CONNECTIONS) * CONNECTION
        }
        Role::Fanout => {
            let fanout = &config.fanout;
            // A batch closes after the slice that fills it, and a slice has one delivery at least.
            let slice = wide(fanout.slice_bytes).max(record(config));
            let poller = poller(config, partitions(config, "events"), fanout.live_records, fanout.live_bytes);
            let identities = (of(IDENTITIES) * ID).min(identities_limit(config));
            let batches = BATCHES * (wide(fanout.batch_bytes) + slice);
            let sources = if of(SOURCE_PARTITIONS) == 0 { 0 } else { sources(config, of(SOURCE_PARTITIONS)) + batches };
            common + poller + batches + identities + sources
        }
        Role::Delivery => {
            let delivery = &config.delivery;
            let answer = wide(delivery.response_headers_limit) + wide(delivery.response_body_limit);
            let poller = poller(config, partitions(config, "deliveries"), delivery.live_records, delivery.live_bytes);
            let queue = wide(delivery.queue_bytes);
            common + poller + queue + batch(delivery.batch_bytes) + wide(delivery.concurrency) * (CONNECTION + answer)
        }
        Role::Retry => {
            let retry = &config.retry;
            let lines = partitions(config, "retry") * wide(retry.tiers.len());
            let records = usize::try_from(RETRY_RECORDS).unwrap_or(usize::MAX);
            common + poller(config, lines, records, retry.look_ahead_bytes) + batch(retry.batch_bytes)
        }
    }
}

/// What the identities of a fan-out worker may take when its budget is spent.
#[must_use]
pub fn identities_limit(config: &Config) -> u64 {
    wide(config.fanout.dedup_ids) * IDENTITY + SWEPT
}

/// A poller of so many partitions, and what it has handed out: each partition's credit and the budget of all count up to the
/// record that exceeds them.
fn poller(config: &Config, partitions: u64, records: usize, bytes: usize) -> u64 {
    let live = wide(bytes) + wide(bytes).min(HELD);
    let beside = (1 + HELD_RECORDS) * wide(records) * RECORD;
    let records = (partitions * live).min(wide(config.kafka.live_budget_bytes)) + partitions * record(config);
    QUEUED + (partitions * FETCHED_PARTITION).min(FETCHED) + records + partitions * beside
}

/// The poller of sources, which begins with the first of them: one budget over all partitions, and no limit of one below it.
fn sources(config: &Config, partitions: u64) -> u64 {
    let beside = (1 + HELD_RECORDS) * wide(config.fanout.live_records) * RECORD;
    let records = wide(config.sources.live_bytes) + partitions * record(config);
    QUEUED + (partitions * FETCHED_PARTITION).min(FETCHED) + records + partitions * beside
}

/// The largest record.
fn record(config: &Config) -> u64 {
    wide(config.topics.payload_limit) + HEADERS
}

/// As the product's own defaults are where the configuration says nothing.
fn partitions(config: &Config, topic: &str) -> u64 {
    let default = if topic == "deliveries" { 16 } else { 8 };
    config.topics.partitions.get(topic).and_then(|count| u64::try_from(*count).ok()).unwrap_or(default)
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gauge_with_a_limit_is_a_documented_metric() {
        let docs = include_str!("../../../docs/metrics.md");
        for (name, limit) in Role::ALL.into_iter().flat_map(|role| gauges(&Config::for_tests(), role)) {
            assert!(docs.contains(&format!("`{name}`")) && limit > 0, "{name}");
        }
    }

    /// With as many matches as an event may have, the limit stood at the largest record times 10,000: 7.6 GB, which nothing exceeds.
    #[test]
    fn the_fanouts_limit_can_be_exceeded_whatever_the_number_of_matches() {
        let mut config = Config::for_tests();
        let held = Gauges::from([(SUBSCRIPTIONS, 20_000)]);
        let before = resident_limit(&config, Role::Fanout, &held) - 20_000 * SUBSCRIPTION;
        config.fanout.max_matches *= 10;
        let after = resident_limit(&config, Role::Fanout, &held) - 20_000 * SUBSCRIPTION;
        assert_eq!(before, after);
        assert!(before < 1_024 * MIB, "{} MiB", before / MIB);
    }

    /// At 64 bytes an identity the default budget was allowed more than twice of what it takes.
    #[test]
    fn a_spent_budget_of_identities_is_allowed_what_its_table_takes() {
        let config = Config::for_tests();
        let of = |ids| resident_limit(&config, Role::Fanout, &Gauges::from([(IDENTITIES, ids)]));
        let (none, few, all) = (of(0), of(1_000), of(wide(config.fanout.dedup_ids)));
        assert_eq!((few - none, all - none), (1_000 * ID, identities_limit(&config)));
    }

    /// A fan-out without sources was allowed what only their intake may take, or one with them not even their budget.
    #[test]
    fn sources_are_allowed_their_budget_where_there_are_any() {
        let mut config = Config::for_tests();
        let of = |config: &Config, partitions| {
            resident_limit(config, Role::Fanout, &Gauges::from([(SOURCE_PARTITIONS, partitions)]))
        };
        let (none, one) = (of(&config, 0), of(&config, 1));
        assert_eq!(none, resident_limit(&config, Role::Fanout, &Gauges::new()));
        config.sources.live_bytes += 5 * 1_024;
        assert_eq!((of(&config, 0), of(&config, 1)), (none, one + 5 * 1_024));
    }

    /// More partitions do not mean more memory: the poller's budget is for all of them.
    #[test]
    fn a_poller_has_one_budget_for_all_its_partitions() {
        let config = Config::for_tests();
        let beside = RECORD * (1 + HELD_RECORDS) * 10 + record(&config);
        assert_eq!(poller(&config, 1_000, 10, 16 << 20) - poller(&config, 500, 10, 16 << 20), 500 * beside);
    }

    #[test]
    fn limits_follow_the_configuration_and_what_is_held_is_measured_against_them() {
        let mut config = Config::for_tests();
        config.topics.partitions.insert("deliveries".into(), 2);
        let before = resident_limit(&config, Role::Delivery, &Gauges::new());
        config.delivery.live_bytes *= 2;
        let after = resident_limit(&config, Role::Delivery, &Gauges::new());
        assert_eq!(after - before, 2 * wide(config.delivery.live_bytes / 2), "two partitions");

        config.delivery.live_records = 10;
        config.delivery.concurrency = 4;
        let held = Gauges::from([("hookbus_delivery_live_deliveries", 25), (SUBSCRIPTIONS, 3)]);
        let all = measures(&config, Role::Delivery, "delivery-1", 7, &held);
        let over: Vec<&str> = all.iter().filter(|it| it.most > it.limit).map(|it| it.what).collect();
        assert_eq!(over, ["hookbus_delivery_live_deliveries"], "2 x 10 + 4 may be");
        assert!(all.iter().any(|it| it.what == RESIDENT && it.most == 7));
        assert_eq!(all.len(), 3, "what was never seen is not judged");
    }
}
