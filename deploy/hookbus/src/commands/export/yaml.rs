//! JSON values as YAML text. Pure.

use anyhow::{Context, Result};
use saphyr::{Mapping, Scalar, Yaml, YamlEmitter};
use serde_json::{Map, Value};

/// What a reader wants to know first.
const FIRST: [&str; 7] = ["kind", "id", "uid", "organization", "application", "name", "event_types"];

/// One document, with the line that begins it.
///
/// # Errors
/// Never in practice: strings take every letter.
pub(crate) fn write(document: &Map<String, Value>) -> Result<String> {
    let mut text = String::new();
    let mut emitter = YamlEmitter::new(&mut text);
    emitter.multiline(true);
    let first = FIRST.iter().filter_map(|name| document.get_key_value(*name));
    let rest = document.iter().filter(|(name, _)| !FIRST.contains(&name.as_str()));
    emitter
        .dump(&mapping(first.chain(rest)))
        .map_err(|error| anyhow::anyhow!("{error}"))
        .context("cannot write YAML")?;
    text.push('\n');
    Ok(text)
}

fn mapping<'a>(entries: impl Iterator<Item = (&'a String, &'a Value)>) -> Yaml<'a> {
    let mut mapping = Mapping::new();
    for (name, value) in entries {
        mapping.insert(Yaml::Value(Scalar::String(name.into())), yaml(value));
    }
    Yaml::Mapping(mapping)
}

fn yaml(value: &Value) -> Yaml<'_> {
    match value {
        Value::Null => Yaml::Value(Scalar::Null),
        Value::Bool(flag) => Yaml::Value(Scalar::Boolean(*flag)),
        Value::Number(number) => Yaml::Value(match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Scalar::Integer(whole),
            (None, number) => Scalar::FloatingPoint(number.unwrap_or_default().into()),
        }),
        Value::String(text) => Yaml::Value(Scalar::String(text.into())),
        Value::Array(list) => Yaml::Sequence(list.iter().map(yaml).collect()),
        Value::Object(entries) => mapping(entries.iter()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::commands::apply::yaml::Document;

    fn back(document: &Map<String, Value>) -> Map<String, Value> {
        let text = write(document).unwrap();
        let mut read = Document::read("f", &text).unwrap_or_else(|wrong| panic!("{wrong:?} in\n{text}"));
        assert_eq!(read.len(), 1, "{text}");
        read.remove(0).fields
    }

    #[test]
    fn documents_are_read_as_they_were_written() {
        let document = json!({
            "kind": "subscription", "a": "yes", "b": "true", "c": "1", "d": "", "e": "a: b # c", "f": "two\nlines\n", "g": " x ",
            "h": [], "i": {}, "j": [[1, {"k": null}], "- x"], "k": -3, "l": 0.5, "m": "~", "n": "0x1f", "o": "1e3", "p": "*a",
            "q": "----", "r": "'", "s": "\"", "t": "\u{e9}", "u": "\t", "v": "a\r\nb", "w": "---\n", "x": "2026-11-22",
        });
        let document = document.as_object().unwrap().clone();
        assert_eq!(back(&document), document);
    }

    proptest! {
        #[test]
        fn any_text_survives(name in "\\PC{1,20}", text in "[\\PC\\n\\t ]{0,60}") {
            let document = Map::from_iter([(name, json!({"inner": [text]}))]);
            prop_assert_eq!(back(&document), document);
        }
    }
}
