//! `control.log`: where the delivery log is kept, and what it may take.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::key::{Key, Kind, Unit};
use super::reader::Reader;

pub(super) const STORE: Key = Key {
    path: "control.log.store",
    kind: Kind::Choice(&["sqlite", "postgres", "none"]),
    default: "sqlite",
    title: "Store of the delivery log",
    effect: "`sqlite` keeps an index of events and attempts in files of `control.log.folder`; it can be thrown away, and is made again \
             from the topic `attempts`. `postgres` keeps it in a schema of `control.log.postgres_url` that all replicas share: one of \
             them fills it, the others answer from it and stand by. With `none` the routes of the log answer 503 `log_unavailable`.",
};

pub(super) const FOLDER: Key = Key {
    path: "control.log.folder",
    kind: Kind::Text,
    default: "/var/lib/hookbus/log",
    title: "Folder of the delivery log",
    effect: "Belongs to one process; it is made if it is not there. Where it cannot be used, the routes of the log answer 503 \
             `log_unavailable` with the reason, and all others work.",
};

pub(super) const POSTGRES_URL: Key = Key {
    path: "control.log.postgres_url",
    kind: Kind::Secret,
    default: "",
    title: "PostgreSQL of the delivery log",
    effect: "`postgres://user:password@host:5432/database` of a server of version 13 or newer, where `control.log.store` is `postgres`; \
             `?sslmode=require` insists on TLS. Its tables are in the schema `hookbus_log`: where that is there, rights on it are \
             enough; else it is made. While the server does not answer, the routes of the log answer 503 `log_unavailable`.",
};

pub(super) const POSTGRES_CA_FILE: Key = Key {
    path: "control.log.postgres_ca_file",
    kind: Kind::Text,
    default: "",
    title: "Certificate authorities of that PostgreSQL",
    effect: "A PEM file with the authorities that its certificate may come from; else the public ones and those of the host.",
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
    effect: "Questions that are looked for at once, each on a thread, or a connection to PostgreSQL, and for at most 2 s; 64 more wait, then 503 `overloaded`.",
};

/// The delivery log.
#[derive(Clone, Debug)]
pub struct ControlLogConfig {
    /// What keeps it.
    pub store: LogStore,
    /// Its folder.
    pub folder: PathBuf,
    /// The PostgreSQL that has it.
    pub postgres_url: Option<SecretString>,
    /// Authorities of that, PEM.
    pub postgres_ca_file: Option<PathBuf>,
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
    /// Tables of PostgreSQL.
    Postgres,
    /// Nothing.
    None,
}

// === impl ControlLogConfig ===

impl ControlLogConfig {
    pub(super) fn read(from: &Reader<'_>) -> Self {
        let store = match from.text("control.log.store").as_str() {
            "none" => LogStore::None,
            "postgres" => LogStore::Postgres,
            _ => LogStore::Sqlite,
        };
        Self {
            store,
            folder: from.text("control.log.folder").into(),
            postgres_url: from.secret("control.log.postgres_url"),
            postgres_ca_file: from.optional("control.log.postgres_ca_file").map(PathBuf::from),
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
            postgres_url: None,
            postgres_ca_file: None,
            keep: Duration::from_secs(30 * 86_400),
            memory_bytes: 8 << 20,
            readers: 1,
        }
    }
}
