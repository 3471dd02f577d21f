//! How deliveries went: counts and latencies by minute, hour or day, out of what the log has counted.

use std::sync::Arc;

use axum::extract::State;
use chassis::clock;
use delivery_log::{BucketQuery, MinuteBucket, Times};
use http::StatusCode;
use schemas::ids::SubscriptionId;
use schemas::problem::Code;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{AskedLog, range, with_headers};
use crate::api::{json, time};
use crate::log::failed;
use crate::problem::{Answer, Problem};
use crate::state::App;

/// Rows of an answer.
const ROWS: i64 = 2_000;
/// What is counted where no time is named, ms.
const USUAL_MS: i64 = 24 * 3_600_000;
/// Lengths of a row, ms, by their names. Each divides a day.
const BUCKETS: [(&str, i64); 4] = [("1m", 60_000), ("5m", 300_000), ("1h", 3_600_000), ("1d", 86_400_000)];
/// The one that is taken where none is named.
const USUAL_BUCKET: &str = "1h";

/// How deliveries went for a while.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = DeliveryStats)]
pub(in crate::api) struct StatsShown {
    /// When the time that is counted begins; it ends where the next row begins.
    #[schema(format = DateTime)]
    from: String,
    /// Absent where all of the application's are counted together.
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_id: Option<Uuid>,
    /// Requests that were made.
    attempts: u64,
    /// Those of them that delivered.
    delivered: u64,
    /// Those of them that did not.
    failed: u64,
    /// Failed ones after which another one follows.
    retried: u64,
    /// Deliveries that died.
    dead_lettered: u64,
    /// Deliveries that were cancelled.
    cancelled: u64,
    /// The share of the requests that delivered, 0 to 1. Null where none was made.
    success_rate: Option<f64>,
    /// The share of the requests after which another one follows, 0 to 1. Null where none was made.
    retry_rate: Option<f64>,
    /// How long half of the requests took at most, within 5 %. Null where none was made.
    latency_p50_ms: Option<i64>,
    /// How long 95 of 100 requests took at most, within 5 %. Null where none was made.
    latency_p95_ms: Option<i64>,
}

/// The rows that are asked for: the first begins at `from_ms`, each is `step_ms` long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StatsRange {
    from_ms: i64,
    step_ms: i64,
    rows: i64,
}

/// Count how deliveries went
///
/// Of one subscription, or of all of an application's together; the oldest row first, and a row also for a time in which nothing
/// was sent. A request is counted when its outcome was recorded.
#[utoipa::path(
    get, path = "/api/v1/delivery_stats", operation_id = "deliveryStats.list", tag = "log",
    params(
        ("application_id" = Option<String>, Query, description = "Id or uid; may be left out with an application's token", nullable = false),
        ("subscription_id" = Option<String>, Query, description = "Only those of this subscription", format = Uuid, nullable = false),
        ("from" = Option<String>, Query, description = "When the first row begins, made a multiple of its length; a day before `to` by default", format = DateTime, nullable = false),
        ("to" = Option<String>, Query, description = "Before which the last row begins; now by default", format = DateTime, nullable = false),
        ("bucket" = Option<String>, Query, description = "How long a row is; `1h` by default", pattern = "^(1m|5m|1h|1d)$", nullable = false),
    ),
    responses(
        (status = 200, description = "The counts", body = Vec<StatsShown>),
        (status = 400, description = "InvalidDateRange: from is after to, or there are more than 2000 rows between them"),
    ),
)]
pub(in crate::api) async fn list(State(app): State<Arc<App>>, asked: AskedLog) -> Answer {
    let (application, store) = asked.log(&app)?;
    let subscription = asked.uuid("subscription_id")?.map(SubscriptionId);
    let step_ms = step_ms(asked.query.get("bucket").unwrap_or(USUAL_BUCKET))?;
    let range = StatsRange::of((asked.query.moment("from")?, asked.query.moment("to")?), step_ms, clock::now_ms())?;
    let query = BucketQuery { application: application.application_id, subscription, times: range.times(), step_ms };
    let found = store.buckets(query).await.map_err(|error| failed(&error))?;
    Ok(with_headers(&app, json(StatusCode::OK, &range.show(subscription, found))?))
}

fn step_ms(name: &str) -> Result<i64, Problem> {
    let found = BUCKETS.iter().find(|(known, _)| *known == name).map(|(_, ms)| *ms);
    found.ok_or_else(|| Problem::field("bucket", Code::InvalidField, "must be 1m, 5m, 1h or 1d"))
}

// === impl StatsRange ===

