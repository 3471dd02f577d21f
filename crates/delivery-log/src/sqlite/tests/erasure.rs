//! What is erased stands in no file.

use std::collections::BTreeSet;

use super::*;
use crate::conformance::made::Made;
use crate::fact::FactKind;

/// Which of these texts stand in the files of a folder, and in which.
fn found(folder: &Path, texts: &[String]) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        found.extend(texts.iter().filter(|it| text.contains(it.as_str())).map(|it| (it.clone(), path.clone())));
    }
    found
}

/// Events whose texts are all their own, among traffic that moves rows from page to page.
fn told(made: &mut Made, events: usize) -> (Vec<LogChunk>, Vec<(Uuid, Vec<String>)>) {
    made.go_on(events);
    let mut chunks = made.chunks();
    let mut texts: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
    for (number, row) in chunks.iter_mut().flat_map(|it| &mut it.rows).enumerate() {
        let mut say = |event, what: &str| {
            let text = format!("{what}-{number}-{}", "secret ".repeat(number % 40));
            texts.entry(event).or_default().push(text.clone());
            Some(text)
        };
        match &mut row.content {
            RowContent::Event(event) => {
                event.labels = say(event.uuid, "label");
                event.metadata = say(event.uuid, "metadata");
                event.ip = say(event.uuid, "address");
                event.occurred_at = say(event.uuid, "time");
                event.detail = say(event.uuid, "told");
            }
            RowContent::Fact(fact) => fact.detail = fact.event.and_then(|event| say(event, "quoted")),
            RowContent::Target(_) | RowContent::Nothing => {}
        }
    }
    (chunks, texts.into_iter().collect())
}

#[tokio::test]
async fn the_text_of_an_erased_event_stands_in_no_file_also_when_the_log_is_made_again() {
    let mut folder = Folder::empty();
    let place = folder.place.path().to_owned();
    let mut made = Made::new(8, 3, 60_000);
    let (chunks, texts) = told(&mut made, 300);
    let store = folder.opened();
    store.bind("attempts".to_owned()).await.unwrap();
    for some in chunks.chunks(2) {
        store.project(some.to_vec()).await.unwrap();
    }
    let (erased, kept): (Vec<_>, Vec<_>) = texts.into_iter().enumerate().partition(|(number, _)| number % 10 == 0);
    let all_of = |of: Vec<(usize, (Uuid, Vec<String>))>| of.into_iter().flat_map(|(_, (_, texts))| texts).collect();
    let events: Vec<Uuid> = erased.iter().map(|(_, (event, _))| *event).collect();
    let (erased, kept): (Vec<String>, Vec<String>) = (all_of(erased), all_of(kept));
    assert!(erased.len() > 100 && kept.len() > 1_000, "{} {}", erased.len(), kept.len());
    let there = |texts: &[String]| {
        let found: BTreeSet<String> = found(&place, texts).into_iter().map(|(text, _)| text).collect();
        found.len()
    };
    assert_eq!(there(&erased[..20]), 20, "before it is erased");
    for event in &events {
        store.erase(*event).await.unwrap();
    }
    assert_eq!(found(&place, &erased), []);
    assert_eq!(there(&kept[..20]), 20, "and the others are there");
    // As after the log was lost: the records of the erasures are all that is known.
    for event in made.events.clone().into_iter().filter(|it| events.contains(&it.uuid)) {
        made.say(&event, FactKind::Erased, None);
    }
    store.give_up_all().await.unwrap();
    for some in [chunks, made.chunks()].concat().chunks(2) {
        store.project(some.to_vec()).await.unwrap();
    }
    assert_eq!(found(&place, &erased), [], "made again");
    folder.close();
    assert_eq!(found(&place, &erased), [], "closed");
}

#[tokio::test]
async fn what_a_reader_holds_up_is_overwritten_once_it_has_ended() {
    let mut folder = Folder::empty();
    let place = folder.place.path().to_owned();
    let mut made = Made::new(9, 1, 0);
    let (chunks, texts) = told(&mut made, 1);
    let day = Day::of(made.events[0].stored_ms);
    let store = folder.opened();
    store.project(chunks).await.unwrap();
    let reader = rusqlite::Connection::open(schema::day_path(&place, day)).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM facts").unwrap();
    let (event, texts) = &texts[0];
    store.erase(*event).await.unwrap();
    assert!(!found(&place, texts).is_empty(), "what it reads is still there");
    reader.execute_batch("COMMIT").unwrap();
    store.retain(day).await.unwrap();
    assert_eq!(found(&place, texts), []);
}

/// As much of a topic of many partitions as is read at once: events with texts of their own, and what is quoted of each.
fn batch(partitions: i32, from: i64, rows: i64) -> (Vec<LogChunk>, Vec<(Uuid, String)>) {
    let (mut chunks, mut texts) = (Vec::new(), Vec::new());
    let template = Made::new(1, 1, 0).one_event();
    for partition in 0..partitions {
        let mut lines = Vec::new();
        for offset in from..from + rows {
            let at = crate::position::Coordinates { partition, offset };
            let event =
                Uuid::from_u128((u128::from(partition.unsigned_abs()) << 64) | u128::from(offset.unsigned_abs()));
            // As long as others and longer, so that pages are split wherever rows come.
            let length = usize::try_from((offset * 31 + i64::from(partition) * 7) % 90).unwrap();
            let text = format!("label-{partition}-{offset}-{}", "secret ".repeat(length));
            let logged = LoggedEvent { coordinates: at, uuid: event, labels: Some(text.clone()), ..template.clone() };
            texts.push((event, text));
            lines.push(LogRow { offset, stored_ms: template.stored_ms, content: RowContent::Event(Box::new(logged)) });
        }
        chunks.push(LogChunk { partition, offsets: from..from + rows, rows: lines });
    }
    (chunks, texts)
}

#[tokio::test]
async fn the_text_of_an_erased_event_stands_in_no_gap_of_a_page_that_rows_were_moved_out_of() {
    const PARTITIONS: i32 = 16;
    let mut folder = Folder::empty();
    let place = folder.place.path().to_owned();
    let store = folder.opened();
    store.bind("attempts".to_owned()).await.unwrap();
    let mut texts = Vec::new();
    for from in (0..1_250).step_by(125) {
        let (chunks, more) = batch(PARTITIONS, from, 125);
        store.project(chunks).await.unwrap();
        texts.extend(more);
    }
    assert_eq!(texts.len(), 20_000);
    let erased: Vec<(Uuid, String)> = texts.into_iter().step_by(50).collect();
    for (event, _) in &erased {
        store.erase(*event).await.unwrap();
    }
    let erased: Vec<String> = erased.into_iter().map(|(_, text)| text).collect();
    assert_eq!(erased.len(), 400);
    assert_eq!(found(&place, &erased), []);
}
