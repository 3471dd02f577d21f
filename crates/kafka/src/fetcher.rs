//! Reading records back by their offsets, without a group: what a partition's owner once read and keeps elsewhere as offsets.
//!
//! ```text
//! demand(lease, offsets) --> Board --run--> one of two threads: seek or scan --> Answers: found | gone | failed
//! cancel(lease) -----------^  sorted, what lies close together is one run; partitions in turn, urgent ones first
//! ```
//!
//! A seek (an assignment at an offset) costs the brokers what reading some hundred records does, so offsets that are close
//! together are read through, the records between them thrown away. Every offset that is demanded is answered once, unless its
//! lease is cancelled first. Each thread has two consumers, one set up for each way, so there are four at most.

mod board;
mod rate;
mod reader;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use schemas::record::Record;
use tokio::sync::mpsc;

use self::board::Board;
use self::reader::RunReader;
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::lease::Lease;

pub use self::board::Urgency;

/// Threads; each serves one partition at a time.
const THREADS: usize = 2;
/// Hand-overs of answers that may wait for the reader; each holds at most a megabyte and one record.
const QUEUE: usize = 4;

/// How records are read back.
#[derive(Clone, Copy, Debug)]
pub struct FetcherOptions {
    /// Bytes of the log that are read per second, over all partitions.
    pub bytes_per_second: u64,
    /// Offsets that may be demanded and not answered, over all leases.
    pub demands: usize,
    /// How long nothing may come before what was demanded is answered as failed.
    pub patience: Duration,
}

/// Demands records; cheap to clone. The threads end with the last handle, or with its [`Answers`].
#[derive(Clone, Debug)]
pub struct Fetcher(Arc<FetcherHandle>);

#[derive(Debug)]
struct FetcherHandle {
    board: Arc<Board>,
}

/// What became of the offsets that were demanded.
#[derive(Debug)]
pub struct Answers {
    batches: mpsc::Receiver<Vec<Fetched>>,
    ready: VecDeque<Fetched>,
    board: Arc<Board>,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Whose demand it was.
    pub lease: Lease,
    /// The offset that was demanded.
    pub offset: i64,
    /// What was found.
    pub outcome: FetchOutcome,
}

/// What was found at an offset.
#[derive(Clone, Debug)]
pub enum FetchOutcome {
    /// The record that stands there.
    Found(Record),
    /// No record: below the log's start, compacted away, or a transaction's marker.
    Gone,
    /// Kafka could not be asked, or the log ends below it: it may be demanded again.
    Failed(KafkaError),
}

// === impl FetcherOptions ===

impl Default for FetcherOptions {
    fn default() -> Self {
        Self { bytes_per_second: 128 * 1024 * 1024, demands: 65_536, patience: Duration::from_secs(30) }
    }
}

// === impl Fetcher ===

impl Fetcher {
    /// Starts the threads; their consumers are made when they are needed.
    ///
    /// # Errors
    /// No threads.
    pub fn start(connection: &Connection, options: FetcherOptions) -> Result<(Self, Answers), KafkaError> {
        let board = Arc::new(Board::new(options));
        let (answers, batches) = mpsc::channel(QUEUE);
        for _ in 0..THREADS {
            let reader = RunReader::new(connection, Arc::clone(&board), answers.clone(), options.patience);
            std::thread::Builder::new().name("kafka-fetcher".into()).spawn(move || reader.run()).map_err(|error| {
                board.stop();
                KafkaError::Client { purpose: "reading records back", reason: error.to_string() }
            })?;
        }
        let answers = Answers { batches, ready: VecDeque::new(), board: Arc::clone(&board) };
        Ok((Self(Arc::new(FetcherHandle { board })), answers))
    }

    /// Demands these offsets of a lease's partition, in any order, each once. Returns how many were taken, from the first on: the
    /// others have no room now.
    #[must_use]
    pub fn demand(&self, lease: &Lease, offsets: &[i64], urgency: Urgency) -> usize {
        self.0.board.demand(lease, offsets, urgency)
    }

    /// Forgets what was demanded for a lease. Answers that are on their way may still come.
    pub fn cancel(&self, lease: &Lease) {
        self.0.board.cancel(lease.epoch);
    }

    /// Offsets that were demanded and are not being read yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.board.waiting()
    }

    /// Bytes of records read so far, those in between included.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.0.board.bytes_read()
    }
}

impl Drop for FetcherHandle {
    fn drop(&mut self) {
        self.board.stop();
    }
}

// === impl Answers ===

impl Answers {
    /// The next answer; `None` once the last [`Fetcher`] is dropped and everything was given. Cancel safe.
    pub async fn next(&mut self) -> Option<Fetched> {
        loop {
            if let Some(fetched) = self.ready.pop_front() {
                return Some(fetched);
            }
            self.ready = self.batches.recv().await?.into();
        }
    }

    /// An answer that is there already.
    pub fn try_next(&mut self) -> Option<Fetched> {
        if self.ready.is_empty() {
            self.ready = self.batches.try_recv().ok()?.into();
        }
        self.ready.pop_front()
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.board.stop();
    }
}
