//! The gateway's port to Kafka: the idempotent producer, or a scripted one in tests.

use std::pin::Pin;

use kafka::{Acknowledgement, KafkaError, LastingProducer, Written};
use schemas::record::OutRecord;

/// Takes records for Kafka.
pub(crate) trait Publish: Send + Sync {
    /// Hands one record over without waiting.
    fn send(&self, record: &OutRecord) -> Result<PendingRecord, KafkaError>;
}

/// A record on its way.
pub(crate) enum PendingRecord {
    /// To Kafka.
    Kafka(Acknowledgement),
    /// To a test.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests script it"))]
    Scripted(Pin<Box<dyn Future<Output = Result<Written, KafkaError>> + Send>>),
}

impl Publish for LastingProducer {
    fn send(&self, record: &OutRecord) -> Result<PendingRecord, KafkaError> {
        Self::send(self, record).map(PendingRecord::Kafka)
    }
}

impl PendingRecord {
    /// Where it was written, once Kafka said so.
    pub(crate) async fn written(self) -> Result<Written, KafkaError> {
        match self {
            Self::Kafka(acknowledgement) => acknowledgement.await,
            Self::Scripted(outcome) => outcome.await,
        }
    }
}
