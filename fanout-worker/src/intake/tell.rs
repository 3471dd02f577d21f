//! Tells how the sources are doing, on `status`: one record per last digit of their ids, when it has changed, and once a minute.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chassis::clock;
use chassis::config::Role;
use chassis::limited::Limited;
use kafka::{Connection, KafkaError, Offsets, Producer, ProducerOptions};
use schemas::record::{Headers, OutRecord};
use schemas::status::{MAX_TOLD_FAILURES, MAX_TOLD_PARTITIONS, SourcesHealth, Status};
use tokio::sync::watch;
use tracing::warn;

use super::ends::StillEnds;

/// Between two looks at whether there is news.
const PERIOD: Duration = Duration::from_secs(2);
/// What has not changed is told again after this long, so that a reader knows that its teller lives.
const REFRESH: Duration = Duration::from_secs(60);

/// The task that tells.
pub(crate) struct SourcesTeller {
    pub(crate) connection: Connection,
    pub(crate) client_id: String,
    /// The topic `status`.
    pub(crate) topic: Arc<str>,
    /// This process among its role's.
    pub(crate) instance: String,
    pub(crate) health: watch::Receiver<Arc<SourcesHealth>>,
    /// Tells where logs end that nothing is fetched of.
    pub(crate) offsets: Offsets,
}

/// What was told under each key, and when.
#[derive(Debug, Default)]
struct ToldShards(BTreeMap<String, (SourcesHealth, Instant)>);

// === impl SourcesTeller ===

