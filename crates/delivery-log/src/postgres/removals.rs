//! Days that are given up. They are gone for whoever asks with the transaction that says so; their tables go behind it, as soon as
//! nobody reads them.

use std::collections::BTreeMap;

use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use tracing::{info, warn};

use super::PostgresStore;
use super::failure::{PgResult, within};
use super::open;
use super::schema::DAY_TABLES;
use super::session::{PgSession, move_on};
use crate::day::Day;
use crate::store::StoreError;

/// How long whoever reads a day's tables is waited for, until the next look.
const PATIENCE: &str = "SET LOCAL lock_timeout = 1000";
/// How long it may take to give up days that the topic has lost, where all that is open is asked of all days again, seconds.
const CUT_SECONDS: u64 = 3_600;

// === impl PostgresStore ===

impl PostgresStore {
    pub(super) async fn cut_to(&self, ends: BTreeMap<i32, i64>) -> Result<Vec<Day>, StoreError> {
        let (filler, mut session) = self.session().await?;
        let answer = within(CUT_SECONDS, session.cut(&ends)).await;
        Self::done(filler, session, answer)
    }
}

// === impl PgSession ===

impl PgSession {
    /// Says which topic the rows are of. Returns whether there was something of another one, which is given up.
    pub(super) async fn bind(&mut self, topic: &str) -> PgResult<bool> {
        if self.topic.as_deref() == Some(topic) {
            return Ok(false);
        }
        let is_other = self.topic.is_some() && !self.days.is_empty();
        let transaction = self.client.transaction().await?;
        move_on(&transaction, &mut self.turn).await?;
        if is_other {
            give_up_everything(&transaction).await?;
            transaction.batch_execute("DELETE FROM erased").await?;
        }
        transaction.execute_typed("UPDATE state SET topic = $1", &[(&topic, Type::TEXT)]).await?;
        transaction.commit().await?;
        if is_other {
            self.days.clear();
            self.is_untidy = true;
        }
        self.topic = Some(topic.to_owned());
        Ok(is_other)
    }

    /// Gives up every day before this one. Returns those that were there.
    pub(super) async fn retain(&mut self, oldest: Day) -> PgResult<Vec<Day>> {
        let gone: Vec<Day> = self.days.range(..oldest).map(|(day, _)| *day).collect();
        if !gone.is_empty() {
            let transaction = self.client.transaction().await?;
            move_on(&transaction, &mut self.turn).await?;
            give_up(&transaction, &gone).await?;
            transaction.execute_typed("DELETE FROM erased WHERE day < $1", &[(&oldest.number(), Type::INT4)]).await?;
            open::forget_before(&transaction, oldest.start_ms()).await?;
            transaction.commit().await?;
            self.drop_days(&gone);
            gone.iter().for_each(|day| info!(%day, "a day of the delivery log is given up"));
        }
        // Numbers are remembered of the days alone that are written.
        let newest = self.days.keys().next_back().copied();
        for (_, set) in self.days.iter_mut().filter(|(day, _)| Some(**day) != newest) {
            set.numbers.forget();
        }
        Ok(gone)
    }

    /// Gives up the days of offsets that the topic has lost.
    pub(super) async fn cut(&mut self, ends: &BTreeMap<i32, i64>) -> PgResult<Vec<Day>> {
        let is_cut = |(day, set): (&Day, &super::session::DaySet)| set.covered.reaches_beyond(ends).then_some(*day);
        let gone: Vec<Day> = self.days.iter().filter_map(is_cut).collect();
        if gone.is_empty() {
            return Ok(gone);
        }
        let transaction = self.client.transaction().await?;
        move_on(&transaction, &mut self.turn).await?;
        begin_edition(&transaction).await?;
        give_up(&transaction, &gone).await?;
        for day in &gone {
            self.days.remove(day);
        }
        self.is_untidy = true;
        open::ask_again(&transaction, &self.days).await?;
        transaction.commit().await?;
        Ok(gone)
    }

    /// Gives up all days.
    pub(super) async fn give_up_all(&mut self) -> PgResult<Vec<Day>> {
        let transaction = self.client.transaction().await?;
        move_on(&transaction, &mut self.turn).await?;
        give_up_everything(&transaction).await?;
        transaction.commit().await?;
        let all: Vec<Day> = self.days.keys().copied().collect();
        self.drop_days(&all);
        Ok(all)
    }

    /// Says how far this process is, for those that stand by.
    pub(super) async fn tell(&mut self, progress: &str) -> PgResult<bool> {
        let tell = "UPDATE state SET progress = $1 WHERE turn = $2";
        let told = self.client.execute_typed(tell, &[(&progress, Type::TEXT), (&self.turn, Type::INT8)]).await?;
        Ok(told > 0)
    }

