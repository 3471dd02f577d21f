//! `hookbus lanes accept`: goes on with what the lists hold where something else was committed of them.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use chassis::config::Config;
use delivery_worker::operator::{self, JudgedLists, ListsTotal};
use kafka::Connection;

use super::{SeenLists, agreed, deps, differing, ended, look, nobody_delivers};
use crate::cli::lanes::AgreedArgs;
use crate::screen;

const RUNBOOK: &str = "deploy/runbooks/lists-differ.md";

/// Shows what differs, asks, and accepts it.
///
/// # Errors
/// See [`super::run`].
pub(super) async fn run(connection: &Connection, config: &Config, args: &AgreedArgs) -> Result<()> {
    nobody_delivers(connection, config).await?;
    let SeenLists { judged, .. } = look(connection, config).await?;
    for line in differing(config, &judged) {
        screen::line(&line)?;
    }
    if judged.iter().any(|lists| lists.held.is_err()) {
        bail!("nothing was changed: what cannot be read as lists cannot be accepted ({RUNBOOK})");
    }
    let seen = seen(&judged);
    if seen.is_empty() {
        screen::line("nothing to do: in every partition the lists are what was committed of them")?;
        return Ok(());
    }
    for line in explain(&seen) {
        screen::line(&line)?;
    }
    agreed(args.yes, &format!("Go on with what the lists hold in {} of {} partitions?", seen.len(), judged.len()))?;
    let (deps, shutdown) = deps(connection, config)?;
    let count = seen.len();
    let progress = Box::pin(operator::accept(deps, seen, shutdown)).await?;
    ended(&progress, "hookbus lanes accept")?;
    if progress.read_again > 0 {
        screen::line(&format!("{} left the lists because they are read again", progress.read_again))?;
    }
    screen::line(&format!("accepted in {count} of {} partitions; start the delivery role again", judged.len()))?;
    Ok(())
}

/// What the partitions that differ hold, and what was claimed of them.
fn seen(judged: &[JudgedLists]) -> BTreeMap<i32, (ListsTotal, ListsTotal)> {
    let differs = judged.iter().filter(|lists| !lists.agrees());
    differs.filter_map(|lists| Some((lists.partition, (*lists.held.as_ref().ok()?, lists.claimed?)))).collect()
}

/// What it means to go on.
fn explain(seen: &BTreeMap<i32, (ListsTotal, ListsTotal)>) -> Vec<String> {
    let missing: u64 = seen.values().map(|(held, claimed)| claimed.queued.saturating_sub(held.queued)).sum();
    let mut lines = Vec::new();
    if missing > 0 {
        lines.push(format!(
            "Accepted: at least {missing} deliveries that waited are in no list any more. They are lost, and no record says so."
        ));
    }
    lines.push("Accepted: what the lists hold is sent, also what ended already.".to_owned());
    lines.push(format!(
        "Instead, `hookbus offsets set delivery` at or below the oldest delivery that waited reads all of it again ({RUNBOOK})."
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_told_where_the_lists_hold_less() {
        let total = |queued, sum| ListsTotal { queued, sum };
        let judged = |partition, held, claimed: Option<ListsTotal>| JudgedLists {
            partition,
            held: Ok(held),
            claimed,
            oldest_ms: None,
        };
        let all = [
            judged(0, total(5, 1), Some(total(5, 1))),
            judged(1, total(17, 3), Some(total(1_204, 4))),
            judged(2, total(9, 3), None),
            judged(3, total(8, 3), Some(total(8, 4))),
        ];
        let seen = seen(&all);
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [1, 3]);
        assert!(explain(&seen)[0].contains("at least 1187 deliveries"), "{:?}", explain(&seen));
        let others = BTreeMap::from([(3, (total(8, 3), total(8, 4)))]);
        assert!(!explain(&others).concat().contains("lost"));
    }
}
