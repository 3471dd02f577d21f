//! Since when each answer of a connection has waited for its peer to make room, and which of them nobody reads. Pure.
//!
//! Over HTTP/2 many answers wait on one connection. One clock for all of them would be put off by whichever moves, and an answer that
//! nobody reads would be kept for as long as its client asks for another one now and then. So each has its own, and how much the
//! connection has moved meanwhile says what it means:
//!
//! ```text
//! less than one answer alone would have to        nobody reads it
//! more, but not yet a turn for each stream        it waits for the others: the link is slow, and is read
//! more than a turn for each stream                it had its turn, and nobody reads it
//! whatever, for 30 times as long as one may wait  nobody reads it
//! ```
//!
//! One that nobody reads ends alone, unless there is nothing else on its connection.

use futures_util::future::AbortHandle;
use parking_lot::Mutex;

/// Bytes of one step of an answer.
const PIECE: u64 = super::answer::PIECE as u64;
/// What passes of each other stream, at the most, while one answer moves by a piece: HTTP/2 sends a frame of each in turn.
const TURN: u64 = PIECE + PIECE / 2;
/// So many times its patience an answer waits for others at the longest.
const LONGEST: u64 = 30;

/// The answers that wait.
#[derive(Debug, Default)]
pub(super) struct OwedAnswers(Mutex<OwedTable>);

#[derive(Debug, Default)]
struct OwedTable {
    answers: Vec<Option<WaitingAnswer>>,
    /// When one last had room, in milliseconds of the connection's age.
    moved_ms: Option<u64>,
}

/// An answer whose next bytes wait.
#[derive(Debug)]
struct WaitingAnswer {
    since_ms: u64,
    /// Bytes that the socket had taken by then.
    taken: u64,
    /// Ends it alone; none over HTTP/1.1.
    stream: Option<AbortHandle>,
    /// It was ended, and is gone as soon as its task sees to it.
    is_ended: bool,
}

/// One of them.
#[derive(Debug)]
pub(super) struct OwedAnswer(usize);

/// A connection, when its answers are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwedMoment {
    /// Milliseconds of its age.
    pub(super) now_ms: u64,
    /// Bytes that its socket has taken.
    pub(super) taken: u64,
    /// Requests that are served.
    pub(super) busy: usize,
    /// How long an answer may wait without having moved.
    pub(super) patience_ms: u64,
    /// Requests that its peer may have under way at once.
    pub(super) streams: u32,
}

/// What is unread of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnreadAnswers {
    /// Nothing; look again when the connection is so old, if not before.
    None(Option<u64>),
    /// Some of its streams.
    Streams,
    /// All that is on it.
    Connection,
}

// === impl OwedAnswers ===

impl OwedAnswers {
    /// An answer waits from `now_ms` on, in milliseconds of the connection's age, of which the socket has taken so many bytes.
    pub(super) fn add(&self, now_ms: u64, taken: u64, stream: Option<AbortHandle>) -> OwedAnswer {
        let mut table = self.0.lock();
        let waiting = Some(WaitingAnswer { since_ms: now_ms, taken, stream, is_ended: false });
        let free = table.answers.iter().position(Option::is_none).unwrap_or(table.answers.len());
        match table.answers.get_mut(free) {
            Some(place) => *place = waiting,
            None => table.answers.push(waiting),
        }
        OwedAnswer(free)
    }

    /// It waits no more.
    pub(super) fn remove(&self, OwedAnswer(place): OwedAnswer, now_ms: u64) {
        let mut table = self.0.lock();
        let waited = table.answers.get_mut(place).and_then(Option::take);
        if waited.is_some_and(|answer| !answer.is_ended) {
            table.moved_ms = Some(now_ms);
        }
    }

    /// What nobody reads.
    pub(super) fn unread(&self, moment: OwedMoment) -> UnreadAnswers {
        let table = self.0.lock();
        let (mut unread, mut alone, mut since_ms) = (0, true, u64::MAX);
        for answer in table.waiting().filter(|answer| answer.is_unread(moment)) {
            unread += 1;
            alone &= answer.stream.is_some();
            since_ms = since_ms.min(answer.since_ms);
        }
        let has_moved = table.moved_ms.is_some_and(|moved_ms| moved_ms > since_ms);
        if unread == 0 {
            let ends = table.waiting().map(|answer| answer.since_ms.saturating_add(moment.patience_ms));
            UnreadAnswers::None(ends.filter(|end_ms| *end_ms > moment.now_ms).min())
        } else if alone && (unread < moment.busy || has_moved) {
            UnreadAnswers::Streams
        } else {
            UnreadAnswers::Connection
        }
    }

    /// Ends what nobody reads; how many were ended.
    pub(super) fn end_unread(&self, moment: OwedMoment) -> usize {
        let mut ended = 0;
        for answer in self.0.lock().answers.iter_mut().flatten() {
            if !answer.is_ended
                && answer.is_unread(moment)
                && let Some(stream) = &answer.stream
            {
                stream.abort();
                answer.is_ended = true;
                ended += 1;
            }
        }
        ended
    }
}

// === impl OwedTable ===

impl OwedTable {
    fn waiting(&self) -> impl Iterator<Item = &WaitingAnswer> {
        self.answers.iter().flatten().filter(|answer| !answer.is_ended)
    }
}

