//! Reading without a group, exclusive writes, topics.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kafka::{
    Below, ExclusiveError, ExclusiveWriter, From, Offsets, Producer, ProducerOptions, Tail, TailEvent, TailOptions,
};
use rdkafka::producer::{BaseRecord, Producer as _};
use schemas::record::TopicPartition;

use crate::foreign::foreign_producer;
use crate::support::{World, names, record, soon, spec, text};

const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn the_last_to_acquire_writes_and_a_reader_reaches_the_listed_end() {
    let world = World::new(1).await;
    let id = world.slot("exclusive");
    let first = ExclusiveWriter::start(&world.connection, &id, 1_000_000).await.unwrap();
    let second = ExclusiveWriter::start(&world.connection, &id, 1_000_000).await.unwrap();
    assert!(!first.is_held());
    first.acquire().await.unwrap();
    first.write(vec![record(&world.output, 0, "a")]).await.unwrap();
    second.acquire().await.unwrap();
    second.write(vec![record(&world.output, 0, "b")]).await.unwrap();
    let fenced = first.write(vec![record(&world.output, 0, "lost")]).await;
    assert!(matches!(fenced, Err(ExclusiveError::Fenced | ExclusiveError::Unknown(_))), "{fenced:?}");
    assert!(!first.is_held() && second.is_held());
    first.acquire().await.unwrap();
    first.write(vec![record(&world.output, 0, "c")]).await.unwrap();
    let fenced = second.write(vec![record(&world.output, 0, "lost too")]).await;
    assert!(matches!(fenced, Err(ExclusiveError::Fenced | ExclusiveError::Unknown(_))), "{fenced:?}");

    let offsets = Offsets::start(&world.connection).unwrap();
    let partition = TopicPartition::new(Arc::clone(&world.output), 0);
    assert_eq!(world.outputs().await, ["a", "b", "c"]);
    world.nothing_open(&world.output).await;
    let end = offsets.end(&partition).await.unwrap();
    // A reader that begins at the end has nothing to read and says so with that position.
    let options = TailOptions {
        topic: world.output.to_string(),
        partitions: Some(vec![0]),
        from: From::Offsets(HashMap::from([(0, end)])),
        committed: true,
        eof: true,
        fetch_wait_ms: 10,
    };
    let mut tail = Tail::start(&world.connection, options).unwrap();
    match soon("the end", tail.next()).await.unwrap() {
        TailEvent::Eof { position, .. } => assert_eq!(position, end),
        other => panic!("{other:?}"),
    }
    assert_eq!(offsets.start_of(&partition).await.unwrap(), 0);
}

/// A caller may ask for any time that can be written: before the first record it is told the beginning, after the last the end.
#[tokio::test(flavor = "multi_thread")]
async fn every_time_has_an_offset_those_before_1970_too() {
    let world = World::new(1).await;
    world.write(0, names(0..3)).await;
    let offsets = Offsets::start(&world.connection).unwrap();
    let partition = TopicPartition::new(Arc::clone(&world.input), 0);
    for (time_ms, offset) in [(i64::MIN, 0), (-56_058_600_000_000, 0), (-2, 0), (-1, 0), (0, 0), (i64::MAX, 3)] {
        assert_eq!(offsets.at(&partition, time_ms).await.unwrap(), offset, "at {time_ms} ms");
        let mut of_all = offsets.at_of(vec![partition.clone()], time_ms).await;
        assert_eq!(of_all.remove(&partition).unwrap().unwrap(), offset, "at {time_ms} ms");
    }
}

/// A transaction that nobody ends holds readers of what is committed where it begins: their end is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_what_is_committed_reaches_the_committed_end_before_an_open_transaction() {
    let world = World::new(1).await;
    let writer = ExclusiveWriter::start(&world.connection, &world.slot("ended"), 1_000_000).await.unwrap();
    writer.acquire().await.unwrap();
    let both = vec![record(&world.output, 0, "a"), record(&world.output, 0, "b")];
    let placed = writer.write(both).await.unwrap();
    assert_eq!((placed.of(&world.output), placed.of("another")), (Some(1), None), "where its last record stands");
    // The next transaction begins behind the marker of this one.
    world.nothing_open(&world.output).await;
    let (id, topic) = (world.slot("open"), world.output.to_string());
    let open = tokio::task::spawn_blocking(move || {
        let producer = foreign_producer(&id);
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::to(&topic).partition(0).key("a").payload("c")).map_err(|(error, _)| error).unwrap();
        producer.flush(TIMEOUT).unwrap();
        producer
    });
    let open = open.await.unwrap();
    let partition = TopicPartition::new(Arc::clone(&world.output), 0);
    let written = Offsets::start(&world.connection).unwrap().end(&partition).await.unwrap();
    assert_eq!(written, 4, "two records and their marker, then an open one");
    let committed = Offsets::start_committed(&world.connection).unwrap();
    let end = committed.end(&partition).await.unwrap();
    assert_eq!(end, 3);
    let options = TailOptions {
        topic: world.output.to_string(),
        partitions: Some(vec![0]),
        from: From::Beginning,
        committed: true,
        eof: true,
        fetch_wait_ms: 10,
    };
    let mut tail = Tail::start(&world.connection, options.clone()).unwrap();
    let mut read = Vec::new();
    loop {
        match soon("the committed end", tail.next()).await.unwrap() {
            TailEvent::Record { record, .. } => read.push(text(&record)),
            TailEvent::Eof { position, .. } if position < end => {}
            TailEvent::Eof { .. } => break,
        }
    }
    assert_eq!(read, ["a", "b"]);
    // Who reads below the end of all that is written waits there for a moment, and no longer.
    let mut below = Below::new(Tail::start(&world.connection, options.clone()).unwrap(), written);
    let mut read = Vec::new();
    while let Some(record) = soon("what is committed", below.next()).await.unwrap() {
        read.push(text(&record));
    }
    assert_eq!(read, ["a", "b"], "its writer may have died");
    // What is committed meanwhile is read.
    let mut below = Below::new(Tail::start(&world.connection, options).unwrap(), written);
    for expected in ["a", "b"] {
        assert_eq!(below.next().await.unwrap().as_ref().map(text).as_deref(), Some(expected));
    }
    tokio::task::spawn_blocking(move || open.commit_transaction(TIMEOUT).unwrap()).await.unwrap();
    assert_eq!(soon("what is committed late", below.next()).await.unwrap().as_ref().map(text).as_deref(), Some("c"));
    assert!(soon("the end", below.next()).await.unwrap().is_none());
}

