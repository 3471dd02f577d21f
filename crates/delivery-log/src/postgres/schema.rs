//! The shape of the tables: those of the store, and the set of each day.

use tokio_postgres::Client;
use tokio_postgres::types::Type;
use tracing::{info, warn};

use super::connect::PgConnector;
use super::failure::{PgResult, within};
use crate::day::Day;
use crate::fact::{FactKind, Kinds};
use crate::store::StoreError;

/// Which shape this is. What is of an older one is thrown away and made again from Kafka, so that there is nothing to migrate; what
/// is of a newer one is left alone.
const SHAPE: i32 = 3;
/// Class of our advisory locks; which store it is, is their second number.
pub(super) const LOCK_CLASS: i32 = 0x686f_6f6b;
/// What a connection is set to that makes tables: whoever holds them is not waited for without an end.
const SETTINGS: &str = "-c lock_timeout=10000 -c statement_timeout=60000";
/// How long all of it may take, seconds: whoever starts at once with others waits for them.
const MADE_SECONDS: u64 = 180;

/// Tables beside those of days: which days there are and what they cover; what is open, which outlives them.
const STORE: &str = "
    CREATE TABLE state(
        shape int4 NOT NULL, turn int8 NOT NULL, edition int8 NOT NULL, topic text, progress text, one bool PRIMARY KEY DEFAULT true CHECK (one));
    CREATE TABLE days(day int4 PRIMARY KEY, tables text NOT NULL UNIQUE, rows int8 NOT NULL, passed text);
    CREATE TABLE covered(
        day int4 NOT NULL, part int4 NOT NULL, start int8 NOT NULL, stop int8 NOT NULL, PRIMARY KEY(day, part, start));
    CREATE TABLE accepted(day int4 NOT NULL, application uuid NOT NULL, events int8 NOT NULL, PRIMARY KEY(day, application));
    CREATE TABLE erased(event uuid NOT NULL, day int4 NOT NULL, PRIMARY KEY(event, day));
    CREATE TABLE forgotten(
        day int4 NOT NULL, application uuid NOT NULL, before int8 NOT NULL, PRIMARY KEY(day, application));
    CREATE TABLE open_deliveries(
        delivery uuid PRIMARY KEY, application uuid, subscription uuid, attempt int8 NOT NULL, since int8 NOT NULL, due int8,
        place int8 NOT NULL);
    CREATE INDEX open_deliveries_by_since ON open_deliveries(since);
    CREATE TABLE open_letters(delivery uuid PRIMARY KEY, application uuid, subscription uuid, stored int8 NOT NULL);
    CREATE INDEX open_letters_by_subscription ON open_letters(subscription, application, stored);
    CREATE INDEX open_letters_by_stored ON open_letters(stored);
";

/// Tables of a day, whose names end in `{}`. Times of a row are relative: `time` to the day's beginning, all others to the record's
/// own time. Words and ids are numbers of the day. Columns stand in the order in which they take the fewest bytes.
const DAY: &str = "
    CREATE TABLE words_{}(id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key uuid NOT NULL UNIQUE, word text NOT NULL);
    CREATE TABLE ids_{}(id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, uuid uuid NOT NULL UNIQUE);
    CREATE TABLE facts_{}(
        place int8 PRIMARY KEY, at int8 NOT NULL, accepted int8, due int8, started int8, elapsed int8, first_byte int8,
        record_offset int8, attempt int8, time int4 NOT NULL, application int4, type int4, subscription int4, made_by int4,
        status int4, error int4, reason int4, dialled int4, record_partition int4, kind int2 NOT NULL, event uuid, delivery uuid,
        generation uuid, detail text);
    CREATE INDEX facts_by_application_{} ON facts_{}(application, time);
    CREATE INDEX facts_by_subscription_{} ON facts_{}(subscription, time) WHERE subscription IS NOT NULL;
    CREATE INDEX facts_by_event_{} ON facts_{}(event) WHERE event IS NOT NULL;
    CREATE INDEX facts_by_delivery_{} ON facts_{}(delivery) WHERE delivery IS NOT NULL;
    CREATE INDEX facts_failed_{} ON facts_{}(application, time) WHERE kind IN (4, 7, 8, 13);
    CREATE TABLE events_{}(
        place int8 PRIMARY KEY, time int8 NOT NULL, stored int8 NOT NULL, at int8 NOT NULL, origin_offset int8,
        matched int8 NOT NULL, payload_bytes int8 NOT NULL, control_offset int8, application int4 NOT NULL, type int4 NOT NULL,
        origin_topic int4, origin_partition int4, content_type int4, uuid uuid NOT NULL, id text NOT NULL, source text,
        occurred_at text, labels text, metadata text, ip text, detail text, subscriptions bytea);
    CREATE INDEX events_by_application_{} ON events_{}(application, time);
    CREATE INDEX events_by_uuid_{} ON events_{}(uuid);
    CREATE INDEX events_by_id_{} ON events_{}(application, md5(id)) WHERE source IS NOT NULL;
    CREATE TABLE targets_{}(
        place int8 PRIMARY KEY, control int8 NOT NULL, application int4 NOT NULL, subscription int4 NOT NULL, facts text NOT NULL);
    CREATE INDEX targets_by_subscription_{} ON targets_{}(subscription, control);
    CREATE TABLE buckets_{}(
        owner int4, minute int4, application int4 NOT NULL, delivered int8 NOT NULL, retried int8 NOT NULL,
        dead_lettered int8 NOT NULL, cancelled int8 NOT NULL, settled int8 NOT NULL, latency bytea NOT NULL,
        PRIMARY KEY(owner, minute));
    CREATE TABLE ended_{}(
        generation uuid, subscription int4, application int4 NOT NULL, count int8 NOT NULL, PRIMARY KEY(generation, subscription));
