//! One thread that reads runs: assigns a consumer at the run's first offset and polls until the last one is answered.
//!
//! ```text
//! record at the next offset: found     record or end behind it: gone     out of range: gone below the log's start
//! nothing for the patience, or what waiting cannot cure: the rest of the run has failed
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as Native;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use schemas::record::TopicPartition;
use tokio::sync::mpsc;

use super::board::{Board, Run};
use super::{FetchOutcome, Fetched};
use crate::clock::instant;
use crate::connection::Connection;
use crate::error::{ErrorCode, KafkaError};
use crate::ffi;
use crate::lease::Lease;
use crate::log::{self, Named};

/// Answers of one hand-over.
const BATCH: usize = 256;
/// Bytes of their records.
const BATCH_BYTES: usize = 1024 * 1024;
/// How long one poll may block; also how late a cancellation is noticed while nothing comes.
const POLL: Duration = Duration::from_millis(100);
/// How long nothing may come of a partition whose last run has failed: enough for one that has a leader again.
const RETRY_PATIENCE: Duration = Duration::from_secs(2);
/// How long a question for the log's ends may take; it is repeated.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The thread's state.
pub(super) struct RunReader {
    connection: Connection,
    board: Arc<Board>,
    answers: mpsc::Sender<Vec<Fetched>>,
    patience: Duration,
    /// Made when they are needed: the one that seeks, and the one that scans.
    consumers: [Option<Assigned>; 2],
}

/// A consumer and where it stands.
struct Assigned {
    consumer: BaseConsumer<Named>,
    /// Its partition, and the next offset it hands out.
    at: Option<(TopicPartition, i64)>,
}

/// A run that is being read.
struct RunReading<'a> {
    lease: Lease,
    /// What is not answered yet, ascending.
    left: VecDeque<i64>,
    board: &'a Board,
    answers: &'a mpsc::Sender<Vec<Fetched>>,
    batch: Vec<Fetched>,
    batch_bytes: usize,
    /// When something came last.
    since: Instant,
}

// === impl RunReader ===

impl RunReader {
    pub(super) fn new(
        connection: &Connection,
        board: Arc<Board>,
        answers: mpsc::Sender<Vec<Fetched>>,
        patience: Duration,
    ) -> Self {
        Self { connection: connection.clone(), board, answers, patience, consumers: [None, None] }
    }

    pub(super) fn run(mut self) {
        while let Some(run) = self.board.try_take().or_else(|| self.wait()) {
            let epoch = run.lease.epoch;
            let has_failed = !self.read(run);
            self.board.end(epoch, has_failed);
        }
    }

    /// Waits for a run, with nothing fetched meanwhile.
    fn wait(&mut self) -> Option<Run> {
        self.consumers.iter_mut().flatten().for_each(Assigned::rest);
        self.board.take()
    }

    /// False: something of it could not be read.
    fn read(&mut self, run: Run) -> bool {
        let is_scan = run.is_scan();
        let patience = if run.is_retry { self.patience.min(RETRY_PATIENCE) } else { self.patience };
        let slot = &mut self.consumers[usize::from(is_scan)];
        let mut reading = RunReading::new(run, &self.board, &self.answers);
        let assigned = match slot {
            Some(assigned) => assigned,
            None => match Assigned::new(&self.connection, is_scan) {
                Ok(assigned) => slot.insert(assigned),
                Err(error) => {
                    reading.fail(&error);
                    return false;
                }
            },
        };
        if let Err(error) = reading.read(assigned, patience) {
            // Where the consumer stands is not known any more.
            assigned.rest();
            reading.fail(&error);
            return false;
        }
        true
    }
}

// === impl Assigned ===

impl Assigned {
    fn new(connection: &Connection, is_scan: bool) -> Result<Self, KafkaError> {
        let consumer =
            BaseConsumer::from_config_and_context(&connection.fetcher(is_scan), Named::new("reading records back"))
                .map_err(|error| KafkaError::Client { purpose: "reading records back", reason: error.to_string() })?;
        Ok(Self { consumer, at: None })
    }

    /// Goes to an offset, unless the consumer comes by it soon.
    fn go_to(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), KafkaError> {
        let comes_by = |(of, at): &(TopicPartition, i64)| of == partition && (*at..=*at + 64).contains(&offset);
        if self.at.as_ref().is_some_and(comes_by) {
            return Ok(());
        }
        let failed = |error| KafkaError::from_rdkafka(format!("assigning {partition} at offset {offset}"), &error);
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(offset)).map_err(failed)?;
        self.consumer.assign(&list).map_err(failed)?;
        self.at = Some((partition.clone(), offset));
        Ok(())
    }

    /// Fetches nothing any more.
    fn rest(&mut self) {
        if self.at.take().is_some()
            && let Err(error) = self.consumer.unassign()
        {
            log::call_failed(&KafkaError::from_rdkafka("resting", &error));
        }
    }

    /// The next offset it hands out, as far as it is known.
    fn position(&self) -> i64 {
        self.at.as_ref().map_or(0, |(_, position)| *position)
    }

    /// An end was reached: behind the markers before it.
    fn pass_markers(&mut self) -> Result<i64, KafkaError> {
        let Some((partition, position)) = &mut self.at else { return Ok(0) };
        let failed = |error| KafkaError::from_rdkafka(format!("position of {partition}"), &error);
        let positions = self.consumer.position().map_err(failed)?;
        let found = positions.find_partition(&partition.topic, partition.partition).map(|element| element.offset());
        if let Some(Offset::Offset(offset)) = found {
            *position = offset.max(*position);
        }
        Ok(*position)
    }

    fn passed(&mut self, offset: i64) {
        if let Some((_, position)) = &mut self.at {
            *position = offset + 1;
        }
    }
}

