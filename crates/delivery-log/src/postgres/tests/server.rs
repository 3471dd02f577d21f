//! A server for tests, which ends with this process: `tests/postgres.sh` says how.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use parking_lot::Mutex;

use super::super::PostgresOptions;

/// See the module.
pub(super) struct TestServer {
    folder: String,
    talk: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    /// It ends when its input does.
    _child: Child,
}

impl TestServer {
    /// The one that most tests share.
    pub(super) fn shared() -> &'static Self {
        static SHARED: OnceLock<TestServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// One of its own.
    pub(super) fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/postgres.sh");
        let started = Command::new("sh").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.unwrap();
        let (input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let folder =
            line.trim_end().strip_prefix("ready ").expect("postgresql: `deploy/setup.sh test` installs it").to_owned();
        Self { folder, talk: Mutex::new((input, output)), _child: child }
    }

    /// Its socket.
    pub(super) fn socket(&self) -> String {
        format!("{}/.s.PGSQL.5432", self.folder)
    }

    /// A schema of it, as its owner.
    pub(super) fn options(&self, schema: &str) -> PostgresOptions {
        self.options_as("postgres", schema)
    }

    /// A schema of it, as somebody.
    pub(super) fn options_as(&self, user: &str, schema: &str) -> PostgresOptions {
        let url = format!("postgres://{user}@{}/postgres", self.folder.replace('/', "%2F"));
        PostgresOptions { url: url.into(), ca_file: None, schema: schema.to_owned(), readers: 2, seconds: 120 }
    }

    /// `stop` is a crash; waits until it is done.
    pub(super) fn tell(&self, word: &str) {
        let mut talk = self.talk.lock();
        writeln!(talk.0, "{word}").unwrap();
        let mut line = String::new();
        talk.1.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n", "{word}");
    }
}
