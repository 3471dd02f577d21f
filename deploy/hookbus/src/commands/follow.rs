//! `hookbus attempts --follow`: what comes, as it comes, until it is interrupted.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::cli::manage::Output;
use crate::management::Management;
use crate::output::{self, Column};
use crate::screen;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Rows of one look; where none of them was seen before, so many more are looked at.
const ROWS: usize = 250;
const MOST: usize = 5_000;

/// What was shown, as far as it can come again.
#[derive(Debug, Default)]
struct ShownRows(HashSet<String>);

/// Prints the rows of a list that has its newest first, the oldest first, and then each that comes, or that stands otherwise.
///
/// # Errors
/// The management API refuses or cannot be reached, or nobody reads what is printed.
pub(crate) async fn follow(
    management: &Management,
    (output, columns): (Output, &[Column]),
    (what, path): (&str, &str),
    first: usize,
) -> Result<()> {
    let (mut shown, mut most) = (ShownRows::default(), first.max(1));
    loop {
        let mut rows = management.newest(what, path, most).await?;
        if most == ROWS && rows.len() == ROWS && !shown.meets(&rows) {
            rows = management.newest(what, path, MOST).await?;
            if !shown.meets(&rows) && rows.len() == MOST {
                tracing::warn!("more than {MOST} {what} came between two looks: some are not shown");
            }
        }
        for row in shown.take(rows) {
            output::line(output, &row, columns)?;
        }
        most = ROWS;
        tokio::select! {
            closed = screen::unread() => return Err(closed.into()),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

// === impl ShownRows ===

impl ShownRows {
    /// Whether one of these was shown before; there is nothing to meet at the first look.
    fn meets(&self, rows: &[Value]) -> bool {
        self.0.is_empty() || rows.iter().any(|row| self.0.contains(&name(row)))
    }

    /// Those that are new, the oldest first. A look at more than there was before forgets what it does not see.
    fn take(&mut self, rows: Vec<Value>) -> Vec<Value> {
        let names: HashSet<String> = rows.iter().map(name).collect();
        let new = rows.into_iter().rev().filter(|row| !self.0.contains(&name(row))).collect();
        // What is older than the oldest row of this look does not come again.
        self.0 = names;
        new
    }
}

/// An attempt that waits comes once more when it was made.
fn name(row: &Value) -> String {
    format!("{} {}", row["request_attempt_id"], row["status"]["type"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(id: u32, state: &str) -> Value {
        json!({"request_attempt_id": id, "status": {"type": state}})
    }

    #[test]
    fn each_row_is_shown_once_and_again_where_it_stands_otherwise() {
        let mut shown = ShownRows::default();
        assert!(shown.meets(&[row(1, "waiting")]), "nothing was missed before the first look");
        let first = shown.take(vec![row(2, "waiting"), row(1, "failed")]);
        assert_eq!(first, [row(1, "failed"), row(2, "waiting")]);
        let second = vec![row(3, "waiting"), row(2, "failed"), row(1, "failed")];
        assert!(shown.meets(&second) && !shown.meets(&[row(9, "failed")]));
        assert_eq!(shown.take(second), [row(2, "failed"), row(3, "waiting")]);
        assert!(shown.take(vec![row(3, "waiting"), row(2, "failed")]).is_empty());
    }
}
