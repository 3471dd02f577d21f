//! Tells `status` which tokens were used, and hears what others tell.
//!
//! Telling is worth no failure: what cannot be told now is told later, and the process goes on without.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::clock;
use chassis::follow::follow;
use chassis::limited::Limited;
use chassis::tasks::Tasks;
use kafka::{Connection, KafkaError, Offsets, Producer, ProducerOptions, Tail, TailEvent, TailOptions};
use parking_lot::Mutex;
use schemas::record::{Headers, OutRecord, Record, TopicPartition};
use schemas::status::Status;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::{SHARDS, TokenUse};

/// Between two reports.
const PERIOD: Duration = Duration::from_secs(5);
/// Reports take no more of Kafka than that: large ones come less often.
const BYTES_PER_SECOND: u32 = 64 * 1024;
/// An instance that has told nothing for so long may be gone: what it said of tokens is adopted, of its health removed. It loses nothing if it is not.
const ADOPT_AFTER_MS: i64 = 24 * 60 * 60 * 1_000;
/// Between two looks for such records.
const ADOPT_PERIOD: Duration = Duration::from_secs(60 * 60);
/// One line about failures per that.
const LOG_PERIOD: Duration = Duration::from_secs(60);
/// The last report of a process that ends.
const FLUSH: Duration = Duration::from_secs(2);

/// What sharing stands on.
#[derive(Clone, Debug)]
pub struct UseDeps {
    /// Where Kafka is.
    pub connection: Connection,
    /// The `status` topic.
    pub topic: Arc<str>,
    /// Runs the sharing.
    pub tasks: Tasks,
    /// The uses of this process.
    pub used: Arc<TokenUse>,
    /// The role that tells: the first part of the record's key.
    pub role: &'static str,
    /// The slot: the second part.
    pub instance: String,
    /// Hears what others tell beside the uses of tokens: for whoever shows all of it. Then those are heard, too, and what is left
    /// of instances that are gone is adopted.
    pub hears: Option<Arc<dyn HearsStatus>>,
}

/// Whoever wants to know what instances say of themselves.
pub trait HearsStatus: fmt::Debug + Send + Sync {
    /// The newest report of an instance, by its key `role/instance`; `None`: it was taken back. May be told more than once.
    fn hears(&self, key: &str, status: Option<&Status>);

    /// Everything that was told before the start was heard. May be said more than once.
    fn heard_all(&self) {}
}

/// The records of others: key -> when they were written.
type Heard = Arc<Mutex<BTreeMap<String, i64>>>;

struct Reader {
    deps: UseDeps,
    heard: Heard,
    restored: watch::Sender<bool>,
}

struct Reporter {
    deps: UseDeps,
    heard: Heard,
    producer: Option<Producer>,
    limited: Limited<String>,
}

/// Starts telling (and hearing) in the background.
pub fn share_use(deps: UseDeps) {
    let heard = Heard::default();
    let (restored, until) = watch::channel(false);
    let tasks = deps.tasks.clone();
    let reader = Reader { deps: deps.clone(), heard: Arc::clone(&heard), restored };
    let reporter = Reporter { deps, heard, producer: None, limited: Limited::new(LOG_PERIOD) };
    let stop = tasks.shutdown().clone();
    tasks.spawn("token-use-reader", async move {
        tokio::select! {
            () = reader.run() => {}
            () = stop.requested() => {}
        }
        Ok::<_, Infallible>(())
    });
    tasks.spawn("token-use", async move {
        reporter.run(until).await;
        Ok::<_, Infallible>(())
    });
}

/// The key of a shard's record.
fn key_of(role: &str, instance: &str, shard: usize) -> String {
    format!("{role}/{instance}/tokens-{shard:x}")
}

/// The shard of a record, if it tells about tokens.
fn shard_of(key: &str) -> Option<usize> {
    let (_, shard) = key.rsplit_once("/tokens-")?;
    usize::from_str_radix(shard, 16).ok().filter(|shard| *shard < SHARDS)
}

// === impl Reader ===

impl Reader {
    async fn run(self) {
        follow(&self.deps.topic, "when tokens were used", || self.read()).await;
    }

    /// Ends at the end of the topic if nobody wants to hear more.
    async fn read(&self) -> Result<(), KafkaError> {
        let partition = TopicPartition::new(Arc::clone(&self.deps.topic), 0);
        let end = Offsets::start(&self.deps.connection)?.end(&partition).await?;
        let options = TailOptions {
            topic: self.deps.topic.to_string(),
            partitions: Some(vec![0]),
            from: kafka::From::Beginning,
            committed: true,
            eof: true,
            fetch_wait_ms: 500,
        };
        let mut tail = Tail::start(&self.deps.connection, options)?;
        loop {
            match tail.next().await? {
                TailEvent::Record { record, .. } => self.take(&record),
                TailEvent::Eof { position, .. } if position >= end => {
                    self.restored.send_replace(true);
                    let Some(hears) = &self.deps.hears else { return Ok(()) };
                    hears.heard_all();
                }
                TailEvent::Eof { .. } => {}
            }
        }
    }

