//! What the pool decides: how many connections are opened, kept and given up. Pure.
//!
//! Kept are as many as were in flight lately: fewer, and a busy endpoint pays for a new connection with most requests; more, and
//! both sides hold what nobody uses. The number halves every ten seconds in which it is not reached, so it needs no setting.
//!
//! Connects under way are limited, because a handshake is CPU. One that has not come to an end after half a second waits for
//! somebody else and costs nothing: it leaves its place to the next. So endpoints that answer nobody delay others by that at
//! most; and because there may be thousands of them, half of the places are for origins that answered when they were last asked.

use std::time::{Duration, Instant};

/// A peak counts whole for one of these, then half of it for another, and so on.
const WINDOW: Duration = Duration::from_secs(10);
/// While nobody knows whether an origin answers, or what it speaks: the second one in case the first hangs. HTTP/2 needs no more,
/// HTTP/1.1 is known after one handshake.
const FIRST_CONNECTS: usize = 2;
/// HTTP/2 connections of an origin: each is one path through balancers on the way, and one that fails takes all its streams
/// along.
const SHARED_PER_ORIGIN: usize = 16;
/// Streams of a connection, however many the server allows.
pub(super) const STREAMS: usize = 100;
/// Connections are made anew after this long, so that they follow names and balancers.
const LIFETIME: Duration = Duration::from_secs(600);
/// A connection is given up so long before its server would close it.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);
/// Connects under way: what is in flight of a lane by default, and what one worker's CPU can shake hands with.
const CONNECTS_PER_ORIGIN: usize = 32;
const CONNECTS: usize = 256;
/// A connect that takes longer leaves its place.
const PATIENCE: Duration = Duration::from_millis(500);
/// Connects that have left theirs. Each is a descriptor, and beyond that nothing.
const SLOW_CONNECTS: usize = 1_024;
/// For how many connections room is made at once where there is none left, one of so many: what was idle for longest is found by a
/// look at everything.
const EVICTED_PART: usize = 128;

/// What the pool is bounded by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolLimits {
    /// Name, connection, TLS and preface together.
    pub(crate) connect: Duration,
    /// A connection nobody uses is kept this long.
    pub(crate) idle: Duration,
    /// A connection is used this long.
    pub(crate) lifetime: Duration,
    /// Connections in all, those under way included.
    pub(crate) total: usize,
    /// Connections of one origin.
    pub(crate) per_origin: usize,
    /// Connects under way in all that have begun a moment ago. Half of them are for origins that answered.
    pub(crate) connects: usize,
    /// How long that moment is.
    pub(crate) patience: Duration,
    /// Connects under way in all that take longer.
    pub(crate) slow: usize,
    /// Connects under way to one origin.
    pub(crate) connects_per_origin: usize,
}

/// What an origin speaks, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// Nobody has connected yet.
    Unknown,
    /// One request at a time per connection.
    Http1,
    /// So many streams per connection.
    Http2(usize),
}

/// Whether an origin can be expected to answer a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OriginStanding {
    /// It answered the last one.
    Proven,
    /// It did not, or none was tried lately.
    Unproven,
}

/// What one origin needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    /// Requests that wait for a connection.
    pub(super) waiting: usize,
    /// Connects under way.
    pub(super) connecting: usize,
    /// Connections, those under way included.
    pub(super) open: usize,
    /// Those of them that take more than one request, and take more.
    pub(super) shared: usize,
    /// What they speak.
    pub(super) speaks: Speaks,
    /// Whether it can be expected to answer.
    pub(super) standing: OriginStanding,
}

/// What all origins have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PoolTotals {
    /// Connections, those under way included.
    pub(super) open: usize,
    /// Connects under way that have begun a moment ago.
    pub(super) connecting: usize,
    /// Those of them to origins that are not proven.
    pub(super) unproven: usize,
    /// Connects under way that take longer.
    pub(super) slow: usize,
}

/// How many were in use lately.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RecentPeak {
    since: Option<Instant>,
    current: usize,
    before: usize,
}

// === impl OriginStanding ===

