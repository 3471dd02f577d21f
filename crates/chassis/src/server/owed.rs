//! Since when each answer of a connection has waited for its peer to make room.
//!
//! Over HTTP/2 many answers wait on one connection. One clock for all of them would be put off by whichever moves, and an answer that
//! nobody reads would be kept for as long as its client asks for another one now and then.

use parking_lot::Mutex;

/// The answers that wait, each with its own clock.
#[derive(Debug, Default)]
pub(super) struct OwedAnswers(Mutex<Vec<Option<u64>>>);

/// One of them.
#[derive(Debug)]
pub(super) struct OwedAnswer(usize);

// === impl OwedAnswers ===

impl OwedAnswers {
    /// An answer waits from `now_ms` on, in milliseconds of the connection's age.
    pub(super) fn add(&self, now_ms: u64) -> OwedAnswer {
        let mut since = self.0.lock();
        let free = since.iter().position(Option::is_none).unwrap_or(since.len());
        match since.get_mut(free) {
            Some(place) => *place = Some(now_ms),
            None => since.push(Some(now_ms)),
        }
        OwedAnswer(free)
    }

    /// It waits no more.
    pub(super) fn remove(&self, OwedAnswer(place): OwedAnswer) {
        if let Some(place) = self.0.lock().get_mut(place) {
            *place = None;
        }
    }

    /// When the one that has waited longest began to.
    pub(super) fn since_ms(&self) -> Option<u64> {
        self.0.lock().iter().copied().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_read_is_not_kept_by_others_that_are() {
        let owed = OwedAnswers::default();
        let unread = owed.add(1_000);
        for now_ms in [2_000, 3_000, 9_000] {
            let read = owed.add(now_ms);
            assert_eq!(owed.since_ms(), Some(1_000));
            owed.remove(read);
        }
        let other = owed.add(10_000);
        owed.remove(unread);
        assert_eq!(owed.since_ms(), Some(10_000));
        owed.remove(other);
        assert_eq!(owed.since_ms(), None);
        assert_eq!(owed.0.lock().len(), 2, "places are taken again");
    }
}
