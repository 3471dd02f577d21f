//! `hookbus apply`: objects become what files say.
//!
//! ```text
//! files --yaml--> documents --wanted--> objects with their fields --+
//!                 (lines)               (references resolved)       +--> plan --> printed --> carried out
//! management API --state--> what is there, in the same kinds -------+
//! ```
//!
//! **What is a change** is not guessed here: where a written field is not what is shown, the management API is asked what it would
//! make of it (`dry_run`), and the difference is between its two answers. So a spelling it normalises is no change, a masked
//! secret is compared with the stored one, and a mistake is found before anything is written.
//!
//! **Order**: what is needed comes first (organizations, applications, their secrets, event types, subscriptions, schema
//! registries, sources), deletions come
//! last and in reverse. A failure ends it there and says what was done; the next run goes on from what is.

pub(crate) mod carry_out;
pub(crate) mod difference;
pub(crate) mod files;
pub(crate) mod keys;
pub(crate) mod plan;
pub(crate) mod reference;
pub(crate) mod state;
pub(crate) mod wanted;
pub(crate) mod yaml;

use anyhow::Result;

use crate::cli::apply::ApplyArgs;
use crate::management;
use crate::screen;

use self::plan::Plan;
use self::yaml::Wrong;

/// Reads, plans, prints, and carries out.
///
/// # Errors
/// A file is wrong (all that is wrong with all of them), or the management API refuses or cannot be reached.
pub(crate) async fn run(args: &ApplyArgs) -> Result<()> {
    let documents = files::documents(&args.files)?;
    let wanted = wanted::read(&documents, &crate::variables).map_err(all_wrong)?;
    let management = management::open(&args.login)?;
    let state = state::read(&management, &wanted).await?;
    let plan = plan::make(&management, &wanted, &state, args.prune).await?;
    print(&plan, args)?;
    if args.dry_run || plan.is_empty() {
        return Ok(());
    }
    carry_out::run(&management, &plan).await
}

fn print(plan: &Plan<'_>, args: &ApplyArgs) -> Result<()> {
    for line in plan.lines() {
        screen::line(&line)?;
    }
    let unnamed = if args.prune { 0 } else { plan.unnamed };
    if unnamed > 0 {
        screen::line(&format!("({unnamed} that no document names are left alone; --prune deletes them)"))?;
    }
    Ok(())
}

/// Everything that is wrong, one line each, as compilers say it.
pub(crate) fn all_wrong(wrong: Vec<Wrong>) -> anyhow::Error {
    let lines: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    crate::usage(lines.join("\n"))
}
