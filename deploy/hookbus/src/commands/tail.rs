//! `hookbus tail TOPIC`: readable records, committed ones by default.

use std::collections::HashSet;

use anyhow::{Context, Result};
use kafka::Connection;

use kafka::{From, Offsets, Tail, TailEvent, TailOptions};
use schemas::record::Record;
use schemas::topics::TopicSettings;

use crate::cli::{TailArgs, TailFrom};
use crate::screen;

/// Follows a topic until it is told to stop, or nobody reads what it prints.
///
/// # Errors
/// When the topic does not exist or Kafka cannot be read.
pub(crate) async fn run(connection: &Connection, settings: &TopicSettings, args: &TailArgs) -> Result<()> {
    let (topic, partitions) = resolve(connection, settings, &args.topic).await?;
    let from = match args.from {
        TailFrom::Beginning => From::Beginning,
        TailFrom::End => From::End,
    };
    let options = TailOptions {
        topic: topic.clone(),
        partitions: None,
        from,
        committed: !args.uncommitted,
        eof: args.no_follow,
        fetch_wait_ms: 100,
    };
    let mut tail = Tail::start(connection, options)?;
    let mut at_end = HashSet::new();
    let mut shown = 0;
    let unread = screen::unread();
    tokio::pin!(unread);
    while args.count.is_none_or(|count| shown < count) {
        let event = tokio::select! {
            event = tail.next() => event,
            closed = &mut unread => return Err(closed.into()),
        };
        match event.with_context(|| format!("cannot read {topic}"))? {
            TailEvent::Record { partition, record } => {
                show(&topic, partition, &record, args.cut)?;
                shown += 1;
            }
            TailEvent::Eof { partition, .. } => {
                at_end.insert(partition);
                if at_end.len() >= partitions {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// A full name is taken as it is, a short one gets the prefix.
async fn resolve(connection: &Connection, settings: &TopicSettings, name: &str) -> Result<(String, usize)> {
    let offsets = Offsets::start(connection)?;
    let candidates = [format!("{}{name}", settings.prefix), name.to_owned()];
    for topic in candidates {
        if let Some(partitions) = offsets.partitions(&topic).await? {
            return Ok((topic, usize::try_from(partitions)?));
        }
    }
    let known: Vec<_> = settings.specs().iter().map(|spec| spec.name.to_string()).collect();
    let (prefix, known) = (&settings.prefix, known.join(", "));
    Err(crate::usage(format!("there is no topic `{name}` nor `{prefix}{name}`; Hookbus's own are {known}")))
}

fn show(topic: &str, partition: i32, record: &Record, cut: usize) -> Result<()> {
    let key = screen::maybe(record.key.as_ref(), 200);
    screen::line(&format!("{} {topic}/{partition}@{} key={key}", screen::time(record.timestamp_ms), record.offset))?;
    for (name, value) in record.headers.iter() {
        screen::line(&format!("    {}: {}", screen::text(name, 100), screen::text(value, 400)))?;
    }
    screen::line(&format!("  {}", screen::maybe(record.value.as_ref(), cut)))?;
    Ok(())
}
