//! What is written stands in a write-ahead log beside its file first. SQLite brings it into the file by itself, and begins the log
//! anew only at a moment at which nobody reads: where somebody always does, it grows for ever. So the writer sees to it.

use tracing::warn;

use super::{StoreWriter, failed_at};
use crate::day::Day;
use crate::sqlite::schema;
use crate::store::StoreError;

impl StoreWriter {
    /// Brings the write-ahead log of a day, or of what is open, into its file, where it has grown too large.
    pub(super) fn checkpoint(&mut self, day: Option<Day>) -> Result<(), StoreError> {
        let folder = &self.shared.folder;
        let path = day.map_or_else(|| schema::open_path(folder), |day| schema::day_path(folder, day));
        let bytes = schema::wal_bytes(&path).map_err(|error| failed_at(&path, &error))?;
        if bytes <= self.wal_bytes.max(self.held_bytes) {
            return Ok(());
        }
        let connection = match day {
            Some(day) => self.days.get(&day).map(|file| &file.connection),
            None => Some(&self.open.connection),
        };
        let Some(connection) = connection else { return Ok(()) };
        let is_done = schema::checkpoint(connection).map_err(|error| failed_at(&path, &error))?;
        if !is_done {
            warn!(path = %path.display(), bytes, "somebody reads the delivery log without an end: what is written stands beside its file, which grows");
        }
        self.held_bytes = if is_done { 0 } else { bytes + self.wal_bytes };
        Ok(())
    }

    /// Leaves nothing beside the files of days that are not written any more.
    pub(super) fn settle_cool_days(&self) {
        // Those that a reader has just held up are waited for once.
        let is_cool = |day: &Day| self.hot != Some(*day) && !self.unsettled.contains(day);
        for (day, file) in self.days.iter().filter(|(day, _)| is_cool(day)) {
            let path = schema::day_path(&self.shared.folder, *day);
            let settled = match schema::wal_bytes(&path) {
                Ok(0) => Ok(true),
                Ok(_) => schema::checkpoint(&file.connection).map_err(|error| failed_at(&path, &error)),
                Err(error) => Err(failed_at(&path, &error)),
            };
            // Whoever reads it still is waited for next time.
            if let Err(error) = settled {
                warn!(%day, %error, "what stands beside the file of this day of the delivery log could not be brought into it");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rusqlite::Connection;

    use super::super::tests::{facts, writer};
    use super::*;

    #[test]
    fn what_is_written_stays_small_beside_its_file_though_somebody_always_reads() {
        const LIMIT: u64 = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path());
        writer.wal_bytes = LIMIT;
        writer.project(vec![facts(0..10, 5)]).unwrap();
        let (day, days) = (schema::day_path(folder.path(), Day::of(0)), [Day::of(0), Day::of(0).next()]);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let read = || {
                // Of two readers one is always in the middle of its question.
                let open = || schema::open_to_read(&day, 1 << 20).unwrap();
                let begin = |reader: &Connection| {
                    reader.execute_batch("BEGIN").unwrap();
                    let _: i64 = reader.query_row("SELECT count(*) FROM ids", [], |row| row.get(0)).unwrap();
                };
                let (mut one, mut other) = (open(), open());
                begin(&one);
                while !is_over.load(Ordering::Relaxed) {
                    begin(&other);
                    one.execute_batch("COMMIT").unwrap();
                    std::mem::swap(&mut one, &mut other);
                }
            };
            scope.spawn(read);
            let mut next = 10;
            for _ in 0..100 {
                writer.project(vec![facts(next..next + 100, 5)]).unwrap();
                next += 100;
            }
            is_over.store(true, Ordering::Relaxed);
        });
        // A reader that gets no processor for a while holds it up; without this all that was written stands there, 17 times as much.
        let wal = schema::wal_bytes(&day).unwrap();
        assert!(wal < 8 * LIMIT, "{wal} bytes");
        writer.project(vec![facts(20_000..20_010, days[1].start_ms())]).unwrap();
        writer.settle_cool_days();
        assert_eq!(schema::wal_bytes(&day).unwrap(), 0, "a day that is not written any more has none");
    }
}