impl OriginStanding {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Proven => Self::Unproven,
            Self::Unproven => Self::Proven,
        }
    }
}

// === impl PoolLimits ===

impl PoolLimits {
    /// For so many requests in flight: as many connections again may be idle.
    pub(crate) fn new(connect: Duration, idle: Duration, in_flight: usize) -> Self {
        let total = in_flight.saturating_mul(2).max(64);
        Self {
            connect,
            idle,
            lifetime: LIFETIME,
            total,
            per_origin: (total / 2).max(in_flight),
            connects: CONNECTS.min(total),
            patience: PATIENCE.min(connect),
            slow: SLOW_CONNECTS.min(total / 2),
            connects_per_origin: CONNECTS_PER_ORIGIN,
        }
    }

    /// Whether a connection has been idle or in use for too long. `promised` is what its server said in `Keep-Alive`.
    pub(super) fn is_over(&self, born: Instant, used: Instant, promised: Option<Duration>, now: Instant) -> bool {
        let promised = promised.map(|promised| promised.saturating_sub(KEEP_ALIVE_MARGIN));
        let idle = promised.map_or(self.idle, |promised| promised.min(self.idle));
        now.saturating_duration_since(used) >= idle || now.saturating_duration_since(born) >= self.lifetime
    }

    /// Connects that an origin with this need would begin if it were alone.
    pub(super) fn wanted(&self, need: Demand) -> usize {
        let Demand { waiting, connecting, open, shared, speaks, standing } = need;
        let wanted = match speaks {
            Speaks::Unknown | Speaks::Http1 => waiting,
            Speaks::Http2(streams) => waiting.div_ceil(streams.max(1)).min(SHARED_PER_ORIGIN.saturating_sub(shared)),
        };
        let most = match standing {
            OriginStanding::Proven => self.connects_per_origin,
            OriginStanding::Unproven => FIRST_CONNECTS,
        };
        wanted.min(most).saturating_sub(connecting).min(self.per_origin.saturating_sub(open))
    }

    /// Whether one more connect to an origin of this standing may be under way.
    pub(super) fn may_connect(&self, standing: OriginStanding, all: PoolTotals) -> bool {
        let has_place = match standing {
            OriginStanding::Proven => true,
            OriginStanding::Unproven => all.unproven < self.connects.div_ceil(2),
        };
        has_place && all.connecting < self.connects
    }

    /// Whether there is no room for another connection.
    pub(super) fn is_full(&self, all: PoolTotals) -> bool {
        all.open >= self.total
    }

    /// Idle connections that are given up where there is no room.
    pub(super) fn evicted(&self) -> usize {
        (self.total / EVICTED_PART).max(1)
    }
}

// === impl RecentPeak ===

impl RecentPeak {
    /// So many are in use now.
    pub(super) fn note(&mut self, used: usize, now: Instant) {
        self.roll(now);
        self.current = self.current.max(used);
    }

    /// As many are worth having.
    pub(super) fn keeps(&mut self, used: usize, now: Instant) -> usize {
        self.note(used, now);
        // One stays for as long as it may be idle: who gets an event a minute is spared the handshake.
        self.current.max(self.before).max(1)
    }