impl SourcesTeller {
    /// Tells until the intake has ended, then takes back what was told.
    pub(crate) async fn run(mut self) {
        let (mut told, mut producer, mut ends) = (ToldShards::default(), None, StillEnds::default());
        let limited: Limited = Limited::new(REFRESH);
        loop {
            let is_over = self.health.has_changed().is_err();
            let mut health = SourcesHealth::default();
            if !is_over {
                health.clone_from(&self.health.borrow_and_update());
                ends.add_to(&mut health, &self.offsets).await;
            }
            if let Err(error) = self.tell(&mut producer, &mut told, &health).await {
                if let Some(swallowed) = limited.permit("status") {
                    warn!(topic = %self.topic, %error, swallowed, "how sources are doing cannot be told");
                }
                producer = None;
            }
            if is_over {
                return;
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Tells what is news, until something is not taken.
    async fn tell(
        &self,
        producer: &mut Option<Producer>,
        told: &mut ToldShards,
        health: &SourcesHealth,
    ) -> Result<(), KafkaError> {
        for (shard, health) in told.news(health, clock::instant()) {
            self.send(producer, &shard, health.clone()).await?;
            told.note(shard, health, clock::instant());
        }
        Ok(())
    }

    async fn send(
        &self,
        producer: &mut Option<Producer>,
        shard: &str,
        health: Option<SourcesHealth>,
    ) -> Result<(), KafkaError> {
        let producer = match producer {
            Some(producer) => producer.clone(),
            None => {
                let options = ProducerOptions::new(self.client_id.clone());
                producer.insert(Producer::start(&self.connection, options)?).clone()
            }
        };
        producer.send(&self.record(shard, health))?.await.map(drop)
    }

    fn record(&self, shard: &str, health: Option<SourcesHealth>) -> OutRecord {
        let role = Role::Fanout.name();
        let value = health.map(|health| {
            let status = Status { sources: Some(health), ..Status::new(role, &self.instance, clock::now_ms()) };
            Bytes::from(status.encode().expect("texts and numbers are JSON"))
        });
        OutRecord {
            topic: Arc::clone(&self.topic),
            partition: Some(0),
            key: Some(Bytes::from(format!("{}/{shard}", Status::key(role, &self.instance)))),
            value,
            headers: Headers::default(),
        }
    }
}

// === impl ToldShards ===

impl ToldShards {
    /// What is to be told now, by shard; without a value: that there is nothing any more.
    fn news(&self, health: &SourcesHealth, now: Instant) -> Vec<(String, Option<SourcesHealth>)> {
        let shards = shards(health);
        let is_news = |(shard, health): &(&String, &SourcesHealth)| {
            self.0.get(*shard).is_none_or(|(told, at)| told != *health || now.saturating_duration_since(*at) >= REFRESH)
        };
        let gone = self.0.keys().filter(|shard| !shards.contains_key(*shard)).map(|shard| (shard.clone(), None));
        let news = shards.iter().filter(is_news).map(|(shard, health)| (shard.clone(), Some(health.clone())));
        news.chain(gone).collect()
    }

    fn note(&mut self, shard: String, health: Option<SourcesHealth>, now: Instant) {
        match health {
            Some(health) => drop(self.0.insert(shard, (health, now))),
            None => drop(self.0.remove(&shard)),
        }
    }
}

/// The sources by the record that tells of them, each cut to what a record may have.
fn shards(health: &SourcesHealth) -> BTreeMap<String, SourcesHealth> {
    let mut shards: BTreeMap<String, SourcesHealth> = BTreeMap::new();
    for (source, of) in &health.of {
        shards.entry(SourcesHealth::shard(*source)).or_default().of.insert(*source, of.clone());
    }
    for shard in shards.values_mut() {
        cut(shard);
    }
    shards
}

fn cut(shard: &mut SourcesHealth) {
    let (mut partitions, mut failures) = (0, 0);
    let mut is_cut = false;
    for topic in shard.of.values_mut().flat_map(|source| source.topics.values_mut()) {
        let room = MAX_TOLD_PARTITIONS.saturating_sub(partitions);
        while topic.partitions.len() > room {
            topic.partitions.pop_last();
            is_cut = true;
        }
        partitions += topic.partitions.len();
        let of_partitions = topic.partitions.values_mut().filter_map(|it| it.failure.as_mut());
        for failure in of_partitions.chain(topic.failure.as_mut()) {
            failures += 1;
            if failures > MAX_TOLD_FAILURES {
                failure.detail.clear();
            }
        }
    }
    shard.is_cut |= is_cut;
}

#[cfg(test)]
mod tests {
    use schemas::ids::SourceId;
    use schemas::status::{
        SourceFailure, SourceHealth, SourcePartitionHealth, SourcePartitionState, SourceTopicHealth,
    };
    use uuid::Uuid;

    use super::*;

    fn health(source: u128, partitions: i32) -> SourcesHealth {
        let partition = SourcePartitionHealth {
            state: SourcePartitionState::Failing,
            since_ms: 5,
            position_id: None,
            committed: None,
            end: None,
            oldest_ms: None,
            failure: Some(SourceFailure { code: "topic_missing".to_owned(), detail: "it is gone".to_owned() }),
        };
        let partitions = (0..partitions).map(|number| (number, partition.clone())).collect();
        let topic = SourceTopicHealth { partitions, ..SourceTopicHealth::default() };
        let of = SourceHealth { topics: [("crm".to_owned(), topic)].into(), ..SourceHealth::default() };
        SourcesHealth { of: [(SourceId(Uuid::from_u128(source)), of)].into(), is_cut: false }
    }

    #[test]
    fn news_are_told_once_what_lives_once_a_minute_and_what_is_gone_is_taken_back() {
        let (mut told, now) = (ToldShards::default(), clock::instant());
        let mut all = health(0x21, 1);
        all.of.extend(health(0x32, 1).of);
        let shards = |news: &[(String, Option<SourcesHealth>)]| -> Vec<(String, bool)> {
            news.iter().map(|(shard, health)| (shard.clone(), health.is_some())).collect()
        };
        let news = told.news(&all, now);
        assert_eq!(shards(&news), [("sources-1".to_owned(), true), ("sources-2".to_owned(), true)]);
        news.into_iter().for_each(|(shard, health)| told.note(shard, health, now));
        assert!(told.news(&all, now).is_empty());
        assert_eq!(told.news(&all, now + REFRESH).len(), 2);
        let news = told.news(&health(0x21, 2), now);
        assert_eq!(shards(&news), [("sources-1".to_owned(), true), ("sources-2".to_owned(), false)]);
        news.into_iter().for_each(|(shard, health)| told.note(shard, health, now));
        assert!(told.news(&health(0x21, 2), now).is_empty());
    }

    #[test]
    fn no_record_tells_of_more_than_it_has_room_for() {
        let all = shards(&health(7, 4_000));
        let shard = &all["sources-7"];
        let topic = &shard.of.values().next().unwrap().topics["crm"];
        assert_eq!((topic.partitions.len(), shard.is_cut), (MAX_TOLD_PARTITIONS, true));
        let sentences = topic.partitions.values().filter(|it| !it.failure.as_ref().unwrap().detail.is_empty());
        assert_eq!(sentences.count(), MAX_TOLD_FAILURES);
    }
}
