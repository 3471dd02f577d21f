//! What is known of all schemas, within bounds, and which of them are asked for now. Pure: time comes in, questions go out.
//!
//! Schemas that nobody waits for leave when there is no room, the one first that was not looked at for longest. What a record
//! waits for stays: it is one for each partition at most, and goes when nobody has asked for it for a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use schemas::ids::SchemaRegistryId;
use sources::schema::{CompiledSchema, SchemaKey, SchemaState};

use crate::answer::RegistryAnswer;
use crate::knowledge::{Judging, Knowledge};

/// Schemas that are asked for at once.
const FETCHES: usize = 16;
/// And of one registry: one that gives no answer leaves the others their share.
const FETCHES_OF_ONE: usize = 4;
/// Schemas that records may wait for at once.
const MAX_OPEN: usize = 10_000;
/// What no record has asked for during this is not asked for any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(120);
/// Schemas of one registry that were waited for in vain, one after the other, before the next one is asked for once alone: who
/// writes without a frame names another one in each record, and each would stop its partition for the whole grace.
const GRACES: u32 = 4;
/// How long that counts from the last one on.
const GRACES_FOR: Duration = Duration::from_secs(60);
/// What an entry takes beside its schema, bytes.
const ENTRY: usize = 256;

/// What bounds the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Schemas, those among them that are known not to be there.
    pub schemas: usize,
    /// Bytes of all of them.
    pub bytes: usize,
    /// How long a schema that is not found may be late.
    pub grace: Duration,
}

/// The table.
#[derive(Debug)]
pub(crate) struct SchemaTable {
    limits: CacheLimits,
    known: LruCache<SchemaKey, KnownSchema>,
    bytes: usize,
    open: BTreeMap<SchemaKey, OpenKey>,
    /// Whether a registry has given its last answer.
    up: BTreeMap<SchemaRegistryId, bool>,
    /// How many schemas in a row each registry did not have, and when that was seen last.
    missing: BTreeMap<SchemaRegistryId, (u32, Instant)>,
    /// Grows with every question: an answer to a former one for the same key is not taken.
    questions: u64,
}

/// What nobody waits for.
#[derive(Debug)]
struct KnownSchema {
    knowledge: Knowledge,
    bytes: usize,
}

/// What a record may be waiting for.
#[derive(Debug)]
struct OpenKey {
    knowledge: Knowledge,
    /// The question that is under way.
    asking: Option<u64>,
    wanted: Instant,
}

/// A question that is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SchemaQuestion {
    pub(crate) key: SchemaKey,
    number: u64,
}

impl Default for CacheLimits {
    /// 10,000 schemas, 256 MiB, 5 s.
    fn default() -> Self {
        Self { schemas: 10_000, bytes: 256 << 20, grace: Duration::from_secs(5) }
    }
}

// === impl SchemaTable ===

impl SchemaTable {
    pub(crate) fn new(limits: CacheLimits) -> Self {
        let (open, up, missing) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { limits, known: LruCache::unbounded(), bytes: 0, open, up, missing, questions: 0 }
    }

    /// What a record may rely on.
    pub(crate) fn state(&mut self, key: &SchemaKey, now: Instant) -> SchemaState {
        self.known.get(key).map_or(SchemaState::Wanted, |known| known.knowledge.state(now))
    }

    /// Somebody waits for a schema. Asked for again while it is waited for, so that it is not forgotten.
    pub(crate) fn want(&mut self, key: SchemaKey, now: Instant) {
        if let Some(open) = self.open.get_mut(&key) {
            open.wanted = now;
            return;
        }
        if self.open.len() >= MAX_OPEN || !matches!(self.state(&key, now), SchemaState::Wanted) {
            return;
        }
        // What was sure is asked for anew, and remembers since when it was missing, for a while.
        let knowledge = self.take(&key).filter(|it| !it.is_stale(now)).unwrap_or(Knowledge::Wanted);
        self.open.insert(key, OpenKey { knowledge, asking: None, wanted: now });
    }

