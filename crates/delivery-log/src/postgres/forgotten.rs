//! Rows of applications that keep their log for a shorter time than the store does: removed bit by bit, and the day says up to when.
//! Counts go with the day's last minute, as in the embedded store.

use std::collections::HashMap;

use schemas::ids::ApplicationId;
use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::failure::PgResult;
use super::open;
use super::session::{PgSession, move_on};
use crate::day::Day;
use crate::store::Forgotten;

/// Rows that are removed at once: whoever writes does nothing else meanwhile.
const ROWS: i64 = 2_000;
/// Milliseconds of a day: all of its rows.
const WHOLE: i64 = 86_400_000;
/// What stands for it once the counts are gone, too.
const COUNTS_TOO: i64 = WHOLE + 1;

// === impl PgSession ===

impl PgSession {
    /// Removes some rows of these applications that are older than the time beside each, Unix ms, the oldest day's first: of one day at a
    /// time, so that others do not wait for all of them.
    pub(super) async fn forget(&mut self, before: &[(ApplicationId, i64)]) -> PgResult<Forgotten> {
        let last = before.iter().map(|(_, ms)| *ms).max().unwrap_or(i64::MIN);
        for (day, set) in self.days.iter_mut().filter(|(day, _)| day.start_ms() < last) {
            let of_day = |(application, ms): &(ApplicationId, i64)| {
                let before = ms.saturating_sub(day.start_ms()).min(WHOLE);
                let is_left = before > 0 && set.gone.get(application).is_none_or(|gone| *gone < before);
                is_left.then_some((*application, before))
            };
            let left: Vec<(ApplicationId, i64)> = before.iter().filter_map(of_day).collect();
            if left.is_empty() {
                continue;
            }
            let transaction = self.client.transaction().await?;
            move_on(&transaction, &mut self.turn).await?;
            let (rows, done) = remove(&transaction, (*day, &set.tables), &left).await?;
            if rows > 0 {
                let told = "UPDATE days SET rows = rows - $2 WHERE day = $1";
                transaction.execute_typed(told, &[(&day.number(), Type::INT4), (&rows, Type::INT8)]).await?;
            }
            transaction.commit().await?;
            set.gone.extend(left.into_iter().take(done));
            if rows > 0 {
                return Ok(Forgotten { rows: rows.unsigned_abs(), is_more: true });
            }
        }
        let transaction = self.client.transaction().await?;
        move_on(&transaction, &mut self.turn).await?;
        open::forget_of(&transaction, before).await?;
        transaction.commit().await?;
        Ok(Forgotten::default())
    }
}

/// Removes some rows of a day. Returns how many, and of how many of the applications, the first ones, nothing is left.
async fn remove(
    transaction: &Transaction<'_>,
    (day, tables): (Day, &str),
    before: &[(ApplicationId, i64)],
) -> PgResult<(i64, usize)> {
    let numbers = numbers(transaction, tables, before).await?;
    let mut removed = 0;
    for (done, (application, before)) in before.iter().enumerate() {
        let Some(number) = numbers.get(&application.0) else { continue };
        let whose: [(&(dyn ToSql + Sync), Type); 3] =
            [(&day.number(), Type::INT4), (&application.0, Type::UUID), (before, Type::INT8)];
        let remember = "INSERT INTO forgotten AS f VALUES($1, $2, $3) ON CONFLICT (day, application) DO UPDATE
            SET before = greatest(f.before, excluded.before) RETURNING before";
        let known: i64 = transaction.query_typed_one(remember, &whose).await?.try_get(0)?;
        for table in ["facts", "events"] {
            let sql = format!(
                "DELETE FROM {table}_{tables} WHERE place = ANY(ARRAY(SELECT place FROM {table}_{tables}
                    WHERE application = $1 AND time < $2 LIMIT $3))"
            );
            let left = ROWS - removed;
            let of: [(&(dyn ToSql + Sync), Type); 3] =
                [(number, Type::INT4), (before, Type::INT8), (&left, Type::INT8)];
            let rows = transaction.execute_typed(&sql, &of).await?;
            removed += i64::try_from(rows).unwrap_or(i64::MAX);
        }
        if removed >= ROWS {
            return Ok((removed, done));
        }
        if known == WHOLE {
            let sql = format!("DELETE FROM buckets_{tables} WHERE application = $1");
            transaction.execute_typed(&sql, &[(number, Type::INT4)]).await?;
            let of: [(&(dyn ToSql + Sync), Type); 2] = [(&day.number(), Type::INT4), (&application.0, Type::UUID)];
            transaction.execute_typed("DELETE FROM accepted WHERE day = $1 AND application = $2", &of).await?;
            let told = format!("UPDATE forgotten SET before = {COUNTS_TOO} WHERE day = $1 AND application = $2");
            transaction.execute_typed(&told, &of).await?;
        }
    }
    Ok((removed, before.len()))
}

/// The day's numbers of those of these applications that it has.
async fn numbers(
    transaction: &Transaction<'_>,
    tables: &str,
    before: &[(ApplicationId, i64)],
) -> PgResult<HashMap<Uuid, i32>> {
    let all: Vec<Uuid> = before.iter().map(|(application, _)| application.0).collect();
    let find = format!("SELECT uuid, id FROM ids_{tables} WHERE uuid = ANY($1)");
    let found = transaction.query_typed(&find, &[(&all, Type::UUID_ARRAY)]).await?;
    found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
