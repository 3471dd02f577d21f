//! The engine's time: milliseconds that never jump, whatever is done to the wall clock.
//!
//! It is the clock that counts suspension, moved so that it reads as the wall did when the worker started. Everything that is
//! about *how long* goes by it. What stands in records (due times, deadlines, since when an endpoint fails) is the wall's, and
//! compared with the wall: [`Wall`] says how far that is ahead.

use stage::Now;

/// Makes the engine's time of a turn's.
#[derive(Debug, Default)]
pub(crate) struct SteadyClock {
    /// From the clock that counts suspension to this one, once a first time is known.
    shift_ms: Option<i64>,
}

/// How far the wall clock is ahead of the engine's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wall {
    pub(crate) ahead_ms: i64,
}

impl SteadyClock {
    /// The engine's time, and the wall's.
    pub(crate) fn read(&mut self, now: Now) -> (i64, Wall) {
        let shift_ms = *self.shift_ms.get_or_insert(now.wall_ms - now.boot_ms);
        let now_ms = now.boot_ms + shift_ms;
        (now_ms, Wall { ahead_ms: now.wall_ms - now_ms })
    }
}

impl Wall {
    /// What the wall shows, Unix ms.
    pub(crate) fn ms(self, now_ms: i64) -> i64 {
        now_ms.saturating_add(self.ahead_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_jumps_moves_only_the_wall() {
        let mut clock = SteadyClock::default();
        let instant = chassis::clock::instant();
        let at = |wall_ms, boot_ms| Now { wall_ms, boot_ms, instant };
        assert_eq!(clock.read(at(1_000_000, 5_000)), (1_000_000, Wall { ahead_ms: 0 }));
        let (now_ms, wall) = clock.read(at(1_000_010 - 3_600_000, 5_010));
        assert_eq!((now_ms, wall.ms(now_ms)), (1_000_010, 1_000_010 - 3_600_000));
    }
}
