//! Reading records back by their offsets.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka::{Epoch, FetchOutcome, Fetched, Fetcher, FetcherOptions, KafkaError, Lease, Urgency};
use schemas::record::TopicPartition;

use crate::foreign::write_in_transactions;
use crate::support::{World, delete_below, soon, text};

fn lease(world: &World, partition: i32, epoch: u64) -> Lease {
    Lease { partition: TopicPartition::new(world.input.as_ref(), partition), epoch: Epoch(epoch) }
}

/// So many answers, by offset: the record's value, or what else became of it.
async fn answers(answers: &mut kafka::Answers, count: usize) -> BTreeMap<i64, String> {
    let mut all = BTreeMap::new();
    for _ in 0..count {
        let Fetched { offset, outcome, .. } = soon("an answer", answers.next()).await.unwrap();
        let told = match outcome {
            FetchOutcome::Found(record) => {
                assert_eq!(record.offset, offset);
                text(&record)
            }
            FetchOutcome::Gone => "gone".to_owned(),
            FetchOutcome::Failed(error) => error.to_string(),
        };
        assert_eq!(all.insert(offset, told), None, "offset {offset} was answered twice");
    }
    assert!(answers.try_next().is_none());
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_found_and_markers_and_deleted_ones_are_gone() {
    let world = World::new(2).await;
    write_in_transactions(&world, &[true, false, true, false, true, false], 4).await;
    world.write(1, ["other".to_owned()]).await;
    delete_below(&world, 3).await;
    let (fetcher, mut answered) = Fetcher::start(&world.connection, FetcherOptions::default()).unwrap();
    let (zero, one) = (lease(&world, 0, 1), lease(&world, 1, 2));
    // Everything there is, the last one a marker, and what retention took.
    let all: Vec<i64> = (0..30).collect();
    assert_eq!(fetcher.demand(&zero, &all, Urgency::Normal), 30);
    assert_eq!(fetcher.demand(&one, &[0], Urgency::Urgent), 1);
    let mut told = BTreeMap::new();
    for _ in 0..31 {
        let Fetched { lease, offset, outcome } = soon("an answer", answered.next()).await.unwrap();
        told.insert((lease.partition.partition, offset), outcome);
    }
    for offset in all {
        // Records of transactions that were aborted stand there too: nobody lists them.
        let is_there = offset >= 3 && offset % 5 != 4;
        match &told[&(0, offset)] {
            FetchOutcome::Found(record) if is_there => assert_eq!(text(record), offset.to_string()),
            FetchOutcome::Gone if !is_there => {}
            other => panic!("offset {offset}: {other:?}"),
        }
    }
    assert!(matches!(&told[&(1, 0)], FetchOutcome::Found(record) if text(record) == "other"));
    assert_eq!(fetcher.waiting(), 0);
    drop(fetcher);
    assert!(soon("the end", answered.next()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_above_the_end_or_in_no_topic_has_failed_and_says_so() {
    let world = World::new(1).await;
    world.write(0, (0..3).map(|index| index.to_string())).await;
    // Long enough for what is there to come, also from a busy machine.
    let options = FetcherOptions { patience: Duration::from_secs(10), ..FetcherOptions::default() };
    let (fetcher, mut answered) = Fetcher::start(&world.connection, options).unwrap();
    let nowhere = Lease { partition: TopicPartition::new("no-such-topic", 0), epoch: Epoch(7) };
    assert_eq!(fetcher.demand(&lease(&world, 0, 1), &[2, 3, 900], Urgency::Normal), 3);
    assert_eq!(fetcher.demand(&nowhere, &[5], Urgency::Normal), 1);
    let mut failed = Vec::new();
    for _ in 0..4 {
        let Fetched { offset, outcome, .. } = soon("an answer", answered.next()).await.unwrap();
        match outcome {
            FetchOutcome::Found(record) => assert_eq!((offset, text(&record)), (2, "2".to_owned())),
            FetchOutcome::Failed(error) => failed.push((offset, error)),
            FetchOutcome::Gone => panic!("{offset} is gone"),
        }
    }
    failed.sort_by_key(|(offset, _)| *offset);
    assert_eq!(failed.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [3, 5, 900]);
    assert!(matches!(&failed[2].1, KafkaError::OffsetOutOfRange { log_end: 3, .. }), "{:?}", failed[2].1);
    assert!(failed[1].1.to_string().contains("no-such-topic"), "{}", failed[1].1);
    // The threads go on. What has failed is waited for a moment only, and may be demanded again.
    let found = async {
        loop {
            assert_eq!(fetcher.demand(&lease(&world, 0, 1), &[1], Urgency::Normal), 1);
            let told = answers(&mut answered, 1).await.remove(&1);
            if told.as_deref() == Some("1") {
                return;
            }
            assert!(told.is_some_and(|failed| failed != "gone"), "it is there");
        }
    };
    soon("a record", found).await;
}

/// Prints how fast it is; asserts that everything came.
#[tokio::test(flavor = "multi_thread")]
async fn sparse_offsets_are_sought_and_dense_ones_read_through() {
    const RECORDS: usize = 410_000;
    let world = World::new(1).await;
    let filler = "x".repeat(1_000);
    for block in 0..RECORDS / 10_000 {
        let number = |index: usize| format!("{} {filler}", block * 10_000 + index);
        world.write(0, (0..10_000).map(number)).await;
    }
    let (fetcher, mut answered) = Fetcher::start(&world.connection, FetcherOptions::default()).unwrap();
    let lease = lease(&world, 0, 1);
    let sparse: Vec<i64> = (0..1_000).map(|index| index * 405).collect();
    let dense: Vec<i64> = (0..10_000).map(|index| 100_000 + index).collect();
    let tenth: Vec<i64> = (0..10_000).map(|index| 200_000 + index * 10).collect();
    for (what, offsets) in [("sparse", sparse), ("dense", dense), ("one in ten", tenth)] {
        let (started, before) = (kafka::clock::instant(), fetcher.bytes_read());
        assert_eq!(fetcher.demand(&lease, &offsets, Urgency::Normal), offsets.len());
        let told = answers(&mut answered, offsets.len()).await;
        let (elapsed, bytes) = (kafka::clock::instant() - started, fetcher.bytes_read() - before);
        for (offset, value) in told {
            let number = value.split(' ').next();
            assert_eq!(number, Some(&*offset.to_string()));
        }
        println!("{what}: {} offsets in {elapsed:?}, {bytes} bytes read", offsets.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_stops_and_others_go_on_at_the_rate_that_is_allowed() {
    let world = World::new(2).await;
    let filler = "x".repeat(10_000);
    world.write(0, (0..200).map(|_| filler.clone())).await;
    world.write(1, ["other".to_owned()]).await;
    // 2 MB at 20 KB/s: far longer than anybody waits.
    let options = FetcherOptions { bytes_per_second: 20_000, ..FetcherOptions::default() };
    let (fetcher, mut answered) = Fetcher::start(&world.connection, options).unwrap();
    let (slow, other) = (lease(&world, 0, 1), lease(&world, 1, 2));
    let all: Vec<i64> = (0..200).collect();
    assert_eq!(fetcher.demand(&slow, &all, Urgency::Normal), 200);
    assert_eq!(soon("the first", answered.next()).await.unwrap().offset, 0);
    fetcher.cancel(&slow);
    assert_eq!(fetcher.demand(&other, &[0], Urgency::Normal), 1);
    loop {
        let Fetched { lease, outcome, .. } = soon("the other's", answered.next()).await.unwrap();
        if lease == other {
            assert!(matches!(outcome, FetchOutcome::Found(_)));
            break;
        }
    }
    assert!(fetcher.bytes_read() < 1_000_000, "{} bytes were read", fetcher.bytes_read());
}
