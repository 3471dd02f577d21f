//! Delivery reports of one attempt, as the thread that polls the producer brings them.

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError as Native;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::log;

/// Collects delivery reports; lives in the producer, called by its poll thread.
#[derive(Default)]
pub(super) struct Reports(Mutex<Reported>);

#[derive(Default)]
struct Reported {
    attempt: u32,
    failed: Vec<(usize, Code)>,
    partitions: Vec<(usize, i32)>,
}

// === impl Reports ===

impl Reports {
    /// Forgets what was reported: another attempt begins.
    pub(super) fn begin(&self, attempt: u32) {
        *self.0.lock() = Reported { attempt, ..Reported::default() };
    }

    /// Records that were refused, by their index, and why; once.
    pub(super) fn take_failed(&self) -> Vec<(usize, Code)> {
        std::mem::take(&mut self.0.lock().failed)
    }

    /// Distinct partitions that were written to.
    pub(super) fn partitions(&self) -> usize {
        self.0.lock().partitions.len()
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // A failed transaction is this crate's to handle and to log; an old generation is part of every rebalance.
        let level = if facility == "TXNERR" { RDKafkaLogLevel::Debug } else { level };
        log::librdkafka("writer", level, facility, message);
    }

    fn error(&self, error: Native, reason: &str) {
        log::client_error("writer", &error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, opaque: usize) {
        let (attempt, index) = (opaque >> 32, opaque & 0xffff_ffff);
        let mut reported = self.0.lock();
        if attempt != reported.attempt as usize {
            return;
        }
        match report {
            Ok(message) => {
                let touched = (message.topic_ptr() as usize, message.partition());
                if reported.partitions.last() != Some(&touched) && !reported.partitions.contains(&touched) {
                    reported.partitions.push(touched);
                }
            }
            Err((error, _)) => {
                reported.failed.push((index, error.rdkafka_error_code().unwrap_or(Code::Fail)));
            }
        }
    }
}
