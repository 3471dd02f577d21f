//! A sealed chunk of a list, kept as the text it has on the topic: three bytes per offset, and cheap to share.

use std::collections::VecDeque;
use std::sync::Arc;

use schemas::lanes::{ChunkRecord, decode_offsets, encode_offsets};

/// Bytes of a chunk's key and value without any offset, at least.
const BARE: usize = 86;

/// Bounds of what waits somewhere: nothing of it is older, nothing dies of age earlier. Unix ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age {
    /// Kafka's time of its record.
    pub(crate) oldest_ms: i64,
    /// Its deadline.
    pub(crate) dead_ms: i64,
}

/// Offsets that were sealed together; at least one.
#[derive(Clone, Debug)]
pub(crate) struct SealedChunk {
    text: Arc<str>,
    first: i64,
    last: i64,
    len: u32,
    /// Of all of them.
    pub(crate) age: Age,
}

/// What happened to a chunk of a list, in order: what is written of it, and what is taken back.
#[derive(Clone, Debug)]
pub(crate) enum ChunkStep {
    /// It is one of its chunks from now on.
    Sealed {
        /// Its number.
        number: i64,
        /// Its offsets.
        chunk: SealedChunk,
        /// It stands before all others; else behind them.
        is_first: bool,
    },
    /// It is one of them no more.
    Taken {
        /// Its number.
        number: i64,
        /// Its offsets.
        chunk: SealedChunk,
        /// It stood before all others; else behind them.
        is_first: bool,
    },
}

// === impl Age ===

impl Age {
    /// Bounds of both.
    pub(crate) fn with(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        Self { oldest_ms: self.oldest_ms.min(other.oldest_ms), dead_ms: self.dead_ms.min(other.dead_ms) }
    }
}

// === impl SealedChunk ===

impl SealedChunk {
    /// These offsets, ascending; `None` for none.
    pub(crate) fn new(offsets: &[i64], age: Age) -> Option<Self> {
        let (first, last) = (*offsets.first()?, *offsets.last()?);
        let len = u32::try_from(offsets.len()).ok()?;
        Some(Self { text: Arc::from(encode_offsets(offsets)), first, last, len, age })
    }

    /// As its record says; `None` for one without offsets.
    pub(crate) fn restore(record: ChunkRecord) -> Option<Self> {
        Self::new(&record.offsets, Age { oldest_ms: record.oldest_ms, dead_ms: record.dead_ms })
    }

    /// Its record.
    pub(crate) fn record(&self) -> ChunkRecord {
        ChunkRecord::new(self.offsets(), self.age.oldest_ms, self.age.dead_ms)
    }

    /// Its offsets.
    pub(crate) fn offsets(&self) -> Vec<i64> {
        decode_offsets(&self.text).expect("a chunk holds what was encoded")
    }

    pub(crate) fn first(&self) -> i64 {
        self.first
    }

    pub(crate) fn last(&self) -> i64 {
        self.last
    }

    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Bytes of its record, or a few less: numbers and times have lengths of their own.
    pub(crate) fn bytes(&self) -> usize {
        BARE + self.text.len()
    }
}

// === impl ChunkStep ===

impl ChunkStep {
    /// Bytes of the record that counts: before the step, and after it.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        match self {
            Self::Sealed { chunk, .. } => (0, chunk.bytes()),
            Self::Taken { chunk, .. } => (chunk.bytes(), 0),
        }
    }

    /// Which chunk, and its offsets where it is one of the list's now.
    pub(crate) fn written(&self) -> (i64, Option<&SealedChunk>) {
        match self {
            Self::Sealed { number, chunk, .. } => (*number, Some(chunk)),
            Self::Taken { number, .. } => (*number, None),
        }
    }

    /// Takes the step back.
    pub(crate) fn undo(self, chunks: &mut VecDeque<SealedChunk>) {
        match self {
            Self::Sealed { is_first: true, .. } => drop(chunks.pop_front()),
            Self::Sealed { is_first: false, .. } => drop(chunks.pop_back()),
            Self::Taken { chunk, is_first: true, .. } => chunks.push_front(chunk),
            Self::Taken { chunk, is_first: false, .. } => chunks.push_back(chunk),
        }
    }
}
