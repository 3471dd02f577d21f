//! `hookbus lanes release`: empties the lists, for a release that reads none of them.

use std::time::Duration;

use anyhow::{Result, bail};
use chassis::config::Config;
use delivery_worker::operator::{self, OperatorProgress};
use kafka::Connection;
use tokio::sync::watch;

use super::{SeenLists, agreed, deps, differing, ended, look, nobody_delivers};
use crate::cli::lanes::AgreedArgs;
use crate::screen;

const COMMAND: &str = "hookbus lanes release";
/// Between two lines that say how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Says what waits, asks, and releases it.
///
/// # Errors
/// See [`super::run`].
pub(super) async fn run(connection: &Connection, config: &Config, args: &AgreedArgs) -> Result<()> {
    nobody_delivers(connection, config).await?;
    let SeenLists { judged, .. } = look(connection, config).await?;
    let differing: Vec<String> = differing(config, &judged).collect();
    if !differing.is_empty() {
        differing.iter().try_for_each(|line| screen::line(line))?;
        bail!("nothing was changed: first the lists have to be what was committed (`hookbus lanes accept`)");
    }
    let queued: u64 = judged.iter().filter_map(|lists| Some(lists.held.as_ref().ok()?.queued)).sum();
    let deliveries = config.topics.topics().deliveries;
    screen::line(&format!(
        "{queued} deliveries wait in lists. Each is written to the end of {deliveries} once more, with its id, and leaves its list; \
         then the offsets say nothing of lists."
    ))?;
    agreed(args.yes, "Release them?")?;
    let (deps, shutdown) = deps(connection, config)?;
    let told = watch::Sender::new(OperatorProgress::default());
    let mut release = Box::pin(operator::release(deps, shutdown, told.clone()));
    let released = tokio::select! {
        released = &mut release => released,
        failed = tell(told.subscribe()) => {
            // Nobody reads it any more: the work goes on all the same.
            let released = release.await;
            failed?;
            released
        }
    };
    let progress = released?;
    screen::progress(&told_at(&progress))?;
    ended(&progress, COMMAND)?;
    screen::progress("released: the lists are empty; start the delivery role of the other release")?;
    Ok(())
}

/// Says how far it is, at first and then now and then. Ends only where nothing can be said any more.
async fn tell(mut progress: watch::Receiver<OperatorProgress>) -> Result<()> {
    loop {
        if progress.changed().await.is_err() {
            return std::future::pending().await;
        }
        let now = progress.borrow_and_update().clone();
        if now.copied == 0 {
            continue;
        }
        screen::progress(&told_at(&now))?;
        tokio::time::sleep(TELL_EVERY).await;
    }
}

fn told_at(progress: &OperatorProgress) -> String {
    let OperatorProgress { copied, lost, left, .. } = progress;
    let lost = if *lost > 0 { format!(", {lost} LOST: their records are not there any more") } else { String::new() };
    format!("{copied} released, {left} left{lost}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_and_what_is_lost_is_told() {
        let progress = OperatorProgress { copied: 12, left: 3, ..OperatorProgress::default() };
        assert_eq!(told_at(&progress), "12 released, 3 left");
        assert!(told_at(&OperatorProgress { lost: 2, ..progress }).contains("3 left, 2 LOST"));
    }
}
