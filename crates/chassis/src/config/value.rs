//! Values: raw text or TOML becomes what the key's kind takes, and remembers where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use ::config::{Value, ValueKind};

use super::key::{Key, Kind};

/// Shown instead of a secret.
pub(super) const MASK: &str = "***";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The command in use brings it (`hookbus dev`).
    Preset(String),
    /// The file.
    File(PathBuf),
    /// This environment variable.
    Env(String),
}

/// A value that its key's kind takes, with its origin.
///
/// No `Debug`, here and on everything that holds raw values: it would show secrets.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) value: Parsed,
    pub(super) origin: Origin,
}

/// A value of one of the kinds.
#[derive(Clone)]
pub(super) enum Parsed {
    Unset,
    Text(String),
    Integer(i64),
    Flag(bool),
    List(Vec<String>),
    Properties(BTreeMap<String, (String, Origin)>),
}

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Preset(name) => write!(f, "preset {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "env {name}"),
        }
    }
}

impl Origin {
    /// The form in which an origin travels through the `config` crate; a file needs none, there is only one.
    pub(super) fn encode(&self) -> Option<String> {
        match self {
            Self::Default | Self::File(_) => None,
            Self::Preset(_) | Self::Env(_) => Some(self.to_string()),
        }
    }

    /// The origin of a value; what carries none is from the file.
    pub(super) fn decode(value: &Value, file: &Self) -> Self {
        let Some(text) = value.origin() else { return file.clone() };
        if let Some(name) = text.strip_prefix("env ") {
            return Self::Env(name.to_owned());
        }
        text.strip_prefix("preset ").map_or_else(|| file.clone(), |name| Self::Preset(name.to_owned()))
    }
}

// === impl Parsed ===

impl Parsed {
    /// Reads what the key takes from text: an environment variable, a preset, the default.
    /// Empty text is a value that is not set.
    pub(super) fn from_text(key: Key, text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(if matches!(key.kind, Kind::List) { Self::List(Vec::new()) } else { Self::Unset });
        }
        match key.kind {
            Kind::Integer(..) => {
                let number = text.parse().map_err(|error| format!("{text:?} is not {} ({error})", key.kind))?;
                Self::integer(key, number)
            }
            Kind::Flag => match text {
                "true" => Ok(Self::Flag(true)),
                "false" => Ok(Self::Flag(false)),
                _ => Err(refusal(key, text)),
            },
            Kind::List => Ok(Self::List(words(text))),
            Kind::Text | Kind::Secret | Kind::Address | Kind::Choice(_) => Self::text(key, text.to_owned()),
            Kind::Properties => Err(format!("is a table: set {}__NAME", key.variable())),
        }
    }

    /// Reads what the key takes from the file's types.
    pub(super) fn from_file(key: Key, value: Value) -> Result<Self, String> {
        match (key.kind, value.kind) {
            (Kind::Integer(..), ValueKind::I64(number)) => Self::integer(key, number),
            (Kind::Flag, ValueKind::Boolean(flag)) => Ok(Self::Flag(flag)),
            (Kind::List, ValueKind::Array(items)) => Ok(Self::List(strings(key, items)?)),
            (Kind::Secret, ValueKind::Array(items)) => Self::text(key, strings(key, items)?.join(",")),
            (Kind::Text | Kind::Secret | Kind::Address | Kind::Choice(_), ValueKind::String(text)) => {
                Self::text(key, text)
            }
            (_, other) => Err(refusal(key, &other.to_string())),
        }
    }

    /// The value as it stands in a message or behind `=`: TOML, secrets masked.
    pub(super) fn shown(&self, key: Key) -> String {
        match self {
            Self::Unset => "not set".to_owned(),
            Self::Text(_) if matches!(key.kind, Kind::Secret) => quoted(MASK),
            Self::Text(text) => quoted(text),
            Self::Integer(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::List(items) => format!("[{}]", items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", ")),
            Self::Properties(map) => format!("{} properties", map.len()),
        }
    }

    fn integer(key: Key, number: i64) -> Result<Self, String> {
        if let Kind::Integer(min, max, _) = key.kind
            && (min..=max).contains(&number)
        {
            return Ok(Self::Integer(number));
        }
        Err(refusal(key, &number.to_string()))
    }

    fn text(key: Key, text: String) -> Result<Self, String> {
        let fits = match key.kind {
            Kind::Address => text.parse::<SocketAddr>().is_ok(),
            Kind::Choice(words) => words.contains(&text.as_str()),
            Kind::Text | Kind::Secret | Kind::Integer(..) | Kind::Flag | Kind::List | Kind::Properties => true,
        };
        if !fits {
            return Err(refusal(key, &text));
        }
        Ok(if text.is_empty() { Self::Unset } else { Self::Text(text) })
    }
}

/// Whether a librdkafka property holds a secret, by its name.
pub(super) fn is_secret_property(name: &str) -> bool {
    ["password", "secret", "passphrase", "key.pem", "private.key", "oauthbearer.config", "jaas"]
        .iter()
        .any(|part| name.contains(part))
}

/// A text as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Words separated by commas or white space.
pub(super) fn words(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| letter == ',' || letter.is_whitespace());
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn strings(key: Key, items: Vec<Value>) -> Result<Vec<String>, String> {
    let item = |item: Value| {
        if let ValueKind::String(text) = item.kind { Ok(text) } else { Err(refusal(key, &item.kind.to_string())) }
    };
    items.into_iter().map(item).collect()
}

fn refusal(key: Key, value: &str) -> String {
    let value = if matches!(key.kind, Kind::Secret) { MASK } else { value };
    format!("{value:?} is not allowed, expected {}", key.kind)
}