    fn roll(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since).as_secs() / WINDOW.as_secs();
        if passed > 0 {
            let halves = u32::try_from(passed - 1).unwrap_or(u32::MAX);
            self.before = self.current.max(self.before / 2).checked_shr(halves).unwrap_or(0);
            self.current = 0;
            self.since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use chassis::clock;
    use proptest::prelude::*;

    use super::*;

    fn limits() -> PoolLimits {
        PoolLimits::new(Duration::from_secs(5), Duration::from_secs(60), 1_024)
    }

    fn need(waiting: usize, connecting: usize, open: usize, speaks: Speaks) -> Demand {
        Demand { waiting, connecting, open, shared: open - connecting, speaks, standing: OriginStanding::Proven }
    }

    fn wanted(of: Demand) -> usize {
        limits().wanted(of)
    }

    #[test]
    fn as_many_are_opened_as_requests_wait_and_few_until_it_is_known_that_the_origin_answers() {
        let unproven = |need: Demand| Demand { standing: OriginStanding::Unproven, ..need };
        assert_eq!(wanted(unproven(need(20, 0, 0, Speaks::Unknown))), 2);
        assert_eq!(wanted(unproven(need(20, 2, 2, Speaks::Unknown))), 0);
        assert_eq!(wanted(unproven(need(20, 0, 9, Speaks::Http1))), 2, "the last one failed");
        assert_eq!(wanted(need(20, 5, 9, Speaks::Http1)), 15);
        assert_eq!(wanted(need(200, 5, 9, Speaks::Http1)), 27, "a limit of connects under way");
        assert_eq!(wanted(need(20, 0, 1, Speaks::Http2(100))), 1);
        assert_eq!(wanted(need(250, 1, 4, Speaks::Http2(100))), 2);
        assert_eq!(wanted(need(20, 0, 3, Speaks::Http2(1))), 13, "a limit of connections that are shared");
        assert_eq!(wanted(need(0, 0, 3, Speaks::Http1)), 0);
        assert_eq!(wanted(need(20, 0, 1_024, Speaks::Http1)), 0, "a limit per origin");
    }

    #[test]
    fn half_of_the_places_are_for_origins_that_answered() {
        let may = |standing, connecting, unproven| {
            limits().may_connect(standing, PoolTotals { open: 300, connecting, unproven, slow: 0 })
        };
        assert!(may(OriginStanding::Unproven, 127, 127));
        assert!(!may(OriginStanding::Unproven, 128, 128));
        assert!(may(OriginStanding::Proven, 128, 128));
        assert!(may(OriginStanding::Proven, 255, 0));
        assert!(!may(OriginStanding::Proven, 256, 128) && !may(OriginStanding::Unproven, 256, 0));
        let one = PoolLimits { connects: 1, ..limits() };
        assert!(
            one.may_connect(OriginStanding::Unproven, PoolTotals::default()),
            "the smallest worker begins somewhere"
        );
    }

    #[test]
    fn as_many_are_kept_as_were_used_lately_and_fewer_with_time() {
        let start = clock::instant();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut peak = RecentPeak::default();
        peak.note(64, at(0));
        peak.note(3, at(5));
        let kept: Vec<usize> = [9, 19, 29, 39, 49, 79, 600].into_iter().map(|s| peak.keeps(0, at(s))).collect();
        assert_eq!(kept, [64, 64, 32, 16, 8, 1, 1]);
        assert_eq!(peak.keeps(7, at(600)), 7);
    }

    #[test]
    fn a_connection_ends_when_it_was_idle_or_used_for_long_or_its_server_is_about_to_close_it() {
        let start = clock::instant();
        let at = |seconds| start + Duration::from_secs(seconds);
        let is_over = |used, promised, now| {
            limits().is_over(start, at(used), Some(promised).filter(|s| *s > 0).map(Duration::from_secs), at(now))
        };
        assert!(!is_over(100, 0, 159));
        assert!(is_over(100, 0, 160));
        assert!(is_over(599, 0, 600));
        assert!(!is_over(100, 5, 103));
        assert!(is_over(100, 5, 104));
        assert!(is_over(100, 1, 100), "a server that closes within a second is not waited for");
    }

    proptest! {
        #[test]
        fn no_limit_of_an_origin_is_ever_passed(
            waiting in 0_usize..5_000, connecting in 0_usize..40, idle in 0_usize..2_000, streams in 1_usize..200,
            kind in 0..3_u8, is_proven: bool
        ) {
            let speaks = match kind { 0 => Speaks::Unknown, 1 => Speaks::Http1, _shared => Speaks::Http2(streams) };
            let standing = if is_proven { OriginStanding::Proven } else { OriginStanding::Unproven };
            let need = Demand { standing, ..need(waiting, connecting, idle + connecting, speaks) };
            let wanted = limits().wanted(need);
            prop_assert!(wanted == 0 || connecting + wanted <= limits().connects_per_origin);
            prop_assert!(wanted == 0 || need.open + wanted <= limits().per_origin);
            prop_assert!(wanted + connecting <= waiting.max(connecting));
        }
    }
}
