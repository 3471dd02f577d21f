//! What can go wrong between "I want a Kafka" and a Kafka that serves. Messages carry the tail of the child's output,
//! because the person who reads them sits at a terminal and has nothing else to look at.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::tether::Exit;

/// How many of the last lines of a log an error shows.
const TAIL_LINES: usize = 30;

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum KafkaDevError {
    /// A program this needs is not installed.
    #[error(
        "cannot run `{program}`: {source}. Kafka needs a Java runtime (17 or newer) and its jars come through Maven; install both (on Debian: apt-get install default-jre-headless maven) or point HOOKBUS__KAFKA__BROKERS at a Kafka of yours"
    )]
    ToolMissing {
        /// The program that could not be started.
        program: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Maven ran and failed.
    #[error("maven could not fetch kafka {version}:\n{tail}")]
    Maven {
        /// The Kafka version asked for.
        version: &'static str,
        /// Its last lines.
        tail: String,
    },
    /// A file or folder could not be read or written.
    #[error("{doing} {}: {source}", path.display())]
    File {
        /// What was being done, a verb phrase.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another Kafka runs on the same storage.
    #[error("a kafka runs on {} already: end the process that started it, or choose another folder", path.display())]
    InUse {
        /// The storage folder.
        path: PathBuf,
    },
    /// No free port in the range that outgoing connections do not use.
    #[error("no free port between {first} and {last}")]
    NoPort {
        /// First port tried.
        first: u16,
        /// Last port of the range.
        last: u16,
    },
    /// The storage folder could not be formatted.
    #[error("kafka's storage tool could not format {}:\n{tail}", path.display())]
    Format {
        /// The folder.
        path: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The broker ended while it was starting.
    #[error("kafka ended with {exit} while it was starting; the end of {}:\n{tail}", log.display())]
    Ended {
        /// How it ended.
        exit: Exit,
        /// Its log file.
        log: PathBuf,
        /// The end of that file.
        tail: String,
    },
    /// The broker runs but does not serve.
    #[error("kafka did not serve 127.0.0.1:{port} within {waited:?}; the end of {}:\n{tail}", log.display())]
    NotReady {
        /// The port that was asked.
        port: u16,
        /// For how long.
        waited: Duration,
        /// Its log file.
        log: PathBuf,
        /// The end of that file.
        tail: String,
    },
    /// A signal could not be delivered, or the end of the process not be awaited.
    #[error("{doing} kafka (process {pid}): {source}")]
    Process {
        /// What was being done, a verb phrase.
        doing: &'static str,
        /// The process.
        pid: i32,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl KafkaDevError {
    /// For `map_err` on file operations.
    pub(crate) fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { doing, path, source }
    }
}

/// The last lines of a text.
pub(crate) fn tail_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// The last lines of a file; says so in their place if it cannot be read.
pub(crate) fn tail_of_file(path: &Path) -> String {
    match std::fs::read(path) {
        Ok(bytes) => tail_of(&String::from_utf8_lossy(&bytes)),
        Err(error) => format!("(cannot read {}: {error})", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_the_end_of_long_texts_and_all_of_short_ones() {
        assert_eq!(tail_of("a\nb"), "a\nb");
        let long: String = (0..100).map(|line| format!("{line}\n")).collect();
        assert!(tail_of(&long).starts_with("70\n") && tail_of(&long).ends_with("\n99"));
    }
}
