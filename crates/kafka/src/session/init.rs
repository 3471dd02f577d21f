//! Becoming the one producer of a transactional id.
//!
//! Where the former one has a transaction open, Kafka fences it, ends that transaction and answers "not now, ask again". It is done
//! within milliseconds, but librdkafka asks again after 500 ms, of which nobody may write: replicas that take turns lost most of
//! each. A call that is made again asks at once, and disturbs no request that has no answer yet.

use std::time::Duration;

use rdkafka::error::KafkaError as Native;
use rdkafka::producer::Producer;

use super::Session;
use crate::clock::instant;
use crate::error::KafkaError;

/// After which time it is asked again first. A request that meets nothing takes some 5 ms, and one of a new client 60.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Twice as long each time, up to librdkafka's own.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

// === impl Session ===

impl Session {
    /// Fences every other producer of this transactional id and settles its transaction.
    ///
    /// # Errors
    /// The cluster did not answer in time, or refuses.
    pub(crate) fn init(&self, timeout: Duration) -> Result<(), KafkaError> {
        let deadline = instant() + timeout;
        let mut pause = FIRST_PAUSE;
        loop {
            let left = deadline.saturating_duration_since(instant());
            let Err(error) = self.producer.init_transactions(pause.min(left)) else { return Ok(()) };
            if left <= pause || !matches!(&error, Native::Transaction(error) if error.is_retriable()) {
                return Err(KafkaError::from_rdkafka("init_transactions", &error));
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}
