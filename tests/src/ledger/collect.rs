//! Reads topics to their ends, and waits until everything that was accepted has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use kafka::group;
use kafka::{Connection, From, KafkaError, Offsets, Tail, TailEvent, TailOptions};
use retry::Tier;
use schemas::ids::DeliveryId;
use schemas::record::Record;
use schemas::topics::Topics;

use super::books::{Applications, Books, Dead, Event, Fact, Hopped, Place, Rejected, TierWrite};
use crate::wait::eventually;

/// A broker that serves answers in milliseconds; an open transaction at the end of a topic holds its readers for 12 s.
const SILENCE: Duration = Duration::from_secs(60);
/// A million records, read by a build for tests beside a busy pipeline.
const READ_WITHIN: Duration = Duration::from_secs(600);
/// Catch-up: an empty fetch comes back at once.
const FETCH_WAIT_MS: u32 = 10;

/// Reads a topic at `read_committed` until the end it had when this was called.
///
/// # Errors
/// The topic is not there, or nothing comes of it for 60 s before its end: a transaction stays open.
pub async fn read_topic(connection: &Connection, topic: &str) -> anyhow::Result<Vec<(i32, Record)>> {
    each_of(connection, topic, |partition, record| (partition, record)).await
}

/// The same, and keeps what is made of each record alone: the topics of a long run hold more payloads than there is memory.
///
/// # Errors
/// As [`read_topic`].
pub async fn each_of<T: Send>(
    connection: &Connection,
    topic: &str,
    make: impl Fn(i32, Record) -> T + Send + Sync,
) -> anyhow::Result<Vec<T>> {
    // A broker that has just stood still may leave one question unanswered: it is asked again.
    let read = || async {
        let read = Box::pin(read_to_end(connection, topic, &make)).await;
        let failed = read.as_ref().err().and_then(|error| error.downcast_ref::<KafkaError>());
        if failed.is_some_and(KafkaError::is_retriable) { None } else { Some(read) }
    };
    eventually(&format!("the end of {topic}"), READ_WITHIN, read).await?
}

async fn read_to_end<T: Send>(
    connection: &Connection,
    topic: &str,
    make: impl Fn(i32, Record) -> T + Send,
) -> anyhow::Result<Vec<T>> {
    let mut ends = Offsets::start(connection)?.ends(topic).await?;
    ends.retain(|_, end| *end > 0);
    let mut made = Vec::new();
    if ends.is_empty() {
        return Ok(made);
    }
    let mut tail = Tail::start(connection, from_beginning(topic, ends.keys().copied().collect()))?;
    while !ends.is_empty() {
        let next = tokio::time::timeout(SILENCE, tail.next()).await;
        let next =
            next.with_context(|| format!("nothing came of {topic} for {SILENCE:?}; not read to the end: {ends:?}"))?;
        match next? {
            TailEvent::Record { partition, record } => made.push(make(partition, record)),
            TailEvent::Eof { partition, position } => {
                if ends.get(&partition).is_some_and(|end| position >= *end) {
                    ends.remove(&partition);
                }
            }
        }
    }
    Ok(made)
}

fn from_beginning(topic: &str, partitions: Vec<i32>) -> TailOptions {
    TailOptions {
        topic: topic.to_owned(),
        partitions: (!partitions.is_empty()).then_some(partitions),
        from: From::Beginning,
        committed: true,
        eof: true,
        fetch_wait_ms: FETCH_WAIT_MS,
    }
}

/// Waits until the fan-out has said of every event what became of it, and every delivery has ended. `false`: not in time.
///
/// # Errors
/// A topic cannot be read.
pub async fn settled(connection: &Connection, topics: &Topics, within: Duration) -> anyhow::Result<bool> {
    match tokio::time::timeout(within, settle(connection, topics)).await {
        Ok(outcome) => outcome.map(|()| true),
        Err(_) => Ok(false),
    }
}