    /// Which questions are to be asked now. Each is under way until [`SchemaTable::end`] has its answer.
    pub(crate) fn ask(&mut self, now: Instant) -> Vec<SchemaQuestion> {
        let is_wanted = |open: &OpenKey| now.saturating_duration_since(open.wanted) < FORGOTTEN_AFTER;
        self.open.retain(|_, open| open.asking.is_some() || is_wanted(open));
        let mut of: BTreeMap<SchemaRegistryId, usize> = BTreeMap::new();
        for (key, _) in self.open.iter().filter(|(_, open)| open.asking.is_some()) {
            *of.entry(key.registry).or_default() += 1;
        }
        let mut room = FETCHES.saturating_sub(of.values().sum());
        let mut due: Vec<(Option<Instant>, SchemaKey)> =
            self.open.iter().filter(|(_, it)| it.is_due(now)).map(|(key, it)| (it.due(), *key)).collect();
        // Those that wait longest first.
        due.sort_unstable();
        let mut questions = Vec::new();
        for (_, key) in due {
            let busy = of.entry(key.registry).or_default();
            // One that is silent takes as long as its timeout: one question tells whether it is back.
            let most = if self.is_down(key.registry) { 1 } else { FETCHES_OF_ONE };
            if room == 0 || *busy >= most {
                continue;
            }
            (room, *busy) = (room - 1, *busy + 1);
            self.questions += 1;
            let number = self.questions;
            if let Some(open) = self.open.get_mut(&key) {
                open.asking = Some(number);
            }
            questions.push(SchemaQuestion { key, number });
        }
        questions
    }

    /// The question for this schema, whether it is due or not; none: it is known.
    pub(crate) fn question(&mut self, key: SchemaKey, now: Instant) -> Option<SchemaQuestion> {
        self.want(key, now);
        self.questions += 1;
        let number = self.questions;
        self.open.get_mut(&key)?.asking = Some(number);
        Some(SchemaQuestion { key, number })
    }

