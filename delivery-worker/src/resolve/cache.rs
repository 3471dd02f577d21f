//! What name servers said, for as long as it may be used. Pure: the time comes in.
//!
//! | a name | is answered | and asked for again |
//! |---|---|---|
//! | has addresses | with them, for their TTL (1 s to 5 min) | after it |
//! | whose addresses were all refused | with them | after 1 s: it may have been a mistake of a moment |
//! | has none, by a name server's word | so, for 2 s | after it |
//! | of which nobody says anything | with its last addresses, for an hour (RFC 8767) | every 10 s |
//! | likewise, and it had none | so, for 5 s | after it |

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::name_servers::{FoundAddresses, LookupError};

/// Names that are kept; the one that was not asked for longest goes first. With all their addresses 20 MB at most.
const NAMES: NonZeroUsize = NonZeroUsize::new(16_384).expect("it is not 0");
const SHORTEST_TTL: Duration = Duration::from_secs(1);
const LONGEST_TTL: Duration = Duration::from_secs(300);
/// How long addresses count that were all refused.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// How long a name is known to have no address.
const ABSENT_FOR: Duration = Duration::from_secs(2);
/// How long a name that nobody answers for is not asked for again.
const SILENT_FOR: Duration = Duration::from_secs(5);
/// The same while it has older addresses.
const STALE_PAUSE: Duration = Duration::from_secs(10);
/// How long beyond their TTL addresses serve where nobody answers.
const STALE_FOR: Duration = Duration::from_secs(3_600);

/// Addresses, or why there are none.
pub(super) type NameAnswer = Result<Arc<[IpAddr]>, LookupError>;

/// What the cache says about a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CacheSays {
    /// This; nobody needs to be asked.
    Answer(NameAnswer),
    /// A name server has to be asked.
    Ask {
        /// It had an address lately.
        is_known: bool,
    },
}

/// See the module.
#[derive(Debug)]
pub(super) struct NameCache {
    names: LruCache<Arc<str>, KeptName>,
}

#[derive(Debug)]
struct KeptName {
    /// Empty if it has none.
    addresses: Arc<[IpAddr]>,
    got: Instant,
    fresh_until: Instant,
    /// The last answer was none; until then nobody is asked.
    failed: Option<(LookupError, Instant)>,
}

impl NameCache {
    pub(super) fn new() -> Self {
        Self { names: LruCache::new(NAMES) }
    }

    /// What is known of a name.
    pub(super) fn says(&mut self, name: &str, now: Instant) -> CacheSays {
        let Some(kept) = self.names.get(name) else { return CacheSays::Ask { is_known: false } };
        if kept.has_addresses() && now < kept.fresh_until {
            return CacheSays::Answer(Ok(Arc::clone(&kept.addresses)));
        }
        match &kept.failed {
            Some((error, until)) if now < *until => CacheSays::Answer(kept.instead_of(error.clone(), now)),
            Some(_) | None => CacheSays::Ask { is_known: kept.has_addresses() },
        }
    }

    /// Takes what a look-up ended with, and says what those are told who waited for it.
    pub(super) fn enter(
        &mut self,
        name: Arc<str>,
        found: Result<FoundAddresses, LookupError>,
        now: Instant,
    ) -> NameAnswer {
        let kept = match found {
            Ok(FoundAddresses { addresses, ttl }) => {
                let fresh_until = now + ttl.clamp(SHORTEST_TTL, LONGEST_TTL);
                KeptName { addresses, got: now, fresh_until, failed: None }
            }
            Err(error @ LookupError::Unanswered(_)) => self.silent(&name, error, now),
            Err(error) => KeptName::none(error, now, ABSENT_FOR),
        };
        let answer = match &kept.failed {
            None => Ok(Arc::clone(&kept.addresses)),
            Some((error, _)) => kept.instead_of(error.clone(), now),
        };
        self.names.put(name, kept);
        answer
    }

    /// None of its addresses may be called: it is asked for again soon, whatever its TTL.
    pub(super) fn distrust(&mut self, name: &str) {
        if let Some(kept) = self.names.get_mut(name) {
            kept.fresh_until = kept.fresh_until.min(kept.got + REFUSED_FOR);
        }
    }

    fn silent(&mut self, name: &str, error: LookupError, now: Instant) -> KeptName {
        match self.names.pop(name) {
            Some(kept) if kept.is_usable(now) => KeptName { failed: Some((error, now + STALE_PAUSE)), ..kept },
            Some(_) | None => KeptName::none(error, now, SILENT_FOR),
        }
    }
}

impl KeptName {
    fn none(error: LookupError, now: Instant, pause: Duration) -> Self {
        Self { addresses: Arc::default(), got: now, fresh_until: now, failed: Some((error, now + pause)) }
    }

    fn has_addresses(&self) -> bool {
        !self.addresses.is_empty()
    }

