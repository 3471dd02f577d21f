//! The shape of the key table. Every key is defined once, beside the struct that reads it; parsing, the search for unknown
//! keys, `config show` and the reference are derived from the table.

use std::fmt;

/// One `[section]` of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    /// Its name in the file.
    pub(super) name: &'static str,
    /// What it is about, for the reference.
    pub(super) about: &'static str,
    /// Its keys, in the order of the reference.
    pub(super) keys: &'static [Key],
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// Where it stands: `gateway.listen`.
    pub(super) path: &'static str,
    /// What it takes.
    pub(super) kind: Kind,
    /// The default as one would write it in the environment; empty: not set.
    pub(super) default: &'static str,
    /// What it is, in a few words.
    pub(super) title: &'static str,
    /// What it does and why one would change it.
    pub(super) effect: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// Text that is never shown; a list in the file is joined with commas.
    Secret,
    /// An address with port.
    Address,
    /// A whole number between two limits, both included.
    Integer(i64, i64, Unit),
    /// true or false.
    Flag,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A list of words; in the environment separated by commas or spaces.
    List,
    /// Names and values that are handed on as they are.
    Properties,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Hours,
    Bytes,
    Count,
    PerSecond,
    PerDay,
}

// === impl Section ===

impl Section {
    /// A key's path inside its section: `listen`.
    pub(super) fn short(self, key: Key) -> &'static str {
        key.path.strip_prefix(self.name).and_then(|rest| rest.strip_prefix('.')).unwrap_or(key.path)
    }
}

// === impl Key ===

impl Key {
    /// The environment variable that sets it.
    pub(super) fn variable(self) -> String {
        format!("{}{}", super::PREFIX, self.path.to_uppercase().replace('.', "__"))
    }
}

// === impl Kind ===

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Secret => f.write_str("secret text"),
            Self::Address => f.write_str("an address with port, such as 0.0.0.0:8080 or [::]:8080"),
            Self::Integer(min, max, unit) => write!(f, "a whole number from {min} to {max}{unit}"),
            Self::Flag => f.write_str("true or false"),
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Self::List => f.write_str("a list of texts"),
            Self::Properties => f.write_str("a table of names and values"),
        }
    }
}

// === impl Unit ===

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Millis => " ms",
            Self::Hours => " hours",
            Self::Bytes => " bytes",
            Self::Count => "",
            Self::PerSecond => " per second",
            Self::PerDay => " per day",
        })
    }
}