    /// When there is more to ask, if no answer comes before. What is due already waits for an answer to another question.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let idle = self.open.values().filter(|open| open.asking.is_none());
        idle.filter_map(OpenKey::due).filter(|due| *due > now).min()
    }

    /// A question is answered. Whether that is news for who waits.
    pub(crate) fn end(
        &mut self,
        question: SchemaQuestion,
        answer: RegistryAnswer<Arc<CompiledSchema>>,
        by: (Instant, f64),
    ) -> bool {
        let (now, unit) = by;
        let SchemaQuestion { key, number } = question;
        let grace = self.grace(key.registry, now);
        let Some(open) = self.open.get_mut(&key).filter(|open| open.asking == Some(number)) else { return false };
        let is_up = !matches!(answer, RegistryAnswer::Unavailable(_));
        let was_up = self.up.insert(key.registry, is_up);
        open.asking = None;
        open.knowledge = open.knowledge.after(answer, Judging { now, grace, unit });
        match open.knowledge {
            Knowledge::Ready(_) => drop(self.missing.remove(&key.registry)),
            Knowledge::Missing { is_sure: true, .. } => {
                let before = self.missing.get(&key.registry).filter(|(_, last)| is_lately(*last, now));
                self.missing.insert(key.registry, (before.map_or(1, |(count, _)| count.saturating_add(1)), now));
            }
            Knowledge::Wanted
            | Knowledge::Missing { .. }
            | Knowledge::Unusable { .. }
            | Knowledge::Unavailable { .. } => {}
        }
        if !open.knowledge.is_open()
            && let Some(open) = self.open.remove(&key)
        {
            self.keep(key, open.knowledge, now);
        }
        if is_up && was_up == Some(false) {
            // It is back: who waits for another schema of it need not wait for its turn.
            self.hurry(key.registry, now);
        }
        true
    }

    /// A registry is another one, or gone: nothing that it said counts any more, and what is waited for is asked for at once.
    pub(crate) fn forget(&mut self, registry: SchemaRegistryId, is_gone: bool) {
        let keys: Vec<SchemaKey> =
            self.known.iter().map(|(key, _)| *key).filter(|key| key.registry == registry).collect();
        for key in keys {
            self.take(&key);
        }
        self.renew(registry);
        self.missing.remove(&registry);
        if is_gone {
            self.up.remove(&registry);
        }
    }

    /// A registry is asked in another way: what is waited for is asked for at once, and what it said counts as before.
    pub(crate) fn renew(&mut self, registry: SchemaRegistryId) {
        for (_, open) in self.open.iter_mut().filter(|(key, _)| key.registry == registry) {
            // An answer under way is the former one's.
            (open.knowledge, open.asking) = (Knowledge::Wanted, None);
        }
    }

    /// Why a schema that is waited for is not there, if that is known.
    pub(crate) fn why(&self, key: &SchemaKey) -> Option<Arc<str>> {
        match &self.open.get(key)?.knowledge {
            Knowledge::Unavailable { why, .. } => Some(Arc::clone(why)),
            Knowledge::Missing { .. } => {
                Some(format!("the registry has no {}; it is asked again, for it may lag", key.id).into())
            }
            Knowledge::Wanted | Knowledge::Ready(_) | Knowledge::Unusable { .. } => None,
        }
    }

    /// Whether the last answer for a schema that is waited for was none, or the last one of its registry before it was asked for.
    pub(crate) fn is_unavailable(&self, key: &SchemaKey) -> bool {
        match self.open.get(key).map(|open| &open.knowledge) {
            Some(Knowledge::Unavailable { .. }) => true,
            Some(Knowledge::Wanted) => self.is_down(key.registry),
            Some(Knowledge::Ready(_) | Knowledge::Missing { .. } | Knowledge::Unusable { .. }) | None => false,
        }
    }

    /// Whether each registry that was asked gave its last answer.
    pub(crate) fn up(&self) -> &BTreeMap<SchemaRegistryId, bool> {
        &self.up
    }

    /// How long a schema of this registry may be late.
    fn grace(&self, registry: SchemaRegistryId, now: Instant) -> Duration {
        let is_over = |(count, last): &&(u32, Instant)| *count >= GRACES && is_lately(*last, now);
        self.missing.get(&registry).filter(is_over).map_or(self.limits.grace, |_| Duration::ZERO)
    }

    fn is_down(&self, registry: SchemaRegistryId) -> bool {
        self.up.get(&registry) == Some(&false)
    }

    fn hurry(&mut self, registry: SchemaRegistryId, now: Instant) {
        for (_, open) in self.open.iter_mut().filter(|(key, _)| key.registry == registry) {
            open.knowledge.hurry(now);
        }
    }

    fn keep(&mut self, key: SchemaKey, knowledge: Knowledge, now: Instant) {
        let mut knowledge = knowledge;
        let mut bytes = ENTRY + knowledge.weight();
        // Half of it at most: a record's key and its value need theirs at the same time.
        let most = self.limits.bytes / 2;
        if bytes > most {
            let why = format!("it takes {bytes} bytes compiled, more than {most}, half of sources.schema_cache_bytes");
            knowledge =
                knowledge.after(RegistryAnswer::Unusable(why), Judging { now, grace: self.limits.grace, unit: 0.0 });
            bytes = ENTRY;
        }
        self.take(&key);
        self.bytes += bytes;
        self.known.put(key, KnownSchema { knowledge, bytes });
        while self.known.len() > self.limits.schemas || self.bytes > self.limits.bytes {
            let Some((_, oldest)) = self.known.pop_lru() else { break };
            self.bytes -= oldest.bytes;
        }
    }

    fn take(&mut self, key: &SchemaKey) -> Option<Knowledge> {
        let known = self.known.pop(key)?;
        self.bytes -= known.bytes;
        Some(known.knowledge)
    }
}

// === impl OpenKey ===

impl OpenKey {
    fn due(&self) -> Option<Instant> {
        self.knowledge.due()
    }

    fn is_due(&self, now: Instant) -> bool {
        self.asking.is_none() && self.due().is_none_or(|due| due <= now)
    }
}

/// Whether a schema that was not there still tells of the next one.
fn is_lately(last: Instant, now: Instant) -> bool {
    now.saturating_duration_since(last) < GRACES_FOR
}

#[cfg(test)]
mod tests;
