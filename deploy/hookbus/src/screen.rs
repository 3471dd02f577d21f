//! What people read: lines on stdout. Logs go to stderr; this is the only place that writes answers.

use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;

use bytes::Bytes;
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

/// Standard output was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScreenError {
    /// Whoever read it has seen enough, as `head` has: no failure, and nothing to say.
    #[error("nobody reads standard output any more")]
    Closed,
    /// It cannot be written for another reason.
    #[error("standard output cannot be written")]
    Failed(#[source] io::Error),
}

impl From<io::Error> for ScreenError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Failed(error) }
    }
}

/// Prints one line of an answer. Where nobody reads any more it is [`ScreenError::Closed`], which `main` ends quietly.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn line(text: &str) -> Result<(), ScreenError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Prints one line about work that goes on whether or not somebody reads.
///
/// # Errors
/// When stdout cannot be written for another reason than that nobody reads.
pub(crate) fn progress(text: &str) -> Result<(), ScreenError> {
    match line(text) {
        Err(ScreenError::Closed) => Ok(()),
        outcome => outcome,
    }
}

/// Waits until nobody reads standard output any more, for a command that may have nothing to print for long. Never returns where
/// nobody can go away: a file takes everything.
pub(crate) async fn unread() -> ScreenError {
    let out = io::stdout().as_fd().try_clone_to_owned();
    // Nothing is written through it, so what it is need not be checked. A file cannot be waited for.
    let Ok(out) = out.and_then(Sender::from_owned_fd_unchecked) else { return std::future::pending().await };
    loop {
        match out.ready(Interest::ERROR).await {
            Ok(ready) if ready.is_error() => return ScreenError::Closed,
            // Nothing else was asked for.
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => return ScreenError::Failed(error),
        }
    }
}

/// Asks and waits for the answer; `None`: there is nobody to ask.
///
/// # Errors
/// When the terminal cannot be read or written.
pub(crate) fn confirm(question: &str) -> Result<Option<bool>, ScreenError> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut out = io::stdout();
    out.write_all(question.as_bytes())?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(Some(matches!(answer.trim(), "y" | "Y" | "yes")))
}

/// `2026-11-22T01:02:03.004Z` of Unix ms.
pub(crate) fn time(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| format!("{at:.3}"))
}

/// `01:02:03.004` of Unix ms, UTC.
pub(crate) fn clock(at_ms: i64) -> String {
    time(at_ms).get(11..23).unwrap_or_default().to_owned()
}

/// Bytes as a line of text: lossy UTF-8 without control characters, cut after `limit` bytes.
pub(crate) fn text(bytes: &[u8], limit: usize) -> String {
    let shown = &bytes[..bytes.len().min(limit)];
    let mut text: String = String::from_utf8_lossy(shown)
        .chars()
        .map(|letter| if letter.is_control() && letter != '\t' { char::REPLACEMENT_CHARACTER } else { letter })
        .collect();
    if bytes.len() > limit {
        text.push_str(&format!("... ({} bytes in all)", bytes.len()));
    }
    text
}

/// Rows of cells, each column as wide as its widest cell.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> anyhow::Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// A key or value that may be absent.
pub(crate) fn maybe(bytes: Option<&Bytes>, limit: usize) -> String {
    bytes.map_or_else(|| "(null)".to_owned(), |bytes| text(bytes, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_long_values_do_not_reach_the_terminal() {
        assert_eq!(text(b"a\x1b[31mb\n", 100), "a\u{fffd}[31mb\u{fffd}");
        assert_eq!(text(b"abcdef", 3), "abc... (6 bytes in all)");
        assert_eq!(maybe(None, 3), "(null)");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(1_790_000_000_123), "2026-09-21T14:13:20.123Z");
        assert_eq!(clock(1_790_000_000_123), "14:13:20.123");
    }
}