// === impl RunReading ===

impl<'a> RunReading<'a> {
    fn new(run: Run, board: &'a Board, answers: &'a mpsc::Sender<Vec<Fetched>>) -> Self {
        let (batch, since) = (Vec::new(), instant());
        Self { lease: run.lease, left: run.offsets.into(), board, answers, batch, batch_bytes: 0, since }
    }

    /// Reads until everything is answered or nobody wants it.
    fn read(&mut self, assigned: &mut Assigned, patience: Duration) -> Result<(), KafkaError> {
        let partition = self.lease.partition.clone();
        let Some(&first) = self.left.front() else { return Ok(()) };
        assigned.go_to(&partition, first)?;
        let mut last_error = None;
        while !self.left.is_empty() {
            if !self.board.is_wanted(self.lease.epoch) {
                // The consumer may fetch on for nobody.
                assigned.rest();
                return Ok(());
            }
            let timeout = if self.batch.is_empty() { POLL } else { Duration::ZERO };
            match assigned.consumer.poll(timeout) {
                Some(Ok(message)) => {
                    let offset = message.offset();
                    if message.partition() != partition.partition || offset < assigned.at.as_ref().map_or(0, |at| at.1)
                    {
                        continue;
                    }
                    self.take(&message);
                    drop(message);
                    assigned.passed(offset);
                }
                Some(Err(Native::PartitionEOF(_))) => {
                    let before = assigned.position();
                    let position = assigned.pass_markers()?;
                    self.pass(position, before < position);
                }
                Some(Err(error)) => {
                    let error = self.survive(&error, assigned)?;
                    last_error = error.or(last_error);
                }
                None => self.hand_over(),
            }
            if instant() - self.since > patience {
                let waited = || format!("reading {partition} at offset {} back", self.left[0]);
                return Err(last_error.unwrap_or_else(|| KafkaError::call(waited(), Code::OperationTimedOut)));
            }
        }
        self.hand_over();
        Ok(())
    }

    /// A record came.
    fn take(&mut self, message: &BorrowedMessage<'_>) {
        let offset = message.offset();
        self.pass(offset, true);
        let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        let mut bytes = length(message.key()) + length(message.payload());
        if self.left.front() == Some(&offset) {
            self.left.pop_front();
            let record = ffi::read_record(message);
            bytes = record.size();
            self.batch_bytes += bytes;
            self.answer(offset, FetchOutcome::Found(record));
        }
        let wait = self.board.count(bytes);
        if wait > Duration::ZERO {
            // Nobody waits for the rate with answers that are there.
            self.hand_over();
            self.board.wait(wait, self.lease.epoch);
            self.since = instant();
        }
    }

    /// Everything below this position was read: what is demanded there and did not come is not there.
    fn pass(&mut self, position: i64, has_moved: bool) {
        if has_moved {
            self.since = instant();
        }
        while let Some(offset) = self.left.pop_front_if(|offset| *offset < position) {
            self.answer(offset, FetchOutcome::Gone);
        }
    }

    /// What passes by itself is survived and returned, the rest is an error.
    fn survive(&mut self, error: &Native, assigned: &mut Assigned) -> Result<Option<KafkaError>, KafkaError> {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        let ours = KafkaError::from_rdkafka(format!("reading {} back", self.lease.partition), error);
        if matches!(code, Code::OffsetOutOfRange | Code::AutoOffsetReset) {
            self.out_of_range(assigned)?;
            return Ok(None);
        }
        if code == Code::UnknownTopicOrPartition || ErrorCode(code).is_denied() {
            return Err(ours);
        }
        if matches!(error, Native::MessageConsumptionFatal(_)) {
            return Err(ours);
        }
        log::call_failed(&ours);
        Ok(Some(ours))
    }

    /// The log begins above the position, or ends below it.
    fn out_of_range(&mut self, assigned: &mut Assigned) -> Result<(), KafkaError> {
        let partition = self.lease.partition.clone();
        let (log_start, log_end) =
            assigned
                .consumer
                .fetch_watermarks(&partition.topic, partition.partition, TIMEOUT)
                .map_err(|error| KafkaError::from_rdkafka(format!("log start and end of {partition}"), &error))?;
        self.pass(log_start, true);
        let Some(&offset) = self.left.front() else {
            assigned.rest();
            return Ok(());
        };
        if offset >= log_end {
            return Err(KafkaError::OffsetOutOfRange { partition, offset, log_start, log_end });
        }
        assigned.rest();
        assigned.go_to(&partition, offset)
    }

    fn answer(&mut self, offset: i64, outcome: FetchOutcome) {
        self.batch.push(Fetched { lease: self.lease.clone(), offset, outcome });
        if self.batch.len() >= BATCH || self.batch_bytes >= BATCH_BYTES {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        self.batch_bytes = 0;
        if !self.batch.is_empty() && self.answers.blocking_send(std::mem::take(&mut self.batch)).is_err() {
            // Nobody waits for answers any more.
            self.board.stop();
        }
    }

    /// Answers everything that is left.
    fn fail(mut self, error: &KafkaError) {
        log::call_failed(error);
        while let Some(offset) = self.left.pop_front() {
            self.answer(offset, FetchOutcome::Failed(error.clone()));
        }
        self.hand_over();
    }
}
