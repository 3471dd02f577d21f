//! The table of codes, the messages that name them, and the runbooks are one: each has the others, both ways.

use std::collections::{BTreeMap, BTreeSet};

use super::{fail_with, files, read, root, shown, without_tests};

const TABLE: &str = "deploy/hookbus/src/codes.rs";
const RUNBOOKS: &str = "deploy/runbooks/";
/// Pages about something else than a code.
const OTHER_PAGES: [&str; 4] = ["alerts.md", "codes.md", "rollback.md", "stalled.md"];

/// A row of the table.
struct Row {
    title: String,
    name: String,
    page: Option<String>,
}

/// The table by code.
fn table() -> BTreeMap<String, Row> {
    let text = read(&root().join(TABLE));
    let rows = text.split("\ncodes! {\n").nth(1).and_then(|rest| rest.split("\n}").next()).expect("the table");
    let mut table = BTreeMap::new();
    let mut title = String::new();
    for line in rows.lines().map(str::trim) {
        if let Some(said) = line.strip_prefix("/// ") {
            said.clone_into(&mut title);
        } else if let Some((name, rest)) = line.trim_end_matches(';').split_once(" = ") {
            let (number, page) = rest.split_once(", ").map_or((rest, None), |(number, page)| (number, Some(page)));
            let number: u16 = number.parse().expect("a number");
            let page = page.map(|page| page.trim_matches('"').to_owned());
            table.insert(
                format!("HB-{number:03}"),
                Row { title: std::mem::take(&mut title), name: name.to_owned(), page },
            );
        }
    }
    table
}

/// Codes that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let at = text.match_indices("HB-").map(|(at, _)| at);
    let codes = at.filter_map(|at| text.get(at..at + 6));
    codes.filter(|code| code.bytes().skip(3).all(|byte| byte.is_ascii_digit())).map(str::to_owned).collect()
}

#[test]
fn every_code_that_is_named_stands_in_the_table() {
    let table = table();
    assert!(table.len() > 20, "only {} codes were found", table.len());
    let mut unknown = Vec::new();
    for path in files("rs").into_iter().chain(files("md")) {
        let text = if path.extension().is_some_and(|it| it == "rs") { without_tests(&path) } else { read(&path) };
        if shown(&path).starts_with("tests/tests/tidy/") {
            continue;
        }
        unknown.extend(
            named(&text)
                .into_iter()
                .filter(|code| !table.contains_key(code))
                .map(|code| format!("{}: {code}", shown(&path))),
        );
    }
    fail_with("these codes are in no row of deploy/hookbus/src/codes.rs", &unknown);
}

#[test]
fn every_code_is_said_by_something() {
    let mut messages = BTreeSet::new();
    let mut names = String::new();
    for path in files("rs").into_iter().filter(|path| !shown(path).starts_with("tests/")) {
        if shown(&path) == TABLE {
            // What it decides by itself stands behind the table.
            names.push_str(
                read(&path).split("\ncodes! {\n").nth(1).and_then(|rest| rest.split_once("\n}")).expect("code").1,
            );
        } else {
            let text = without_tests(&path);
            messages.extend(named(&text));
            names.push_str(&text);
        }
    }
    let is_said = |code: &String, name: &String| {
        messages.contains(code) || names.contains(&format!("Code::{name}")) || names.contains(&format!("Self::{name})"))
    };
    let silent = table().into_iter().filter(|(code, row)| !is_said(code, &row.name));
    let silent: Vec<String> = silent.map(|(code, row)| format!("{code} {}", row.name)).collect();
    fail_with("nothing ever says these codes", &silent);
}

#[test]
fn every_code_has_its_runbook_and_every_runbook_its_code() {
    let sections = read(&root().join(RUNBOOKS).join("codes.md"));
    let headings: BTreeSet<&str> = sections.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut wrong = Vec::new();
    let mut expected = BTreeSet::new();
    let mut pages = BTreeSet::new();
    for (code, row) in table() {
        if let Some(page) = row.page {
            let text = std::fs::read_to_string(root().join(RUNBOOKS).join(&page)).unwrap_or_default();
            if !text.contains(&code) {
                wrong.push(format!("{code}: {page} does not name it, or is not there"));
            }
            pages.insert(page);
        } else {
            expected.insert(format!("{code}: {}", row.title));
        }
    }
    wrong.extend(
        expected.iter().filter(|heading| !headings.contains(heading.as_str())).map(|it| format!("no section {it}")),
    );
    wrong.extend(headings.iter().filter(|heading| !expected.contains(**heading)).map(|it| format!("no code for {it}")));
    for path in files("md").into_iter().map(|path| shown(&path)) {
        let Some(page) = path.strip_prefix(RUNBOOKS) else { continue };
        if !OTHER_PAGES.contains(&page) && !pages.contains(page) {
            wrong.push(format!("no code for the page {page}"));
        }
    }
    fail_with("codes and runbooks differ", &wrong);
}

#[test]
fn codes_are_found_in_texts() {
    assert_eq!(named("HB-020: x (a, HB-014) HB-1 HB-0x1 HB-").into_iter().collect::<Vec<_>>(), ["HB-014", "HB-020"]);
}
