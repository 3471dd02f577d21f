//! `[log]`: what a process says and in which form.

use tracing_subscriber::EnvFilter;

use super::key::{Key, Kind, Section};
use super::reader::Reader;

pub(super) const SECTION: Section = Section {
    name: "log",
    about: "Logs, on stderr.",
    keys: &[
        Key {
            path: "log.format",
            kind: Kind::Choice(&["json", "text"]),
            default: "json",
            title: "Format",
            effect: "One JSON object per line, or text for people.",
        },
        Key {
            path: "log.level",
            kind: Kind::Text,
            default: "info",
            title: "Level",
            effect: "`error`, `warn`, `info`, `debug`, `trace`, or a list such as `info,kafka=debug`.",
        },
    ],
};

/// The `[log]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// A level (`info`) or a list of `target=level`.
    pub level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

impl LogConfig {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        let level = from.text("log.level");
        let readable = !level.is_empty() && EnvFilter::try_new(&level).is_ok();
        from.check(readable, "log.level", "error, warn, info, debug, trace or a list of target=level");
        let format = if from.text("log.format") == "text" { LogFormat::Text } else { LogFormat::Json };
        Self { format, level }
    }
}
