//! What every test against a real cluster needs. The cluster is the testkit's; its address comes from the environment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka::lag::PartitionLag;
use kafka::{
    Claimed, Connection, From, Lease, Offsets, Output, Poller, PollerEvent, PollerEvents, PollerOptions, Producer,
    ProducerOptions, Progress, Restored, Tail, TailEvent, TailOptions, Transaction, Window, Writer, WriterOptions,
};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use schemas::record::{Headers, OutRecord, Record, TopicPartition};
use schemas::topics::TopicSpec;
use uuid::Uuid;

/// Far beyond anything a healthy cluster takes: reaching it is a failure, not a measurement.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One test's own topics and names.
pub(crate) struct World {
    pub(crate) connection: Connection,
    pub(crate) input: Arc<str>,
    pub(crate) output: Arc<str>,
    pub(crate) group: String,
}

/// A consumer with its writer.
pub(crate) struct Worker {
    pub(crate) poller: Poller,
    pub(crate) events: PollerEvents,
    pub(crate) writer: Writer,
}

/// The cluster to test against.
#[expect(clippy::disallowed_methods, reason = "the testkit names its cluster in the environment")]
pub(crate) fn brokers() -> String {
    std::env::var("HOOKBUS_TEST_KAFKA").expect(
        "HOOKBUS_TEST_KAFKA is not set: run the tests with `make test`, or name a Kafka to test against (host:port)",
    )
}

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// Waits until something holds that no event tells.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    soon(what, async {
        while !holds() {
            tick.tick().await;
        }
    })
    .await;
}

pub(crate) fn spec(name: &str, partitions: i32, config: &[(&'static str, &str)]) -> TopicSpec {
    let config = config.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    TopicSpec { name: Arc::from(name), partitions, replication_factor: None, config }
}

pub(crate) fn record(topic: &Arc<str>, partition: i32, value: &str) -> OutRecord {
    OutRecord {
        topic: Arc::clone(topic),
        partition: Some(partition),
        key: None,
        value: Some(value.to_owned().into()),
        headers: [("ce_id", value)].into_iter().collect::<Headers>(),
    }
}

pub(crate) fn text(record: &Record) -> String {
    String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap()
}

/// So many different values.
pub(crate) fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|index| format!("v{index:04}")).collect()
}

/// The progress of a window.
pub(crate) fn progress(lease: &Lease, window: &Window) -> Progress {
    let (committed, read_up_to, not_done) = window.progress();
    Progress { lease: lease.clone(), committed, read_up_to, not_done, claim: Claimed::Nothing }
}

// === impl World ===

impl World {
    /// Fresh topics: `input` and `output` with this many partitions.
    pub(crate) async fn new(partitions: i32) -> Self {
        Self::with_partitions(partitions, partitions).await
    }

    /// Fresh topics: `input` and `output`, each with so many partitions.
    pub(crate) async fn with_partitions(input: i32, output: i32) -> Self {
        Self::at(&brokers(), input, output).await
    }

    /// The same on a cluster of the test's own.
    pub(crate) async fn at(bootstrap: &str, input: i32, output: i32) -> Self {
        let connection = Connection::new(bootstrap, &BTreeMap::new()).unwrap();
        let id = Uuid::new_v4().simple().to_string();
        let world = Self {
            connection,
            input: Arc::from(format!("in-{id}")),
            output: Arc::from(format!("out-{id}")),
            group: format!("group-{id}"),
        };
        let specs = [spec(&world.input, input, &[]), spec(&world.output, output, &[])];
        let plan = kafka::topics::ensure(&world.connection, &specs).await.unwrap();
        assert!(plan.is_settled(), "{plan}");
        world.begin(&plan).await;
        world
    }

    /// The group begins at 0 where topics were created, as `hookbus topics ensure` does it.
    pub(crate) async fn begin(&self, plan: &kafka::topics::Plan) {
        let topics = [&*self.input];
        let begun = kafka::group::begin(&self.connection, &self.group, &topics, &plan.created, PATIENCE).await.unwrap();
        assert!(!begun.begun.is_empty() && begun.unknown.is_empty(), "{begun:?}");
    }

