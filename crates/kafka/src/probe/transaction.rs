//! One transaction that is aborted: whether the transactional id may be used, and what time it is at the brokers. Nobody reads what
//! it wrote.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::message::{Message as _, Timestamp};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::clock::{instant, now_ms};
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::log::Named;

/// Each of its steps may take so long.
const STEP: Duration = Duration::from_secs(15);
/// What Kafka lets it be open for, should this process die in the middle.
const TRANSACTION: Duration = Duration::from_secs(10);
/// One wait for the acknowledgement.
const POLL: Duration = Duration::from_millis(50);

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriedTransaction {
    /// When the broker wrote the record by its own clock, Unix ms, if the topic is one that says so.
    pub broker_ms: Option<i64>,
    /// When it was sent and acknowledged by ours, Unix ms.
    pub between_ms: (i64, i64),
}

/// When a record was written by the broker's clock, Unix ms, or why it was not.
type BrokerWrote = Result<Option<i64>, Code>;

/// Acknowledgements, as they come.
#[derive(Clone, Default)]
struct Acknowledged(Arc<Mutex<Option<BrokerWrote>>>);

impl rdkafka::ClientContext for Acknowledged {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        Named::new("doctor").log(level, facility, message);
    }
}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let said = match result {
            Ok(message) => Ok(match message.timestamp() {
                Timestamp::LogAppendTime(at_ms) | Timestamp::CreateTime(at_ms) => Some(at_ms),
                Timestamp::NotAvailable => None,
            }),
            Err((error, _message)) => Err(error.rdkafka_error_code().unwrap_or(Code::Fail)),
        };
        *self.0.lock() = Some(said);
    }
}

/// Begins a transaction under this id, writes a record without key or value into a topic, and aborts it.
///
/// # Errors
/// The id may not be used, the topic may not be written, or the cluster does not answer.
pub async fn try_transaction(connection: &Connection, id: &str, topic: &str) -> Result<TriedTransaction, KafkaError> {
    let acknowledged = Acknowledged::default();
    let producer: BaseProducer<Acknowledged> = BaseProducer::from_config_and_context(
        &connection.transactional(id, TRANSACTION, 1_000_000),
        acknowledged.clone(),
    )
    .map_err(|error| KafkaError::Client { purpose: "trying a transaction", reason: error.to_string() })?;
    let (id, topic) = (id.to_owned(), topic.to_owned());
    let run = move || {
        let failed = |error| KafkaError::from_rdkafka(format!("a transaction of {id} on {topic}"), &error);
        producer.init_transactions(STEP).map_err(failed)?;
        producer.begin_transaction().map_err(failed)?;
        let sent_ms = now_ms();
        let record = BaseRecord::<[u8], [u8]>::to(&topic).partition(0);
        producer.send(record).map_err(|(error, _record)| failed(error))?;
        let deadline = instant() + STEP;
        // Nothing is sent before its time without a flush, and the flush serves what is acknowledged.
        let flushed = producer.flush(STEP);
        let said = loop {
            let said = acknowledged.0.lock().take();
            if said.is_some() || instant() >= deadline {
                break said;
            }
            producer.poll(POLL);
        };
        let acknowledged_ms = now_ms();
        let aborted = producer.abort_transaction(STEP);
        match said {
            Some(Ok(broker_ms)) => {
                aborted.map_err(failed)?;
                Ok(TriedTransaction { broker_ms, between_ms: (sent_ms, acknowledged_ms) })
            }
            Some(Err(code)) => Err(KafkaError::call(format!("writing to {topic} in a transaction of {id}"), code)),
            None => Err(flushed.err().map_or(KafkaError::Closed, failed)),
        }
    };
    tokio::task::spawn_blocking(run).await.map_err(|_gone| KafkaError::Closed)?
}

// === impl TriedTransaction ===

impl TriedTransaction {
    /// By how much our clock is ahead of the broker's, ms, at least: what the way there and back may explain is left out.
    #[must_use]
    pub fn ahead_ms(&self) -> Option<i64> {
        let (sent_ms, acknowledged_ms) = self.between_ms;
        let broker_ms = self.broker_ms?;
        Some(if broker_ms < sent_ms {
            sent_ms - broker_ms
        } else if broker_ms > acknowledged_ms {
            acknowledged_ms - broker_ms
        } else {
            0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_way_may_explain_is_no_difference_of_clocks() {
        let tried = |broker_ms| TriedTransaction { broker_ms, between_ms: (1_000, 1_400) };
        assert_eq!(tried(Some(1_200)).ahead_ms(), Some(0));
        assert_eq!(tried(Some(400)).ahead_ms(), Some(600), "ours is ahead");
        assert_eq!(tried(Some(4_000)).ahead_ms(), Some(-2_600));
        assert_eq!(tried(None).ahead_ms(), None);
    }
}
