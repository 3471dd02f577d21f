//! Rows of applications that keep their log for a shorter time than the store does: removed bit by bit, and the day says up to when.
//! Counts go with the day's last minute, as in the embedded store.

use schemas::ids::ApplicationId;
use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};

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
    /// Removes some rows of these applications that are older than the time beside each, Unix ms, the oldest day's first.
    pub(super) async fn forget(&mut self, before: &[(ApplicationId, i64)]) -> PgResult<Forgotten> {
        let last = before.iter().map(|(_, ms)| *ms).max().unwrap_or(i64::MIN);
        let (mut removed, mut is_more) = (0, false);
        let transaction = self.client.transaction().await?;
        move_on(&transaction, &mut self.turn).await?;
        for (day, set) in self.days.iter().filter(|(day, _)| day.start_ms() < last) {
            let rows = remove(&transaction, (*day, &set.tables), before, ROWS - removed).await?;
            if rows > 0 {
                let told = "UPDATE days SET rows = rows - $2 WHERE day = $1";
                transaction.execute_typed(told, &[(&day.number(), Type::INT4), (&rows, Type::INT8)]).await?;
            }
            removed += rows;
            is_more = removed >= ROWS;
            if is_more {
                break;
            }
        }
        if !is_more {
            open::forget_of(&transaction, before).await?;
        }
        transaction.commit().await?;
        Ok(Forgotten { rows: removed.unsigned_abs(), is_more })
    }
}

/// Removes at most so many rows of a day. Returns how many.
async fn remove(
    transaction: &Transaction<'_>,
    (day, tables): (Day, &str),
    before: &[(ApplicationId, i64)],
    most: i64,
) -> PgResult<i64> {
    let mut removed = 0;
    for (application, before_ms) in before {
        let before = before_ms.saturating_sub(day.start_ms()).min(WHOLE);
        if before <= 0 {
            continue;
        }
        let find = format!("SELECT id FROM ids_{tables} WHERE uuid = $1");
        let Some(found) = transaction.query_typed_opt(&find, &[(&application.0, Type::UUID)]).await? else { continue };
        let number: i32 = found.try_get(0)?;
        let whose: [(&(dyn ToSql + Sync), Type); 3] =
            [(&day.number(), Type::INT4), (&application.0, Type::UUID), (&before, Type::INT8)];
        let remember = "INSERT INTO forgotten AS f VALUES($1, $2, $3) ON CONFLICT (day, application) DO UPDATE
            SET before = greatest(f.before, excluded.before) RETURNING before";
        let known: i64 = transaction.query_typed_one(remember, &whose).await?.try_get(0)?;
        for table in ["facts", "events"] {
            let sql = format!(
                "DELETE FROM {table}_{tables} WHERE place = ANY(ARRAY(SELECT place FROM {table}_{tables}
                    WHERE application = $1 AND time < $2 LIMIT $3))"
            );
            let left = most - removed;
            let of: [(&(dyn ToSql + Sync), Type); 3] =
                [(&number, Type::INT4), (&before, Type::INT8), (&left, Type::INT8)];
            let rows = transaction.execute_typed(&sql, &of).await?;
            removed += i64::try_from(rows).unwrap_or(i64::MAX);
        }
        if removed >= most {
            return Ok(removed);
        }
        if known == WHOLE {
            let sql = format!("DELETE FROM buckets_{tables} WHERE application = $1");
            transaction.execute_typed(&sql, &[(&number, Type::INT4)]).await?;
            let of: [(&(dyn ToSql + Sync), Type); 2] = [(&day.number(), Type::INT4), (&application.0, Type::UUID)];
            transaction.execute_typed("DELETE FROM accepted WHERE day = $1 AND application = $2", &of).await?;
            let told = format!("UPDATE forgotten SET before = {COUNTS_TOO} WHERE day = $1 AND application = $2");
            transaction.execute_typed(&told, &of).await?;
        }
    }
    Ok(removed)
}
