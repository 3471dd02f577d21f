//! The pipeline on one page: every topic, its partitions, retention, cleanup and limits.
//!
//! | topic | key | written by -> read by |
//! |---|---|---|
//! | `events` | ordering key, else event id | gateway, producers, control plane (operational events) -> fan-out |
//! | `deliveries` | subscription id | fan-out, retry scheduler, control plane (jobs, pings) -> delivery workers, control plane |
//! | `lanes` | `subscription[/list/chunk]`, in the partition of `deliveries` it is about | delivery workers -> themselves, control plane |
//! | `retry.<delay>` | none | delivery workers, retry scheduler -> retry scheduler |
//! | `dead-letters` | subscription id | delivery workers -> people |
//! | `attempts` | none | fan-out, delivery workers, control plane (jobs) -> delivery log, control plane |
//! | `jobs` | `job[/progress]`, in the partition of its application | control plane -> itself |
//! | `rejected` | original key | all workers -> control plane, people |
//! | `retried` | original key, in the partition of its own topic's partition | control plane (jobs) -> fan-out |
//! | `seen` | source topic/partition | fan-out -> itself |
//! | `control` | `type/application/id` | control plane -> everybody |
//! | `audit` | the object's key on `control` | control plane -> people, control plane |
//! | `status` | `role/instance` | every role -> gateway, control plane, `hookbus status` |

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The broker's default `max.message.bytes`; no topic of ours is below it.
pub const BROKER_DEFAULT_MESSAGE_BYTES: usize = 1_048_588;
/// Room for our headers above the payload limit.
pub const HEADER_ROOM_BYTES: usize = 64 * 1024;

/// Partitions of `deliveries` where the configuration does not say.
const DELIVERIES: i32 = 16;
/// The time after which a segment of `seen` is closed.
const SEEN_SEGMENT: Duration = Duration::from_secs(3_600);
/// The lists of what waits are rewritten as they change, and whoever takes over reads them all. Kafka compacts closed segments only, so
/// these close soon, and are compacted while little of them is out of date.
const LANES: [(&str, &str); 3] =
    [("segment.bytes", "16777216"), ("segment.ms", "600000"), ("min.cleanable.dirty.ratio", "0.1")];
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// How long what was accepted is kept where the configuration does not say.
const EVENTS: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What the topic set depends on. Validated by whoever read the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Prefix of every name, e.g. `hookbus.`.
    pub prefix: String,
    /// Replication factor; `None` takes the broker's default.
    pub replication_factor: Option<i32>,
    /// `min.insync.replicas`; `None` leaves the broker's default and verifies nothing.
    pub min_insync_replicas: Option<i32>,
    /// Partition counts that differ from the defaults, by short name (`retry` for every tier).
    pub partitions: BTreeMap<String, i32>,
    /// Retentions that differ from the defaults, by short name (`retry`: beyond each tier's delay).
    pub retention: BTreeMap<String, Duration>,
    /// The dedup window: `seen` is kept one day longer.
    pub dedup_window: Duration,
    /// Largest accepted payload in bytes.
    pub payload_limit: usize,
    /// The delay tiers by name (`10m`) and delay.
    pub tiers: Vec<(String, Duration)>,
}

/// Full names of all topics. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Topics {
    /// Events over HTTP and from producers.
    pub events: Arc<str>,
    /// Deliveries that may be attempted now.
    pub deliveries: Arc<str>,
    /// What waits for each lane, as lists of offsets of `deliveries`.
    pub lanes: Arc<str>,
    /// Deliveries that ended badly.
    pub dead_letters: Arc<str>,
    /// Lifecycle records.
    pub attempts: Arc<str>,
    /// What is sent again at somebody's request.
    pub jobs: Arc<str>,
    /// Records that could not be used.
    pub rejected: Arc<str>,
    /// Those of them that are to be planned again.
    pub retried: Arc<str>,
    /// Accepted identities.
    pub seen: Arc<str>,
    /// The catalog's changelog.
    pub control: Arc<str>,
    /// Who changed what.
    pub audit: Arc<str>,
    /// Worker health.
    pub status: Arc<str>,
    /// Prefix of the delay topics, e.g. `hookbus.retry.`.
    pub retry_prefix: Arc<str>,
    /// Largest record any of them takes, in bytes.
    pub max_message_bytes: usize,
    /// How long a record with a payload or an answer is kept at most, behind the time at which it was written: the longest retention of
    /// the topics that hold some. What Kafka has not closed a segment over it keeps for longer.
    pub content_kept: Duration,
}

/// How a topic forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// By age.
    Delete(Duration),
    /// By key.
    Compact,
}

/// What one topic must look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Full name.
    pub name: Arc<str>,
    /// Number of partitions.
    pub partitions: i32,
    /// Replication factor; `None` is the broker's default.
    pub replication_factor: Option<i32>,
    /// Topic configuration to create with and to verify, by Kafka's names.
    pub config: BTreeMap<&'static str, String>,
}

