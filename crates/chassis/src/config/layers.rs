//! Layers: preset under file under environment, laid over each other by the `config` crate, then taken apart into keys.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use ::config::{ConfigError as LayerError, File, FileFormat, Map, Source, Value, ValueKind};

use super::error::{ConfigError, Problem};
use super::key::{Key, Kind};
use super::reader::Values;
use super::secret_files::{self, EnvironmentText};
use super::value::{Origin, Parsed, Setting};
use super::{PREFIX, keys};

/// Values that a command brings along, under file and environment: `hookbus dev` listens on loopback.
#[derive(Clone, Default)]
pub struct Preset {
    /// Whose values; shown as their origin.
    pub name: String,
    /// Key (`gateway.listen`) and value, as in the environment.
    pub values: Vec<(String, String)>,
}

/// The file's path and text.
pub(super) struct Text {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// A layer of texts by path: environment and preset.
#[derive(Clone, Default)]
struct TextLayer(Map<String, Value>);

// === impl Preset ===

impl Preset {
    /// No values yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), values: Vec::new() }
    }

    /// With one more value, by key (`gateway.listen`), written as in the environment.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.values.push((key.into(), value.into()));
        self
    }
}

impl fmt::Debug for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.values.iter().map(|(key, _)| key).collect();
        f.debug_struct("Preset").field("name", &self.name).field("keys", &keys).finish()
    }
}

// === impl TextLayer ===

impl fmt::Debug for TextLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextLayer").finish_non_exhaustive()
    }
}

impl Source for TextLayer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, LayerError> {
        Ok(self.0.clone())
    }
}

impl TextLayer {
    fn set(&mut self, path: &[String], text: &str, origin: &Origin) {
        let value = Value::new(origin.encode().as_ref(), text);
        insert(&mut self.0, path, value);
    }
}

impl Text {
    /// Reads the file and checks that it is TOML.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let path = path.to_owned();
        match std::fs::read_to_string(&path) {
            Ok(text) => Self { path, text }.checked(),
            Err(source) => Err(ConfigError::Read { path, source }),
        }
    }

    fn checked(self) -> Result<Self, ConfigError> {
        let Err(error) = toml::from_str::<toml::Table>(&self.text) else { return Ok(self) };
        let start = error.span().map_or(0, |span| span.start);
        let before = self.text.get(..start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
        Err(ConfigError::Syntax { path: self.path, line, column, message: error.message().to_owned() })
    }
}

/// Lays the sources over each other and parses every key; reports all that is wrong at once.
pub(super) fn values(
    preset: &Preset,
    file: Option<&Text>,
    env: &BTreeMap<String, String>,
) -> Result<Values, ConfigError> {
    let mut problems = lone_underscores(env);
    let (variables, unreadable) = secret_files::read(env);
    problems.extend(unreadable);
    let merged = merge(preset, file, variables).map_err(ConfigError::Layers)?;
    let mut leaves = BTreeMap::new();
    flatten(String::new(), merged, &mut leaves);
    let from_file = Origin::File(file.map(|file| file.path.clone()).unwrap_or_default());
    let mut settings = defaults();
    for (path, value) in leaves {
        let origin = Origin::decode(&value, &from_file);
        match parse(&path, value, &from_file) {
            Ok((key, value)) => {
                settings.insert(key.path, Setting { value, origin });
            }
            Err(message) => problems.push(Problem { key: path, origin, message }),
        }
    }
    if problems.is_empty() { Ok(Values::new(settings)) } else { Err(ConfigError::Invalid(problems)) }
}

fn merge(
    preset: &Preset,
    file: Option<&Text>,
    variables: Vec<EnvironmentText>,
) -> Result<Map<String, Value>, LayerError> {
    let mut below = TextLayer::default();
    for (path, text) in &preset.values {
        below.set(&segments(path, "."), text, &Origin::Preset(preset.name.clone()));
    }
    let mut above = TextLayer::default();
    for EnvironmentText { path, origin, text } in variables {
        // `${UNSET:-}` in a compose file is an empty variable: as if it were not there, but a wrong name stays an error.
        let known = is_property(&path) || find(&path.join(".")).is_some();
        if !(known && text.trim().is_empty()) {
            above.set(&path, &text, &origin);
        }
    }
    let mut builder = ::config::Config::builder().add_source(below);
    if let Some(file) = file {
        builder = builder.add_source(File::from_str(&file.text, FileFormat::Toml));
    }
    builder.add_source(above).build()?.collect()
}