    /// A transactional id of its own for this test.
    pub(crate) fn slot(&self, name: &str) -> String {
        let id: String = self.group.chars().rev().take(16).collect();
        format!("{name}-{id}")
    }

    pub(crate) async fn worker(&self, slot: &str) -> Worker {
        self.worker_that_writes_to(&self.connection, slot).await
    }

    /// A worker whose poller has other limits.
    pub(crate) async fn worker_with(&self, slot: &str, change: impl FnOnce(&mut PollerOptions)) -> Worker {
        self.worker_of_both(&self.connection, slot, change).await
    }

    /// A worker whose writer takes another way to the cluster.
    pub(crate) async fn worker_that_writes_to(&self, connection: &Connection, slot: &str) -> Worker {
        self.worker_of_both(connection, slot, |_| ()).await
    }

    async fn worker_of_both(
        &self,
        connection: &Connection,
        slot: &str,
        change: impl FnOnce(&mut PollerOptions),
    ) -> Worker {
        // As in every role: a member's client id is its transactional id, and so a takeover knows who lives.
        let mut options = PollerOptions::new(self.group.as_str(), vec![self.input.to_string()], self.slot(slot));
        change(&mut options);
        let (poller, events) = Poller::start(&self.connection, options).unwrap();
        let options = WriterOptions::new(self.slot(slot), self.group.as_str());
        let writer = Writer::start(connection, options, poller.ownership()).await.unwrap();
        Worker { poller, events, writer }
    }

    /// Another writer for the partitions of a worker.
    pub(crate) async fn worker_of(&self, worker: &Worker, slot: &str) -> Writer {
        let options = WriterOptions::new(self.slot(slot), self.group.as_str());
        Writer::start(&self.connection, options, worker.poller.ownership()).await.unwrap()
    }

    /// Writes values to one partition, in order.
    pub(crate) async fn write(&self, partition: i32, values: impl IntoIterator<Item = String>) {
        let producer = Producer::start(&self.connection, ProducerOptions::new("test")).unwrap();
        let sent: Vec<_> =
            values.into_iter().map(|value| producer.send(&record(&self.input, partition, &value)).unwrap()).collect();
        for acknowledgement in sent {
            assert_eq!(acknowledgement.await.unwrap().partition, partition);
        }
    }

