//! Reading the lists of what waits back, at a takeover.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka::{
    KafkaError, ListsClaim, ListsRestorer, Offsets, Output, ReadingWatch, Restored, RestoredLists, Transaction, Window,
};
use rdkafka::producer::{BaseRecord, Producer as _};
use schemas::record::{Headers, OutRecord};

use crate::foreign::foreign_producer;
use crate::support::{Worker, World, eventually, progress, soon};

const TIMEOUT: Duration = Duration::from_secs(30);

fn restorer(world: &World, transaction_timeout: Duration) -> ListsRestorer {
    let offsets = Offsets::start(&world.connection).unwrap();
    ListsRestorer::new(&world.connection, offsets, Arc::clone(&world.output), transaction_timeout)
}

fn watch() -> ReadingWatch {
    ReadingWatch::default()
}

/// One transaction with a record per key, a tombstone for each that is empty, in the lease's own partition.
async fn write(world: &World, worker: &Worker, found: &Restored, records: &[(&str, &str)]) {
    let partition = Some(found.lease.partition.partition);
    let outputs = records.iter().map(|(key, value)| Output {
        lease: 0,
        record: OutRecord {
            topic: Arc::clone(&world.output),
            partition,
            key: Some(Bytes::from((*key).to_owned())),
            value: (!value.is_empty()).then(|| Bytes::from((*value).to_owned())),
            headers: Headers::default(),
        },
    });
    let progress = vec![progress(&found.lease, &Window::default())];
    worker.writer.commit(Transaction { outputs: outputs.collect(), progress }).await.unwrap();
}

fn kept(lists: &RestoredLists) -> Vec<(String, String)> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let mut kept: Vec<_> = lists.records.iter().map(|(key, kept)| (text(key), text(&kept.value))).collect();
    kept.sort();
    kept
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_counts_is_the_last_record_of_a_key_in_the_partition_of_the_lease() {
    let world = World::new(3).await;
    let mut worker = world.worker("lists").await;
    let mut found = worker.assigned().await;
    found.sort_by_key(|found| found.lease.partition.partition);
    write(&world, &worker, &found[0], &[("a", "1"), ("b", "1")]).await;
    write(&world, &worker, &found[0], &[("b", "2"), ("a", ""), ("c", "1")]).await;
    write(&world, &worker, &found[1], &[("a", "other")]).await;
    let lists = restorer(&world, Duration::from_secs(10));
    let ownership = worker.poller.ownership();
    let restored = soon("the lists", lists.restore(&found, &ownership, &watch())).await.unwrap();
    let all: Vec<_> = restored.iter().map(kept).collect();
    assert_eq!(all, [pairs(&[("b", "2"), ("c", "1")]), pairs(&[("a", "other")]), pairs(&[])]);
    // Five records and two markers.
    assert_eq!((restored[0].from, restored[0].end), (0, 7));
    assert!(!restored[0].topic_id.is_nil() && restored[0].bytes >= 9 && restored[2].bytes == 0);
    let seen = soon("all lists", lists.look_at_all(&BTreeMap::new())).await.unwrap();
    assert_eq!(seen.iter().map(kept).collect::<Vec<_>>(), all);
    // From where a claim says: behind the first transaction. One about another topic says nothing.
    let claim = ListsClaim { queued: 0, sum: 0, topic_id: restored[0].topic_id, from: 3 };
    found[0].lists = Some(claim);
    found[1].lists = Some(ListsClaim { topic_id: uuid::Uuid::from_u128(1), ..claim });
    let later = soon("the lists", lists.restore(&found[..2], &ownership, &watch())).await.unwrap();
    assert_eq!((later[0].from, kept(&later[0])), (3, pairs(&[("b", "2"), ("c", "1")])));
    assert_eq!((later[1].from, kept(&later[1])), (0, pairs(&[("a", "other")])));
    assert!(later[0].bytes < restored[0].bytes);
    worker.close().await;
    assert!(soon("nothing", lists.restore(&found, &ownership, &watch())).await.unwrap().is_empty(), "no lease lives");
}

