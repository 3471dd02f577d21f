//! What may stand behind a path's question mark. Pure.

use percent_encoding::percent_decode_str;

use crate::problem::{self, Refused};

/// Known to every write of the management API.
const DRY_RUN: &str = "dry_run";

/// Parameters nobody knows are ignored, but whoever asks for a dry run must not have his event delivered: what is no plain
/// `false` is refused.
pub(crate) fn check(query: Option<&str>) -> Result<(), Refused> {
    let Some(query) = query else { return Ok(()) };
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
    let asks = query.split('&').any(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        decoded(name) == DRY_RUN && decoded(value) != "false"
    });
    if asks {
        return Err(problem::field(DRY_RUN, "events have no dry run: nothing was sent, leave it out to send"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_for_a_dry_run_is_refused_however_it_is_written() {
        for asks in
            ["dry_run=true", "a=1&dry_run=1", "dry_run", "dry_run=", "dry%5Frun=tru%65", "dry_run=false&dry_run=true"]
        {
            assert_eq!(check(Some(asks)).unwrap_err().status, 422, "{asks}");
        }
        for silent in
            [None, Some(""), Some("dry_run=false"), Some("other=dry_run"), Some("dry_runs=true"), Some("%ff&=&&a")]
        {
            assert!(check(silent).is_ok(), "{silent:?}");
        }
    }
}