/// Partition 7 is not there now, as one without a leader is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_cannot_be_read_now_keeps_no_other_from_being_read() {
    let world = World::new(2).await;
    world.write(1, ["one".to_owned()]).await;
    let options = TailOptions {
        topic: world.input.to_string(),
        partitions: Some(vec![0, 1, 7]),
        from: From::Beginning,
        committed: true,
        eof: true,
        fetch_wait_ms: 20,
    };
    let mut tail = Tail::start(&world.connection, options).unwrap();
    let mut ends = BTreeMap::new();
    let mut records = Vec::new();
    while ends.len() < 2 {
        match soon("the others", tail.next()).await.unwrap() {
            TailEvent::Record { record, .. } => records.push(text(&record)),
            TailEvent::Eof { partition, position } => {
                ends.insert(partition, position);
            }
        }
    }
    assert_eq!((records, ends), (vec!["one".to_owned()], BTreeMap::from([(0, 0), (1, 1)])));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_questions_for_the_end_are_all_answered() {
    let world = World::new(2).await;
    world.write(1, (0..3).map(|index| index.to_string())).await;
    let offsets = Offsets::start(&world.connection).unwrap();
    let questions = (0..200).map(|index| {
        let (offsets, topic) = (offsets.clone(), Arc::clone(&world.input));
        async move { offsets.end(&TopicPartition::new(topic, index % 2)).await.unwrap() }
    });
    let mut answers = Vec::new();
    for question in questions.collect::<Vec<_>>() {
        answers.push(soon("an answer", question).await);
    }
    assert!(answers.chunks(2).all(|pair| pair == [0, 3]));
    assert_eq!(offsets.partitions(&world.input).await.unwrap(), Some(2));
    assert_eq!(offsets.partitions("no-such-topic").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_named_before_anything_is_written() {
    let world = World::new(1).await;
    kafka::topics::require(&world.connection, &[&world.input, &world.output]).await.unwrap();
    let error = kafka::topics::require(&world.connection, &[&world.input, "no-such-topic"]).await.unwrap_err();
    assert!(matches!(&error, kafka::KafkaError::NoTopic { topic } if &**topic == "no-such-topic"), "{error}");
    assert!(error.to_string().contains("hookbus topics ensure"), "{error}");
}

/// What an operator's command finds: topics made just now, topics that never had a record, and a lost group.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_begins_at_zero_where_nothing_can_have_been_read_and_nowhere_else() {
    let world = World::new(2).await;
    let begin = async |group: &str, created: &[String]| {
        let timeout = Duration::from_secs(10);
        kafka::group::begin(&world.connection, group, &[&world.input], created, timeout).await.unwrap()
    };
    // `World` has done it, and a second time there is nothing to do.
    assert_eq!(begin(&world.group, &[]).await, kafka::group::Beginning::default());
    world.write(0, ["one".to_owned()]).await;
    let other = format!("{}-other", world.group);
    let found = begin(&other, &[]).await;
    let numbers = |found: &[TopicPartition]| found.iter().map(|at| at.partition).collect::<Vec<_>>();
    assert_eq!((numbers(&found.begun), numbers(&found.unknown)), (vec![1], vec![0]));
    let created = format!("{}-created", world.group);
    assert_eq!(numbers(&begin(&created, &[world.input.to_string()]).await.begun), [0, 1]);
    let states = kafka::group::state(&world.connection, &created, &[&world.input]).await.unwrap().partitions;
    assert!(states.iter().all(|state| state.lag.committed == Some(0)), "{states:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_tells_where_a_record_stands_and_what_cannot_be_written() {
    let world = World::new(1).await;
    let options = ProducerOptions { message_max_bytes: 10_000, ..ProducerOptions::new("test") };
    let producer = Producer::start(&world.connection, options).unwrap();
    let written = producer.send(&record(&world.input, 0, "one")).unwrap().await.unwrap();
    assert_eq!((written.partition, written.offset), (0, 0));
    assert!(written.timestamp_ms > 0);
    let refused = producer.send(&record(&world.input, 0, &"x".repeat(20_000))).unwrap_err();
    assert!(refused.is_unwritable() && !refused.is_retriable(), "{refused}");
    // Names and values that are not UTF-8, an empty value and a tombstone pass unchanged.
    let mut odd = record(&world.input, 0, "");
    let mut headers = schemas::record::Headers::builder(2, 16);
    headers.push_raw(b"\xff\xfe", b"\x00\x01").push_raw(b"empty", b"");
    odd.headers = headers.build();
    producer.send(&odd).unwrap().await.unwrap();
    let tombstone = schemas::record::OutRecord { value: None, key: Some("k".into()), ..odd.clone() };
    producer.send(&tombstone).unwrap().await.unwrap();
    producer.flush(Duration::from_secs(10)).await.unwrap();
    let options = TailOptions {
        topic: world.input.to_string(),
        partitions: None,
        from: From::Beginning,
        committed: true,
        eof: false,
        fetch_wait_ms: 10,
    };
    let mut tail = Tail::start(&world.connection, options.clone()).unwrap();
    let mut read = Vec::new();
    while read.len() < 3 {
        match soon("a record", tail.next()).await.unwrap() {
            TailEvent::Record { record, .. } => read.push(record),
            TailEvent::Eof { .. } => panic!("no end was asked for"),
        }
    }
    assert_eq!(text(&read[0]), "one");
    assert_eq!(read[1].value.as_deref(), Some(&b""[..]));
    assert_eq!(read[1].headers, odd.headers);
    assert_eq!((read[2].value.clone(), read[2].key.as_deref()), (None, Some(&b"k"[..])));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_of_a_producer_gets_its_own_acknowledgement_in_whatever_topic() {
    const RECORDS: i64 = 2_000;
    let world = World::new(1).await;
    let producer = Producer::start(&world.connection, ProducerOptions::new("test")).unwrap();
    let mut sent = Vec::new();
    for number in 0..RECORDS {
        for topic in [&world.input, &world.output] {
            sent.push((topic, number, producer.send(&record(topic, 0, &number.to_string())).unwrap()));
        }
    }
    for (topic, number, acknowledgement) in sent {
        assert_eq!(acknowledgement.await.unwrap().offset, number, "{topic}");
    }
}

#[tokio::test]
async fn what_a_dropped_producer_had_not_written_is_an_error_and_not_a_wait() {
    // Nobody listens on port 1.
    let nowhere = kafka::Connection::new("127.0.0.1:1", &BTreeMap::new()).unwrap();
    let producer = Producer::start(&nowhere, ProducerOptions::new("test")).unwrap();
    let acknowledgement = producer.send(&record(&"nowhere".into(), 0, "lost")).unwrap();
    drop(producer);
    soon("the end of its record", acknowledgement).await.unwrap_err();
}

#[tokio::test]
async fn what_a_client_says_while_it_is_made_does_not_silence_its_acknowledgements() {
    // librdkafka warns that this is a consumer's property: the warning is in the queue of reports before anybody listens.
    let world = World::new(1).await;
    let properties = BTreeMap::from([("fetch.error.backoff.ms".to_owned(), "20".to_owned())]);
    let connection = kafka::Connection::new(world.connection.brokers(), &properties).unwrap();
    let producer = Producer::start(&connection, ProducerOptions::new("test")).unwrap();
    let acknowledgement = producer.send(&record(&world.input, 0, "heard")).unwrap();
    assert_eq!(soon("its acknowledgement", acknowledgement).await.unwrap().offset, 0);
}

#[test]
fn a_producer_whose_runtime_has_ended_takes_nothing_more() {
    let nowhere = kafka::Connection::new("127.0.0.1:1", &BTreeMap::new()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let producer = runtime.block_on(async { Producer::start(&nowhere, ProducerOptions::new("test")).unwrap() });
    drop(runtime);
    assert!(matches!(producer.send(&record(&"nowhere".into(), 0, "late")), Err(kafka::KafkaError::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_topic_is_reported_and_left_alone() {
    let world = World::new(2).await;
    let specs = [spec(&world.input, 3, &[("cleanup.policy", "compact")]), spec(&world.output, 2, &[])];
    for plan in [
        kafka::topics::plan(&world.connection, &specs).await.unwrap(),
        kafka::topics::ensure(&world.connection, &specs).await.unwrap(),
    ] {
        let named: Vec<_> = plan.differing.iter().map(|difference| difference.property.as_str()).collect();
        assert_eq!(named, ["partitions", "cleanup.policy"]);
        assert_eq!(plan.matching, [world.output.to_string()]);
    }
}
