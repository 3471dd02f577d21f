//! A `hookbus.toml` for one process or for all of a test.

use std::path::Path;

use anyhow::Context;
use toml::{Table, Value};

/// Settings by dotted key: `settings.set("kafka.brokers", "127.0.0.1:9092")`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    root: Table,
}

impl Settings {
    /// Sets one, making the sections above it.
    ///
    /// # Panics
    /// When a part of the key is a value already: a mistake in the test.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        let (sections, name) = key.rsplit_once('.').map_or((None, key), |(sections, name)| (Some(sections), name));
        let mut table = &mut self.root;
        for section in sections.into_iter().flat_map(|sections| sections.split('.')) {
            let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            table = entry.as_table_mut().expect("a section, not a value");
        }
        table.insert(name.to_owned(), value.into());
        self
    }

    /// All but these, sections or single ones.
    #[must_use]
    pub fn without(&self, keys: &[&str]) -> Table {
        let mut root = self.root.clone();
        for key in keys {
            let (section, name) = key.rsplit_once('.').map_or((None, *key), |(section, name)| (Some(section), name));
            let table = match section {
                Some(section) => root.get_mut(section).and_then(Value::as_table_mut),
                None => Some(&mut root),
            };
            table.and_then(|table| table.remove(name));
        }
        root
    }

    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        self.root.to_string()
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, self.text()).with_context(|| format!("writing {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_keys_become_sections() {
        let mut settings = Settings::default();
        settings.set("kafka.brokers", "a:1").set("kafka.properties.debug", "eos").set("top", 5);
        settings.set("retry.tiers", vec!["1s", "5s"]);
        let read: Table = settings.text().parse().unwrap();
        assert_eq!(read["kafka"]["properties"]["debug"].as_str(), Some("eos"));
        assert_eq!(read["retry"]["tiers"][1].as_str(), Some("5s"));
        let less = settings.without(&["retry", "kafka.brokers"]);
        assert!(!less.contains_key("retry") && less["kafka"].as_table().is_some_and(|kafka| kafka.len() == 1));
        assert_eq!(read["top"].as_integer(), Some(5));
    }
}
