//! The memory that a role may have, by its control group or its machine, against the sum of what its configuration bounds.
//!
//! The sum is the one that the Helm chart makes its limits of (`deploy/helm/hookbus/templates/_memory.tpl`; `deploy/helm/check`
//! compares the two), and that tests hold processes against (`tests/src/ledger/memory.rs`).

use std::path::{Path, PathBuf};

use chassis::config::{Config, LogStore, Role};
use fanout_worker::Intakes;

use super::finding::DoctorFindings;
use crate::codes::Code;

const MIB: u64 = 1_024 * 1_024;
/// What a process takes that does nothing: code, stacks, clients.
const BASE: u64 = 80 * MIB;
/// Headers of a record at most.
const HEADERS: u64 = 64 * 1_024;
/// Of a record beside its bytes, and how many of them there are for one that may be held.
const RECORD: u64 = 1_024;
const HELD_RECORDS: u64 = 5;
/// What a partition may exceed its credit by.
const BEYOND_CREDIT: u64 = 4 * MIB;
/// librdkafka's prefetch: of a poller, and of each broker (7 MiB, or one record of the largest payload there may be).
const FETCHED: u64 = 32 * MIB;
const FETCHED_OF_BROKER: u64 = 16 * MIB;
/// More brokers than a bootstrap list names.
const BROKERS: usize = 3;
/// A batch is there as outputs, as what is sent, and as what comes next.
const BATCHES: u64 = 3;
/// Two million of 8 bytes, which an intake of the fan-out keeps for all of its partitions.
const CANDIDATES: u64 = 16 * MIB;
/// Records that the retry scheduler holds of a partition.
const RETRY_RECORDS: usize = 1_000;
/// Buffers of a connection: to an endpoint or of the management API, and of the gateway's clients.
const CONNECTION: u64 = 32 * 1_024;
const CLIENT: u64 = 16 * 1_024;
/// Of a remembered event id of the gateway, of an identity of the fan-out, of an entry of a lane's list.
const RECENT_ID: u64 = 64;
const IDENTITY: u64 = 33;
const ENTRY: u64 = 6;
/// Answers that the control plane keeps for repeated requests, and what its delivery log reads of Kafka.
const KEPT_ANSWERS: u64 = 128 * MIB;
const LOG_READS: u64 = 64 * MIB;
/// Parts that are named where the sum is too large.
const NAMED: usize = 3;