    fn is_usable(&self, now: Instant) -> bool {
        self.has_addresses() && now < self.fresh_until + STALE_FOR
    }

    fn instead_of(&self, error: LookupError, now: Instant) -> NameAnswer {
        if self.is_usable(now) { Ok(Arc::clone(&self.addresses)) } else { Err(error) }
    }
}

#[cfg(test)]
mod tests {
    use chassis::clock;

    use super::*;

    const NAME: &str = "hooks.example";

    fn addresses(list: &[&str]) -> Arc<[IpAddr]> {
        list.iter().map(|address| address.parse().unwrap()).collect()
    }

    fn found(list: &[&str], ttl_seconds: u64) -> Result<FoundAddresses, LookupError> {
        Ok(FoundAddresses { addresses: addresses(list), ttl: Duration::from_secs(ttl_seconds) })
    }

    fn silence() -> LookupError {
        LookupError::Unanswered("no answer".into())
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn addresses_count_for_their_ttl_within_bounds() {
        for (ttl, last) in [(0, 0), (1, 0), (30, 29), (86_400, 299)] {
            let (mut cache, start) = (NameCache::new(), clock::instant());
            assert_eq!(cache.says(NAME, start), CacheSays::Ask { is_known: false });
            cache.enter(NAME.into(), found(&["1.1.1.1"], ttl), start).unwrap();
            assert_eq!(
                cache.says(NAME, start + seconds(last)),
                CacheSays::Answer(Ok(addresses(&["1.1.1.1"]))),
                "{ttl}"
            );
            assert_eq!(cache.says(NAME, start + seconds(last + 1)), CacheSays::Ask { is_known: true }, "{ttl}");
        }
    }

    #[test]
    fn a_name_without_address_is_asked_for_again_soon() {
        for absent in [LookupError::NoSuchName, LookupError::NoAddress] {
            let (mut cache, start) = (NameCache::new(), clock::instant());
            cache.enter(NAME.into(), found(&["1.1.1.1"], 30), start).unwrap();
            let later = start + seconds(40);
            assert_eq!(cache.enter(NAME.into(), Err(absent.clone()), later), Err(absent.clone()), "it is gone");
            assert_eq!(cache.says(NAME, later + seconds(1)), CacheSays::Answer(Err(absent)));
            assert_eq!(cache.says(NAME, later + ABSENT_FOR), CacheSays::Ask { is_known: false });
        }
    }

    #[test]
    fn where_nobody_answers_older_addresses_serve_for_an_hour() {
        let (mut cache, start) = (NameCache::new(), clock::instant());
        cache.enter(NAME.into(), found(&["1.1.1.1"], 30), start).unwrap();
        let mut now = start + seconds(30);
        let end = start + seconds(30) + STALE_FOR;
        while now < end {
            assert_eq!(cache.says(NAME, now), CacheSays::Ask { is_known: true });
            assert_eq!(cache.enter(NAME.into(), Err(silence()), now), Ok(addresses(&["1.1.1.1"])));
            let paused = now + STALE_PAUSE - seconds(1);
            assert_eq!(cache.says(NAME, paused), CacheSays::Answer(Ok(addresses(&["1.1.1.1"]))), "nobody is asked");
            now += STALE_PAUSE;
        }
        assert_eq!(cache.enter(NAME.into(), Err(silence()), now), Err(silence()), "then they are too old");
        assert_eq!(cache.says(NAME, now + SILENT_FOR - seconds(1)), CacheSays::Answer(Err(silence())));
        assert_eq!(cache.says(NAME, now + SILENT_FOR), CacheSays::Ask { is_known: false });
        cache.enter(NAME.into(), found(&["1.1.1.2"], 30), now + SILENT_FOR).unwrap();
        assert_eq!(cache.says(NAME, now + SILENT_FOR), CacheSays::Answer(Ok(addresses(&["1.1.1.2"]))));
    }

    #[test]
    fn addresses_that_were_refused_do_not_count_for_their_ttl() {
        let (mut cache, start) = (NameCache::new(), clock::instant());
        cache.enter(NAME.into(), found(&["10.0.0.1"], 300), start).unwrap();
        cache.distrust(NAME);
        assert_eq!(cache.says(NAME, start), CacheSays::Answer(Ok(addresses(&["10.0.0.1"]))), "a burst asks once");
        assert_eq!(cache.says(NAME, start + REFUSED_FOR), CacheSays::Ask { is_known: true });
    }

    #[test]
    fn names_are_bounded() {
        let (mut cache, start) = (NameCache::new(), clock::instant());
        for number in 0..NAMES.get() + 10 {
            drop(cache.enter(format!("{number}.example").into(), found(&["1.1.1.1"], 30), start));
        }
        assert_eq!(cache.names.len(), NAMES.get());
    }
}
