//! Look-ups: one at a time for a name, joined by whoever else needs it, ended by who waits.
//!
//! A look-up is no task: those who wait for it drive it together. When the last of them gives up (their attempts' timeouts are
//! over), it ends and its place is free.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;

use super::cache::{CacheSays, NameAnswer, NameCache};
use super::name_servers::{LookupError, NameServers};
use super::places::LookupPlaces;

/// Of one look-up, the wait for its place included.
pub(super) const BUDGET: Duration = Duration::from_secs(2);

type SharedLookup = Shared<BoxFuture<'static, NameAnswer>>;

/// See the module. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Lookups {
    inner: Arc<LookupsInner>,
}

#[derive(Debug)]
struct LookupsInner {
    servers: NameServers,
    places: LookupPlaces,
    state: Mutex<LookupsState>,
}

#[derive(Debug)]
struct LookupsState {
    cache: NameCache,
    under_way: HashMap<Arc<str>, (u64, WeakShared<BoxFuture<'static, NameAnswer>>)>,
    next: u64,
}

/// Takes a look-up off the list when it ends, one way or the other.
struct UnderWay {
    inner: Arc<LookupsInner>,
    name: Arc<str>,
    number: u64,
}

impl Lookups {
    pub(super) fn new(servers: NameServers) -> Self {
        let state = LookupsState { cache: NameCache::new(), under_way: HashMap::new(), next: 0 };
        let inner = LookupsInner { servers, places: LookupPlaces::new(), state: Mutex::new(state) };
        Self { inner: Arc::new(inner) }
    }

    /// The addresses of a name, as kept or asked for.
    ///
    /// # Errors
    /// It has none, or nobody says so in time.
    pub(super) async fn addresses(&self, name: &str) -> Result<Arc<[IpAddr]>, LookupError> {
        let lookup = {
            let mut state = self.inner.state.lock();
            match state.cache.says(name, clock::instant()) {
                CacheSays::Answer(answer) => return answer,
                CacheSays::Ask { is_known } => self.join(&mut state, name, is_known),
            }
        };
        lookup.await
    }

    /// None of its addresses may be called: they are asked for again soon.
    pub(super) fn distrust(&self, name: &str) {
        self.inner.state.lock().cache.distrust(name);
    }

    /// The look-up of this name that is under way, or a new one.
    fn join(&self, state: &mut LookupsState, name: &str, is_known: bool) -> SharedLookup {
        if let Some(lookup) = state.under_way.get(name).and_then(|(_, lookup)| lookup.upgrade()) {
            return lookup;
        }
        let name: Arc<str> = name.into();
        let number = state.next;
        state.next += 1;
        let under_way = UnderWay { inner: Arc::clone(&self.inner), name: Arc::clone(&name), number };
        let lookup = look_up(under_way, is_known).boxed().shared();
        let weak = lookup.downgrade().expect("a look-up that was not polled yet");
        state.under_way.insert(name, (number, weak));
        lookup
    }
}

async fn look_up(under_way: UnderWay, is_known: bool) -> NameAnswer {
    let UnderWay { inner, name, .. } = &under_way;
    let asked = async {
        let _place = inner.places.take(name, is_known).await;
        inner.servers.ask(name).await
    };
    let found = tokio::time::timeout(BUDGET, asked).await;
    let found = found.unwrap_or_else(|_elapsed| {
        Err(LookupError::Unanswered(format!("no name server answered within {} s", BUDGET.as_secs()).into()))
    });
    let mut state = inner.state.lock();
    state.cache.enter(Arc::clone(name), found, clock::instant())
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.inner.state.lock();
        if state.under_way.get(&self.name).is_some_and(|(number, _)| *number == self.number) {
            state.under_way.remove(&self.name);
        }
    }
}
