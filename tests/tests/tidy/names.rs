//! One name, one thing: types of the product share no name without a reason, and the glossary's types exist.

use std::collections::{BTreeMap, BTreeSet};

use super::{fail_with, files, read, root, shown, without_tests};

/// Every role and every crate has the same face; its own is meant wherever the name stands.
const FACE: &str = "the same face of every role: its own is meant, and others are named with their crate";
/// The loops of the roles were written four times.
const LOOPS: &str = "the loops of the roles are copies of one another; gone with the one loop";
/// A name for use inside one file.
const INSIDE: &str = "private to its file, where there is only one; better named by its subject when it is touched";
/// The same thing in two layers.
const LAYERS: &str = "the same thing in two layers: as it is stored or sent, and as it is used";

/// Names that several types share, how many, and why. The list may only shrink.
const SHARED: &[(&str, usize, &str)] = &[
    ("Accepted", 2, LAYERS),
    ("Answer", 5, INSIDE),
    ("Attempt", 2, LOOPS),
    ("Auth", 3, LAYERS),
    ("Batch", 5, LOOPS),
    ("BatchLimits", 3, LOOPS),
    ("Caller", 2, LAYERS),
    ("Canary", 2, LAYERS),
    ("Change", 3, INSIDE),
    ("Client", 2, LAYERS),
    ("Committer", 2, LOOPS),
    ("Deps", 5, FACE),
    ("Directory", 2, INSIDE),
    ("Done", 2, LOOPS),
    ("End", 3, INSIDE),
    ("Entry", 4, LOOPS),
    ("Error", 5, FACE),
    ("Event", 3, LAYERS),
    ("EventType", 2, LAYERS),
    ("Facts", 3, INSIDE),
    ("Failure", 4, INSIDE),
    ("Fields", 3, INSIDE),
    ("Form", 2, INSIDE),
    ("Found", 2, INSIDE),
    ("Gate", 2, INSIDE),
    ("Given", 2, INSIDE),
    ("Info", 2, INSIDE),
    ("Inner", 2, INSIDE),
    ("Input", 2, LOOPS),
    ("Json", 2, INSIDE),
    ("Key", 2, INSIDE),
    ("Keys", 3, INSIDE),
    ("Kind", 3, INSIDE),
    ("Limit", 2, INSIDE),
    ("Limits", 4, INSIDE),
    ("Next", 2, LOOPS),
    ("Origin", 2, LAYERS),
    ("Output", 2, INSIDE),
    ("Pace", 2, INSIDE),
    ("Peer", 2, LAYERS),
    ("Place", 4, LOOPS),
    ("Plan", 2, INSIDE),
    ("Planner", 2, INSIDE),
    ("Post", 2, INSIDE),
    ("Prepared", 2, INSIDE),
    ("Preset", 2, INSIDE),
    ("Problem", 3, LAYERS),
    ("Put", 2, INSIDE),
    ("Queue", 2, LOOPS),
    ("Reader", 4, INSIDE),
    ("Refusal", 2, INSIDE),
    ("Refused", 3, INSIDE),
    ("Report", 2, LOOPS),
    ("Reporter", 2, LOOPS),
    ("Reports", 3, LOOPS),
    ("Restorer", 2, LOOPS),
    ("Rotation", 3, INSIDE),
    ("Scope", 2, INSIDE),
    ("Sealed", 2, LAYERS),
    ("Shared", 4, INSIDE),
    ("Shown", 2, INSIDE),
    ("Slot", 3, LOOPS),
    ("Snapshot", 2, LAYERS),
    ("Source", 2, LAYERS),
    ("State", 6, LOOPS),
    ("Step", 5, LOOPS),
    ("Stored", 2, LAYERS),
    ("Subscription", 2, LAYERS),
    ("Target", 3, LAYERS),
    ("Tiers", 2, LOOPS),
    ("Timer", 2, INSIDE),
    ("TokenScope", 2, INSIDE),
    ("Turn", 2, INSIDE),
    ("Usage", 2, INSIDE),
    ("UnknownEventTypes", 2, LAYERS),
    ("Verdict", 3, LOOPS),
    ("Wake", 2, LOOPS),
    ("Worker", 2, LOOPS),
    ("Writer", 2, INSIDE),
];

