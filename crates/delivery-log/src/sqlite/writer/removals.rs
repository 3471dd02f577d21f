//! What leaves the files before their day does: the content of erased events, rows of applications that keep theirs for a shorter
//! time, and everything, where the log is to be made again.

use std::collections::{BTreeMap, HashSet};

use schemas::ids::ApplicationId;
use tracing::{info, warn};
use uuid::Uuid;

use super::{StoreWriter, failed_at};
use crate::day::Day;
use crate::erasure;
use crate::fact::LogChunk;
use crate::split::DayPart;
use crate::sqlite::day_file::{DayFile, ErasedInStore};
use crate::sqlite::{erased, forgotten, schema};
use crate::store::{Forgotten, Projected, StoreError};

impl StoreWriter {
    /// Knows of the erasures in what is going to be taken, before any of it is.
    pub(super) fn hear_of_erasures(&mut self, chunks: &[LogChunk]) {
        let said = chunks.iter().flat_map(|chunk| &chunk.rows).filter_map(|row| erasure::erasure(&row.content));
        for event in said {
            if self.shared.erased.write().insert(event) {
                self.fresh.insert(event);
            }
        }
    }

    /// Takes a day's part into its file, without what is erased.
    pub(super) fn take_into(&mut self, day: Day, part: DayPart) -> rusqlite::Result<Projected> {
        let Some(file) = self.days.get_mut(&day) else { return Ok(Projected::default()) };
        let erased = self.shared.erased.read();
        let taken = file.take(part, self.topic.as_deref(), &ErasedInStore { all: &erased, fresh: &self.fresh });
        drop(erased);
        self.shared.rows.write().insert(day, file.rows);
        taken
    }

    /// Has the content of an event leave all files, before its record was read.
    pub(super) fn erase(&mut self, event: Uuid) -> Result<(), StoreError> {
        self.shared.erased.write().insert(event);
        self.fresh.insert(event);
        self.carry_out_erasures()
    }

    /// Takes the content of erased events out of all files. What fails is done again with what is taken next, and where the store is
    /// opened again.
    pub(super) fn carry_out_erasures(&mut self) -> Result<(), StoreError> {
        if !self.fresh.is_empty() {
            let events: Vec<Uuid> = self.fresh.iter().copied().collect();
            for day in self.days.keys().copied().collect::<Vec<_>>() {
                self.clear(day, &events)?;
            }
            for day in self.days.keys().copied().collect::<Vec<_>>() {
                let Some(file) = self.days.get(&day) else { continue };
                erased::all_applied(&file.connection).map_err(|error| self.failed_in(day, &error))?;
            }
            self.fresh.clear();
        }
        self.settle();
        Ok(())
    }

    fn clear(&mut self, day: Day, events: &[Uuid]) -> Result<(), StoreError> {
        let Some(file) = self.days.get_mut(&day) else { return Ok(()) };
        let cleared: rusqlite::Result<Vec<bool>> =
            events.iter().map(|event| erased::clear(&mut file.connection, *event)).collect();
        match cleared {
            Ok(cleared) => {
                if cleared.contains(&true) {
                    self.unsettled.insert(day);
                }
                Ok(())
            }
            Err(error) => Err(self.failed_in(day, &error)),
        }
    }

    /// Empties what stands beside files out of which something was removed. A file that a reader holds up is tried again with the next
    /// look at what is kept.
    pub(super) fn settle(&mut self) {
        for day in std::mem::take(&mut self.unsettled) {
            let Some(file) = self.days.get(&day) else { continue };
            match schema::checkpoint(&file.connection) {
                Ok(true) => {}
                Ok(false) => drop(self.unsettled.insert(day)),
                Err(error) => {
                    warn!(%day, %error, "what was removed from this day of the delivery log is not overwritten yet, trying again");
                    self.unsettled.insert(day);
                }
            }
        }
    }

    /// What the files that are there know of erased events; to be carried out is what some file may still have content of.
    pub(super) fn known_erasures(days: &BTreeMap<Day, DayFile>) -> rusqlite::Result<(HashSet<Uuid>, HashSet<Uuid>)> {
        let (mut all, mut fresh) = (HashSet::new(), HashSet::new());
        for file in days.values() {
            for (event, is_applied) in erased::marks(&file.connection)? {
                all.insert(event);
                if !is_applied {
                    fresh.insert(event);
                }
            }
        }
        Ok((all, fresh))
    }

