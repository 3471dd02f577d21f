//! Where Kafka is and how to speak to it, and every client property that correctness depends on, each with its reason.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;

use crate::error::KafkaError;

/// The group that readers without a group name, because librdkafka wants one. Nothing is joined or committed under it, but
/// librdkafka looks for its coordinator.
pub const TAIL_GROUP: &str = "hookbus-tail";

/// Brokers and checked librdkafka properties. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    brokers: String,
    properties: BTreeMap<String, String>,
}

/// Properties a user may not set, and why.
const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", "it has a setting of its own, `brokers`"),
    ("metadata.broker.list", "it has a setting of its own, `brokers`"),
    ("client.id", "every client has a name of its own"),
    ("group.id", "groups are named by role"),
    ("group.instance.id", "static membership would keep partitions of a dead worker unowned"),
    ("group.protocol", "the new protocol's rejoin is broken before librdkafka 2.15"),
    ("group.remote.assignor", "the classic protocol is used"),
    ("partition.assignment.strategy", "hand-over relies on cooperative-sticky"),
    ("session.timeout.ms", "dispatching stops at half of it"),
    ("heartbeat.interval.ms", "hand-over times depend on it"),
    ("max.poll.interval.ms", "a revoke may take as long as the hand-over wait"),
    ("enable.auto.commit", "offsets are committed inside transactions only"),
    ("auto.commit.enable", "offsets are committed inside transactions only"),
    ("auto.commit.interval.ms", "offsets are committed inside transactions only"),
    ("enable.auto.offset.store", "offsets are committed inside transactions only"),
    ("auto.offset.reset", "starting silently at either end would repeat or lose records"),
    ("isolation.level", "aborted records must not be read, and one client must read the open ones"),
    ("enable.partition.eof", "catch-up depends on it where it is used"),
    ("allow.auto.create.topics", "nothing relies on auto-creation"),
    ("transactional.id", "it names the slot"),
    ("transaction.timeout.ms", "takeover times depend on it"),
    ("enable.idempotence", "without it a retry can write a record twice"),
    ("enable.gapless.guarantee", "it turns a lost record into a dead producer; transactions and reports decide here"),
    ("acks", "acknowledged means on every in-sync replica"),
    ("request.required.acks", "acknowledged means on every in-sync replica"),
    ("max.in.flight", "idempotence needs at most 5"),
    ("max.in.flight.requests.per.connection", "idempotence needs at most 5"),
    ("retries", "idempotence needs retries"),
    ("message.send.max.retries", "idempotence needs retries"),
    ("message.timeout.ms", "a late write must be impossible after its request was refused"),
    ("delivery.timeout.ms", "a late write must be impossible after its request was refused"),
    ("partitioner", "keyed records use murmur2 in every process, as Java producers do"),
    ("message.max.bytes", "it is the topics' limit"),
    ("batch.size", "the broker checks `max.message.bytes` per batch"),
    ("batch.num.messages", "the broker checks `max.message.bytes` per batch"),
    ("linger.ms", "it decides latency per client"),
    ("queue.buffering.max.ms", "it decides latency per client"),
    ("queue.buffering.max.messages", "memory is bounded per client"),
    ("queue.buffering.max.kbytes", "memory is bounded per client"),
    ("queued.min.messages", "memory is bounded per client"),
    ("queued.max.messages.kbytes", "memory is bounded per client"),
    ("fetch.message.max.bytes", "memory is bounded per client"),
    ("max.partition.fetch.bytes", "memory is bounded per client"),
    ("fetch.max.bytes", "memory is bounded per client"),
    ("fetch.wait.max.ms", "latency of catch-up depends on it"),
    ("fetch.min.bytes", "latency depends on it"),
    ("retry.backoff.ms", "the time of a transaction depends on it"),
    ("retry.backoff.max.ms", "the time of a transaction depends on it"),
    ("delivery.report.only.error", "acknowledgements are delivery reports"),
    ("check.crcs", "records are verified as they are read"),
    ("log.queue", "the client library sets it"),
    ("debug", "use the log level"),
    ("statistics.interval.ms", "transactions learn from them that a quota throttles them"),
    ("test.mock.num.brokers", "it replaces the cluster"),
];