    /// Drops tables that are of no day, and has the views show those that are. Whoever reads them is hardly waited for: it is done
    /// again, at the next look at which days are kept.
    pub(super) async fn tidy(&mut self) -> PgResult<()> {
        if !self.is_untidy {
            return Ok(());
        }
        match self.tidy_up().await {
            Ok(()) => self.is_untidy = false,
            Err(error) if error.is_locked_out() => {
                if let Some(swallowed) = self.untidy.permit(&()) {
                    warn!(
                        swallowed,
                        "somebody reads days of the delivery log that are given up, or its views: their tables go later"
                    );
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn tidy_up(&mut self) -> PgResult<()> {
        let transaction = self.client.transaction().await?;
        transaction.batch_execute(PATIENCE).await?;
        // Nobody makes tables meanwhile.
        let turn = "SELECT turn FROM state WHERE turn = $1 FOR UPDATE";
        if transaction.query_typed_opt(turn, &[(&self.turn, Type::INT8)]).await?.is_none() {
            return Err(super::failure::PgFailure::Overtaken);
        }
        transaction.batch_execute("DROP VIEW IF EXISTS attempts, accepted_events").await?;
        let all = "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()";
        for row in transaction.query_typed(all, &[]).await? {
            let name: String = row.try_get(0)?;
            let of_day = name.split_once('_').filter(|(kind, rest)| {
                DAY_TABLES.contains(kind) && rest.starts_with(|first: char| first.is_ascii_digit())
            });
            if let Some((_, tables)) = of_day
                && !self.days.values().any(|set| set.tables == tables)
            {
                transaction.batch_execute(&format!("DROP TABLE {name}")).await?;
            }
        }
        let days: Vec<(Day, &str)> = self.days.iter().map(|(day, set)| (*day, set.tables.as_str())).collect();
        transaction.batch_execute(&views(&days)).await?;
        transaction.commit().await?;
        Ok(())
    }

    fn drop_days(&mut self, gone: &[Day]) {
        for day in gone {
            self.days.remove(day);
        }
        self.is_untidy |= !gone.is_empty();
    }
}

/// Has days be gone. Which events are erased is remembered for as long as days are kept: what is read again comes without content.
async fn give_up(transaction: &Transaction<'_>, days: &[Day]) -> PgResult<()> {
    let days: Vec<i32> = days.iter().map(|day| day.number()).collect();
    for table in ["days", "covered", "accepted", "forgotten"] {
        let delete = format!("DELETE FROM {table} WHERE day = ANY($1)");
        transaction.execute_typed(&delete, &[(&days, Type::INT4_ARRAY)]).await?;
    }
    Ok(())
}

/// Days go that are kept: whoever stands by knows no more how far the log is than whoever fills it.
async fn begin_edition(transaction: &Transaction<'_>) -> PgResult<()> {
    Ok(transaction.batch_execute("UPDATE state SET edition = edition + 1, progress = NULL").await?)
}

/// Has all days be gone, and whatever outlives days, but for which events are erased: until the records that say so are read again,
/// their content would be back.
pub(super) async fn give_up_everything(transaction: &Transaction<'_>) -> PgResult<()> {
    begin_edition(transaction).await?;
    let all = "DELETE FROM days; DELETE FROM covered; DELETE FROM accepted; DELETE FROM forgotten;
        DELETE FROM open_deliveries; DELETE FROM open_letters";
    Ok(transaction.batch_execute(all).await?)
}

/// What people look at: all days as one. Nothing of ours asks them.
fn views(days: &[(Day, &str)]) -> String {
    if days.is_empty() {
        return String::new();
    }
    let at = |day: Day, ms: &str| format!("to_timestamp(({} + {ms}) / 1000.0)", day.start_ms());
    let attempts = days.iter().map(|(day, tables)| {
        let word = |number: &str| format!("(SELECT word FROM words_{tables} WHERE id = f.{number})");
        let id = |number: &str| format!("(SELECT uuid FROM ids_{tables} WHERE id = f.{number})");
        format!(
            "SELECT {} AS stored_at, f.kind, {} AS application, {} AS subscription, f.event, {} AS event_type, f.delivery, f.attempt,
                {} AS started_at, f.elapsed AS elapsed_ms, f.status, {} AS error, {} AS reason, f.detail FROM facts_{tables} f",
            at(*day, "f.time"),
            id("application"),
            id("subscription"),
            word("type"),
            at(*day, "f.time + f.started"),
            word("error"),
            word("reason"),
        )
    });
    let events = days.iter().map(|(day, tables)| {
        format!(
            "SELECT {} AS accepted_at, (SELECT uuid FROM ids_{tables} WHERE id = e.application) AS application, e.uuid AS event, e.id,
                e.source, (SELECT word FROM words_{tables} WHERE id = e.type) AS event_type, e.matched, e.payload_bytes, e.labels
                FROM events_{tables} e",
            at(*day, "e.time"),
        )
    });
    let all = |parts: Vec<String>| parts.join(" UNION ALL ");
    let (attempts, events) = (all(attempts.collect()), all(events.collect()));
    format!("CREATE VIEW attempts AS {attempts}; CREATE VIEW accepted_events AS {events}")
}