/// The steps to a key; below `kafka.properties` the rest is one name, in which the environment writes `_` for `.`.
pub(super) fn segments(path: &str, separator: &str) -> Vec<String> {
    let steps: Vec<&str> = path.split(separator).collect();
    match steps.as_slice() {
        ["kafka", "properties", name @ ..] if !name.is_empty() => {
            vec!["kafka".to_owned(), "properties".to_owned(), name.join(".").replace('_', ".")]
        }
        steps => steps.iter().map(|step| (*step).to_owned()).collect(),
    }
}

/// Whether these steps lead into `kafka.properties`.
pub(super) fn is_property(path: &[String]) -> bool {
    matches!(path, [kafka, properties, ..] if kafka == "kafka" && properties == "properties")
}

fn insert(table: &mut Map<String, Value>, path: &[String], value: Value) {
    let [step, rest @ ..] = path else { return };
    if rest.is_empty() {
        table.insert(step.clone(), value);
        return;
    }
    let below = table.entry(step.clone()).or_insert_with(|| Value::new(None, ValueKind::Table(Map::new())));
    if !matches!(below.kind, ValueKind::Table(_)) {
        // `A=x` beside `A__B=y`: the longer one stays and the key it names does not exist.
        below.kind = ValueKind::Table(Map::new());
    }
    if let ValueKind::Table(below) = &mut below.kind {
        insert(below, rest, value);
    }
}

fn flatten(prefix: String, table: Map<String, Value>, leaves: &mut BTreeMap<String, Value>) {
    let sorted: BTreeMap<String, Value> = table.into_iter().collect();
    for (name, value) in sorted {
        let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        let whole = find(&path).is_some_and(|key| matches!(key.kind, Kind::Properties));
        if !whole && let ValueKind::Table(below) = value.kind {
            flatten(path, below, leaves);
        } else {
            leaves.insert(path, value);
        }
    }
}

fn parse(path: &str, value: Value, file: &Origin) -> Result<(Key, Parsed), String> {
    let key = find(path).ok_or_else(|| unknown(path))?;
    let parsed = match (key.kind, value.kind.clone()) {
        (Kind::Properties, ValueKind::Table(table)) => properties(table, file)?,
        (_, ValueKind::String(text)) if value.origin().is_some() => Parsed::from_text(key, &text)?,
        _ => Parsed::from_file(key, value)?,
    };
    Ok((key, parsed))
}

/// librdkafka takes texts: numbers and flags of the file are written out. Unquoted dots in the file made nested tables.
fn properties(table: Map<String, Value>, file: &Origin) -> Result<Parsed, String> {
    let mut leaves = BTreeMap::new();
    flatten(String::new(), table, &mut leaves);
    let one = |(name, value): (String, Value)| {
        let origin = Origin::decode(&value, file);
        if matches!(value.kind, ValueKind::Array(_) | ValueKind::Nil) {
            return Err(format!("{name}: expected text, a number or a flag"));
        }
        Ok((name, (value.kind.to_string(), origin)))
    };
    Ok(Parsed::Properties(leaves.into_iter().map(one).collect::<Result<_, _>>()?))
}

fn defaults() -> BTreeMap<&'static str, Setting> {
    let default = |key: Key| {
        let value = Parsed::from_text(key, key.default).expect("a test parses every default");
        (key.path, Setting { value, origin: Origin::Default })
    };
    keys().map(default).collect()
}

pub(super) fn find(path: &str) -> Option<Key> {
    keys().find(|key| key.path == path)
}

fn unknown(path: &str) -> String {
    let near = keys()
        .map(|key| (strsim::normalized_damerau_levenshtein(path, key.path), key))
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    match near {
        Some((_, key)) => format!("unknown key, the nearest known one is {} ({})", key.path, key.variable()),
        None => "unknown key".to_owned(),
    }
}

/// `HOOKBUS_KAFKA_BROKERS` is surely meant for us; `HOOKBUS_GATEWAY_SERVICE_HOST` is Kubernetes'.
fn lone_underscores(env: &BTreeMap<String, String>) -> Vec<Problem> {
    let squash = |name: &str| name.replace(['_', '.'], "").to_uppercase();
    let mine = env.keys().filter(|name| name.starts_with("HOOKBUS_") && !name.starts_with(PREFIX));
    mine.filter_map(|name| {
        let key = keys().find(|key| squash(&key.variable()) == squash(name))?;
        let message = format!("sections are separated by two underscores, this is {}", key.variable());
        Some(Problem { key: key.path.to_owned(), origin: Origin::Env(name.clone()), message })
    })
    .collect()
}
