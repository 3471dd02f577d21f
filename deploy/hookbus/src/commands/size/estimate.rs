//! From a demand to processes, partitions, disk and network. Pure.

use chassis::config::{Config, Role};

use super::measured;
use crate::commands::doctor::memory;

const DAY_S: f64 = 86_400.0;
/// Of a pod's cores that are planned for: what the pods of a zone that is gone do is room enough in the others.
const PLANNED: f64 = 0.5;
/// Where one goes, another is there.
const LEAST_PODS: u32 = 2;
/// A partition of `deliveries` looks ahead over 1,000 records: half of them in flight leaves room for slow ones.
const IN_FLIGHT_OF_PARTITION: f64 = 500.0;
/// Partitions are made in steps of so many, so that they divide by the usual numbers of pods.
const STEP: u32 = 8;
const MIB: u64 = 1_024 * 1_024;

/// What is asked of an installation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SizeDemand {
    /// Events per second at the peak, and in the mean of a day.
    pub(super) peak: f64,
    pub(super) mean: f64,
    /// Bytes of a payload.
    pub(super) payload: f64,
    /// Subscriptions that an event matches.
    pub(super) matches: f64,
    /// Attempts of a delivery, 1 and more.
    pub(super) attempts: f64,
    /// How long an endpoint takes to answer, seconds.
    pub(super) latency_s: f64,
    /// Cores that a pod may use.
    pub(super) cores: f64,
    /// Copies that Kafka keeps.
    pub(super) replication: u32,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SizeEstimate {
    pub(super) roles: Vec<RoleSize>,
    /// Of `events`, `deliveries` and each delay topic.
    pub(super) partitions: [(&'static str, u32); 3],
    /// Requests that are under way at the peak.
    pub(super) in_flight: f64,
    pub(super) kafka: KafkaSize,
}

/// Processes of a role.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RoleSize {
    pub(super) role: Role,
    pub(super) pods: u32,
    /// Cores that all of them use at the peak.
    pub(super) cores: f64,
    /// Thousandths of a core to request for each, with one of them away.
    pub(super) request_millis: u64,
    /// Memory limit of each, also where it is the only one and owns every partition.
    pub(super) memory_mib: u64,
}

/// What brokers do at the peak, and keep.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KafkaSize {
    /// Transactions per second, and partitions that each writes to, by role.
    pub(super) transactions: Vec<(Role, f64, f64)>,
    /// Cores of all brokers for them.
    pub(super) cores: f64,
    /// Bytes a day, days they are kept, by topic; without copies.
    pub(super) topics: Vec<(&'static str, f64, f64)>,
    /// Bytes a day: to Kafka, between brokers, out of Kafka, to endpoints.
    pub(super) network: [(&'static str, f64); 4],
}

/// Rates per second of a number of events.
#[derive(Clone, Copy, Debug)]
struct SizeRates {
    events: f64,
    deliveries: f64,
    attempts: f64,
    retries: f64,
}

// === impl SizeDemand ===

impl SizeDemand {
    fn rates(&self, events: f64) -> SizeRates {
        let deliveries = events * self.matches;
        let attempts = deliveries * self.attempts;
        SizeRates { events, deliveries, attempts, retries: attempts - deliveries }
    }
}

// === impl SizeEstimate ===

impl SizeEstimate {
    pub(super) fn of(demand: &SizeDemand, config: &Config) -> Self {
        let rates = demand.rates(demand.peak);
        let in_flight = rates.attempts * demand.latency_s;
        let sizes = pods(demand, config, rates, in_flight);
        let of = |role: Role| sizes.iter().find(|(it, ..)| *it == role).map_or(LEAST_PODS, |(_, pods, _)| *pods);
        let partitions = [
            ("events", stepped(of(Role::Fanout) * 2)),
            ("deliveries", stepped((of(Role::Delivery) * 2).max(whole(in_flight / IN_FLIGHT_OF_PARTITION))).max(16)),
            ("retry", stepped(of(Role::Retry) * 2)),
        ];
        let mut config = config.clone();
        for (topic, count) in partitions {
            config.topics.partitions.insert(topic.to_owned(), i32::try_from(count).unwrap_or(i32::MAX));
        }
        let roles = sizes.iter().map(|&(role, pods, cores)| RoleSize {
            role,
            pods,
            cores,
            request_millis: request_millis(cores, pods),
            memory_mib: limit_mib(memory::sum(&config, role)),
        });
        let kafka = KafkaSize::of(demand, &config, rates, &partitions, of);
        Self { roles: roles.collect(), partitions, in_flight, kafka }
    }
}

/// How many processes each role needs, and the cores that they use together.
fn pods(demand: &SizeDemand, config: &Config, rates: SizeRates, in_flight: f64) -> Vec<(Role, u32, f64)> {
    let enough = |cores: f64| whole(cores / (demand.cores * PLANNED)).max(LEAST_PODS);
    let told = rates.events + rates.attempts;
    #[expect(clippy::cast_precision_loss, reason = "a configured number of requests is far below 2^52")]
    let held = whole(in_flight / (config.delivery.concurrency as f64 * PLANNED));
    let workers = workers(held.max(LEAST_PODS), |workers| enough(delivery_cores(rates, in_flight, workers)));
    let delivery = delivery_cores(rates, in_flight, workers);
    [
        (Role::Gateway, rates.events * measured::GATEWAY),
        (Role::Fanout, rates.events.max(rates.deliveries) * measured::FANOUT),
        (Role::Delivery, delivery),
        (Role::Retry, rates.retries * measured::MOVES * measured::RETRY),
        (Role::Control, told * measured::CONTROL),
    ]
    .into_iter()
    .map(|(role, cores)| match role {
        Role::Delivery => (role, workers, cores),
        // Each of them reads all of it: more of them share nothing.
        Role::Control => (role, LEAST_PODS, cores * f64::from(LEAST_PODS)),
        Role::Gateway | Role::Fanout | Role::Retry => (role, enough(cores), cores),
    })
    .collect()
}

/// Cores that so many delivery workers use together: the more are in flight in each, the more each attempt costs.
fn delivery_cores(rates: SizeRates, in_flight: f64, workers: u32) -> f64 {
    let each = in_flight / f64::from(workers);
    let crowded = measured::CROWDED.iter().find(|(up_to, _)| each <= *up_to).map_or(1.0, |(_, times)| *times);
    rates.attempts * measured::DELIVERY * measured::TLS * crowded
}

/// The fewest workers that are enough for what they cost together, which is less the more they are.
fn workers(least: u32, enough: impl Fn(u32) -> u32) -> u32 {
    let (mut low, mut high) = (least, enough(least).max(least));
    while low < high {
        let middle = low + (high - low) / 2;
        if enough(middle) <= middle {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

// === impl KafkaSize ===

impl KafkaSize {
    fn of(
        demand: &SizeDemand,
        config: &Config,
        rates: SizeRates,
        partitions: &[(&'static str, u32); 3],
        pods: impl Fn(Role) -> u32,
    ) -> Self {
        let deliveries = f64::from(partitions[1].1);
        let transactions: Vec<(Role, f64, f64)> = [
            // Deliveries over their partitions, one of `attempts` and one of `seen`.
            (Role::Fanout, rates.events, demand.matches, deliveries, 2.0),
            // Retries to one partition of a tier, outcomes to one of `attempts`, progress to one of `lanes`.
            (Role::Delivery, rates.attempts, 0.0, 0.0, 3.0),
            (Role::Retry, rates.retries * measured::MOVES, 1.0, deliveries, 1.0),
        ]
        .into_iter()
        .map(|(role, records, outputs, spread, beside)| {
            let processes = f64::from(pods(role));
            let each = (records / processes / measured::HANDFUL).clamp(0.0, measured::TRANSACTIONS);
            let each = if records > 0.0 { each.max(measured::LEAST_TRANSACTIONS) } else { 0.0 };
            let of_one = if each > 0.0 { records / processes / each } else { 0.0 };
            (role, each * processes, (of_one * outputs).min(spread) + beside)
        })
        .collect();
        let cores = transactions.iter().map(|(_, count, partitions)| count * broker_s(*partitions)).sum();
        let topics = topics(demand, config);
        let written: f64 = topics.iter().map(|(_, bytes, _)| bytes).sum();
        let of = |name: &str| topics.iter().find(|(topic, ..)| *topic == name).map_or(0.0, |(_, bytes, _)| *bytes);
        let read = of("events") + of("deliveries") + of("retry") + of("attempts") * f64::from(LEAST_PODS);
        let day = demand.rates(demand.mean * DAY_S);
        let network = [
            ("to Kafka", written),
            ("between brokers", written * f64::from(demand.replication.saturating_sub(1))),
            ("out of Kafka", read),
            ("to endpoints", day.attempts * (demand.payload + measured::REQUEST_BYTES)),
        ];
        Self { transactions, cores, topics, network }
    }

    /// Bytes on the disks of all brokers, when nothing is younger than its retention any more.
    pub(super) fn disk(&self, replication: u32) -> f64 {
        self.topics.iter().map(|(_, bytes, days)| bytes * days).sum::<f64>() * f64::from(replication)
    }
}

/// What a day writes to each topic, and how many days stay.
fn topics(demand: &SizeDemand, config: &Config) -> Vec<(&'static str, f64, f64)> {
    let day = demand.rates(demand.mean * DAY_S);
    let delivery = demand.payload + measured::DELIVERY_BYTES;
    let written = [
        ("events", day.events * (demand.payload + measured::EVENT_BYTES)),
        ("deliveries", (day.deliveries + day.retries) * delivery),
        ("retry", day.retries * measured::MOVES * delivery),
        ("attempts", (day.events + day.attempts) * measured::ATTEMPT_BYTES),
        ("seen", day.events * measured::SEEN_BYTES),
    ];
    written.into_iter().map(|(topic, bytes)| (topic, bytes, days_kept(config, topic))).collect()
}

/// How long a topic keeps records; of the delay topics, the longest.
fn days_kept(config: &Config, topic: &str) -> f64 {
    let name = format!("{}{topic}", config.topics.prefix);
    let specs = config.topics.specs();
    let kept = specs.iter().filter(|spec| spec.name.starts_with(&name));
    let kept = kept.filter_map(|spec| spec.config.get("retention.ms")?.parse::<f64>().ok());
    kept.fold(0.0, f64::max) / 1_000.0 / DAY_S
}

/// CPU seconds of the brokers for a transaction over so many partitions: between two that were measured, in proportion.
fn broker_s(partitions: f64) -> f64 {
    let [(_, least), ..] = measured::BROKER;
    let mut below = (0.0, least);
    for (at, seconds) in measured::BROKER {
        if partitions <= at {
            return below.1 + (seconds - below.1) * (partitions - below.0) / (at - below.0);
        }
        below = (at, seconds);
    }
    below.1 * partitions / below.0
}

/// What one pod is to request while another is away, in steps of a twentieth of a core.
fn request_millis(cores: f64, pods: u32) -> u64 {
    let each = cores / f64::from(pods.saturating_sub(1).max(1));
    u64::from(whole(each * 20.0).max(1)) * 50
}

/// The chart's limit: the sum and a fifth, in steps of 64 MiB.
fn limit_mib(sum: u64) -> u64 {
    (sum / 5 * 6).div_ceil(64 * MIB) * 64
}

/// Rounded up.
fn whole(count: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates, and none is negative")]
    let whole = count.ceil() as u32;
    whole
}

fn stepped(partitions: u32) -> u32 {
    partitions.div_ceil(STEP) * STEP
}

#[cfg(test)]
mod tests;
