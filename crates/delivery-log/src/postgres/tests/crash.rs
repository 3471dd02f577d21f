//! A server that crashes while it is written to, and one that is away.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rand::Rng as _;

use super::*;

/// Fills a store from all chunks, as whoever reads the topic does: what failed is read again from what is covered on.
async fn fill(store: &PostgresStore, chunks: &[LogChunk]) {
    loop {
        let Ok(covered) = store.coverage().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let missing = |it: &&LogChunk| !covered.missing(it.partition, it.offsets.clone()).is_empty();
        let left: Vec<LogChunk> = chunks.iter().filter(missing).cloned().collect();
        if left.is_empty() {
            return;
        }
        for some in left.chunks(3) {
            if store.project(some.to_vec()).await.is_err() {
                break;
            }
        }
    }
}

/// Crashes the server so often while two stores of a schema are filled.
async fn the_view_is_what_the_topic_says_whatever_crashes(crashes: u32) {
    let server = Arc::new(TestServer::start());
    let options = server.options("log");
    let (one, other) = (PostgresStore::open(&options).await.unwrap(), PostgresStore::open(&options).await.unwrap());
    let (mut made, mut chunks) = (Made::new(7, 2, 400_000), Vec::new());
    for crash in 0..crashes {
        made.go_on(150);
        // All of them: a crash may lose what was written just before, of the time before too, with its offsets.
        chunks.extend(made.chunks());
        let is_over = Arc::new(AtomicBool::new(false));
        let (killed, ended) = (Arc::clone(&server), Arc::clone(&is_over));
        let wait = Duration::from_millis(made.rng.random_range(0..120));
        let killer = std::thread::spawn(move || {
            // At some moment of what it does, whichever that is.
            std::thread::park_timeout(wait);
            killed.tell("stop");
            killed.tell("start");
            ended.store(true, Ordering::Relaxed);
        });
        let filler = if crash % 2 == 0 { &one } else { &other };
        while !is_over.load(Ordering::Relaxed) {
            fill(filler, &chunks).await;
            // Again, until it has been in the middle of something.
            drop(filler.project(chunks.clone()).await);
        }
        killer.join().unwrap();
        fill(filler, &chunks).await;
        drop(filler.filler.lock().await.session.take());
    }
    for application in made.applications.clone() {
        let mut expected: Vec<Fact> =
            made.facts.iter().filter(|it| it.application == Some(application)).cloned().collect();
        expected.sort_unstable_by_key(crate::conformance::made::position_of_fact);
        let mut found = all_facts(&one, &FactQuery::of(application, 250)).await;
        found.reverse();
        assert_eq!(found, expected);
    }
    let rows = one.days().await.unwrap().iter().map(|it| it.rows).sum::<u64>();
    assert_eq!(rows, (made.facts.len() + made.events.len()) as u64);
    assert!(made.is_covered_by(&one.coverage().await.unwrap()));
}

#[tokio::test]
async fn the_view_is_what_the_topic_says_though_the_server_crashed() {
    the_view_is_what_the_topic_says_whatever_crashes(2).await;
}

#[tokio::test]
#[ignore = "ten crashes: a minute"]
async fn the_view_is_what_the_topic_says_though_the_server_crashed_ten_times() {
    the_view_is_what_the_topic_says_whatever_crashes(10).await;
}

#[tokio::test]
async fn while_the_server_is_away_its_store_says_so_and_answers_when_it_is_back() {
    let server = TestServer::start();
    let store = PostgresStore::open(&server.options("log")).await.unwrap();
    store.project(vec![chunk(0, 5)]).await.unwrap();
    server.tell("stop");
    let all = FactQuery::of(APPLICATION, 5);
    for _ in 0..3 {
        assert!(matches!(store.facts(all.clone()).await, Err(StoreError::Away { .. })));
        assert!(matches!(store.days().await, Err(StoreError::Away { .. })));
        assert!(matches!(store.project(vec![chunk(1, 5)]).await, Err(StoreError::Away { .. })));
    }
    server.tell("start");
    store.facts(all).await.unwrap();
    store.turn().await.unwrap();
    // What was written in its last moments may be lost, with its offsets: it is read again.
    store.project(vec![chunk(0, 5), chunk(1, 5)]).await.unwrap();
    assert_eq!(offsets(&store).await, [0, 1]);
}