/// Types that are declared at the top of a file, by name: where.
fn types() -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in files("rs") {
        let place = shown(&path);
        let is_test = place.starts_with("tests/") || place.contains("/tests/") || place.ends_with("tests.rs");
        if is_test {
            continue;
        }
        for line in without_tests(&path).lines() {
            found.extend_with(declared(line), &place);
        }
    }
    found
}

/// Adds to a map of lists.
trait ExtendWith {
    fn extend_with(&mut self, name: Option<&str>, place: &str);
}

impl ExtendWith for BTreeMap<String, Vec<String>> {
    fn extend_with(&mut self, name: Option<&str>, place: &str) {
        if let Some(name) = name {
            self.entry(name.to_owned()).or_default().push(place.to_owned());
        }
    }
}

/// The type a line declares, if it does.
fn declared(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub").map_or(line, |rest| {
        rest.strip_prefix('(')
            .and_then(|rest| rest.split_once(") "))
            .map_or_else(|| rest.trim_start(), |(_, rest)| rest)
    });
    let kinds = ["struct ", "enum ", "trait ", "type "];
    let rest = kinds.iter().find_map(|kind| line.strip_prefix(kind))?;
    let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
    rest.get(..end)
}

#[test]
fn no_two_types_share_a_name_without_a_reason() {
    let types = types();
    let mut wrong = Vec::new();
    for (name, places) in types.iter().filter(|(_, places)| places.len() > 1) {
        let allowed = SHARED.iter().find(|(shared, _, _)| shared == name).map_or(1, |(_, count, _)| *count);
        if places.len() > allowed {
            wrong.push(format!("{name}: {} types, at most {allowed}: {}", places.len(), places.join(", ")));
        }
    }
    for (name, count, _) in SHARED {
        let now = types.get(*name).map_or(0, Vec::len);
        if now < *count {
            wrong.push(format!("{name}: the list says {count}, there are {now} left: shrink the list"));
        }
    }
    fail_with("name types by their subject; what shares a name stands in SHARED, which only shrinks", &wrong);
}

/// Rows of the glossary: the term, its sentence, the types that carry it.
fn glossary() -> Vec<(String, String, Vec<String>)> {
    let page = read(&root().join("docs/glossary.md"));
    let rows = page.lines().filter_map(|line| line.strip_prefix("| **"));
    let row = |line: &str| {
        let mut cells = line.split(" | ").map(|cell| cell.trim_end_matches(" |").to_owned());
        let term = cells.next()?.trim_end_matches("**").to_owned();
        let sentence = cells.next()?;
        let types = cells.next()?.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Some((term, sentence, types))
    };
    rows.filter_map(row).collect()
}

#[test]
fn every_type_that_the_glossary_names_exists() {
    let types = types();
    let rows = glossary();
    assert!(rows.len() >= 40, "the glossary has {} terms", rows.len());
    let mut wrong = Vec::new();
    for (term, sentence, carriers) in &rows {
        if !sentence.ends_with('.') {
            wrong.push(format!("{term}: one sentence, with its full stop"));
        }
        let last = |carrier: &String| carrier.rsplit("::").next().unwrap_or_default().to_owned();
        let unknown = carriers.iter().map(last).filter(|name| !types.contains_key(name));
        wrong.extend(unknown.map(|name| format!("{term}: there is no type `{name}`")));
    }
    fail_with("docs/glossary.md and the code differ", &wrong);
}

#[test]
fn a_term_stands_in_the_glossary_once_and_in_order() {
    let terms: Vec<String> = glossary().into_iter().map(|(term, _, _)| term.to_lowercase()).collect();
    let sorted: BTreeSet<String> = terms.iter().cloned().collect();
    assert_eq!(terms, sorted.into_iter().collect::<Vec<_>>());
}

#[test]
fn declarations_are_told_from_other_lines() {
    for (line, name) in [
        ("pub struct Writer {", Some("Writer")),
        ("pub(crate) enum Step<'a> {", Some("Step")),
        ("trait Work: Send {", Some("Work")),
        ("pub(super) type Run = u8;", Some("Run")),
        ("    struct Inner;", None),
        ("// struct Commented", None),
    ] {
        assert_eq!(declared(line), name, "{line}");
    }
}