// === impl TopicSettings ===

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            prefix: "hookbus.".into(),
            replication_factor: None,
            min_insync_replicas: None,
            partitions: BTreeMap::new(),
            retention: BTreeMap::new(),
            dedup_window: DAY,
            payload_limit: 699_050,
            tiers: ["5s", "20s", "2m", "10m", "1h", "4h", "12h"]
                .into_iter()
                .map(str::to_owned)
                .zip([5, 20, 120, 600, 3_600, 14_400, 43_200].map(Duration::from_secs))
                .collect(),
        }
    }
}

impl TopicSettings {
    /// Largest record of any topic: what the broker checks per batch.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        BROKER_DEFAULT_MESSAGE_BYTES.max(self.payload_limit + HEADER_ROOM_BYTES)
    }

    /// The full names.
    #[must_use]
    pub fn topics(&self) -> Topics {
        let name = |short: &str| Arc::from(format!("{}{short}", self.prefix));
        Topics {
            events: name("events"),
            deliveries: name("deliveries"),
            lanes: name("lanes"),
            dead_letters: name("dead-letters"),
            attempts: name("attempts"),
            jobs: name("jobs"),
            rejected: name("rejected"),
            retried: name("retried"),
            seen: name("seen"),
            control: name("control"),
            audit: name("audit"),
            status: name("status"),
            retry_prefix: name("retry."),
            max_message_bytes: self.max_message_bytes(),
            content_kept: self.content_kept(),
        }
    }

    fn content_kept(&self) -> Duration {
        // Identities and who changed what: no payload, and no answer.
        let without = ["seen", "audit"].map(|short| format!("{}{short}", self.prefix));
        let specs = self.specs().into_iter().filter(|spec| !without.iter().any(|name| **name == *spec.name));
        let kept = specs.filter_map(|spec| spec.config.get("retention.ms")?.parse().ok());
        Duration::from_millis(kept.max().unwrap_or(0))
    }

    /// Everything `hookbus topics ensure` creates and verifies, in flow order.
    #[must_use]
    pub fn specs(&self) -> Vec<TopicSpec> {
        let mut specs = vec![self.deleted("events", 8, EVENTS), self.deliveries(), self.lanes()];
        for (tier, delay) in &self.tiers {
            specs.push(self.tier(tier, *delay));
        }
        specs.push(self.deleted("dead-letters", 8, 30 * DAY));
        specs.push(self.deleted("attempts", 8, 30 * DAY));
        specs.push(self.spec("jobs", "jobs", 8, Cleanup::Compact));
        specs.push(self.deleted("rejected", 8, 30 * DAY));
        specs.push(self.deleted("retried", 8, 7 * DAY));
        specs.push(self.seen());
        specs.push(self.spec("control", "control", 1, Cleanup::Compact));
        specs.push(self.deleted("audit", 1, 365 * DAY));
        specs.push(self.spec("status", "status", 1, Cleanup::Compact));
        specs
    }

    fn deleted(&self, short: &str, partitions: i32, retention: Duration) -> TopicSpec {
        let retention = self.retention.get(short).copied().unwrap_or(retention);
        self.spec(short, short, partitions, Cleanup::Delete(retention))
    }

    /// What waits may be the oldest of its partition: only its age may delete it, never how much came after it.
    fn deliveries(&self) -> TopicSpec {
        let mut spec = self.deleted("deliveries", DELIVERIES, 14 * DAY);
        spec.config.insert("retention.bytes", "-1".to_owned());
        spec
    }

    /// Partition for partition beside `deliveries`.
    fn lanes(&self) -> TopicSpec {
        let mut spec = self.spec("deliveries", "lanes", DELIVERIES, Cleanup::Compact);
        spec.config.extend(LANES.map(|(name, value)| (name, value.to_owned())));
        spec
    }

    /// Retention deletes whole segments, and a takeover reads what is there: an hour's segment keeps no week beyond it.
    fn seen(&self) -> TopicSpec {
        let mut spec = self.deleted("seen", 16, self.dedup_window + DAY);
        spec.config.insert("segment.ms", SEEN_SEGMENT.as_millis().to_string());
        spec
    }

    fn tier(&self, tier: &str, delay: Duration) -> TopicSpec {
        let beyond = self.retention.get("retry").copied().unwrap_or(14 * DAY);
        self.spec("retry", &format!("retry.{tier}"), 8, Cleanup::Delete(delay + beyond))
    }

    fn spec(&self, short: &str, name: &str, partitions: i32, cleanup: Cleanup) -> TopicSpec {
        let mut config = BTreeMap::from([
            ("message.timestamp.type", "LogAppendTime".to_owned()),
            ("max.message.bytes", self.max_message_bytes().to_string()),
        ]);
        match cleanup {
            Cleanup::Delete(retention) => {
                config.insert("cleanup.policy", "delete".to_owned());
                config.insert("retention.ms", retention.as_millis().to_string());
            }
            Cleanup::Compact => {
                config.insert("cleanup.policy", "compact".to_owned());
            }
        }
        if let Some(replicas) = self.min_insync_replicas {
            config.insert("min.insync.replicas", replicas.to_string());
        }
        // `control` has one order and `status` one reader: their single partition is part of the design.
        let fixed = matches!(short, "control" | "status" | "audit");
        let partitions = if fixed { 1 } else { self.partitions.get(short).copied().unwrap_or(partitions) };
        TopicSpec {
            name: Arc::from(format!("{}{name}", self.prefix)),
            partitions,
            replication_factor: self.replication_factor,
            config,
        }
    }
}