    /// Waits until no transaction is open in the first partition of a topic: Kafka answers a commit or an abort before its marker is
    /// written.
    pub(crate) async fn nothing_open(&self, topic: &Arc<str>) {
        let partition = TopicPartition::new(Arc::clone(topic), 0);
        let written = Offsets::start(&self.connection).unwrap();
        let committed = Offsets::start_committed(&self.connection).unwrap();
        soon("the last marker", async {
            loop {
                let end = written.end(&partition).await.unwrap();
                if committed.end(&partition).await.unwrap() >= end {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// How far the group is behind in the input once none of its offsets is pending: Kafka answers a commit before its offsets count,
    /// and shows the ones before them until then.
    pub(crate) async fn lag(&self) -> Vec<PartitionLag> {
        self.offsets_settled().await;
        kafka::lag::of_group(&self.connection, &self.group, &[&self.input]).await.unwrap()
    }

    /// Waits until none of the group's offsets in the input is pending.
    pub(crate) async fn offsets_settled(&self) {
        let count = Offsets::start(&self.connection).unwrap().partitions(&self.input).await.unwrap().unwrap();
        let (brokers, group, topic) =
            (self.connection.brokers().to_owned(), self.group.clone(), self.input.to_string());
        let asked = tokio::task::spawn_blocking(move || {
            let mut config = ClientConfig::new();
            // Who reads what is committed is told no offset while one is pending.
            config.set("bootstrap.servers", brokers).set("group.id", group).set("isolation.level", "read_committed");
            let client: BaseConsumer = config.create().unwrap();
            let all_settled = || {
                let mut list = TopicPartitionList::new();
                for partition in 0..count {
                    list.add_partition(&topic, partition);
                }
                let told = client.committed_offsets(list, Duration::from_secs(5));
                told.is_ok_and(|told| told.elements().iter().all(|element| element.error().is_ok()))
            };
            let deadline = kafka::clock::instant() + PATIENCE;
            while !all_settled() {
                assert!(kafka::clock::instant() < deadline, "an offset of the group stays pending");
            }
        });
        asked.await.unwrap();
    }

    /// Everything committed in the output topic, sorted.
    pub(crate) async fn outputs(&self) -> Vec<String> {
        let options = TailOptions {
            topic: self.output.to_string(),
            partitions: None,
            from: From::Beginning,
            committed: true,
            eof: true,
            fetch_wait_ms: 10,
        };
        let offsets = Offsets::start(&self.connection).unwrap();
        let count = offsets.partitions(&self.output).await.unwrap().unwrap();
        let mut open = BTreeMap::new();
        for partition in 0..count {
            let end = offsets.end(&TopicPartition::new(Arc::clone(&self.output), partition)).await.unwrap();
            open.insert(partition, end);
        }
        let mut tail = Tail::start(&self.connection, options).unwrap();
        let mut values = Vec::new();
        while !open.is_empty() {
            match soon("the output's end", tail.next()).await.unwrap() {
                TailEvent::Record { record, .. } => values.push(text(&record)),
                TailEvent::Eof { partition, position } => {
                    open.retain(|other, end| *other != partition || position < *end);
                }
            }
        }
        values.sort();
        values
    }
}

// === impl Worker ===

impl Worker {
    /// Waits for an assignment.
    pub(crate) async fn leases(&mut self) -> Vec<Lease> {
        match soon("an assignment", self.events.next()).await.unwrap() {
            PollerEvent::Assigned { leases } => leases,
            other => panic!("expected an assignment, got {other:?}"),
        }
    }

    /// Waits for an assignment, takes it over and begins it.
    pub(crate) async fn assigned(&mut self) -> Vec<Restored> {
        let leases = self.leases().await;
        let restored = soon("taking over", self.writer.take_over(leases)).await.unwrap();
        for restored in &restored {
            self.begin(&restored.lease, restored.start().unwrap()).await;
        }
        restored
    }

    pub(crate) async fn begin(&self, lease: &Lease, offset: i64) {
        let (poller, lease) = (self.poller.clone(), lease.clone());
        tokio::task::spawn_blocking(move || poller.begin(&lease, offset)).await.unwrap().unwrap();
    }

    /// Waits for this many records, all of one lease.
    pub(crate) async fn records(&mut self, count: usize) -> Vec<Record> {
        let mut all = Vec::new();
        while all.len() < count {
            match soon("more records", self.events.next()).await.unwrap() {
                PollerEvent::Records { records, .. } => all.extend(records),
                other => panic!("expected records, got {other:?}"),
            }
        }
        assert_eq!(all.len(), count);
        all
    }

    /// Leaves the group and waits until it is left.
    pub(crate) async fn close(mut self) {
        self.poller.close();
        while soon("the end of the events", self.events.next()).await.is_some() {}
        self.writer.close().await;
    }
}

/// A transaction with one output per value, for one lease.
pub(crate) fn transaction(
    world: &World,
    lease: &Lease,
    window: &Window,
    values: impl IntoIterator<Item = String>,
) -> Transaction {
    let partition = lease.partition.partition;
    let outputs = values.into_iter().map(|value| Output { lease: 0, record: record(&world.output, partition, &value) });
    Transaction { outputs: outputs.collect(), progress: vec![progress(lease, window)] }
}

/// Returns once the cluster does not know a topic any more: it answers a deletion before every broker goes by it.
pub(crate) async fn gone(offsets: &Offsets, topic: &str) {
    while offsets.topic_id(topic).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
}

/// Deletes every record of the first partition below this offset.
pub(crate) async fn delete_below(world: &World, offset: i64) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&world.input, 0, Offset::Offset(offset)).unwrap();
    let deleted = admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
    deleted.elements()[0].error().unwrap();
}