/// E is the end with open transactions: what is aborted afterwards was waited for, what is committed counts.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_is_waited_for_and_one_that_never_ends_is_named() {
    let world = World::new(1).await;
    let mut worker = world.worker("held").await;
    let found = worker.assigned().await;
    write(&world, &worker, &found[0], &[("a", "1")]).await;
    // What is open stands behind its marker.
    world.nothing_open(&world.output).await;
    let (id, topic) = (world.slot("open"), world.output.to_string());
    let open = tokio::task::spawn_blocking(move || {
        let producer = foreign_producer(&id);
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::to(&topic).partition(0).key("a").payload("2")).map_err(|(error, _)| error).unwrap();
        producer.flush(TIMEOUT).unwrap();
        producer
    });
    let open = open.await.unwrap();
    let ownership = worker.poller.ownership();
    // Whoever writes there is believed to be dead after 20 s.
    let held =
        soon("an error", restorer(&world, Duration::ZERO).restore(&found, &ownership, &watch())).await.unwrap_err();
    assert!(matches!(held, KafkaError::Held { position: 2, end: 3, .. }), "{held}");
    let lists = restorer(&world, Duration::from_secs(60));
    let commit = tokio::task::spawn_blocking(move || open.commit_transaction(TIMEOUT));
    let watch = watch();
    let (restored, committed) =
        soon("the lists", async { tokio::join!(lists.restore(&found, &ownership, &watch), commit) }).await;
    committed.unwrap().unwrap();
    let restored = restored.unwrap();
    assert_eq!(kept(&restored[0]), pairs(&[("a", "2")]));
    worker.close().await;
}

/// What nobody needs any more is not waited for: here that would take ten minutes.
#[tokio::test(flavor = "multi_thread")]
async fn reading_ends_when_its_leases_do_though_a_transaction_is_open() {
    let world = World::new(1).await;
    let mut worker = world.worker("revoked").await;
    let found = worker.assigned().await;
    let (id, topic) = (world.slot("open"), world.output.to_string());
    let open = tokio::task::spawn_blocking(move || {
        let producer = foreign_producer(&id);
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::to(&topic).partition(0).key("a").payload("2")).map_err(|(error, _)| error).unwrap();
        producer.flush(TIMEOUT).unwrap();
        producer
    });
    let open = open.await.unwrap();
    let (ownership, watch) = (worker.poller.ownership(), watch());
    let lists = restorer(&world, Duration::from_secs(600));
    let reading = lists.restore(&found, &ownership, &watch);
    let leaving = async {
        eventually("reading", || watch.stand().at.is_some()).await;
        worker.close().await;
    };
    let (restored, ()) = soon("the end of reading", async { tokio::join!(reading, leaving) }).await;
    assert!(restored.unwrap().is_empty(), "no lease lives");
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_lists_with_fewer_partitions_is_named() {
    let world = World::with_partitions(2, 1).await;
    let mut worker = world.worker("fewer").await;
    let found = worker.assigned().await;
    let restored =
        soon("an error", restorer(&world, TIMEOUT).restore(&found, &worker.poller.ownership(), &watch())).await;
    assert!(matches!(&restored, Err(KafkaError::Invalid { .. })), "{restored:?}");
    let alike = kafka::topics::require_alike(&world.connection, [&world.input, &world.output]).await;
    assert!(alike.unwrap_err().to_string().contains("has 2 and"));
    assert_eq!(kafka::topics::require_alike(&world.connection, [&world.input, &world.input]).await.unwrap(), 2);
    let setting = |name| kafka::topics::setting(&world.connection, &world.output, name);
    assert_eq!(setting("cleanup.policy").await.unwrap().as_deref(), Some("delete"));
    assert_eq!(setting("no.such").await.unwrap(), None);
    worker.close().await;
}
