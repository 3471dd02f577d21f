//! `hookbus config show` and `hookbus config reference`: both are the key table, once with values, once with its docs.

use std::fmt::Write as _;

use super::SECTIONS;
use super::key::{Key, Kind, Section, Unit};
use super::reader::Values;
use super::value::{MASK, Origin, Parsed, is_secret_property, quoted};

/// Before the keys in the reference.
const INTRODUCTION: &str = "\
# Configuration

This page is generated from the key table in `crates/chassis` (`hookbus config reference`); a test keeps it in step.

Values come from, each over the one before: the defaults below, `hookbus.toml` (or the file named by `--config` or
`HOOKBUS_CONFIG`), the environment. A key `section.key` is `HOOKBUS__SECTION__KEY` there, lists are separated by commas
or spaces, and an empty variable counts as not set. An unknown key or a value out of range stops the start with a
message that names the key and the nearest known one, or what is allowed. `hookbus config show` prints what is in
effect and where each value came from, secrets masked, `hookbus config schema` what a file may hold as JSON Schema.

A secret, or any librdkafka property, can stand in a file instead: `HOOKBUS__SECURITY__LOOKUP_KEY_FILE` names the file that
holds `security.lookup_key`. One newline at its end is cut off, and it is read once, at the start. Keys are there since 0.1.0 unless their text says otherwise.
";

/// The effective values as TOML with the origin behind each.
pub(super) fn show(values: &Values) -> String {
    let mut page = String::new();
    for section in SECTIONS {
        let lines: Vec<(String, String)> = section.keys.iter().flat_map(|key| lines(*section, *key, values)).collect();
        let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0);
        let gap = if page.is_empty() { "" } else { "\n" };
        writeln!(page, "{gap}[{}]", section.name).expect("a String takes all");
        for (line, origin) in lines {
            writeln!(page, "{line:width$}  # {origin}").expect("a String takes all");
        }
    }
    page
}

fn lines(section: Section, key: Key, values: &Values) -> Vec<(String, String)> {
    let short = section.short(key);
    let setting = values.get(key.path);
    if let Parsed::Properties(map) = &setting.value {
        let line = |(name, (value, origin)): (&String, &(String, Origin))| {
            let value = if is_secret_property(name) { MASK } else { value };
            (format!("{short}.{} = {}", quoted(name), quoted(value)), origin.to_string())
        };
        return map.iter().map(line).collect();
    }
    match (&setting.value, key.kind) {
        (Parsed::Unset, Kind::Properties) => Vec::new(),
        (Parsed::Unset, _) => vec![(format!("# {short}"), "not set".to_owned())],
        (value, _) => vec![(format!("{short} = {}", value.shown(key)), setting.origin.to_string())],
    }
}

/// Every key with its doc, as Markdown.
pub(super) fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in SECTIONS {
        write!(page, "\n## `[{}]`\n\n{}\n\n", section.name, section.about).expect("a String takes all");
        page.push_str("| key | default | what it does |\n|---|---|---|\n");
        for key in section.keys {
            let (short, default, allowed) = (section.short(*key), default(*key), allowed(key.kind));
            let effect = if key.effect.is_empty() { String::new() } else { format!("{} ", key.effect) };
            writeln!(page, "| `{short}` | {default} | **{}.** {effect}{allowed} |", key.title)
                .expect("a String takes all");
        }
    }
    page
}

fn default(key: Key) -> String {
    let unit = if let Kind::Integer(_, _, unit) = key.kind { unit } else { Unit::Count };
    if key.default.is_empty() { "none".to_owned() } else { format!("`{}`{unit}", key.default) }
}

fn allowed(kind: Kind) -> String {
    match kind {
        Kind::Text => "Text.".to_owned(),
        Kind::Secret => "Secret, never shown.".to_owned(),
        Kind::Address => "Address with port.".to_owned(),
        Kind::Integer(min, max, unit) => format!("{min} to {max}{unit}."),
        Kind::Flag => "`true` or `false`.".to_owned(),
        Kind::Choice(words) => format!("One of `{}`.", words.join("`, `")),
        Kind::List => "List.".to_owned(),
        Kind::Properties => "Table.".to_owned(),
    }
}
