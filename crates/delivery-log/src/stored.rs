//! A store's rows beside the process that fills it: read only, for whoever compares them with the topic.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use schemas::ids::ApplicationId;
use uuid::Uuid;

use crate::coverage::Coverage;
use crate::day::Day;
use crate::erasure;
use crate::fact::{LogRow, RowContent};
use crate::plain_text;
use crate::store::StoreAnswer;

/// See the module.
pub trait LogCopy: fmt::Debug + Send + Sync {
    /// The days that are there, the newest first.
    fn days(&self) -> StoreAnswer<'_, Vec<Day>>;

    /// What a day says of itself. What it covers then is not written again.
    fn day(&self, day: Day) -> StoreAnswer<'_, StoredDay>;

    /// A day's rows of these offsets of a partition, in order, without those that say nothing. A target's time is not kept.
    fn rows(&self, day: Day, partition: i32, offsets: Range<i64>) -> StoreAnswer<'_, Vec<LogRow>>;

    /// What was removed of a day before it is given up. Asked behind [`Self::rows`].
    fn removed(&self, day: Day) -> StoreAnswer<'_, RemovedContent>;
}

/// A day as it stood when it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredDay {
    /// Which offsets were read into it.
    pub covered: Coverage,
    /// The topic that it is of, as [`crate::DeliveryStore::bind`] was told.
    pub topic: Option<String>,
}

/// What was removed of a day.
#[derive(Clone, Debug, Default)]
pub struct RemovedContent {
    pub(crate) erased: HashSet<Uuid>,
    /// Rows of an application before this time, Unix ms.
    pub(crate) forgotten: HashMap<ApplicationId, i64>,
    /// Its texts cannot hold NUL.
    pub(crate) is_without_nul: bool,
}

// === impl RemovedContent ===

impl RemovedContent {
    /// Rows without what was removed. Of the topic's rows and of the day's it makes the same: what is gone does not come back.
    #[must_use]
    pub fn without(&self, rows: Vec<LogRow>) -> Vec<LogRow> {
        let is_kept = |row: &LogRow| {
            let of = whose(row).and_then(|(application, ms)| Some((ms, self.forgotten.get(&application)?)));
            of.is_none_or(|(ms, before)| ms >= *before)
        };
        let rows = rows.into_iter().filter(is_kept);
        let clean = |row| {
            let (mut row, _) = erasure::without_content(row, &self.erased);
            if self.is_without_nul {
                plain_text::without_nul(&mut row);
            }
            row
        };
        rows.map(clean).collect()
    }
}

/// Rows of three kinds as one list, by their offsets.
pub(crate) fn merged(kinds: [Vec<LogRow>; 3]) -> Vec<LogRow> {
    let mut rows = kinds.concat();
    rows.sort_unstable_by_key(|row| row.offset);
    rows
}

/// The application that a row is forgotten with, and the time that decides when.
fn whose(row: &LogRow) -> Option<(ApplicationId, i64)> {
    match &row.content {
        RowContent::Fact(fact) => Some((fact.application?, row.stored_ms)),
        RowContent::Event(event) => Some((event.application, event.accepted_ms)),
        RowContent::Target(_) | RowContent::Nothing => None,
    }
}
