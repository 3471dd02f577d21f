//! Tells the `status` topic how a role of this process is doing: every few seconds where something has changed, and once a
//! minute where nothing has, so that a reader can tell calm from gone.
//!
//! ```text
//! role --Teller::tell (the newest facts win)--> task --> [status] role/instance
//!      --Teller::end-----------------------------------> tombstone: this instance has left
//! ```
//!
//! It is worth no failure: what cannot be told now is told next time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka::{Connection, KafkaError, Producer, ProducerOptions};
use schemas::control::shape;
use schemas::record::{Headers, OutRecord};
use schemas::status::{DeliveryHealth, FanoutHealth, GatewayHealth, LanesHealth, RetryHealth, Status};
use schemas::topics::Topics;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{KafkaConfig, Role};
use crate::limited::Limited;
use crate::version::{REVISION, VERSION};
use crate::{clock, tasks};

/// Between two records.
const PERIOD: Duration = Duration::from_secs(5);
/// Between two records of an instance with which nothing changes.
const REFRESH: Duration = Duration::from_secs(60);
/// The last record of a process that ends.
const FLUSH: Duration = Duration::from_secs(2);
/// One line about failures per that.
const LOG_PERIOD: Duration = Duration::from_secs(60);

/// Who tells, and where.
#[derive(Clone, Debug)]
pub struct TellerOptions {
    /// Where Kafka is.
    pub connection: Connection,
    /// The `status` topic.
    pub topic: Arc<str>,
    /// The role: first part of the record's key.
    pub role: &'static str,
    /// The slot: second part.
    pub instance: String,
    /// For the broker's logs.
    pub client_id: String,
}

/// What there is to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Partitions owned.
    pub partitions: u32,
    /// Records read and not resolved.
    pub live: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Of a delivery worker.
    pub delivery: Option<DeliveryHealth>,
    /// Of a delivery worker's lanes.
    pub lanes: Option<LanesHealth>,
    /// Of a fan-out worker.
    pub fanout: Option<FanoutHealth>,
    /// Of a retry scheduler.
    pub retry: Option<RetryHealth>,
    /// Of a gateway.
    pub gateway: Option<GatewayHealth>,
}

/// Takes facts at any pace. Dropping it ends the telling without a word.
#[derive(Debug)]
pub struct Teller {
    facts: watch::Sender<Facts>,
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

struct Telling {
    options: TellerOptions,
    producer: Option<Producer>,
    limited: Limited,
}

// === impl Teller ===

impl Teller {
    /// Starts telling in the background.
    #[must_use]
    pub fn start(options: TellerOptions) -> Self {
        let (facts, newest) = watch::channel(Facts::default());
        let (end, ended) = watch::channel(false);
        let telling = Telling { options, producer: None, limited: Limited::new(LOG_PERIOD) };
        Self { facts, end, task: tasks::spawn("status", telling.run(newest, ended)) }
    }

    /// The newest facts.
    pub fn tell(&self, facts: Facts) {
        self.facts.send_replace(facts);
    }

    /// This instance leaves: what it told is taken back.
    pub async fn end(self) {
        self.end.send_replace(true);
        if self.task.await.is_err() {
            tracing::debug!("the telling of status ended before its time");
        }
    }
}

// === impl Telling ===

impl Telling {
    async fn run(mut self, mut facts: watch::Receiver<Facts>, mut ended: watch::Receiver<bool>) {
        let mut told: Option<(Facts, Instant)> = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                leaves = leaves(&mut ended) => {
                    if leaves && tokio::time::timeout(FLUSH, self.send(None)).await.is_err() {
                        tracing::debug!("the last status was not told");
                    }
                    return;
                }
            }
            let (newest, now) = (facts.borrow_and_update().clone(), clock::instant());
            if is_news(told.as_ref(), &newest, now) && self.send(Some(newest.clone())).await {
                told = Some((newest, now));
            }
        }
    }

    async fn send(&mut self, facts: Option<Facts>) -> bool {
        let Err(error) = self.produce(facts).await else { return true };
        if let Some(swallowed) = self.limited.permit("status") {
            tracing::warn!(topic = %self.options.topic, role = self.options.role, %error, swallowed, "status cannot be told");
        }
        // A client that failed for good is replaced. Its end waits for its threads, which is nothing for the runtime's.
        if let Some(failed) = self.producer.take() {
            drop(tokio::task::spawn_blocking(move || drop(failed)));
        }
        false
    }

    async fn produce(&mut self, facts: Option<Facts>) -> Result<(), KafkaError> {
        let producer = match &self.producer {
            Some(producer) => producer.clone(),
            None => {
                let options = ProducerOptions::new(self.options.client_id.clone());
                self.producer.insert(Producer::start(&self.options.connection, options)?).clone()
            }
        };
        producer.send(&self.options.record(facts))?.await.map(drop)
    }
}