// === impl WaitingAnswer ===

impl WaitingAnswer {
    fn is_unread(&self, moment: OwedMoment) -> bool {
        let waited_ms = moment.now_ms.saturating_sub(self.since_ms);
        if waited_ms < moment.patience_ms {
            return false;
        }
        let moved = moment.taken.saturating_sub(self.taken);
        // A piece in the time that it may wait is what an answer alone has to be read at.
        let is_slow = moved.saturating_mul(moment.patience_ms) < PIECE.saturating_mul(waited_ms);
        let has_had_turn = moved >= TURN.saturating_mul(moment.streams.into());
        is_slow || has_had_turn || waited_ms >= moment.patience_ms.saturating_mul(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE_MS: u64 = 10_000;

    fn stream() -> Option<AbortHandle> {
        Some(AbortHandle::new_pair().0)
    }

    fn at(now_ms: u64, taken: u64, busy: usize) -> OwedMoment {
        OwedMoment { now_ms, taken, busy, patience_ms: PATIENCE_MS, streams: 100 }
    }

    #[test]
    fn an_answer_that_is_not_read_is_not_kept_by_others_that_are() {
        let owed = OwedAnswers::default();
        let unread = owed.add(1_000, 0, stream());
        for now_ms in [2_000, 3_000, 9_000] {
            let read = owed.add(now_ms, 0, stream());
            assert_eq!(owed.unread(at(now_ms, 0, 2)), UnreadAnswers::None(Some(11_000)));
            owed.remove(read, now_ms);
        }
        let other = owed.add(10_000, 0, stream());
        assert_eq!(owed.unread(at(11_000, 0, 2)), UnreadAnswers::Streams);
        assert_eq!(owed.end_unread(at(11_000, 0, 2)), 1);
        assert_eq!(owed.end_unread(at(11_000, 0, 2)), 0, "once");
        assert_eq!(owed.unread(at(11_000, 0, 2)), UnreadAnswers::None(Some(20_000)));
        owed.remove(unread, 11_001);
        owed.remove(other, 11_002);
        assert_eq!(owed.unread(at(90_000, 0, 0)), UnreadAnswers::None(None));
        assert_eq!(owed.0.lock().answers.len(), 2, "places are taken again");
    }

    #[test]
    fn where_nothing_else_is_on_the_connection_and_nothing_has_moved_all_of_it_is_unread() {
        let owed = OwedAnswers::default();
        let first = owed.add(0, 0, stream());
        let second = owed.add(0, 0, stream());
        assert_eq!(owed.unread(at(10_000, 0, 2)), UnreadAnswers::Connection);
        assert_eq!(owed.unread(at(10_000, 0, 3)), UnreadAnswers::Streams, "a third is served");
        owed.remove(second, 5_000);
        assert_eq!(owed.unread(at(10_000, 0, 1)), UnreadAnswers::Streams, "another one was read meanwhile");
        owed.remove(first, 10_000);
        // What was ended has not been read.
        let (first, second) = (owed.add(20_000, 0, stream()), owed.add(25_000, 0, stream()));
        assert_eq!(owed.end_unread(at(30_000, 0, 2)), 1);
        owed.remove(first, 30_001);
        assert_eq!(owed.unread(at(35_000, 0, 1)), UnreadAnswers::Connection);
        owed.remove(second, 35_001);
        let _http1 = owed.add(40_000, 0, None);
        assert_eq!(owed.unread(at(50_000, 0, 9)), UnreadAnswers::Connection, "no stream can be ended alone");
    }

    #[test]
    fn an_answer_that_waits_for_others_waits_as_long_as_their_turns_take() {
        let owed = OwedAnswers::default();
        let all: Vec<OwedAnswer> = (0..30).map(|_| owed.add(0, 0, stream())).collect();
        // Twice as fast as one alone has to be read: the last one waits for 15 times its patience.
        let taken = |now_ms: u64| 2 * PIECE * now_ms / PATIENCE_MS;
        let mut now_ms = 0;
        for answer in all {
            now_ms += PATIENCE_MS / 2;
            assert!(matches!(owed.unread(at(now_ms, taken(now_ms), 30)), UnreadAnswers::None(_)), "{now_ms}");
            owed.remove(answer, now_ms);
        }
        let unread = owed.add(now_ms, taken(now_ms), stream());
        let after = |waited_ms: u64, moved: u64| at(now_ms + waited_ms, taken(now_ms) + moved, 1);
        assert_eq!(owed.unread(after(2 * PATIENCE_MS, 2 * PIECE)), UnreadAnswers::None(None));
        assert_ne!(
            owed.unread(after(2 * PATIENCE_MS, 2 * PIECE - 1)),
            UnreadAnswers::None(None),
            "slower than one alone"
        );
        let busy = OwedMoment { busy: 2, ..after(2 * PATIENCE_MS, 100 * TURN) };
        assert_eq!(owed.unread(busy), UnreadAnswers::Streams, "all others have had their turn");
        assert_ne!(owed.unread(after(30 * PATIENCE_MS, 60 * PIECE)), UnreadAnswers::None(None), "not for ever");
        owed.remove(unread, now_ms);
    }
}
