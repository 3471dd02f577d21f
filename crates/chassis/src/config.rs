//! Configuration: `hookbus.toml` under the environment, checked once, typed afterwards.
//!
//! ```text
//! preset < file < HOOKBUS__SECTION__KEY      layers.rs   laid over each other by the `config` crate
//!                 HOOKBUS__.._FILE           secret_files.rs  names the file that holds a secret
//!        -> every key known, kind and range  value.rs    against the key table (key.rs), all problems at once
//!        -> typed sections, relations        reader.rs   one struct per section, each beside its keys
//!        -> Loaded { config }                show.rs     effective values with origin; the reference
//!                                            schema.rs   what a file may hold, as JSON Schema
//! ```
//!
//! A key is defined once, in the table of its section's file; nothing else knows its name twice.

mod admin;
mod admin_keys;
mod control;
mod control_log;
mod delivery;
mod egress;
mod error;
mod fanout;
mod forward;
mod gateway;
mod kafka;
mod key;
mod layers;
mod listener;
mod log;
mod plans;
mod reader;
mod retry;
mod schema;
mod secret_files;
mod security;
mod show;
mod shutdown;
mod sources;
#[cfg(test)]
mod tests;
mod topics;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

pub use self::admin::AdminConfig;
pub use self::control::{ByteLimits, ControlConfig, ControlRates};
pub use self::control_log::{ControlLogConfig, LogStore};
pub use self::delivery::DeliveryConfig;
pub use self::egress::EgressProxy;
pub use self::error::{ConfigError, Problem};
pub use self::fanout::FanoutConfig;
pub use self::forward::{ControlUrl, ForwardConfig};
pub use self::gateway::GatewayConfig;
pub use self::kafka::{KafkaConfig, Properties, Role};
pub use self::layers::Preset;
pub use self::listener::TlsFiles;
pub use self::log::{LogConfig, LogFormat};
pub use self::retry::RetryConfig;
pub use self::security::{Keys, SecurityConfig};
pub use self::shutdown::ShutdownConfig;
pub use self::sources::SourcesConfig;
pub use self::topics::TopicsConfig;
pub use self::value::Origin;

use self::key::{Key, Section};
use self::layers::Text;
use self::reader::{Reader, Values};

/// What every variable of ours begins with.
const PREFIX: &str = "HOOKBUS__";
/// The file that is read when it is there and no other is named.
const DEFAULT_FILE: &str = "hookbus.toml";

/// All sections, in the order of the reference.
const SECTIONS: &[Section] = &[
    kafka::SECTION,
    topics::SECTION,
    gateway::SECTION,
    fanout::SECTION,
    sources::SECTION,
    delivery::SECTION,
    retry::SECTION,
    control::SECTION,
    security::SECTION,
    admin::SECTION,
    log::SECTION,
    shutdown::SECTION,
];

/// The checked configuration of a process; each role takes its section.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to reach Kafka.
    pub kafka: KafkaConfig,
    /// The topic set.
    pub topics: TopicsConfig,
    /// The ingest gateway.
    pub gateway: GatewayConfig,
    /// The fan-out worker.
    pub fanout: FanoutConfig,
    /// Topics of others.
    pub sources: SourcesConfig,
    /// The delivery worker.
    pub delivery: DeliveryConfig,
    /// The retry scheduler.
    pub retry: RetryConfig,
    /// The control plane.
    pub control: ControlConfig,
    /// Keys.
    pub security: SecurityConfig,
    /// The admin port.
    pub admin: AdminConfig,
    /// Logs.
    pub log: LogConfig,
    /// How a process ends.
    pub shutdown: ShutdownConfig,
}

/// A configuration and where each of its values came from.
#[derive(Clone)]
pub struct Loaded {
    /// The typed sections.
    pub config: Config,
    values: Values,
}

/// Reads file and environment. Without a file given, `hookbus.toml` in the working directory is read if it is there.
///
/// # Errors
/// An unreadable file, unknown keys, values out of range, relations that do not hold; all of them at once.
pub fn load(file: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Loaded, ConfigError> {
    load_over(&Preset::default(), file, env)
}

/// As [`load`], over the values a command brings along.
///
/// # Errors
/// As [`load`].
pub fn load_over(
    preset: &Preset,
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    let text = match file {
        Some(path) => Some(Text::read(path)?),
        None if Path::new(DEFAULT_FILE).exists() => Some(Text::read(Path::new(DEFAULT_FILE))?),
        None => None,
    };
    build(preset, text.as_ref(), &env.collect())
}

/// The environment of this process, for [`load`].
pub fn environment() -> impl Iterator<Item = (String, String)> {
    // Not `vars`: it panics when somebody else's variable is not Unicode.
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (lossy(name), lossy(value)))
}

/// Every key with its doc, as Markdown: `docs/configuration.md`.
#[must_use]
pub fn reference() -> String {
    show::reference()
}

/// What a file may hold, as JSON Schema (draft 7). Keys that hold secrets are `writeOnly`.
#[must_use]
pub fn schema() -> serde_json::Value {
    schema::schema()
}

fn build(preset: &Preset, file: Option<&Text>, env: &BTreeMap<String, String>) -> Result<Loaded, ConfigError> {
    let mut reader = Reader::new(layers::values(preset, file, env)?, env);
    let config = Config {
        kafka: KafkaConfig::read(&mut reader),
        topics: topics::read(&mut reader),
        gateway: GatewayConfig::read(&mut reader),
        fanout: FanoutConfig::read(&mut reader),
        sources: SourcesConfig::read(&mut reader),
        delivery: DeliveryConfig::read(&mut reader),
        retry: RetryConfig::read(&mut reader),
        control: ControlConfig::read(&mut reader),
        security: SecurityConfig::read(&mut reader),
        admin: AdminConfig::read(&mut reader),
        log: LogConfig::read(&mut reader),
        shutdown: ShutdownConfig::read(&mut reader),
    };
    let (values, problems) = reader.finish();
    if problems.is_empty() { Ok(Loaded { config, values }) } else { Err(ConfigError::Invalid(problems)) }
}

fn keys() -> impl Iterator<Item = Key> {
    SECTIONS.iter().flat_map(|section| section.keys).copied()
}

// === impl Config ===

impl Config {
    /// All defaults, in slot `test`; reads neither file nor environment. For tests: change fields of the clone you need.
    #[must_use]
    pub fn for_tests() -> Self {
        let env = BTreeMap::from([(kafka::HOSTNAME.to_owned(), "test".to_owned())]);
        let loaded = build(&Preset::default(), None, &env).expect("a test loads the defaults");
        loaded.config
    }
}

// === impl Loaded ===

impl Loaded {
    /// The effective values as TOML, each with where it came from; secrets masked.
    #[must_use]
    pub fn show(&self) -> String {
        show::show(&self.values)
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("config", &self.config).finish_non_exhaustive()
    }
}