    /// Has the newest of these days, which were given up to be read again, remember which events are erased: until the records that say
    /// so are read again, the content of what stands before them would be back.
    pub(super) fn keep_erasures(&mut self, given_up: &[Day]) -> Result<(), StoreError> {
        let erased: Vec<Uuid> = self.shared.erased.read().iter().copied().collect();
        let Some(day) = given_up.iter().max().copied().filter(|_| !erased.is_empty()) else { return Ok(()) };
        self.open_day(day)?;
        let Some(file) = self.days.get_mut(&day) else { return Ok(()) };
        let kept = file.remember(&erased, &self.fresh);
        kept.map_err(|error| failed_at(&schema::day_path(&self.shared.folder, day), &error))
    }

    /// Forgets erased events of which no day that is there has anything any more.
    pub(super) fn forget_erasures(&mut self) -> Result<(), StoreError> {
        let (mut all, _) = Self::known_erasures(&self.days).map_err(crate::sqlite::failed)?;
        all.extend(&self.fresh);
        *self.shared.erased.write() = all;
        Ok(())
    }

    /// Removes some rows of these applications that are older than the time beside each, Unix ms, the oldest day's first: of one day at a
    /// time, so that others do not wait for all of them.
    pub(super) fn forget(&mut self, before: &[(ApplicationId, i64)]) -> Result<Forgotten, StoreError> {
        let last = before.iter().map(|(_, ms)| *ms).max().unwrap_or(i64::MIN);
        for day in self.days.keys().copied().filter(|day| day.start_ms() < last).collect::<Vec<_>>() {
            let Some(file) = self.days.get_mut(&day) else { continue };
            let removed = file.forget(before, forgotten::ROWS);
            self.shared.rows.write().insert(day, file.rows);
            let removed = removed.map_err(|error| self.failed_in(day, &error))?;
            if removed.rows > 0 || removed.is_more {
                self.unsettled.insert(day);
                return Ok(Forgotten { rows: removed.rows as u64, is_more: true });
            }
        }
        let path = schema::open_path(&self.shared.folder);
        self.open.forget_of(before).map_err(|error| failed_at(&path, &error))?;
        self.settle();
        Ok(Forgotten::default())
    }

    /// Gives up all days: whoever fills the store reads them again.
    pub(super) fn give_up_all(&mut self) -> Result<Vec<Day>, StoreError> {
        let all: Vec<Day> = self.days.keys().copied().collect();
        info!(days = all.len(), "the delivery log is made again, as it was asked to be");
        // Whatever becomes of it: what is covered is not what it was.
        self.days_go();
        all.iter().try_for_each(|day| self.give_up(*day))?;
        self.keep_erasures(&all)?;
        self.renew_open()?;
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::Ordering;

    use schemas::ids::DeliveryId;

    use super::super::tests::{facts, writer};
    use super::*;
    use crate::fact::{FactKind, RowContent};

    /// Which of these texts stand in a folder's files.
    fn found(folder: &Path, texts: &[String]) -> Vec<String> {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
        let all: Vec<String> = files.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect();
        texts.iter().filter(|text| all.iter().any(|file| file.contains(text.as_str()))).cloned().collect()
    }

    /// What is said of an event on a day.
    fn said(event: Uuid, offset: i64, day: Day) -> LogChunk {
        let mut lines = facts(offset..offset + 1, day.start_ms());
        if let RowContent::Fact(fact) = &mut lines.rows[0].content {
            (fact.event, fact.detail) = (Some(event), Some(format!("secret of {day}")));
        }
        lines
    }

    #[test]
    fn an_erasure_that_was_cut_off_between_two_days_is_carried_out_in_the_other_one() {
        let folder = tempfile::tempdir().unwrap();
        let (event, days) = (Uuid::from_u128(9), [Day::of(0), Day::of(0).next()]);
        let mut cut_off = writer(folder.path());
        cut_off.project(vec![said(event, 0, days[0]), said(event, 1, days[1])]).unwrap();
        let texts = days.map(|day| format!("secret of {day}"));
        assert_eq!(found(folder.path(), &texts), texts);
        // As where the process is killed once one of the days is done.
        cut_off.clear(days[0], &[event]).unwrap();
        drop(cut_off);
        let mut again = writer(folder.path());
        again.bind("attempts".to_owned()).unwrap();
        assert_eq!(found(folder.path(), &texts), Vec::<String>::new());
        let known = StoreWriter::known_erasures(&again.days).unwrap();
        assert_eq!(known, (HashSet::from([event]), HashSet::new()), "and nothing of it is left to be done");
    }

    #[test]
    fn before_a_day_goes_that_is_kept_there_is_another_edition_and_who_fills_the_store_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let days = [Day::of(0), Day::of(0).next()];
        let mut writer = writer(folder.path());
        writer.project(vec![facts(0..1, 0), facts(1..2, days[1].start_ms())]).unwrap();
        let seen =
            |writer: &StoreWriter| (writer.shared.edition.load(Ordering::SeqCst), *writer.shared.given_up.borrow());
        let before = seen(&writer);
        writer.retain(days[1]).unwrap();
        assert_eq!(seen(&writer), before, "what is not kept any more is no other edition");
        // It does not get past the first file.
        hold(folder.path(), days[1]);
        writer.give_up_all().unwrap_err();
        assert_eq!(seen(&writer), (before.0 + 1, before.1 + 1));
    }