// === impl Connection ===

impl Connection {
    /// Checks the properties; the brokers are first talked to by the clients.
    ///
    /// # Errors
    /// A property that correctness depends on, or no broker.
    pub fn new(brokers: &str, properties: &BTreeMap<String, String>) -> Result<Self, KafkaError> {
        if brokers.trim().is_empty() {
            return Err(KafkaError::Invalid { what: "brokers", reason: "the list is empty".into() });
        }
        for name in properties.keys() {
            // `topic.` and case variants are not accepted by librdkafka, so plain names are all there is to refuse.
            if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| refused == name) {
                return Err(KafkaError::RefusedProperty { name: name.clone(), reason });
            }
        }
        Ok(Self(Arc::new(Inner { brokers: brokers.trim().to_owned(), properties: properties.clone() })))
    }

    /// The bootstrap list.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.0.brokers
    }

    /// Whether brokers are spoken to with TLS.
    #[must_use]
    pub fn uses_tls(&self) -> bool {
        let protocol = self.0.properties.get("security.protocol");
        protocol.is_some_and(|protocol| ["ssl", "sasl_ssl"].contains(&protocol.to_ascii_lowercase().as_str()))
    }

    /// What every client shares. The user's properties come first, so that ours win.
    fn base(&self, client_id: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in &self.0.properties {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", &self.0.brokers)
            .set("client.id", client_id)
            // A typo must not make a topic with the broker's defaults.
            .set("allow.auto.create.topics", "false");
        let mut default = |name: &str, value: &str| {
            if !self.0.properties.contains_key(name) {
                config.set(name, value);
            }
        };
        // A restarted broker is back within a second, not ten.
        default("reconnect.backoff.ms", "50");
        default("reconnect.backoff.max.ms", "1000");
        // A dead connection is noticed while a session still lives.
        default("socket.keepalive.enable", "true");
        // Small requests wait for nobody.
        default("socket.nagle.disable", "true");
        config
    }

    /// A client that reads without a group and without transactions in its way: `ListOffsets`, metadata.
    pub(crate) fn plain(&self, client_id: &str) -> ClientConfig {
        let mut config = self.base(client_id);
        // High watermark, not last stable offset: what was written, whether or not its transaction is over.
        config.set("isolation.level", "read_uncommitted");
        config
    }

    /// A client that reads a group's committed offsets, `stable` or with open transactions ignored. It never joins.
    pub(crate) fn committed(&self, group: &str, stable: bool) -> ClientConfig {
        let mut config = self.base("hookbus-offsets");
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            // read_committed makes OffsetFetch wait for pending transactional commits (KIP-447).
            .set("isolation.level", if stable { "read_committed" } else { "read_uncommitted" });
        config
    }

    /// The poller's consumer.
    pub(crate) fn consumer(&self, client_id: &str, group: &str, session_timeout: Duration) -> ClientConfig {
        let mut config = self.base(client_id);
        config
            .set("group.id", group)
            // Hand over single partitions without stopping the others.
            .set("partition.assignment.strategy", "cooperative-sticky")
            // How long a killed worker's partitions stay unowned.
            .set("session.timeout.ms", session_timeout.as_millis().to_string())
            // Members learn of a rebalance by heartbeat: 1.7 s per hand-over instead of 6.
            .set("heartbeat.interval.ms", "500")
            // Offsets are committed inside transactions and nowhere else.
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Records of aborted transactions do not exist.
            .set("isolation.level", "read_committed")
            // A position that does not exist is an incident, never a silent jump.
            .set("auto.offset.reset", "error")
            // The position passes markers, aborted records and holes at the end of a log only with the end itself.
            .set("enable.partition.eof", "true")
            // A new record is sent at once; an idle fetch costs two requests per second.
            .set("fetch.min.bytes", "1")
            .set("fetch.wait.max.ms", "500")
            // After an error a partition is fetched again soon.
            .set("fetch.error.backoff.ms", "50")
            .set("retry.backoff.ms", "20")
            .set("retry.backoff.max.ms", "500")
            // Enough to keep a worker busy between two fetches, bounded for all partitions together by the kbytes.
            .set("queued.min.messages", "10000")
            .set("queued.max.messages.kbytes", "32768")
            .set("fetch.queue.backoff.ms", "20")
            // One partition's share of a fetch; a larger record still comes, alone.
            .set("fetch.message.max.bytes", "1048576")
            // An answer of 8 MiB or more would be mapped, cleared and given back each time (the allocator's threshold): 4 % of the
            // fan-out's CPU.
            .set("fetch.max.bytes", "7340032")
            // New partitions, and topics a pattern begins to match, are seen within seconds.
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("topic.metadata.refresh.fast.interval.ms", "100")
            .set("metadata.max.age.ms", "60000")
            // The poll thread never stays away longer than the hand-over wait.
            .set("max.poll.interval.ms", session_timeout.as_millis().max(60_000).to_string());
        config
    }

    /// A consumer of assigned partitions, outside any group's protocol.
    pub(crate) fn tail(&self, committed: bool, eof: bool, fetch_wait_ms: u32) -> ClientConfig {
        let mut config = self.base("hookbus-tail");
        config
            // librdkafka wants a name for any consumer; nothing is joined or committed under it.
            .set("group.id", TAIL_GROUP)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", if committed { "read_committed" } else { "read_uncommitted" })
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", if eof { "true" } else { "false" })
            .set("fetch.min.bytes", "1")
            // The position passes transaction markers only with the next empty fetch.
            .set("fetch.wait.max.ms", fetch_wait_ms.to_string())
            .set("fetch.error.backoff.ms", "20")
            .set("retry.backoff.ms", "20")
            .set("retry.backoff.max.ms", "500")
            .set("queued.min.messages", "10000")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.queue.backoff.ms", "20");
        config
    }

    /// A consumer that reads back single records of one partition, or a run of them.
    pub(crate) fn fetcher(&self, is_scan: bool) -> ClientConfig {
        // Whatever is read back was committed, and records of open transactions stand in nobody's way.
        let mut config = self.tail(false, true, 5);
        config
            // A partition that has just been given is fetched at once.
            .set("fetch.queue.backoff.ms", "5")
            // A seek that reads more than it was made for costs the brokers, and a scan in small pieces does.
            .set("queued.min.messages", if is_scan { "10000" } else { "1" })
            .set("fetch.message.max.bytes", if is_scan { "1048576" } else { "65536" })
            .set("queued.max.messages.kbytes", if is_scan { "8192" } else { "1024" });
        config
    }

    /// What all producers share.
    fn producer_base(&self, client_id: &str, message_max_bytes: usize) -> ClientConfig {
        let mut config = self.base(client_id);
        config
            // A retry inside the client never writes a record twice.
            .set("enable.idempotence", "true")
            // Acknowledged means on every in-sync replica.
            .set("acks", "all")
            // Java's partitioner, so that a key has one partition whoever writes it.
            .set("partitioner", "murmur2_random")
            // The broker checks the topic's limit per batch: batches stay far below it, one record may reach it.
            .set("batch.size", "262144")
            .set("message.max.bytes", message_max_bytes.max(1_000).to_string());
        config
    }

    /// The idempotent producer.
    pub(crate) fn producer(&self, options: &crate::producer::ProducerOptions) -> ClientConfig {
        let mut config = self.producer_base(&options.client_id, options.message_max_bytes);
        config
            .set("linger.ms", millis(options.linger))
            // Below the request's timeout: a refused request is never followed by a late write of a queued record.
            .set("message.timeout.ms", options.message_timeout.as_millis().max(1).to_string())
            .set("queue.buffering.max.kbytes", (options.queue_bytes / 1_024).max(1).to_string())
            .set("queue.buffering.max.messages", "1000000")
            .set("retry.backoff.ms", "20")
            .set("retry.backoff.max.ms", "250");
        config
    }

    /// A transactional producer.
    pub(crate) fn transactional(&self, id: &str, timeout: Duration, message_max_bytes: usize) -> ClientConfig {
        let mut config = self.producer_base(id, message_max_bytes);
        config
            .set("transactional.id", id)
            // How long a dead writer's open transaction can freeze its readers.
            .set("transaction.timeout.ms", timeout.as_millis().to_string())
            // What a transaction has for one partition goes in one batch, still below any topic's limit. While a second one
            // waits for the first to be acknowledged, and the flush is on, the sending thread spins (librdkafka 2.12).
            .set("batch.size", "1000000")
            // The writer batches by itself and flushes at the end of each batch, which overrides this. Until then nothing
            // that fits one batch is sent: the session counts on that, and with 0 the sending thread would wake for every
            // record and send many small batches.
            .set("linger.ms", (timeout / 2).as_millis().to_string())
            // CONCURRENT_TRANSACTIONS while the previous markers are written is met with this backoff: 8 ms, not 205.
            .set("retry.backoff.ms", "2")
            .set("retry.backoff.max.ms", "100")
            // librdkafka 2.12 waits without a limit for a group's coordinator that nobody knew for some milliseconds: only a
            // connection that comes or goes makes it ask again. Longer than a transaction has, so that none is cut off.
            .set("connections.max.idle.ms", (timeout * 3 / 2).as_millis().to_string())
            // Tells how long brokers throttle us for a quota: a transaction that is too slow for it is no outage.
            .set("statistics.interval.ms", "1000")
            // One transaction is bounded by the caller; these bound what a mistake could take.
            .set("queue.buffering.max.kbytes", "262144")
            .set("queue.buffering.max.messages", "500000");
        config
    }
}

