//! A sealed chunk of a list, kept as the text it has on the topic: three bytes per offset, and cheap to share.

use std::collections::VecDeque;
use std::sync::Arc;

use schemas::lanes::{ChunkRecord, decode_offsets, encode_offsets};

/// What nobody knows may be as old as anything, and may die at any time.
pub(crate) const UNKNOWN_AGE: Age = Age { oldest_ms: 0, dead_ms: 0 };
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
    /// Its number in its list: they ascend, with gaps where a chunk has become empty.
    pub(crate) number: i64,
    text: Arc<str>,
    first: i64,
    last: i64,
    len: u32,
    /// Of all of them.
    pub(crate) age: Age,
    /// All of them are about to leave: they were looked at, and none of them lives.
    pub(crate) is_leaving: bool,
}

/// What happened to a chunk of a list, in order: what is written of it, and what is taken back.
#[derive(Clone, Debug)]
pub(crate) enum ChunkStep {
    /// It is one of its chunks from now on.
    Sealed {
        /// Its offsets.
        chunk: SealedChunk,
        /// It stands before all others; else behind them.
        is_first: bool,
    },
    /// The first of them is one no more.
    Joined(SealedChunk),
    /// Some of its offsets have left it, wherever it stands.
    Cut {
        /// What it held.
        was: SealedChunk,
        /// What it holds; nothing: it is none of them any more.
        is: Option<SealedChunk>,
    },
}

// === impl Age ===

impl Age {
    /// Bounds of both.
    pub(crate) fn with(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        Self { oldest_ms: self.oldest_ms.min(other.oldest_ms), dead_ms: self.dead_ms.min(other.dead_ms) }
    }

    /// Nothing of it dies before, Unix ms; `deliveries` surely keeps a record for `keep_ms`, or for ever.
    pub(crate) fn death_ms(self, keep_ms: Option<i64>) -> i64 {
        let kept_until_ms = keep_ms.map_or(i64::MAX, |keep_ms| self.oldest_ms.saturating_add(keep_ms));
        self.dead_ms.min(kept_until_ms)
    }
}

// === impl SealedChunk ===

impl SealedChunk {
    /// These offsets, ascending; `None` for none.
    pub(crate) fn new(number: i64, offsets: &[i64], age: Age) -> Option<Self> {
        let (first, last) = (*offsets.first()?, *offsets.last()?);
        let len = u32::try_from(offsets.len()).ok()?;
        Some(Self { number, text: Arc::from(encode_offsets(offsets)), first, last, len, age, is_leaving: false })
    }

    /// As its record says; `None` for one without offsets.
    pub(crate) fn restore(number: i64, record: &ChunkRecord) -> Option<Self> {
        Self::new(number, &record.offsets, Age { oldest_ms: record.oldest_ms, dead_ms: record.dead_ms })
    }

    /// Its record.
    pub(crate) fn record(&self) -> ChunkRecord {
        ChunkRecord::new(self.offsets(), self.age.oldest_ms, self.age.dead_ms)
    }

    /// Its offsets.
    pub(crate) fn offsets(&self) -> Vec<i64> {
        decode_offsets(&self.text).expect("a chunk holds what was encoded")
    }

    /// The same with fewer offsets; `None`: with none.
    pub(crate) fn keep(&self, keep: impl FnMut(&i64) -> bool) -> Option<Self> {
        let kept: Vec<i64> = self.offsets().into_iter().filter(keep).collect();
        Some(Self { is_leaving: self.is_leaving, ..Self::new(self.number, &kept, self.age)? })
    }

    /// Whether this offset is in it.
    pub(crate) fn holds(&self, offset: i64) -> bool {
        (self.first..=self.last).contains(&offset) && self.offsets().binary_search(&offset).is_ok()
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
            Self::Joined(chunk) => (chunk.bytes(), 0),
            Self::Cut { was, is } => (was.bytes(), is.as_ref().map_or(0, SealedChunk::bytes)),
        }
    }

    /// Which chunk, and its offsets where it is one of the list's now.
    pub(crate) fn written(&self) -> (i64, Option<&SealedChunk>) {
        match self {
            Self::Sealed { chunk, .. } => (chunk.number, Some(chunk)),
            Self::Joined(chunk) => (chunk.number, None),
            Self::Cut { was, is } => (was.number, is.as_ref()),
        }
    }

    /// Takes the step back.
    pub(crate) fn undo(self, chunks: &mut VecDeque<SealedChunk>) {
        match self {
            Self::Sealed { is_first: true, .. } => drop(chunks.pop_front()),
            Self::Sealed { is_first: false, .. } => drop(chunks.pop_back()),
            Self::Joined(chunk) => chunks.push_front(chunk),
            Self::Cut { was, is } => {
                let at = chunks.partition_point(|chunk| chunk.number < was.number);
                match chunks.get_mut(at).filter(|_| is.is_some()) {
                    Some(chunk) => *chunk = was,
                    None => chunks.insert(at, was),
                }
            }
        }
    }
}
