//! Telemetry: structured logs on stderr, as JSON for machines or as text for people. Stdout belongs to commands' answers.
//!
//! A panic becomes a log line too, so that nothing a process says is unstructured.

use std::error::Error;
use std::fmt::Write as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogConfig, LogFormat};

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is not a filter.
    #[error("log.level {level:?} is not a level or a list of target=level")]
    Level {
        /// What was configured.
        level: String,
        /// Why it cannot be read.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else set up logging in this process.
    #[error("logging is already set up")]
    AlreadySet(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// Starts logging for the whole process, once, from `main`.
///
/// # Errors
/// When the level cannot be read or logging was started before.
pub fn init(log: &LogConfig) -> Result<(), TelemetryError> {
    let subscriber = subscriber(log, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(TelemetryError::AlreadySet)?;
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(location, message, "panic");
    }));
    Ok(())
}

/// An error and its causes in one line, for logs and for errors that become text.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error}").expect("writing to a String cannot fail");
        cause = error.source();
    }
    text
}

fn subscriber<W>(log: &LogConfig, writer: W) -> Result<Box<dyn tracing::Subscriber + Send + Sync>, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter =
        EnvFilter::try_new(&log.level).map_err(|source| TelemetryError::Level { level: log.level.clone(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match log.format {
        LogFormat::Json => Box::new(builder.json().flatten_event(true).with_current_span(false).finish()),
        LogFormat::Text => Box::new(builder.with_ansi(false).finish()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::io;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: LogFormat, level: &str) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let log = LogConfig { format, level: level.to_owned() };
        let subscriber = subscriber(&log, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(topic = "events", offset = 7, "record cannot be decoded");
            tracing::debug!("details");
        });
        let bytes = sink.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_have_the_fields_at_the_top() {
        let text = written(LogFormat::Json, "info");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["topic"], "events");
        assert_eq!(line["offset"], 7);
        assert_eq!(line["message"], "record cannot be decoded");
    }

    #[test]
    fn the_level_filters_and_text_is_plain() {
        let text = written(LogFormat::Text, "info");
        assert!(text.contains("record cannot be decoded topic=\"events\" offset=7"), "{text}");
        assert!(!text.contains("details"));
        assert!(written(LogFormat::Text, "debug").contains("details"));
        assert_eq!(written(LogFormat::Text, "off"), "");
    }

    #[test]
    fn an_unreadable_level_is_an_error() {
        let log = LogConfig { format: LogFormat::Json, level: "chassis=loud".to_owned() };
        let error = subscriber(&log, io::sink).err().unwrap();
        assert!(chain(&error).starts_with("log.level \"chassis=loud\" is not a level"), "{error}");
    }

    #[test]
    fn a_chain_names_every_cause() {
        let inner = io::Error::other("refused");
        let outer = crate::admin::AdminError::Serve { source: inner };
        assert_eq!(chain(&outer), "cannot serve the admin port: refused");
    }
}