fn millis(duration: Duration) -> String {
    format!("{}", duration.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_that_correctness_depends_on_are_refused_with_the_reason() {
        for name in ["partitioner", "isolation.level", "enable.idempotence", "acks", "group.id"] {
            let properties = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
            let error = Connection::new("localhost:9092", &properties).unwrap_err();
            assert!(matches!(&error, KafkaError::RefusedProperty { name: refused, .. } if refused == name), "{error}");
        }
    }

    #[test]
    fn everything_this_file_sets_is_refused_or_may_be_overridden_on_purpose() {
        let connection = Connection::new("localhost:9092", &BTreeMap::new()).unwrap();
        let producer = crate::ProducerOptions::new("test");
        let overridable = [
            // In all clients but the writer's.
            "connections.max.idle.ms",
            "reconnect.backoff.ms",
            "reconnect.backoff.max.ms",
            "socket.keepalive.enable",
            "socket.nagle.disable",
            "fetch.error.backoff.ms",
            "fetch.queue.backoff.ms",
            "topic.metadata.refresh.interval.ms",
            "topic.metadata.refresh.fast.interval.ms",
            "metadata.max.age.ms",
        ];
        let configs = [
            connection.plain("c"),
            connection.committed("g", true),
            connection.consumer("c", "g", Duration::from_secs(8)),
            connection.tail(true, true, 20),
            connection.producer(&producer),
            connection.transactional("t", Duration::from_secs(10), 1_048_588),
        ];
        for config in configs {
            for name in config.config_map().keys() {
                let refused = REFUSED.iter().any(|(refused, _)| refused == name);
                assert!(refused || overridable.contains(name), "{name}");
            }
        }
    }

    #[test]
    fn security_properties_pass() {
        let properties = BTreeMap::from([("security.protocol".to_owned(), "SASL_SSL".to_owned())]);
        let connection = Connection::new(" localhost:9092 ", &properties).unwrap();
        assert_eq!(connection.brokers(), "localhost:9092");
        assert_eq!(connection.plain("c").get("security.protocol"), Some("SASL_SSL"));
    }
}
