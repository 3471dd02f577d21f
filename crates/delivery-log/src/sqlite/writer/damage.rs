//! Files that are damaged, or cannot be used: each is given up by itself, and made again from Kafka, or from the days.

use tracing::warn;

use super::{AskedFile, StoreWriter, failed_at};
use crate::day::Day;
use crate::sqlite::{day_file, schema};
use crate::store::StoreError;

/// Failures of a day's file in a row after which it is made again.
pub(super) const FAILURES: u32 = 10;

impl StoreWriter {
    /// Gives up a file in which a reader met a damaged page, unless that was done meanwhile.
    pub(super) fn mend(&mut self, file: AskedFile) {
        let is_there = match file.day {
            Some(day) => self.shared.days().get(&day) == Some(&file.id),
            None => self.shared.open_id() == file.id,
        };
        if !is_there {
            return;
        }
        let path = file.path(&self.shared.folder);
        warn!(path = %path.display(), "a file of the delivery log is damaged, as a reader has found; it is made again");
        let mended = match file.day {
            Some(day) => self.give_up_damaged(day),
            None => self.renew_open().and_then(|()| self.catch_up()),
        };
        if let Err(error) = mended {
            // The next reader finds it as it is, and says so again.
            warn!(path = %path.display(), %error, "a damaged file of the delivery log cannot be made again");
        }
    }

    /// What failed in a day's file, as a failure of the store. A damaged file is given up, and one that cannot be used for long enough.
    pub(super) fn failed_in(&mut self, day: Day, error: &rusqlite::Error) -> StoreError {
        let path = schema::day_path(&self.shared.folder, day);
        let given_up = if day_file::is_damaged(error) {
            warn!(path = %path.display(), %error, "a file of the delivery log is damaged; it is made again");
            self.give_up_damaged(day)
        } else {
            self.failed_day(day, error)
        };
        given_up.err().unwrap_or_else(|| failed_at(&path, error))
    }

    /// A day's file failed. Where it cannot be used though it is not damaged, and stays so, it is made again from Kafka like a damaged
    /// one: else nothing would be filled in or given up any more because of one file.
    pub(super) fn failed_day(&mut self, day: Day, error: &rusqlite::Error) -> Result<(), StoreError> {
        use rusqlite::ErrorCode::{CannotOpen, SystemIoFailure};
        if !matches!(error.sqlite_error_code(), Some(SystemIoFailure | CannotOpen)) {
            return Ok(());
        }
        let failures = self.failures.entry(day).or_default();
        *failures += 1;
        if *failures < FAILURES {
            return Ok(());
        }
        warn!(%day, %error, failures, "the file of this day of the delivery log cannot be used; it is made again");
        self.give_up_damaged(day)
    }

    /// As [`Self::give_up`], and whoever fills the store is told to look again.
    pub(super) fn give_up_damaged(&mut self, day: Day) -> Result<(), StoreError> {
        self.days_go();
        self.give_up(day)?;
        self.keep_erasures(&[day])
    }
}
