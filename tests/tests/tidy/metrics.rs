//! The doc comment of a metric is the help that Prometheus shows: who reads the field reads what the operator reads.

use std::path::PathBuf;

use super::{fail_with, files, read, shown};

/// Files with the metrics of a role or a library.
fn pages() -> Vec<PathBuf> {
    let own = |path: &PathBuf| {
        let place = shown(path);
        place.ends_with("/metrics.rs") && !place.contains("tests/")
    };
    files("rs").into_iter().filter(own).filter(|path| read(path).contains("Ok(Self {")).collect()
}

/// Fields with their doc comments.
fn documented(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut doc = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(said) = line.strip_prefix("/// ") {
            doc = if doc.is_empty() { said.to_owned() } else { format!("{doc} {said}") };
        } else {
            let field = line
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("pub ")
                .split_once(": ")
                .map(|(name, _)| name.to_owned());
            if let Some(name) = field.filter(|_| line.ends_with(',') && !doc.is_empty()) {
                found.push((name, doc.clone()));
            }
            doc.clear();
        }
    }
    found
}

/// The help a field is made with: the sentence among the texts of its initialiser.
fn help(text: &str, field: &str) -> Option<String> {
    let made = text.split("Ok(Self {").nth(1)?;
    let own = made.split(&format!("\n            {field}: ")).nth(1)?;
    // Lines of the initialiser are indented further than the fields: it ends with the first that is not.
    let is_next = |line: &&str| line.starts_with("            ") && line.trim_start().len() + 12 == line.len();
    let own: Vec<&str> =
        own.lines().enumerate().take_while(|(at, line)| *at == 0 || !is_next(line)).map(|(_, line)| line).collect();
    let own = own.join("\n");
    own.split('"').skip(1).step_by(2).find(|literal| literal.contains(' ')).map(str::to_owned)
}

#[test]
fn the_doc_of_a_metric_is_its_help() {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for path in pages() {
        let text = read(&path);
        for (field, doc) in documented(&text) {
            let Some(help) = help(&text, &field) else { continue };
            compared += 1;
            if help != doc {
                wrong.push(format!("{}: {field}\n    doc:  {doc}\n    help: {help}", shown(&path)));
            }
        }
    }
    assert!(compared > 20, "only {compared} metrics were found");
    fail_with("write the help as the doc comment", &wrong);
}
