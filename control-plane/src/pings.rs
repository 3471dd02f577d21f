//! Sends pings: a rate per subscription, and the producer that writes them to `deliveries`.

use std::sync::Arc;

use chassis::config::Role;
use kafka::{KafkaError, Producer, ProducerOptions};
use parking_lot::Mutex;
use retry::Budget;
use schemas::ids::SubscriptionId;
use schemas::problem::{Code, ProblemId};
use schemas::record::OutRecord;
use tracing::warn;

use crate::config::Deps;
use crate::error::Error;
use crate::problem::{Problem, internal, unavailable};

/// Pings of one subscription in the long run.
const PER_SECOND: f64 = 0.2;
/// Pings of one subscription at once.
const BURST: u32 = 5;
/// Subscriptions whose pings are counted at once.
const MAX_COUNTED: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pings {
    sink: Sink,
    topic: Arc<str>,
    budget: Mutex<Budget<SubscriptionId>>,
}

/// Where they are written to.
#[derive(Debug)]
enum Sink {
    Kafka(Producer),
    #[cfg(test)]
    Memory(Mutex<Vec<OutRecord>>),
}

// === impl Pings ===

impl Pings {
    pub(crate) fn start(deps: &Deps) -> Result<Self, Error> {
        let mut options = ProducerOptions::new(deps.kafka.client_id(Role::Control));
        options.message_max_bytes = deps.topics.max_message_bytes;
        let producer = Producer::start(&deps.connection, options)
            .map_err(|source| Error::Kafka { purpose: "writing pings", source })?;
        Ok(Self::new(Sink::Kafka(producer), Arc::clone(&deps.topics.deliveries)))
    }

    /// Keeps them, for tests of the handlers.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        Self::new(Sink::Memory(Mutex::default()), Arc::from("deliveries"))
    }

    #[cfg(test)]
    pub(crate) fn sent(&self) -> Vec<OutRecord> {
        match &self.sink {
            Sink::Kafka(_) => Vec::new(),
            Sink::Memory(sent) => sent.lock().clone(),
        }
    }

    fn new(sink: Sink, topic: Arc<str>) -> Self {
        let budget = Budget::new(PER_SECOND, BURST, MAX_COUNTED).expect("a rate and a burst within the limits");
        Self { sink, topic, budget: Mutex::new(budget) }
    }

    /// The topic they are written to.
    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Takes one of the subscription's pings.
    pub(crate) fn permit(&self, subscription: SubscriptionId, now_ms: i64) -> Result<(), Problem> {
        let mut budget = self.budget.lock();
        if budget.try_take(&subscription, now_ms) {
            return Ok(());
        }
        let wait_s = (budget.next_ms(&subscription, now_ms) - now_ms + 999) / 1_000;
        let detail = format!("a subscription takes {BURST} pings at once and then one in 5 s");
        let wait_s = u32::try_from(wait_s.max(1)).unwrap_or(u32::MAX);
        Err(Problem::new(ProblemId::RateLimited, detail).with_code(Code::LimitReached).with_retry_after(wait_s))
    }

    /// Writes one and waits for the acknowledgement.
    pub(crate) async fn send(&self, record: OutRecord) -> Result<(), Problem> {
        match &self.sink {
            Sink::Kafka(producer) => {
                let acknowledged = producer.send(&record).map_err(refused)?;
                acknowledged.await.map(drop).map_err(refused)
            }
            #[cfg(test)]
            Sink::Memory(sent) => {
                sent.lock().push(record);
                Ok(())
            }
        }
    }
}

fn refused(error: KafkaError) -> Problem {
    if error.is_unwritable() {
        return internal("a ping does not fit the topic", &error);
    }
    warn!(%error, "a ping was not written");
    unavailable("the ping was not confirmed; it may or may not have been sent")
}
