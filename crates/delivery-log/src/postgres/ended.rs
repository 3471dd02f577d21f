//! How many deliveries of a generation have ended on a day.

use std::collections::BTreeMap;

use schemas::ids::SubscriptionId;
use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::failure::PgResult;
use super::reader::{AskedDay, PgParameter, PgReader};
use crate::ended::{EndedOnDay, EndedQuery};
use crate::query::ListOrder;

/// Adds what has ended with new rows.
pub(super) async fn add(
    transaction: &Transaction<'_>,
    tables: &str,
    ended: &BTreeMap<(Uuid, i64), (i64, i64)>,
) -> PgResult<()> {
    if ended.is_empty() {
        return Ok(());
    }
    let number = |number: i64| i32::try_from(number).unwrap_or(i32::MAX);
    let generations: Vec<Uuid> = ended.keys().map(|(generation, _)| *generation).collect();
    let subscriptions: Vec<i32> = ended.keys().map(|(_, subscription)| number(*subscription)).collect();
    let applications: Vec<i32> = ended.values().map(|(application, _)| number(*application)).collect();
    let counts: Vec<i64> = ended.values().map(|(_, count)| *count).collect();
    let add = format!(
        "INSERT INTO ended_{tables} AS e SELECT * FROM unnest($1::uuid[], $2::int4[], $3::int4[], $4::int8[])
            ON CONFLICT (generation, subscription) DO UPDATE SET count = e.count + excluded.count"
    );
    let rows: [(&(dyn ToSql + Sync), Type); 4] = [
        (&generations, Type::UUID_ARRAY),
        (&subscriptions, Type::INT4_ARRAY),
        (&applications, Type::INT4_ARRAY),
        (&counts, Type::INT8_ARRAY),
    ];
    transaction.execute_typed(&add, &rows).await?;
    Ok(())
}

/// How many have ended.
pub(super) async fn ask(reader: &PgReader, query: &EndedQuery) -> PgResult<Vec<EndedOnDay>> {
    let mut found = Vec::new();
    for AskedDay { day, tables } in reader.days(ListOrder::Ascending).await? {
        if day < query.since {
            continue;
        }
        let sql = format!(
            "SELECT i.uuid, e.count FROM ended_{tables} e JOIN ids_{tables} i ON i.id = e.subscription
                WHERE e.generation = $1 AND e.application = (SELECT id FROM ids_{tables} WHERE uuid = $2)"
        );
        let of: [PgParameter<'_>; 2] = [(&query.generation, Type::UUID), (&query.application.0, Type::UUID)];
        let mut ended = EndedOnDay::new(day);
        for row in reader.of_day(&sql, &of).await? {
            let subscription = SubscriptionId(row.try_get(0)?);
            ended.add(subscription, row.try_get(1)?, query.subscriptions.contains(&subscription));
        }
        found.extend(Some(ended).filter(|ended| ended.all > 0));
    }
    Ok(found)
}
