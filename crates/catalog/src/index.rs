//! Which subscriptions an event matches, at a cost that does not depend on how many it does not match.
//!
//! ```text
//! event type --exact--> bucket ----------+--> without labels: all of them
//!            --trie---> bucket (a.*.c)   |    labels: one list per pair the event carries
//!                   +-> bucket (a.**)    +--> the other labels of each candidate are compared
//! ```
//!
//! A subscription stands in one bucket per pattern. In a bucket it stands in one list only: without labels in the plain one,
//! else in the list of *one* of its label pairs, the one with the fewest entries when it came. An event looks at the lists
//! of its own pairs (at most ten), so a hundred thousand subscriptions for other label values cost it nothing. To come and to go
//! costs the same in a list of one and in a list of a million (`entries`).

mod entries;

use std::collections::HashMap;
use std::sync::Arc;

use schemas::event::StringMap;
use schemas::event_type::EventTypePattern;

use self::entries::Entries;

/// What the index needs to know of an entry.
pub trait Indexed {
    /// The event types and patterns it listens to.
    fn patterns(&self) -> &[EventTypePattern];
    /// The labels an event must all carry, each once.
    fn labels(&self) -> &[(Arc<str>, Arc<str>)];
}

/// The index of one application.
#[derive(Debug)]
pub struct MatchIndex<T> {
    exact: HashMap<Box<str>, IndexBucket<T>>,
    trie: Node<T>,
}

/// A place in the trie: the parts of a pattern so far.
#[derive(Debug)]
struct Node<T> {
    parts: HashMap<Box<str>, Self>,
    star: Option<Box<Self>>,
    /// Patterns that end here.
    here: IndexBucket<T>,
    /// Patterns that go on with a final `**`.
    rest: IndexBucket<T>,
}

/// Entries of one pattern.
#[derive(Debug)]
struct IndexBucket<T> {
    plain: Entries<T>,
    by_key: HashMap<Arc<str>, ByValue<T>>,
}

/// Entries by the value of one label.
type ByValue<T> = HashMap<Arc<str>, Entries<T>>;

// === impl MatchIndex ===

impl<T: Indexed> MatchIndex<T> {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self { exact: HashMap::new(), trie: Node::new() }
    }

    /// Adds an entry. The same one must not be in the index.
    pub fn insert(&mut self, entry: &Arc<T>) {
        for pattern in entry.patterns() {
            let bucket = if pattern.is_exact() {
                match self.exact.get_mut(pattern.as_str()) {
                    Some(bucket) => bucket,
                    None => self.exact.entry(pattern.as_str().into()).or_insert_with(IndexBucket::new),
                }
            } else {
                self.trie.bucket(pattern.as_str())
            };
            bucket.insert(entry);
        }
    }

    /// Removes the entry that was inserted as this very `Arc`.
    pub fn remove(&mut self, entry: &Arc<T>) {
        for pattern in entry.patterns() {
            if pattern.is_exact() {
                let Some(bucket) = self.exact.get_mut(pattern.as_str()) else { continue };
                bucket.remove(entry);
                if bucket.is_empty() {
                    self.exact.remove(pattern.as_str());
                }
            } else {
                self.trie.remove(&mut pattern.as_str().split('.'), entry);
            }
        }
    }

    /// Appends every entry that matches, each once.
    pub fn matches(&self, event_type: &str, labels: &StringMap, out: &mut Vec<Arc<T>>) {
        let before = out.len();
        if let Some(bucket) = self.exact.get(event_type) {
            bucket.matches(labels, out);
        }
        if !self.trie.is_empty() {
            self.trie.matches(&mut event_type.split('.'), labels, out);
        }
        // Only an entry with several patterns can have been found twice.
        if out[before..].iter().any(|entry| entry.patterns().len() > 1) {
            let mut found = out.split_off(before);
            found.sort_by_key(Arc::as_ptr);
            found.dedup_by(|one, other| Arc::ptr_eq(one, other));
            out.append(&mut found);
        }
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.trie.is_empty()
    }
}

