//! Readers of a topic that go on for ever: one that fails begins anew after a while, and few lines say so.

use std::fmt::Display;
use std::time::Duration;

use tracing::{debug, warn};

use crate::limited::Limited;

/// Between two tries of a reader that failed.
const RESTART_WAIT: Duration = Duration::from_secs(5);
/// One line about failures of a reader per that.
const LOG_PERIOD: Duration = Duration::from_secs(60);

/// Reads until `read` ends well. `what` says what is read, after "cannot read".
pub async fn follow<F, E>(topic: &str, what: &'static str, read: impl FnMut() -> F)
where
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    follow_after(RESTART_WAIT, topic, what, read).await;
}

async fn follow_after<F, E>(wait: Duration, topic: &str, what: &'static str, mut read: impl FnMut() -> F)
where
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    let limited = Limited::<()>::new(LOG_PERIOD);
    for tried in 0_u64.. {
        let Err(error) = read().await else { return };
        if tried == 0 {
            // A topic that was made a moment ago has no leader for a moment: nobody needs to hear of that.
            debug!(topic, %error, "cannot read {what}, trying again");
        } else if let Some(swallowed) = limited.permit(&()) {
            warn!(topic, %error, swallowed, "cannot read {what}, trying again");
        }
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_fails_begins_anew_until_it_ends_well() {
        let mut tries = 0;
        follow_after(Duration::ZERO, "h.status", "how things are", || {
            tries += 1;
            std::future::ready(if tries < 3 { Err("closed") } else { Ok(()) })
        })
        .await;
        assert_eq!(tries, 3);
    }
}
