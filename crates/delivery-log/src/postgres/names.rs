//! Numbers of a day's words and ids, for whoever writes: those that are new are given one.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::failure::{PgFailure, PgResult};
use crate::fact::{LogRow, RowContent};

/// Numbers that are remembered; beyond it all are looked up again.
const MAX_NAMES: usize = 100_000;
/// Namespace of the keys of words: a word may be longer than what an index takes.
const WORDS: Uuid = Uuid::from_u128(0x0f0a_51b7_8f6e_5a3c_9b0e_6c51_72d4_13aa);

/// Numbers that are known.
#[derive(Debug, Default)]
pub(super) struct NewNumbers {
    words: HashMap<String, i32>,
    ids: HashMap<Uuid, i32>,
}

// === impl NewNumbers ===

impl NewNumbers {
    /// Forgets them, which take the more memory the more there are: they are looked up again.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Makes the numbers known of everything that these rows name.
    pub(super) async fn learn(
        &mut self,
        transaction: &Transaction<'_>,
        tables: &str,
        rows: &[(i64, LogRow)],
    ) -> PgResult<()> {
        if self.words.len() + self.ids.len() > MAX_NAMES {
            self.forget();
        }
        let (mut words, mut ids) = (HashSet::new(), HashSet::new());
        for (_, row) in rows {
            words.extend(words_of(&row.content).into_iter().flatten().filter(|it| !self.words.contains_key(*it)));
            ids.extend(ids_of(&row.content).into_iter().flatten().filter(|it| !self.ids.contains_key(it)));
        }
        if !words.is_empty() {
            let (keys, words): (Vec<Uuid>, Vec<&str>) = words.into_iter().map(|it| (key(it), it)).unzip();
            let insert = format!(
                "INSERT INTO words_{tables}(key, word) SELECT * FROM unnest($1::uuid[], $2::text[]) ON CONFLICT DO NOTHING"
            );
            let named =
                [(&keys as &(dyn tokio_postgres::types::ToSql + Sync), Type::UUID_ARRAY), (&words, Type::TEXT_ARRAY)];
            transaction.execute_typed(&insert, &named).await?;
            let find = format!("SELECT id, word FROM words_{tables} WHERE key = ANY($1)");
            for row in transaction.query_typed(&find, &[(&keys, Type::UUID_ARRAY)]).await? {
                self.words.insert(row.try_get(1)?, row.try_get(0)?);
            }
        }
        if !ids.is_empty() {
            let ids: Vec<Uuid> = ids.into_iter().collect();
            let insert = format!("INSERT INTO ids_{tables}(uuid) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING");
            transaction.execute_typed(&insert, &[(&ids, Type::UUID_ARRAY)]).await?;
            let find = format!("SELECT id, uuid FROM ids_{tables} WHERE uuid = ANY($1)");
            for row in transaction.query_typed(&find, &[(&ids, Type::UUID_ARRAY)]).await? {
                self.ids.insert(row.try_get(1)?, row.try_get(0)?);
            }
        }
        Ok(())
    }

    /// The number of a word that was learned.
    pub(super) fn word(&self, word: Option<&str>) -> PgResult<Option<i32>> {
        word.map(|it| self.words.get(it).copied().ok_or(PgFailure::Unreadable("a word without a number"))).transpose()
    }

    /// The number of an id that was learned.
    pub(super) fn id(&self, id: Option<Uuid>) -> PgResult<Option<i32>> {
        id.map(|it| self.ids.get(&it).copied().ok_or(PgFailure::Unreadable("an id without a number"))).transpose()
    }
}

fn key(word: &str) -> Uuid {
    Uuid::new_v5(&WORDS, word.as_bytes())
}

fn words_of(content: &RowContent) -> [Option<&str>; 5] {
    match content {
        RowContent::Fact(fact) => {
            let exchange = fact.exchange.as_ref();
            let error = exchange.and_then(|it| it.error.as_deref());
            let to = exchange.and_then(|it| it.to.as_deref());
            [fact.event_type.as_deref(), fact.made_by.as_deref(), fact.reason.as_deref(), error, to]
        }
        RowContent::Event(event) => {
            let topic = event.origin.as_ref().map(|it| it.topic.as_str());
            [Some(&event.event_type), event.content_type.as_deref(), topic, None, None]
        }
        RowContent::Target(_) | RowContent::Nothing => [None; 5],
    }
}

fn ids_of(content: &RowContent) -> [Option<Uuid>; 2] {
    match content {
        RowContent::Fact(fact) => [fact.application.map(|it| it.0), fact.subscription.map(|it| it.0)],
        RowContent::Event(event) => [Some(event.application.0), None],
        RowContent::Target(target) => [Some(target.application.0), Some(target.subscription.0)],
        RowContent::Nothing => [None; 2],
    }
}
