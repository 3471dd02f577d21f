//! `control.log`: where the delivery log is kept, and what it may take.

use std::path::PathBuf;
use std::time::Duration;

use super::key::{Key, Kind, Unit};
use super::reader::Reader;

pub(super) const STORE: Key = Key {
    path: "control.log.store",
    kind: Kind::Choice(&["sqlite", "none"]),
    default: "sqlite",
    title: "Store of the delivery log",
    effect: "`sqlite` keeps an index of events and attempts in files of `control.log.folder`; it can be thrown away, and is made again \
             from the topic `attempts`. With `none` the routes of the log answer 503 `log_unavailable`.",
};

pub(super) const FOLDER: Key = Key {
    path: "control.log.folder",
    kind: Kind::Text,
    default: "/var/lib/hookbus/log",
    title: "Folder of the delivery log",
    effect: "Belongs to one process; it is made if it is not there. Where it cannot be used, the routes of the log answer 503 \
             `log_unavailable` with the reason, and all others work.",
};

pub(super) const KEEP: Key = Key {
    path: "control.log.keep_hours",
    kind: Kind::Integer(24, 8_784, Unit::Hours),
    default: "720",
    title: "How long the delivery log reaches back",
    effect: "Whole days of UTC are given up when all of a day is older. What `attempts` does not hold any more cannot be made again.",
};

pub(super) const MEMORY: Key = Key {
    path: "control.log.memory_bytes",
    kind: Kind::Integer(8_388_608, 17_179_869_184, Unit::Bytes),
    default: "67108864",
    title: "Memory of the delivery log",
    effect: "Pages of its files that are kept in memory: half for the day that is written, half shared by the readers.",
};

pub(super) const READERS: Key = Key {
    path: "control.log.readers",
    kind: Kind::Integer(1, 64, Unit::Count),
    default: "4",
    title: "Readers of the delivery log",
    effect: "Questions that are looked for at once, each on a thread and for at most 2 s; 64 more wait, then 503 `overloaded`.",
};

/// The delivery log.
#[derive(Clone, Debug)]
pub struct ControlLogConfig {
    /// What keeps it.
    pub store: LogStore,
    /// Its folder.
    pub folder: PathBuf,
    /// How far it reaches back.
    pub keep: Duration,
    /// Pages that are kept in memory.
    pub memory_bytes: u64,
    /// Threads that read.
    pub readers: usize,
}

/// What keeps the delivery log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStore {
    /// Files of SQLite.
    Sqlite,
    /// Nothing.
    None,
}

// === impl ControlLogConfig ===

impl ControlLogConfig {
    pub(super) fn read(from: &Reader<'_>) -> Self {
        Self {
            store: if from.text("control.log.store") == "none" { LogStore::None } else { LogStore::Sqlite },
            folder: from.text("control.log.folder").into(),
            keep: from.hours("control.log.keep_hours"),
            memory_bytes: from.number("control.log.memory_bytes"),
            readers: from.number("control.log.readers"),
        }
    }

    /// No log.
    #[must_use]
    pub fn none() -> Self {
        Self {
            store: LogStore::None,
            folder: PathBuf::new(),
            keep: Duration::from_secs(30 * 86_400),
            memory_bytes: 8 << 20,
            readers: 1,
        }
    }
}
