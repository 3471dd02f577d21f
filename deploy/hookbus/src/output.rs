//! Answers on the screen: a table for people, JSON for programs.

use anyhow::Result;
use serde_json::Value;

use crate::cli::manage::Output;
use crate::screen;

/// Widest cell; longer values are cut.
const CELL: usize = 60;

/// A column: its title and the path of its value (`target.url`).
pub(crate) type Column = (&'static str, &'static str);

/// Prints a list.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn list(output: Output, list: &[Value], columns: &[Column]) -> Result<()> {
    match output {
        Output::Json => json(&Value::Array(list.to_vec())),
        Output::Table => table(list, columns).iter().try_for_each(|line| Ok(screen::line(line)?)),
    }
}

/// Prints a row of a list that goes on, in a line of its own.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn line(output: Output, row: &Value, columns: &[Column]) -> Result<()> {
    match output {
        Output::Json => Ok(screen::line(&row.to_string())?),
        Output::Table => {
            let cells: Vec<String> = columns.iter().map(|(_, path)| cut(cell(row, path))).collect();
            let told: Vec<&str> = cells.iter().map(|cell| if cell.is_empty() { "-" } else { cell }).collect();
            Ok(screen::line(&told.join("  "))?)
        }
    }
}

/// Prints one object.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn one(output: Output, object: &Value, columns: &[Column]) -> Result<()> {
    match output {
        Output::Json => json(object),
        Output::Table => {
            let width = columns.iter().map(|(title, _)| title.len()).max().unwrap_or_default();
            let shown =
                columns.iter().map(|(title, path)| (title, cell(object, path))).filter(|(_, text)| !text.is_empty());
            let mut lines = shown.map(|(title, text)| format!("{title:width$}  {text}"));
            lines.try_for_each(|line| Ok(screen::line(&line)?))
        }
    }
}

/// Says what was done; a program gets the answer, or an empty object.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn done(output: Output, sentence: &str, answer: &Value) -> Result<()> {
    match output {
        Output::Json if answer.is_null() => json(&Value::Object(serde_json::Map::new())),
        Output::Json => json(answer),
        Output::Table => Ok(screen::line(sentence)?),
    }
}

fn json(value: &Value) -> Result<()> {
    Ok(screen::line(&serde_json::to_string_pretty(value)?)?)
}

fn table(list: &[Value], columns: &[Column]) -> Vec<String> {
    let titles: Vec<String> = columns.iter().map(|(title, _)| title.to_uppercase()).collect();
    let mut rows = vec![titles];
    let row = |object: &Value| columns.iter().map(|(_, path)| cut(cell(object, path))).collect();
    rows.extend(list.iter().map(row));
    let width = |at: usize| rows.iter().map(|row: &Vec<String>| row[at].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn cell(object: &Value, path: &str) -> String {
    let value = path.split('.').fold(object, |value, name| &value[name]);
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.iter().all(Value::is_string) => {
            list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        }
        Value::Object(map) if map.values().all(Value::is_string) => {
            let pair = |(name, value): (&String, &Value)| format!("{name}={}", value.as_str().unwrap_or_default());
            map.iter().map(pair).collect::<Vec<_>>().join(" ")
        }
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other @ (Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    };
    // What others wrote does not steer the terminal.
    text.chars().map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter }).collect()
}

fn cut(text: String) -> String {
    match text.char_indices().nth(CELL) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let list = [
            json!({"name": "a", "target": {"url": "https://example.com/"}, "on": true}),
            json!({"name": "longer", "types": ["x", "y"], "labels": {"a": "b"}}),
        ];
        let columns = [("name", "name"), ("url", "target.url"), ("on", "on"), ("types", "types"), ("labels", "labels")];
        assert_eq!(
            table(&list, &columns),
            [
                "NAME    URL                   ON   TYPES  LABELS",
                "a       https://example.com/  yes",
                "longer                             x y    a=b",
            ]
        );
    }

    #[test]
    fn cells_are_cut_and_harmless() {
        assert_eq!(cut(cell(&json!({"a": "x".repeat(100)}), "a")).len(), CELL + 3);
        assert_eq!(cell(&json!({"a": "\u{1b}[31m"}), "a"), "\u{fffd}[31m");
    }
}