impl<T: Indexed> Default for MatchIndex<T> {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Node ===

impl<T: Indexed> Node<T> {
    fn new() -> Self {
        Self { parts: HashMap::new(), star: None, here: IndexBucket::new(), rest: IndexBucket::new() }
    }

    fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.star.is_none() && self.here.is_empty() && self.rest.is_empty()
    }

    /// The bucket of a pattern, made if it is not there.
    fn bucket(&mut self, pattern: &str) -> &mut IndexBucket<T> {
        let mut node = self;
        for part in pattern.split('.') {
            node = match part {
                "**" => return &mut node.rest,
                "*" => node.star.get_or_insert_with(|| Box::new(Self::new())),
                part => node.parts.entry(part.into()).or_insert_with(Self::new),
            };
        }
        &mut node.here
    }

    /// Removes the entry under the remaining parts, and every node that becomes empty by it.
    fn remove<'a>(&mut self, pattern: &mut impl Iterator<Item = &'a str>, entry: &Arc<T>) {
        match pattern.next() {
            None => self.here.remove(entry),
            Some("**") => self.rest.remove(entry),
            Some("*") => {
                let Some(node) = &mut self.star else { return };
                node.remove(pattern, entry);
                if node.is_empty() {
                    self.star = None;
                }
            }
            Some(part) => {
                let Some(node) = self.parts.get_mut(part) else { return };
                node.remove(pattern, entry);
                if node.is_empty() {
                    self.parts.remove(part);
                }
            }
        }
    }

    /// A pattern has at most six parts, so at most 2^6 nodes are visited however many parts the event type has.
    fn matches<'a, P>(&self, parts: &mut P, labels: &StringMap, out: &mut Vec<Arc<T>>)
    where
        P: Iterator<Item = &'a str> + Clone,
    {
        let Some(part) = parts.next() else {
            self.here.matches(labels, out);
            return;
        };
        // `**` stands for one part or more, and there is one.
        self.rest.matches(labels, out);
        if let Some(node) = self.parts.get(part) {
            node.matches(&mut parts.clone(), labels, out);
        }
        if let Some(node) = &self.star {
            node.matches(parts, labels, out);
        }
    }
}

// === impl IndexBucket ===

impl<T: Indexed> IndexBucket<T> {
    fn new() -> Self {
        Self { plain: Entries::new(), by_key: HashMap::new() }
    }

    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.by_key.is_empty()
    }

    fn entries(&self, key: &str, value: &str) -> Option<&Entries<T>> {
        self.by_key.get(key)?.get(value)
    }

    fn insert(&mut self, entry: &Arc<T>) {
        let fewest = entry
            .labels()
            .iter()
            .min_by_key(|(key, value)| self.entries(key, value).map_or(0, |entries| entries.len()));
        let Some((key, value)) = fewest else {
            self.plain.insert(entry);
            return;
        };
        let by_value = self.by_key.entry(Arc::clone(key)).or_default();
        by_value.entry(Arc::clone(value)).or_insert_with(Entries::new).insert(entry);
    }

    fn remove(&mut self, entry: &Arc<T>) {
        if entry.labels().is_empty() {
            self.plain.remove(entry);
        }
        for (key, value) in entry.labels() {
            let Some(by_value) = self.by_key.get_mut(key) else { continue };
            if let Some(entries) = by_value.get_mut(value) {
                entries.remove(entry);
                if entries.is_empty() {
                    by_value.remove(value);
                }
            }
            if by_value.is_empty() {
                self.by_key.remove(key);
            }
        }
    }

    fn matches(&self, labels: &StringMap, out: &mut Vec<Arc<T>>) {
        out.extend(self.plain.iter().map(Arc::clone));
        if self.by_key.is_empty() {
            return;
        }
        for (key, value) in labels {
            for entry in self.entries(key, value).into_iter().flat_map(Entries::iter) {
                let fits = entry
                    .labels()
                    .iter()
                    .all(|(key, value)| labels.get(&**key).is_some_and(|given| **given == **value));
                if fits {
                    out.push(Arc::clone(entry));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
