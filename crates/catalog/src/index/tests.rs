//! The index against a naive matcher.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

#[derive(Debug)]
struct Entry {
    id: u8,
    patterns: Vec<EventTypePattern>,
    labels: Vec<(Arc<str>, Arc<str>)>,
}

impl Indexed for Entry {
    fn patterns(&self) -> &[EventTypePattern] {
        &self.patterns
    }

    fn labels(&self) -> &[(Arc<str>, Arc<str>)] {
        &self.labels
    }
}

impl Entry {
    fn matches(&self, event_type: &str, labels: &StringMap) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(event_type))
            && self.labels.iter().all(|(key, value)| labels.get(&**key).is_some_and(|given| **given == **value))
    }
}

fn pattern() -> impl Strategy<Value = EventTypePattern> {
    (vec(prop_oneof![Just("a"), Just("b"), Just("c"), Just("*")], 1..4), any::<bool>()).prop_filter_map(
        "not a pattern",
        |(mut parts, open)| {
            if open {
                parts.push("**");
            }
            EventTypePattern::parse(&parts.join(".")).ok()
        },
    )
}

fn labels() -> impl Strategy<Value = StringMap> {
    btree_map("[xyz]", "[12]", 0..4)
}

fn event_type() -> impl Strategy<Value = String> {
    vec("[abcd]", 1..6).prop_map(|parts| parts.join("."))
}

fn entry() -> impl Strategy<Value = (u8, Vec<EventTypePattern>, StringMap)> {
    (0..12_u8, vec(pattern(), 0..4), labels())
}

fn found(index: &MatchIndex<Entry>, event_type: &str, labels: &StringMap) -> Vec<u8> {
    let mut out = Vec::new();
    index.matches(event_type, labels, &mut out);
    let mut ids: Vec<u8> = out.iter().map(|entry| entry.id).collect();
    ids.sort_unstable();
    ids
}

proptest! {
    #[test]
    fn it_finds_what_a_naive_matcher_finds_each_once(
        // No patterns means: delete.
        changes in vec(entry(), 1..60),
        events in vec((event_type(), labels()), 1..20),
    ) {
        let mut index = MatchIndex::new();
        let mut naive: std::collections::BTreeMap<u8, Arc<Entry>> = std::collections::BTreeMap::new();
        for (id, patterns, labels) in changes {
            if let Some(former) = naive.remove(&id) {
                index.remove(&former);
            }
            if !patterns.is_empty() {
                let labels = labels.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect();
                let entry = Arc::new(Entry { id, patterns, labels });
                index.insert(&entry);
                naive.insert(id, entry);
            }
        }
        for (event_type, labels) in &events {
            let expected: Vec<u8> =
                naive.values().filter(|entry| entry.matches(event_type, labels)).map(|entry| entry.id).collect();
            prop_assert_eq!(found(&index, event_type, labels), expected, "{} {:?}", event_type, labels);
        }
        for entry in naive.values() {
            index.remove(entry);
        }
        prop_assert!(index.is_empty(), "empty nodes are left behind");
    }
}

#[test]
fn a_type_of_a_hundred_parts_visits_few_nodes() {
    let mut index = MatchIndex::new();
    let parse = |text: &str| EventTypePattern::parse(text).unwrap();
    let entry = Entry { id: 1, patterns: vec![parse("*.*.*.*.*.**"), parse("a.**")], labels: Vec::new() };
    index.insert(&Arc::new(entry));
    assert_eq!(found(&index, &vec!["a"; 100].join("."), &StringMap::new()), [1]);
}