async fn settle(connection: &Connection, topics: &Topics) -> anyhow::Result<()> {
    let place = |partition, record: Record| place(&topics.events, partition, &record);
    let mut open: BTreeSet<Place> = each_of(connection, &topics.events, place).await?.into_iter().collect();
    let mut ended: BTreeSet<DeliveryId> = BTreeSet::new();
    let mut tail = Tail::start(connection, from_beginning(&topics.attempts, Vec::new()))?;
    while !open.is_empty() {
        next_fact(&mut tail, &mut open, &mut ended).await?;
    }
    let delivery = |_, record: Record| Hopped::of(&record).ok().map(|hop| hop.delivery);
    let waiting: BTreeSet<DeliveryId> =
        each_of(connection, &topics.deliveries, delivery).await?.into_iter().flatten().collect();
    while !waiting.is_subset(&ended) {
        next_fact(&mut tail, &mut open, &mut ended).await?;
    }
    Ok(())
}

fn place(topic: &str, partition: i32, record: &Record) -> Place {
    Place { topic: topic.to_owned(), partition, offset: record.offset }
}

async fn next_fact(
    tail: &mut Tail,
    open: &mut BTreeSet<Place>,
    ended: &mut BTreeSet<DeliveryId>,
) -> anyhow::Result<()> {
    let TailEvent::Record { record, .. } = tail.next().await? else { return Ok(()) };
    // What cannot be read is the audit's to report.
    let Ok(fact) = Fact::of(&record) else { return Ok(()) };
    if let (true, Some(place)) = (fact.is_fate(), &fact.place) {
        open.remove(place);
    }
    if fact.kind.is_terminal() {
        ended.extend(fact.delivery);
    }
    Ok(())
}

/// Fills the books with what the topics hold. `applications` are those that events may name.
///
/// # Errors
/// A topic cannot be read to its end.
pub async fn fill(
    books: &mut Books,
    connection: &Connection,
    topics: &Topics,
    applications: &Applications,
) -> anyhow::Result<()> {
    let event = |partition, record: Record| Event::of(place(&topics.events, partition, &record), &record, applications);
    books.events = each_of(connection, &topics.events, event).await?;
    books.facts = readable(&mut books.unreadable, connection, &topics.attempts, Fact::of).await?;
    books.hops = readable(&mut books.unreadable, connection, &topics.deliveries, Hopped::of).await?;
    for ping in &mut books.pings {
        ping.look_up(&books.hops);
    }
    for (topic, tier) in tiers(connection, topics).await? {
        books.tier_writes.extend(readable(&mut books.unreadable, connection, &topic, TierWrite::of).await?);
        books.tiers_ms.push(i64::try_from(tier.delay().as_millis())?);
    }
    books.tiers_ms.sort_unstable();
    books.dead = readable(&mut books.unreadable, connection, &topics.dead_letters, Dead::of).await?;
    books.rejected = each_of(connection, &topics.rejected, |_, record| Rejected::of(&record)).await?;
    Ok(())
}

/// The delay topics that exist and their tiers.
async fn tiers(connection: &Connection, topics: &Topics) -> anyhow::Result<Vec<(String, Tier)>> {
    let names = group::topics_with_prefix(connection, &topics.retry_prefix).await?;
    let tier = |name: String| {
        let tier = Tier::parse(topics.tier_of(&name)?).ok()?;
        Some((name, tier))
    };
    Ok(names.into_iter().filter_map(tier).collect())
}

/// What the records of a topic say; what cannot be read is noted.
async fn readable<T: Send>(
    unreadable: &mut Vec<String>,
    connection: &Connection,
    topic: &str,
    read: fn(&Record) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let read = |partition, record: Record| {
        read(&record).map_err(|error| format!("{topic}/{partition}/{}: {error:#}", record.offset))
    };
    // Collected in place: the books of a long run are in memory once.
    let known = each_of(connection, topic, read).await?.into_iter().filter_map(|one| match one {
        Ok(one) => Some(one),
        Err(error) => {
            unreadable.push(error);
            None
        }
    });
    Ok(known.collect())
}

/// Where each partition of a topic ends.
///
/// # Errors
/// The topic does not exist, or the cluster does not answer.
pub async fn ends(connection: &Connection, topic: &str) -> anyhow::Result<BTreeMap<i32, i64>> {
    Ok(Offsets::start(connection)?.ends(topic).await?)
}
