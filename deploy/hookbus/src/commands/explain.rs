//! `hookbus explain HB-020`: the runbook of a code, out of the binary; without a code, all codes in a line each.

use anyhow::Result;

use crate::codes::Code;
use crate::screen;

/// Prints it.
///
/// # Errors
/// There is no such code, or standard output cannot be written.
pub(crate) fn run(code: Option<&str>) -> Result<()> {
    let Some(named) = code else {
        return Code::ALL.iter().try_for_each(|code| Ok(screen::line(&format!("{code}  {}", code.title()))?));
    };
    let Some(code) = Code::named(named) else {
        return Err(crate::usage(format!("there is no code `{named}`; `hookbus explain` lists all")));
    };
    let heading = format!("{code}: {}", code.title());
    // A section of the common page begins with the same heading.
    let runbook = code.runbook();
    let runbook = runbook.strip_prefix("## ").and_then(|rest| rest.strip_prefix(&heading)).unwrap_or(runbook);
    Ok(screen::line(&format!("{heading}\n\n{}", runbook.trim()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_is_wrong_usage() {
        assert!(run(Some("HB-999")).unwrap_err().is::<crate::Usage>());
    }
}