/// What something may take, bytes.
type MemoryPart = (&'static str, u64);

/// Looks at the limit of this process: run it where the role runs.
pub(super) fn look(config: &Config, (role, intakes): (Role, Intakes), findings: &mut DoctorFindings) {
    told(&parts(config, role, intakes), limit(Path::new("/")), findings);
}

fn told(parts: &[MemoryPart], limit: Option<u64>, findings: &mut DoctorFindings) {
    let sum = sum_of(parts);
    let Some(limit) = limit else {
        return findings.skipped("memory", "the system does not say how much may be used");
    };
    let found = format!("{} MiB may be used, the configuration may come to {} MiB", limit / MIB, sum / MIB);
    if limit >= sum {
        return findings.well("memory", found);
    }
    let mut largest = parts.to_vec();
    largest.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let named = largest.iter().take(NAMED).map(|(what, bytes)| format!("{} MiB for {what}", bytes / MIB));
    let named: Vec<String> = named.collect();
    let found = format!("{found}: {}", named.join(", "));
    findings.wrong(Code::Limits, "memory", found, "raise the memory limit, or lower the bounds that are named");
}

/// What a role may come to hold, bytes, by its configured bounds; a fan-out of both intakes.
pub(crate) fn sum(config: &Config, role: Role) -> u64 {
    sum_of(&parts(config, role, Intakes::Both))
}

fn sum_of(parts: &[MemoryPart]) -> u64 {
    parts.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
}

/// What a role may hold, by its configured bounds; a fan-out of these intakes.
fn parts(config: &Config, role: Role, intakes: Intakes) -> Vec<MemoryPart> {
    let batch = |bytes: usize| BATCHES.saturating_mul(wide(bytes).saturating_add(record(config)));
    let mut parts = vec![("the process itself", BASE)];
    if role != Role::Retry {
        parts.push(("control.instance_bytes", config.control.bytes.instance));
    }
    match role {
        Role::Gateway => {
            let gateway = &config.gateway;
            let connection = CLIENT.saturating_add(wide(gateway.header_limit));
            parts.extend([
                ("gateway.max_in_flight_bytes", wide(gateway.max_in_flight_bytes)),
                ("gateway.queue_bytes", wide(gateway.queue_bytes)),
                ("gateway.recent_ids", times(RECENT_ID, gateway.recent_ids)),
                ("gateway.max_connections", times(connection, gateway.max_connections)),
            ]);
        }
        Role::Fanout => {
            let fanout = &config.fanout;
            let batches = BATCHES.saturating_mul(wide(fanout.batch_bytes).saturating_add(wide(fanout.slice_bytes)));
            parts.push(("fanout.dedup_ids", times(IDENTITY, fanout.dedup_ids)));
            if intakes.has_events() {
                parts.extend(read(config, partitions(config, "events"), (fanout.live_records, fanout.live_bytes)));
                parts.push(("fanout.batch_bytes", batches));
                parts.push(("subscriptions that wide events may be for", CANDIDATES));
            }
            // What is retried needs schemas too.
            if config.sources.enabled {
                parts.push(("sources.schema_cache_bytes", wide(config.sources.schema_cache_bytes)));
            }
            if config.sources.enabled && intakes.has_sources() {
                parts.extend([
                    ("sources.live_bytes", wide(config.sources.live_bytes)),
                    ("records of sources fetched ahead", fetched(config)),
                    ("fanout.batch_bytes, of sources", batches),
                    ("subscriptions that wide events of sources may be for", CANDIDATES),
                ]);
            }
        }
        Role::Delivery => {
            let delivery = &config.delivery;
            let answer = wide(delivery.response_headers_limit).saturating_add(wide(delivery.response_body_limit));
            parts.extend(read(config, partitions(config, "deliveries"), (delivery.live_records, delivery.live_bytes)));
            parts.extend([
                ("delivery.in_flight_bytes", wide(delivery.in_flight_bytes)),
                ("delivery.queue_bytes", wide(delivery.queue_bytes)),
                ("delivery.queue_entries", times(ENTRY, delivery.queue_entries)),
                ("delivery.concurrency", times(CONNECTION.saturating_add(answer), delivery.concurrency)),
                ("delivery.batch_bytes", batch(delivery.batch_bytes)),
            ]);
        }
        Role::Retry => {
            let retry = &config.retry;
            let lines = times(partitions(config, "retry"), retry.tiers.len());
            parts.extend(read(config, lines, (RETRY_RECORDS, retry.look_ahead_bytes)));
            parts.push(("retry.batch_bytes", batch(retry.batch_bytes)));
        }
        Role::Control => {
            let control = &config.control;
            let connection = CONNECTION.saturating_add(wide(control.request_limit));
            parts.push(("control.max_connections", times(connection, control.max_connections)));
            parts.push(("answers kept for repeated requests", KEPT_ANSWERS));
            if control.log.store == LogStore::Sqlite {
                parts.push(("control.log.memory_bytes", control.log.memory_bytes.saturating_add(LOG_READS)));
            }
        }
    }
    parts
}

/// What a poller of so many partitions holds.
fn read(config: &Config, partitions: u64, (records, bytes): (usize, usize)) -> [MemoryPart; 3] {
    let credit = wide(bytes).saturating_add(wide(bytes).min(BEYOND_CREDIT));
    let held = partitions.saturating_mul(credit).min(wide(config.kafka.live_budget_bytes));
    let held = held.saturating_add(partitions.saturating_mul(record(config)));
    let beside = times(partitions.saturating_mul(HELD_RECORDS * RECORD), records);
    [
        ("kafka.live_budget_bytes", held),
        ("what stands beside the records", beside),
        ("records fetched ahead", fetched(config)),
    ]
}

fn fetched(config: &Config) -> u64 {
    let brokers = config.kafka.brokers.split(',').count().max(BROKERS);
    FETCHED.saturating_add(times(FETCHED_OF_BROKER, brokers))
}

/// The largest record.
fn record(config: &Config) -> u64 {
    wide(config.topics.payload_limit).saturating_add(HEADERS)
}

/// Partitions of a topic; of `retry`, of each of them.
fn partitions(config: &Config, topic: &str) -> u64 {
    let name = format!("{}{topic}", config.topics.prefix);
    let specs = config.topics.specs();
    let of_topic = specs.iter().find(|spec| spec.name.starts_with(&name));
    of_topic.and_then(|spec| u64::try_from(spec.partitions).ok()).unwrap_or(0)
}

fn times(each: u64, count: usize) -> u64 {
    each.saturating_mul(wide(count))
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// What this process may have, bytes: the smallest limit of its control group and those around it, or the memory of the machine.
fn limit(root: &Path) -> Option<u64> {
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let mut limits = Vec::new();
    for line in read(root.join("proc/self/cgroup")).lines() {
        // Number, controllers, path. The second version has no controllers there.
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (hierarchy, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            it if it.split(',').any(|it| it == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _other => continue,
        };
        // A container may be told the path that its host knows: what is not there says nothing, and the folder around it does.
        let inside = Path::new(path.trim_start_matches('/'));
        let folders = inside.ancestors().map(|folder| root.join(hierarchy).join(folder));
        limits.extend(folders.filter_map(|folder| read(folder.join(file)).trim().parse::<u64>().ok()));
    }
    let machine = read(root.join("proc/meminfo"));
    let machine =
        machine.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    limits.extend(machine.map(|kibibytes: u64| kibibytes.saturating_mul(1_024)));
    limits.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(parts: &[MemoryPart], limit: Option<u64>) -> Option<Code> {
        let mut findings = DoctorFindings::default();
        told(parts, limit, &mut findings);
        findings.first()
    }

    #[test]
    fn every_bound_counts_and_a_limit_below_their_sum_is_told() {
        let mut config = Config::for_tests();
        let parts = |config: &Config, role| parts(config, role, Intakes::Both);
        let sum = |config: &Config, role| parts(config, role).iter().map(|(_, bytes)| bytes).sum::<u64>();
        let before = sum(&config, Role::Delivery);
        config.delivery.queue_bytes += 5;
        config.delivery.concurrency += 1;
        let answer = wide(config.delivery.response_headers_limit + config.delivery.response_body_limit);
        assert_eq!(sum(&config, Role::Delivery) - before, 5 + CONNECTION + answer);
        for role in Role::ALL {
            let (parts, sum) = (parts(&config, role), sum(&config, role));
            assert!(parts.iter().all(|(_, bytes)| *bytes > 0), "{role:?}: {parts:?}");
            assert_eq!(
                (first(&parts, Some(sum)), first(&parts, Some(sum - 1))),
                (None, Some(Code::Limits)),
                "{role:?}"
            );
            assert_eq!(first(&parts, None), None);
        }
        let [both, events, sources] = [Intakes::Both, Intakes::Events, Intakes::Sources]
            .map(|intakes| super::parts(&config, Role::Fanout, intakes));
        assert!(events.len() < both.len() && sources.len() < both.len());
        assert!(both.iter().all(|part| events.contains(part) || sources.contains(part)), "{both:?}");
        config.delivery.queue_bytes = usize::MAX;
        assert_eq!(first(&parts(&config, Role::Delivery), Some(u64::MAX - 1)), Some(Code::Limits), "no sum overflows");
    }

    #[test]
    fn partitions_are_those_of_the_topic_itself() {
        let mut config = Config::for_tests();
        for (topic, count) in [("events", 3), ("deliveries", 5), ("retry", 2)] {
            config.topics.partitions.insert(topic.to_owned(), count);
        }
        assert_eq!(["events", "deliveries", "retry"].map(|topic| partitions(&config, topic)), [3, 5, 2]);
    }

    #[test]
    fn the_smallest_limit_around_the_process_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(limit(root.path()), None, "nothing is made up");
        write("proc/meminfo", "MemTotal:       8 kB\nMemFree: 1 kB\n");
        assert_eq!(limit(root.path()), Some(8_192));
        write("proc/self/cgroup", "0::/pod/container\n");
        write("sys/fs/cgroup/pod/memory.max", "4096\n");
        write("sys/fs/cgroup/pod/container/memory.max", "max\n");
        assert_eq!(limit(root.path()), Some(4_096), "of the pod");
        write("proc/self/cgroup", "0::/kubepods/of/the/host\n");
        write("sys/fs/cgroup/memory.max", "2048\n");
        assert_eq!(limit(root.path()), Some(2_048), "a namespace of its own");
        write("proc/self/cgroup", "9:cpu:/a\n7:memory:/a/b\n");
        write("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "1024\n");
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limit(root.path()), Some(1_024), "the first version of control groups");
    }
}
