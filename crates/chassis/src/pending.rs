//! What the loop of a worker waits for besides its events: one piece of work under way.
//!
//! It stands in a `select!` whether or not there is something to wait for; where there is nothing, it never resolves.

use std::pin::Pin;

/// One piece of work under way, if there is one.
pub type Pending<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// Resolves when the work is done, and takes it away; never while there is none. Dropping it while it waits loses nothing.
pub async fn finished<T>(pending: &mut Pending<T>) -> T {
    match pending {
        Some(work) => {
            let output = work.await;
            *pending = None;
            output
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_is_taken_away_and_what_is_not_there_is_waited_for() {
        let mut pending: Pending<u8> = Some(Box::pin(async { 7 }));
        assert_eq!(finished(&mut pending).await, 7);
        assert!(pending.is_none());
        let first = tokio::select! {
            biased;
            _never = finished(&mut pending) => 0,
            () = std::future::ready(()) => 1,
        };
        assert_eq!(first, 1);
    }
}
