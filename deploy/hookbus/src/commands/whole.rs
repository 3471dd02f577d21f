//! A topic of one partition, read from its beginning to where it ends now.

use std::sync::Arc;

use anyhow::{Context, Result};
use kafka::{Below, Connection, From, Offsets, Tail, TailOptions};
use schemas::record::{Record, TopicPartition};

/// Gives `take` every committed record of partition 0 that is there now. A transaction that stays open is waited for as [`Below`] does.
///
/// # Errors
/// The partition cannot be read: with its name.
pub(crate) async fn each_record(
    connection: &Connection,
    topic: &Arc<str>,
    mut take: impl FnMut(&Record),
) -> Result<()> {
    let partition = TopicPartition::new(Arc::clone(topic), 0);
    let end = Offsets::start(connection)?.end(&partition).await.with_context(|| format!("cannot read {partition}"))?;
    let options = TailOptions {
        topic: partition.topic.to_string(),
        partitions: Some(vec![partition.partition]),
        from: From::Beginning,
        committed: true,
        eof: true,
        fetch_wait_ms: 20,
    };
    let mut below = Below::new(Tail::start(connection, options)?, end);
    while let Some(record) = below.next().await.with_context(|| format!("cannot read {partition}"))? {
        take(&record);
    }
    Ok(())
}