    #[test]
    fn a_day_of_which_nothing_is_left_is_not_asked_again_until_rows_come() {
        let folder = tempfile::tempdir().unwrap();
        let days = [Day::of(0), Day::of(0).next()];
        let mut writer = writer(folder.path());
        writer.project(vec![facts(0..10, 0), facts(10..11, days[1].start_ms())]).unwrap();
        let before = [(ApplicationId(Uuid::from_u128(1)), days[1].start_ms())];
        assert_eq!(writer.forget(&before).unwrap(), Forgotten { rows: 10, is_more: true });
        assert_eq!(writer.forget(&before).unwrap(), Forgotten::default());
        // Whoever asks it would fail.
        writer.days[&days[0]].connection.execute_batch("DROP TABLE forgotten").unwrap();
        assert_eq!(writer.forget(&before).unwrap(), Forgotten::default());
        writer.project(vec![facts(20..21, 0)]).unwrap();
        writer.forget(&before).unwrap_err();
    }

    /// Has a day's file be one that cannot be removed. Returns what holds it.
    fn hold(folder: &Path, day: Day) -> std::path::PathBuf {
        let held = folder.join(format!("{day}.db-shm"));
        std::fs::remove_file(&held).unwrap();
        std::fs::create_dir(&held).unwrap();
        held
    }

    #[test]
    fn what_is_open_is_asked_again_though_a_cut_of_the_topic_ended_in_the_middle() {
        let folder = tempfile::tempdir().unwrap();
        let mut cut_off = writer(folder.path());
        cut_off.project(vec![facts(0..8, 0)]).unwrap();
        let (ends, day) = (BTreeMap::from([(0, 5)]), Day::of(0));
        assert!(cut_off.open.covers_from(&ends));
        // It cannot go on behind the day's first file.
        let held = hold(folder.path(), day);
        cut_off.cut(&ends).unwrap_err();
        drop(cut_off);
        std::fs::remove_dir_all(&held).unwrap();
        schema::remove(&schema::day_path(folder.path(), day)).unwrap();
        let mut again = writer(folder.path());
        again.bind("attempts".to_owned()).unwrap();
        assert!(!again.coverage().reaches_beyond(&ends), "nothing says that there is something to cut");
        assert!(!again.open.covers_from(&ends), "others take these offsets, and open and close what they do");
    }

    #[test]
    fn what_is_open_is_forgotten_with_its_time_also_where_its_day_went_before() {
        let folder = tempfile::tempdir().unwrap();
        let days = [Day::of(0), Day::of(0).next()];
        let mut before = writer(folder.path());
        before.bind("attempts".to_owned()).unwrap();
        let mut dead = facts(0..1, days[0].start_ms());
        if let RowContent::Fact(fact) = &mut dead.rows[0].content {
            (fact.kind, fact.delivery) = (FactKind::DeadLettered, Some(DeliveryId(Uuid::from_u128(1))));
        }
        before.project(vec![dead, facts(1..2, days[1].start_ms())]).unwrap();
        // As where the process is killed behind the removal of the day.
        before.give_up(days[0]).unwrap();
        drop(before);
        let mut writer = writer(folder.path());
        writer.bind("attempts".to_owned()).unwrap();
        let letters = |writer: &StoreWriter| -> i64 {
            writer.open.connection.query_row("SELECT count(*) FROM letters", [], |row| row.get(0)).unwrap()
        };
        assert_eq!(letters(&writer), 1);
        assert_eq!(writer.retain(days[1]).unwrap(), []);
        assert_eq!(letters(&writer), 0);
    }
}
