//! What code and pages cite exists: rules and invariants by number, files by path, sections by their heading.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{fail_with, files, read, root, shown};

/// Endings that make a word in backquotes, or the target of a link, the name of a file of the repository.
const FILES: [&str; 5] = [".rs", ".md", ".toml", ".yaml", ".sh"];
/// Names that look like files of the repository and are others': what users write, or what is made when something runs.
const STRANGERS: [&str; 4] = ["hookbus.toml", "./hookbus.toml", "kafka-acls.sh", "schemathesis.toml"];

/// Pages of the repository.
fn pages() -> Vec<PathBuf> {
    files("md").into_iter().filter(|path| !shown(path).starts_with("tests/clients")).collect()
}

/// Comments of code, and whole pages, with where they stand.
fn prose() -> Vec<(String, String)> {
    let comments = |path: &PathBuf| {
        let text = read(path);
        let comments = text.lines().map(str::trim_start).filter(|line| line.starts_with("//"));
        (shown(path), comments.collect::<Vec<_>>().join("\n"))
    };
    let code: Vec<PathBuf> =
        files("rs").into_iter().filter(|path| !shown(path).starts_with("tests/tests/tidy/")).collect();
    code.iter().map(comments).chain(pages().iter().map(|path| (shown(path), read(path)))).collect()
}

/// The numbers that follow a word: `rule W4`, `rules W2, W3 and W4`, `invariants 5 and 10`.
fn numbers_after(text: &str, word: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let mut found = Vec::new();
    for (at, _) in lower.match_indices(word) {
        let rest = lower.get(at + word.len()..).unwrap_or_default();
        let rest = rest.strip_prefix('s').unwrap_or(rest);
        let Some(mut rest) = rest.strip_prefix(' ') else { continue };
        loop {
            let digits = rest.strip_prefix('w').unwrap_or(rest);
            let length = rest.len() - digits.len() + digits.bytes().take_while(u8::is_ascii_digit).count();
            let (number, behind) = rest.split_at(length);
            if !number.ends_with(|last: char| last.is_ascii_digit()) {
                break;
            }
            found.push(number.to_uppercase());
            rest = behind;
            match [", ", " and "].iter().find_map(|joint| rest.strip_prefix(joint)) {
                Some(next) => rest = next,
                None => break,
            }
        }
    }
    found
}

/// Names of files in backquotes or in the brackets of links, without anchors and line numbers.
fn cited_files(text: &str) -> BTreeSet<String> {
    let quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
    let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned);
    let plain = |cited: String| cited.split(['#', ':']).next().unwrap_or_default().to_owned();
    let is_file = |cited: &String| {
        let word = cited.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
        word && FILES.iter().any(|ending| cited.len() > ending.len() && cited.ends_with(ending))
    };
    quoted.chain(linked).filter(|cited| !cited.contains("://")).map(plain).filter(is_file).collect()
}

/// Whether there is such a file: from the root, beside the page, or as the end of one path of the repository.
fn exists(cited: &str, beside: &Path, all: &[String]) -> bool {
    let from = |folder: &Path| folder.join(cited).exists();
    from(&root()) || beside.parent().is_some_and(from) || all.iter().any(|path| path.ends_with(&format!("/{cited}")))
}

#[test]
fn every_rule_and_invariant_that_is_cited_stands_in_the_guarantees() {
    let guarantees = read(&root().join("docs/guarantees.md"));
    let rules: BTreeSet<String> = (1..=8).map(|number| format!("W{number}")).collect();
    let invariants: BTreeSet<String> = (1..=10).map(|number| number.to_string()).collect();
    for rule in &rules {
        assert!(guarantees.contains(&format!("**Rule {rule}: ")), "docs/guarantees.md lacks rule {rule}");
    }
    for invariant in schemas::invariants::ALL {
        let number = invariant.number();
        assert!(guarantees.contains(&format!("**Invariant {number}: ")), "docs/guarantees.md lacks invariant {number}");
    }
    let mut wrong = Vec::new();
    for (place, text) in prose() {
        let of = |word: &str, known: &BTreeSet<String>| -> Vec<String> {
            let unknown = numbers_after(&text, word).into_iter().filter(|number| !known.contains(number));
            unknown.map(|number| format!("{place}: {word} {number}")).collect()
        };
        wrong.extend(of("rule", &rules));
        wrong.extend(of("invariant", &invariants));
    }
    fail_with("these are cited and do not exist (rules are W1 to W8, invariants 1 to 10)", &wrong);
}

#[test]
fn every_file_that_is_cited_exists() {
    let all: Vec<String> = FILES
        .iter()
        .flat_map(|ending| files(ending.trim_start_matches('.')))
        .map(|path| format!("/{}", shown(&path)))
        .collect();
    let mut wrong = Vec::new();
    for (place, text) in prose() {
        let beside = root().join(&place);
        let missing = cited_files(&text).into_iter();
        let missing = missing.filter(|cited| !STRANGERS.contains(&cited.as_str()) && !exists(cited, &beside, &all));
        wrong.extend(missing.map(|cited| format!("{place}: {cited}")));
    }
    fail_with("these files are cited and do not exist", &wrong);
}

#[test]
fn every_section_that_is_linked_exists() {
    let mut wrong = Vec::new();
    for path in pages() {
        let text = read(&path);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for (page, section) in links.filter(|link| !link.contains("://")).filter_map(|link| link.split_once('#')) {
            let target = if page.is_empty() { path.clone() } else { path.parent().unwrap_or(&path).join(page) };
            let headings = if target.exists() { read(&target) } else { String::new() };
            let anchors = headings.lines().filter(|line| line.starts_with('#')).map(anchor);
            if !anchors.into_iter().any(|anchor| anchor == section) {
                wrong.push(format!("{}: {page}#{section}", shown(&path)));
            }
        }
    }
    fail_with("these sections are linked and do not exist", &wrong);
}

#[test]
fn the_repository_speaks_of_itself_alone() {
    const FOREIGN: [&str; 3] = ["DESIGN.md", "API.md", "STYLE.md"];
    let mut wrong = Vec::new();
    for (place, text) in prose() {
        wrong.extend(FOREIGN.iter().filter(|name| text.contains(**name)).map(|name| format!("{place}: {name}")));
    }
    fail_with("these pages are not part of the repository", &wrong);
}

/// How a heading is linked to.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

#[test]
fn citations_are_found_in_every_form() {
    assert_eq!(
        numbers_after("Rules W2, W3 and w4; the rule W5. Rule 8, rules of thumb", "rule"),
        ["W2", "W3", "W4", "W5", "8"]
    );
    assert_eq!(numbers_after("(invariants 5 and 10)", "invariant"), ["5", "10"]);
    let files = cited_files("see `writer/commit.rs:12`, [a](docs/x.md#y) and [b](https://z/w.md), `a b.rs`");
    assert_eq!(files, ["docs/x.md", "writer/commit.rs"].map(str::to_owned).into());
    assert_eq!(anchor("## Who gets an event"), "who-gets-an-event");
}