impl StatsRange {
    fn of((from, to): (Option<i64>, Option<i64>), step_ms: i64, now_ms: i64) -> Result<Self, Problem> {
        let to_ms = to.unwrap_or(now_ms);
        let from_ms = from.unwrap_or(to_ms - USUAL_MS);
        if from_ms > to_ms {
            return Err(range("from is after to"));
        }
        let from_ms = from_ms - from_ms.rem_euclid(step_ms);
        let rows = (to_ms - from_ms + step_ms - 1) / step_ms;
        if rows > ROWS {
            return Err(range("the answer would have more than 2000 rows: ask for a longer bucket, or for less time"));
        }
        Ok(Self { from_ms, step_ms, rows })
    }

    fn times(self) -> Times {
        Times { from_ms: Some(self.from_ms), to_ms: Some(self.from_ms + self.rows * self.step_ms - 1) }
    }

    /// All rows; what was found fills some of them.
    fn show(self, subscription: Option<SubscriptionId>, found: Vec<MinuteBucket>) -> Vec<StatsShown> {
        let mut found = found.into_iter().peekable();
        let begin = |row: i64| self.from_ms + row * self.step_ms;
        let rows = (0..self.rows).map(|row| {
            let there = found.next_if(|bucket| bucket.from_ms == begin(row));
            show(subscription, there.unwrap_or_else(|| MinuteBucket { from_ms: begin(row), ..MinuteBucket::default() }))
        });
        rows.collect()
    }
}

fn show(subscription: Option<SubscriptionId>, bucket: MinuteBucket) -> StatsShown {
    StatsShown {
        from: time(bucket.from_ms),
        subscription_id: subscription.map(|id| id.0),
        attempts: bucket.attempts,
        delivered: bucket.delivered,
        failed: bucket.failed(),
        retried: bucket.retried,
        dead_lettered: bucket.dead_lettered,
        cancelled: bucket.cancelled,
        success_rate: bucket.success_rate(),
        retry_rate: bucket.retry_rate(),
        latency_p50_ms: bucket.latency.quantile(500),
        latency_p95_ms: bucket.latency.quantile(950),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn rows_begin_at_multiples_of_their_length_and_cover_all_that_is_asked_for() {
        let of = |from, to, step_ms| StatsRange::of((from, to), step_ms, 100 * HOUR + 1).unwrap();
        let usual = of(None, None, HOUR);
        assert_eq!((usual.from_ms, usual.rows), (76 * HOUR, 25), "the hour that has begun is the last");
        assert_eq!(usual.times(), Times { from_ms: Some(76 * HOUR), to_ms: Some(101 * HOUR - 1) });
        let whole = of(Some(HOUR), Some(3 * HOUR), HOUR);
        assert_eq!((whole.from_ms, whole.rows), (HOUR, 2));
        assert_eq!(of(Some(-1), Some(1), HOUR).from_ms, -HOUR);
        assert_eq!(of(Some(HOUR), Some(HOUR), HOUR).rows, 0);
    }

    #[test]
    fn more_rows_than_may_be_and_times_in_the_wrong_order_are_refused() {
        let of = |from, to, step_ms| StatsRange::of((Some(from), Some(to)), step_ms, 0);
        assert_eq!(of(0, 2_000 * 60_000, 60_000).unwrap().rows, 2_000);
        for (from, to) in [(0, 2_000 * 60_000 + 1), (1, 0), (i64::from(i32::MIN), i64::MAX / 4)] {
            assert_eq!(of(from, to, 60_000).unwrap_err().id, "InvalidDateRange", "{from} {to}");
        }
    }

    #[test]
    fn a_time_in_which_nothing_was_sent_has_a_row_of_nulls() {
        let range = StatsRange { from_ms: 0, step_ms: HOUR, rows: 3 };
        let mut bucket =
            MinuteBucket { from_ms: HOUR, attempts: 4, delivered: 3, retried: 1, ..MinuteBucket::default() };
        [10, 10, 10, 500].into_iter().for_each(|ms| bucket.latency.record(ms));
        let rows = range.show(None, vec![bucket]);
        assert_eq!(rows.iter().map(|row| row.attempts).collect::<Vec<_>>(), [0, 4, 0]);
        assert_eq!((rows[0].success_rate, rows[0].latency_p50_ms), (None, None));
        assert_eq!((rows[1].success_rate, rows[1].retry_rate, rows[1].failed), (Some(0.75), Some(0.25), 1));
        assert!(rows[1].latency_p50_ms.unwrap() < 12 && rows[1].latency_p95_ms.unwrap() > 450);
    }
}
