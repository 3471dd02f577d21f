//! Reading typed sections from checked values, and checking the relations between them.
//!
//! Kinds and ranges hold already, so reading cannot fail: a panic here is a key that its section reads as another type
//! than its table says, and the test of the defaults finds it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::error::Problem;
use super::key::Key;
use super::keys;
use super::value::{Origin, Parsed, Setting};

const IN_TABLE: &str = "the key is in the table with this kind";

/// Every key with its effective value.
#[derive(Clone)]
pub(super) struct Values {
    settings: BTreeMap<&'static str, Setting>,
}

/// Hands out values to the sections and collects what is wrong between them.
pub(super) struct Reader<'a> {
    values: Values,
    env: &'a BTreeMap<String, String>,
    problems: Vec<Problem>,
}

// === impl Values ===

impl Values {
    pub(super) fn new(settings: BTreeMap<&'static str, Setting>) -> Self {
        Self { settings }
    }

    pub(super) fn get(&self, path: &str) -> &Setting {
        self.settings.get(path).expect(IN_TABLE)
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(values: Values, env: &'a BTreeMap<String, String>) -> Self {
        Self { values, env, problems: Vec::new() }
    }

    /// The values, and all that was found wrong.
    pub(super) fn finish(self) -> (Values, Vec<Problem>) {
        (self.values, self.problems)
    }

    pub(super) fn text(&self, path: &str) -> String {
        self.optional(path).unwrap_or_default()
    }

    pub(super) fn optional(&self, path: &str) -> Option<String> {
        match &self.values.get(path).value {
            Parsed::Unset => None,
            Parsed::Text(text) => Some(text.clone()),
            Parsed::Integer(_) | Parsed::Flag(_) | Parsed::List(_) | Parsed::Properties(_) => {
                unreachable!("{path}: {IN_TABLE}")
            }
        }
    }

    pub(super) fn secret(&self, path: &str) -> Option<SecretString> {
        self.optional(path).map(SecretString::from)
    }

    pub(super) fn address(&self, path: &str) -> SocketAddr {
        self.text(path).parse().expect(IN_TABLE)
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, path: &str) -> T {
        let Parsed::Integer(number) = self.values.get(path).value else { unreachable!("{path}: {IN_TABLE}") };
        T::try_from(number).ok().expect("the table's range fits the type")
    }

    /// A number whose 0 means "not set".
    pub(super) fn positive<T: TryFrom<i64> + Default + PartialEq>(&self, path: &str) -> Option<T> {
        Some(self.number::<T>(path)).filter(|number| *number != T::default())
    }

    pub(super) fn millis(&self, path: &str) -> Duration {
        Duration::from_millis(self.number(path))
    }

    pub(super) fn hours(&self, path: &str) -> Duration {
        Duration::from_secs(self.number::<u64>(path) * 3_600)
    }

    pub(super) fn flag(&self, path: &str) -> bool {
        matches!(self.values.get(path).value, Parsed::Flag(true))
    }

    pub(super) fn list(&self, path: &str) -> Vec<String> {
        let Parsed::List(items) = &self.values.get(path).value else { unreachable!("{path}: {IN_TABLE}") };
        items.clone()
    }

    /// The items of a list, each of one type.
    pub(super) fn items<T: FromStr>(&mut self, path: &str, expected: &str) -> Vec<T> {
        let mut items = Vec::new();
        for text in self.list(path) {
            match text.parse() {
                Ok(item) => items.push(item),
                Err(_) => self.check(false, path, format_args!("{expected}, {text:?} is none")),
            }
        }
        items
    }

    pub(super) fn properties(&self, path: &str) -> BTreeMap<String, String> {
        let Parsed::Properties(map) = &self.values.get(path).value else { return BTreeMap::new() };
        map.iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect()
    }

    /// A variable of the environment that is not ours (the host name).
    pub(super) fn environment(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Remembers what a key that was not set became, so that `config show` says it.
    pub(super) fn became(&mut self, path: &'static str, text: &str) {
        let setting = Setting { value: Parsed::Text(text.to_owned()), origin: Origin::Default };
        self.values.settings.insert(path, setting);
    }

    /// Notes a problem with this key unless `holds`.
    pub(super) fn check(&mut self, holds: bool, path: &str, expected: impl Display) {
        if holds {
            return;
        }
        let key: Key = keys().find(|key| key.path == path).expect(IN_TABLE);
        let Setting { value, origin } = self.values.get(path);
        let message = format!("{} is not allowed, expected {expected}", value.shown(key));
        self.problems.push(Problem { key: path.to_owned(), origin: origin.clone(), message });
    }

    /// Notes a problem unless the first key's number is at most the second's.
    pub(super) fn at_most(&mut self, path: &str, limit: &str) {
        let (number, max): (i64, i64) = (self.number(path), self.number(limit));
        self.check(number <= max, path, format_args!("at most {limit} ({max})"));
    }

    /// Notes a problem unless the first key's number is below the second's.
    pub(super) fn below(&mut self, path: &str, limit: &str) {
        let (number, max): (i64, i64) = (self.number(path), self.number(limit));
        self.check(number < max, path, format_args!("less than {limit} ({max})"));
    }
}