";

/// What the names of a day's tables begin with.
pub(super) const DAY_TABLES: [&str; 7] = ["facts", "events", "targets", "buckets", "ended", "words", "ids"];

// The partial index of the tables above names these numbers, and so do questions about what is open.
const _: () = {
    assert!(FactKind::Attempted as u8 == 4 && FactKind::DeadLettered as u8 == 7);
    assert!(FactKind::Cancelled as u8 == 8 && FactKind::TriedOnce as u8 == 13);
    assert!(FactKind::Delivered as u8 == 6 && FactKind::Redriven as u8 == 14 && FactKind::Discarded as u8 == 15);
};

/// Whether the index of failures answers for these kinds.
pub(super) fn are_failures(kinds: Kinds) -> bool {
    kinds.within(Kinds::FAILED)
}

/// What the names of a day's tables end in: no other set, of the same day or another, has it.
pub(super) fn tables_of(day: Day, turn: i64) -> String {
    format!("{}_{turn}", day.to_string().replace('-', ""))
}

/// What makes a day's tables.
pub(super) fn day_sql(tables: &str) -> String {
    DAY.replace("{}", tables)
}

/// Which of two numbers an advisory lock of this store has.
pub(super) fn lock_number(schema: &str) -> i32 {
    let hash = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, schema.as_bytes()).into_bytes();
    let [a, b, c, d, ..] = hash;
    i32::from_be_bytes([a, b, c, d])
}

/// Makes the tables that are there in every store, unless they are there; one at a time, however many start at once.
pub(super) async fn prepare(connector: &PgConnector) -> Result<(), StoreError> {
    let told = |error: super::failure::PgFailure| error.told(60);
    let mut client = connector.connect(SETTINGS).await.map_err(told)?;
    let found = within(MADE_SECONDS, make(&mut client, &connector.schema)).await.map_err(told)?;
    let reason = match found {
        FoundTables::Ours => return Ok(()),
        FoundTables::Newer(shape) => format!(
            "its tables were made by a newer version (shape {shape}, this one has {SHAPE}); to go back, drop the schema {}: \
             the log is made again from Kafka",
            connector.schema
        ),
        FoundTables::Encoding(encoding) => {
            format!("the database's encoding is {encoding}; the log needs one with UTF8")
        }
    };
    Err(StoreError::Unopened { place: connector.place(), reason })
}

enum FoundTables {
    Ours,
    Newer(i32),
    Encoding(String),
}

async fn make(client: &mut Client, schema: &str) -> PgResult<FoundTables> {
    let transaction = client.transaction().await?;
    let encoding: String = transaction.query_typed_one("SHOW server_encoding", &[]).await?.try_get(0)?;
    if encoding != "UTF8" {
        return Ok(FoundTables::Encoding(encoding));
    }
    // Another class than the lock of whoever fills it, who may hold that for months.
    let number = lock_number(schema);
    let lock = "SELECT pg_advisory_xact_lock($1, $2)";
    transaction.query_typed(lock, &[(&(LOCK_CLASS + 1), Type::INT4), (&number, Type::INT4)]).await?;
    let exists = "SELECT to_regnamespace($1) IS NOT NULL, to_regclass($1 || '.state') IS NOT NULL";
    let row = transaction.query_typed_one(exists, &[(&schema, Type::TEXT)]).await?;
    let (has_schema, has_tables): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    if !has_schema {
        // Where it is there already, nothing but rights on it are needed.
        transaction.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
    }
    if has_tables {
        let shape: i32 = transaction.query_typed_one("SELECT shape FROM state", &[]).await?.try_get(0)?;
        if shape > SHAPE {
            return Ok(FoundTables::Newer(shape));
        }
        if shape == SHAPE {
            return Ok(FoundTables::Ours);
        }
        warn!(shape, "the delivery log's tables are of an older version; they are made again, and filled from kafka");
        drop_all(&transaction, schema).await?;
    }
    transaction.batch_execute(STORE).await?;
    // A turn that no other store of this name had: whoever filled that one is not taken for the one who fills this.
    let first = chassis::clock::now_ms();
    let state = "INSERT INTO state(shape, turn, edition) VALUES($1, $2, $2)";
    transaction.execute_typed(state, &[(&SHAPE, Type::INT4), (&first, Type::INT8)]).await?;
    transaction.commit().await?;
    info!(schema, "the tables of the delivery log are made");
    Ok(FoundTables::Ours)
}

/// Drops every table of ours, and whatever looks at one.
async fn drop_all(transaction: &tokio_postgres::Transaction<'_>, schema: &str) -> PgResult<()> {
    let all = "SELECT tablename::text FROM pg_tables WHERE schemaname = $1 AND tablename ~
        '^((facts|events|targets|buckets|ended|words|ids)_[0-9]+_[0-9]+|state|days|covered|accepted|erased|forgotten|open_deliveries|open_letters)$'";
    for row in transaction.query_typed(all, &[(&schema, Type::TEXT)]).await? {
        let name: String = row.try_get(0)?;
        transaction.batch_execute(&format!("DROP TABLE {name} CASCADE")).await?;
    }
    Ok(())
}