// === impl TellerOptions ===

impl TellerOptions {
    /// A role's of this process.
    #[must_use]
    pub fn of(role: Role, connection: &Connection, topics: &Topics, kafka: &KafkaConfig) -> Self {
        Self {
            connection: connection.clone(),
            topic: Arc::clone(&topics.status),
            role: role.name(),
            instance: kafka.slot.clone(),
            client_id: kafka.client_id(role),
        }
    }

    /// The record of these facts; without any, the tombstone.
    fn record(&self, facts: Option<Facts>) -> OutRecord {
        let status = facts.map(|facts| Status {
            partitions: facts.partitions,
            live: facts.live,
            in_flight: facts.in_flight,
            delivery: facts.delivery,
            lanes: facts.lanes,
            fanout: facts.fanout,
            retry: facts.retry,
            gateway: facts.gateway,
            version: Some(VERSION.to_owned()),
            revision: (!REVISION.is_empty()).then(|| REVISION.to_owned()),
            reads_shape: Some(shape::READS),
            ..Status::new(self.role, &self.instance, clock::now_ms())
        });
        OutRecord {
            topic: Arc::clone(&self.topic),
            partition: Some(0),
            key: Some(Bytes::from(Status::key(self.role, &self.instance))),
            value: status.map(|status| Bytes::from(status.encode().expect("texts and numbers are JSON"))),
            headers: Headers::default(),
        }
    }
}

/// True: the instance leaves. False: its teller was dropped.
async fn leaves(ended: &mut watch::Receiver<bool>) -> bool {
    ended.wait_for(|ended| *ended).await.is_ok()
}

/// Whether these facts are to be told, after what was told when.
fn is_news(told: Option<&(Facts, Instant)>, facts: &Facts, now: Instant) -> bool {
    told.is_none_or(|(last, at)| last != facts || now.saturating_duration_since(*at) >= REFRESH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_changed_is_told_once_a_minute() {
        let (facts, now) = (Facts { live: 1, ..Facts::default() }, clock::instant());
        let told = Some((facts.clone(), now));
        assert!(is_news(None, &facts, now));
        assert!(!is_news(told.as_ref(), &facts, now + PERIOD));
        assert!(is_news(told.as_ref(), &facts, now + REFRESH));
        assert!(is_news(told.as_ref(), &Facts { live: 2, ..facts }, now));
    }

    #[test]
    fn a_record_has_its_instances_key_and_leaving_is_a_tombstone() {
        let options = TellerOptions {
            connection: Connection::new("127.0.0.1:1", &std::collections::BTreeMap::new()).unwrap(),
            topic: Arc::from("hookbus.status"),
            role: "delivery",
            instance: "slot-1".to_owned(),
            client_id: "test".to_owned(),
        };
        let delivery = Some(DeliveryHealth { open_circuits: 2, ..DeliveryHealth::default() });
        let record = options.record(Some(Facts { partitions: 3, delivery, ..Facts::default() }));
        assert_eq!(record.key.as_deref(), Some(b"delivery/slot-1".as_slice()));
        let status: Status = serde_json::from_slice(&record.value.unwrap()).unwrap();
        assert_eq!((status.partitions, status.delivery), (3, delivery));
        assert_eq!(status.version.as_deref(), Some(VERSION), "who runs which version");
        assert_eq!(status.reads_shape, Some(shape::READS), "who can read what");
        let gone = options.record(None);
        assert_eq!((gone.key, gone.value), (record.key, None));
    }
}
