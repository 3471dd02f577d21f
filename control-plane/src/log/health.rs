//! How a subscription did, as the delivery log has counted it: beside what its lane says of itself.

use delivery_log::{
    BucketQuery, DeliveryStore, Fact, FactKind, FactQuery, Kinds, MinuteBucket, StoreError, Subject, Times,
};
use schemas::ids::{ApplicationId, SubscriptionId};

use super::held::HeldLetters;
use super::letters::{self, LetterState};

/// What of a subscription's history is shown of its health.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LoggedHealth {
    /// When the counted time begins, Unix ms.
    pub(crate) from_ms: i64,
    /// When it ends.
    pub(crate) to_ms: i64,
    /// What was counted in it.
    pub(crate) window: MinuteBucket,
    /// When a delivery ended well last, as far as that was looked for.
    pub(crate) success_ms: Option<i64>,
    /// When an attempt failed last, as far as that was looked for.
    pub(crate) failure_ms: Option<i64>,
    /// What it failed with: a word, or the status of the answer.
    pub(crate) error: Option<String>,
    /// Dead letters of all days that are open, as their list has it. Beyond the newest [`LOOKED_AT`] those count that nobody has decided
    /// about, also where their event has been delivered since.
    pub(crate) dead_letters: u64,
}

/// Dead letters that are looked at one by one.
const LOOKED_AT: usize = 250;
/// Milliseconds of a minute, and of a day.
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// Asks the log.
///
/// # Errors
/// It does not answer.
pub(crate) async fn logged(
    store: &dyn DeliveryStore,
    (application, subscription): (ApplicationId, SubscriptionId),
    (window_ms, now_ms): (i64, i64),
    held: &HeldLetters,
) -> Result<LoggedHealth, StoreError> {
    let (from_ms, to_ms) = ((now_ms - window_ms).div_euclid(MINUTE) * MINUTE, now_ms);
    let times = Times { from_ms: Some(from_ms), to_ms: Some(to_ms) };
    let query = BucketQuery { application, subscription: Some(subscription), times, step_ms: DAY };
    let window = sum(store.buckets(query).await?);
    let success = last(store, (application, subscription), Kinds::of(&[FactKind::Delivered])).await?;
    let failure = last(store, (application, subscription), Kinds::FAILED).await?;
    Ok(LoggedHealth {
        from_ms,
        to_ms,
        window,
        success_ms: success.map(|fact| fact.at_ms),
        failure_ms: failure.as_ref().map(|fact| fact.at_ms),
        error: failure.and_then(error),
        dead_letters: open_letters(store, (application, subscription), held).await?,
    })
}

async fn open_letters(
    store: &dyn DeliveryStore,
    (application, subscription): (ApplicationId, SubscriptionId),
    held: &HeldLetters,
) -> Result<u64, StoreError> {
    let undecided = store.open_letters(application, subscription, 0).await?;
    if undecided == 0 {
        return Ok(0);
    }
    let query = FactQuery {
        subject: Subject::Subscription(subscription),
        kinds: Kinds::of(&[FactKind::DeadLettered]),
        ..FactQuery::of(application, LOOKED_AT)
    };
    let found = store.facts(query).await?;
    let states = letters::states(store, application, &found.rows, held).await?;
    let count = |state| states.iter().filter(|it| **it == state).count() as u64;
    let open = count(LetterState::Open);
    if found.next.is_none() {
        return Ok(open);
    }
    // Of the older ones it is counted how many nobody has decided about.
    Ok(undecided.saturating_sub(count(LetterState::Healed)).max(open))
}

fn sum(buckets: Vec<MinuteBucket>) -> MinuteBucket {
    let mut sum = MinuteBucket::default();
    buckets.iter().for_each(|bucket| sum.add(bucket));
    sum
}

/// The newest fact of one of these kinds; one page is looked through for it.
async fn last(
    store: &dyn DeliveryStore,
    (application, subscription): (ApplicationId, SubscriptionId),
    kinds: Kinds,
) -> Result<Option<Fact>, StoreError> {
    let query = FactQuery { subject: Subject::Subscription(subscription), kinds, ..FactQuery::of(application, 1) };
    Ok(store.facts(query).await?.rows.pop())
}

/// What a request failed with, or a delivery where none was made.
fn error(fact: Fact) -> Option<String> {
    let Some(exchange) = fact.exchange else { return fact.reason };
    exchange.error.or_else(|| exchange.status.map(|status| status.to_string()))
}

#[cfg(test)]
mod tests {
    use delivery_log::{Coordinates, Day, LogChunk, LogRow, RowContent, SqliteOptions, SqliteStore};
    use schemas::ids::DeliveryId;
    use uuid::Uuid;

    use super::*;
    use crate::log::made;

    #[tokio::test]
    async fn what_was_decided_about_letters_of_days_that_are_gone_hides_no_open_one() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions { folder: folder.path().to_owned(), readers: 1, memory_bytes: 8 << 20 };
        let store = SqliteStore::open(&options).unwrap();
        let (application, subscription) = (ApplicationId(Uuid::from_u128(1)), SubscriptionId(Uuid::from_u128(2)));
        let row = |offset: i64, day: i64, kind, delivery: u128| {
            let stored_ms = day * DAY + offset;
            let coordinates = Coordinates { partition: 0, offset };
            let (subscription, delivery) = (Some(subscription), Some(DeliveryId(Uuid::from_u128(delivery << 64))));
            let fact = Fact { coordinates, stored_ms, subscription, delivery, ..made::fact(application, kind) };
            LogRow { offset, stored_ms, content: RowContent::Fact(Box::new(fact)) }
        };
        let rows = vec![
            row(0, 1, FactKind::DeadLettered, 1),
            row(1, 3, FactKind::Redriven, 1),
            row(2, 4, FactKind::DeadLettered, 2),
        ];
        store.project(vec![LogChunk { partition: 0, offsets: 0..3, rows }]).await.unwrap();
        let open = async || {
            logged(&store, (application, subscription), (DAY, 5 * DAY), &HeldLetters::default())
                .await
                .unwrap()
                .dead_letters
        };
        assert_eq!(open().await, 1);
        store.retain(Day::of(2 * DAY)).await.unwrap();
        assert_eq!(open().await, 1);
    }
}