    fn take(&self, record: &Record) {
        let Some(key) = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()) else { return };
        let shard = shard_of(key);
        if shard.is_none() && self.deps.hears.is_none() {
            return;
        }
        let hears = self.deps.hears.as_ref().filter(|_| shard.is_none());
        let Some(value) = &record.value else {
            self.heard.lock().remove(key);
            if let Some(hears) = hears {
                hears.hears(key, None);
            }
            return;
        };
        let status: Status = match serde_json::from_slice(value) {
            Ok(status) => status,
            Err(error) => {
                warn!(topic = %self.deps.topic, offset = record.offset, key, %error, "a status record cannot be decoded");
                return;
            }
        };
        if shard.is_some_and(|shard| key == key_of(self.deps.role, &self.deps.instance, shard)) {
            self.deps.used.restore(&status.tokens);
        } else if self.deps.hears.is_some() {
            if let Some(hears) = hears {
                hears.hears(key, Some(&status));
            }
            self.deps.used.heard(&status.tokens);
            self.heard.lock().insert(key.to_owned(), status.at_ms);
        }
    }
}

// === impl Reporter ===

impl Reporter {
    async fn run(mut self, mut restored: watch::Receiver<bool>) {
        let stop = self.deps.tasks.shutdown().clone();
        tokio::select! {
            // What the predecessor said is known before it is replaced. An error is the reader's end at a shutdown.
            _ended = restored.wait_for(|restored| *restored) => {}
            () = stop.requested() => return,
        }
        let mut wait = PERIOD;
        let mut adopted = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.requested() => {
                    self.last().await;
                    return;
                }
            }
            let bytes = self.report().await;
            wait = PERIOD.max(Duration::from_secs(1) * bytes / BYTES_PER_SECOND);
            let now = clock::instant();
            let due = adopted.is_none_or(|last| now.saturating_duration_since(last) >= ADOPT_PERIOD);
            if self.deps.hears.is_some() && due {
                adopted = Some(now);
                self.adopt().await;
            }
        }
    }

    /// Roles that drain are still used; what they touch after this is told by their successor's first use.
    async fn last(&mut self) {
        if tokio::time::timeout(FLUSH, self.report()).await.is_err() {
            debug!("the last uses of tokens were not told");
        }
    }

    /// Tells what is new. Returns the bytes that took.
    async fn report(&mut self) -> u32 {
        let mut bytes = 0_u32;
        for shard in 0..SHARDS {
            let Some(tokens) = self.deps.used.take_news(shard) else { continue };
            let key = key_of(self.deps.role, &self.deps.instance, shard);
            let status = Status { tokens, ..Status::new(self.deps.role, &self.deps.instance, clock::now_ms()) };
            let value = serde_json::to_vec(&status).expect("ids and numbers are JSON");
            let size = u32::try_from(value.len()).unwrap_or(u32::MAX);
            if self.send(key, Some(value)).await {
                bytes = bytes.saturating_add(size);
            } else {
                self.deps.used.untold(shard);
            }
        }
        bytes
    }

    /// Makes the old records of others our own, then removes them. How an instance was doing that is gone is just removed:
    /// one that lives says it again within a minute.
    async fn adopt(&mut self) {
        let before = clock::now_ms() - ADOPT_AFTER_MS;
        let old: Vec<String> =
            self.heard.lock().iter().filter(|(_, at_ms)| **at_ms < before).map(|(key, _)| key.clone()).collect();
        let shards: std::collections::BTreeSet<usize> = old.iter().filter_map(|key| shard_of(key)).collect();
        shards.iter().for_each(|shard| self.deps.used.adopt(*shard));
        self.report().await;
        for key in old {
            // Only after what it said stands in a record of ours.
            let is_said = shard_of(&key).is_none_or(|shard| !self.deps.used.has_news(shard));
            if is_said && self.send(key.clone(), None).await {
                self.heard.lock().remove(&key);
            }
        }
    }

    async fn send(&mut self, key: String, value: Option<Vec<u8>>) -> bool {
        let record = OutRecord {
            topic: Arc::clone(&self.deps.topic),
            partition: Some(0),
            key: Some(Bytes::from(key)),
            value: value.map(Bytes::from),
            headers: Headers::default(),
        };
        match self.produce(&record).await {
            Ok(()) => true,
            Err(error) => {
                if let Some(swallowed) = self.limited.permit("tell") {
                    warn!(topic = %self.deps.topic, %error, swallowed, "cannot tell when tokens were used, trying again");
                }
                false
            }
        }
    }

    async fn produce(&mut self, record: &OutRecord) -> Result<(), KafkaError> {
        // Made at the first use: most processes of a test, and many replicas, never see a token.
        if self.producer.is_none() {
            self.producer = Some(Producer::start(&self.deps.connection, ProducerOptions::new("hookbus-token-use"))?);
        }
        let Some(producer) = &self.producer else { return Err(KafkaError::Closed) };
        producer.send(record)?.await.map(|_written| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_their_shard() {
        let key = key_of("gateway", "pod-1", 11);
        assert_eq!((key.as_str(), shard_of(&key)), ("gateway/pod-1/tokens-b", Some(11)));
        for other in ["delivery/pod-1", "gateway/pod-1/tokens-10", "gateway/pod-1/tokens-x"] {
            assert_eq!(shard_of(other), None, "{other}");
        }
    }
}