// === impl Topics ===

impl Topics {
    /// The full name of a tier's topic (`10m`).
    #[must_use]
    pub fn retry(&self, tier: &str) -> Arc<str> {
        Arc::from(format!("{}{tier}", self.retry_prefix))
    }

    /// A pattern, as librdkafka reads one, of every delay topic that exists: a removed tier still drains.
    #[must_use]
    pub fn retry_pattern(&self) -> String {
        let mut pattern = String::from("^");
        for letter in self.retry_prefix.chars() {
            if !letter.is_ascii_alphanumeric() && letter != '_' && letter != '-' {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern.push_str("[0-9]+(ms|s|m|h|d)$");
        pattern
    }

    /// The tier's name inside a full topic name, if it is a delay topic of ours.
    #[must_use]
    pub fn tier_of<'a>(&self, topic: &'a str) -> Option<&'a str> {
        topic.strip_prefix(&*self.retry_prefix)
    }
}

impl fmt::Display for TopicSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} partitions", self.name, self.partitions)?;
        for (key, value) in &self.config {
            write!(f, ", {key}={value}")?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_set_is_what_the_design_says() {
        let specs = TopicSettings::default().specs();
        let names: Vec<_> = specs.iter().map(|spec| format!("{}:{}", spec.name, spec.partitions)).collect();
        assert_eq!(
            names,
            [
                "hookbus.events:8",
                "hookbus.deliveries:16",
                "hookbus.lanes:16",
                "hookbus.retry.5s:8",
                "hookbus.retry.20s:8",
                "hookbus.retry.2m:8",
                "hookbus.retry.10m:8",
                "hookbus.retry.1h:8",
                "hookbus.retry.4h:8",
                "hookbus.retry.12h:8",
                "hookbus.dead-letters:8",
                "hookbus.attempts:8",
                "hookbus.jobs:8",
                "hookbus.rejected:8",
                "hookbus.retried:8",
                "hookbus.seen:16",
                "hookbus.control:1",
                "hookbus.audit:1",
                "hookbus.status:1"
            ]
        );
        assert!(specs.iter().all(|spec| spec.config["max.message.bytes"] == "1048588"));
    }

    #[test]
    fn identities_are_deleted_an_hour_after_their_time_not_a_week() {
        let seen = TopicSettings::default().specs().into_iter().find(|spec| &*spec.name == "hookbus.seen").unwrap();
        assert_eq!((&*seen.config["segment.ms"], &*seen.config["retention.ms"]), ("3600000", "172800000"));
    }

    #[test]
    fn lists_stand_partition_for_partition_beside_deliveries_and_only_age_deletes_these() {
        let partitions = BTreeMap::from([("deliveries".to_owned(), 6), ("lanes".to_owned(), 3)]);
        let specs = TopicSettings { partitions, ..TopicSettings::default() }.specs();
        let of = |name: &str| specs.iter().find(|spec| *spec.name == *format!("hookbus.{name}")).unwrap();
        let (deliveries, lanes) = (of("deliveries"), of("lanes"));
        assert_eq!((deliveries.partitions, lanes.partitions), (6, 6));
        assert_eq!(deliveries.config["retention.bytes"], "-1");
        let said = ["cleanup.policy", "segment.bytes", "segment.ms", "min.cleanable.dirty.ratio"];
        assert_eq!(said.map(|name| &*lanes.config[name]), ["compact", "16777216", "600000", "0.1"]);
    }

    #[test]
    fn a_larger_payload_limit_raises_every_topic() {
        let settings = TopicSettings { payload_limit: 2_000_000, ..TopicSettings::default() };
        assert!(settings.specs().iter().all(|spec| spec.config["max.message.bytes"] == "2065536"));
    }

    #[test]
    fn the_retry_pattern_matches_literally() {
        let topics = TopicSettings::default().topics();
        assert_eq!(topics.retry_pattern(), "^hookbus\\.retry\\.[0-9]+(ms|s|m|h|d)$");
        assert_eq!(topics.tier_of("hookbus.retry.10m"), Some("10m"));
        assert_eq!(topics.tier_of("hookbus.events"), None);
    }
}
