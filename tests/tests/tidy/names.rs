//! One name, one thing: types of the product share no name without a reason, and the glossary's types exist.

use std::collections::{BTreeMap, BTreeSet};

use super::{fail_with, files, read, root, shown, without_tests};

/// Every role and every crate has the same face; its own is meant wherever the name stands.
const FACE: &str = "the same face of every role: its own is meant, and others are named with their crate";
/// The stage stands between Kafka's client and the roles.
const STAGE: &str =
    "one word of the flow on both sides of the stage: a file that means two of them names one with its crate";
/// A name for use inside one file.
const INSIDE: &str = "used inside one file or one crate; better named by its subject when it is touched";
/// The same thing in two layers.
const LAYERS: &str = "the same thing in two layers: as it is stored or sent, and as it is used";

/// Names that several types share, how many, and why. A new one needs a better name, not a line here.
const SHARED: &[(&str, usize, &str)] = &[
    ("Accepted", 2, LAYERS),
    ("Allowance", 2, INSIDE),
    ("Answer", 6, INSIDE),
    ("Auth", 3, LAYERS),
    ("Batch", 3, STAGE),
    ("Begun", 2, INSIDE),
    ("Caller", 2, LAYERS),
    ("Change", 3, INSIDE),
    ("Client", 2, LAYERS),
    ("Deps", 6, FACE),
    ("Directory", 2, INSIDE),
    ("End", 3, INSIDE),
    ("Entry", 3, STAGE),
    ("Error", 5, FACE),
    ("Event", 4, LAYERS),
    ("EventType", 2, LAYERS),
    ("Facts", 3, INSIDE),
    ("Failed", 2, INSIDE),
    ("Failure", 4, INSIDE),
    ("Fields", 3, INSIDE),
    ("Form", 2, INSIDE),
    ("Found", 2, INSIDE),
    ("Gate", 2, INSIDE),
    ("Given", 2, INSIDE),
    ("Info", 2, INSIDE),
    ("Inner", 3, INSIDE),
    ("Intake", 2, INSIDE),
    ("Json", 2, INSIDE),
    ("Key", 2, INSIDE),
    ("Keys", 3, INSIDE),
    ("Kind", 3, INSIDE),
    ("Limits", 4, INSIDE),
    ("Member", 2, INSIDE),
    ("Membership", 2, STAGE),
    ("Next", 2, INSIDE),
    ("Origin", 2, LAYERS),
    ("Output", 2, INSIDE),
    ("Part", 2, STAGE),
    ("Pending", 2, INSIDE),
    ("Place", 4, INSIDE),
    ("Plan", 2, INSIDE),
    ("Planner", 2, INSIDE),
    ("Post", 2, INSIDE),
    ("Prepared", 2, INSIDE),
    ("Preset", 2, INSIDE),
    ("Problem", 3, LAYERS),
    ("Progress", 2, STAGE),
    ("Put", 2, INSIDE),
    ("Queue", 2, INSIDE),
    ("Reader", 5, INSIDE),
    ("Refusal", 3, STAGE),
    ("Refused", 6, STAGE),
    ("Reporter", 2, INSIDE),
    ("Reports", 2, INSIDE),
    ("Resolved", 2, STAGE),
    ("Restorer", 2, STAGE),
    ("Restoring", 2, STAGE),
    ("Rotation", 3, INSIDE),
    ("Scope", 2, INSIDE),
    ("Sealed", 2, LAYERS),
    ("Seconds", 2, INSIDE),
    ("Shared", 4, INSIDE),
    ("Shown", 2, INSIDE),
    ("Snapshot", 2, LAYERS),
    ("State", 7, INSIDE),
    ("Stored", 2, LAYERS),
    ("Subscription", 2, LAYERS),
    ("Target", 3, LAYERS),
    ("Tiers", 2, INSIDE),
    ("Timer", 2, INSIDE),
    ("TokenScope", 2, INSIDE),
    ("Topics", 2, INSIDE),
    ("Turn", 3, STAGE),
    ("UnknownEventTypes", 2, LAYERS),
    ("Usage", 2, INSIDE),
    ("Waiting", 2, STAGE),
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
