//! What a reader waits for, where there is some of it: for ever where there is none.

use std::time::Instant;

use kafka::{KafkaError, TailEvent};
use tokio::sync::watch;

use super::Older;

/// Until it changes; for ever where nobody changes it any more.
pub(super) async fn changed(count: &mut watch::Receiver<u64>) {
    if count.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The answer to a question; for ever where none is asked.
pub(super) async fn answer_of<A: Future + Unpin>(asked: Option<&mut A>) -> A::Output {
    match asked {
        Some(asked) => asked.await,
        None => std::future::pending().await,
    }
}

/// Until this time; for ever where there is none.
pub(super) async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

pub(super) async fn next_of(older: Option<&mut Older>) -> Result<TailEvent, KafkaError> {
    match older {
        Some(older) => older.tail.next().await,
        None => std::future::pending().await,
    }
}
