//! What fan-outs and delivery workers have before them, and who runs, as Kafka tells it: said by the control plane for all, because
//! a role that is gone says nothing of itself, and its silence would look like health.
//!
//! ```text
//! [status] --health/instances.rs--> running, silent
//! committed offsets, ends --------> backlog_records        every half minute; what is listed is not among them
//! "is there one from before?" ----> backlog_seconds, _share
//! ```
//!
//! Every replica says the same. Where Kafka does not answer, the gauges say that nothing is known.

mod age;
mod metrics;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock;
use chassis::config::Role;
use chassis::limited::Limited;
use kafka::lag::{self, PartitionLag};
use kafka::{KafkaError, Offsets};
use tracing::warn;

use self::age::AgeSearch;
use self::metrics::BacklogMetrics;
use crate::config::Deps;
use crate::error::Error;
use crate::health::Instances;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(30);
/// One look may take so long.
const WITHIN: Duration = Duration::from_secs(20);
/// One line about failures per that.
const LINE_EVERY: Duration = Duration::from_secs(600);
/// Nothing is looked for that is older, where a topic keeps everything: a hundred days.
const OLDEST_MS: i64 = 100 * 86_400_000;

/// A role and the topic it reads.
struct WatchedBacklog {
    role: Role,
    topic: Arc<str>,
    /// How long the topic keeps its records, ms; `None`: for ever.
    keep_ms: Option<i64>,
}

/// Starts to look in the background.
///
/// # Errors
/// A metric's name is taken.
pub(crate) fn start(deps: &Deps, instances: Instances) -> Result<(), Error> {
    let metrics = BacklogMetrics::new(&deps.registry)?;
    let (own, stop) = (deps.clone(), deps.tasks.shutdown().clone());
    deps.tasks.spawn("control-backlog", async move {
        tokio::select! {
            () = look_again(&own, &metrics, &instances) => {}
            () = stop.requested() => {}
        }
        Ok::<_, Infallible>(())
    });
    Ok(())
}

#[expect(
    clippy::infinite_loop,
    reason = "its task ends with the process: whoever waits for it waits for the stop, too"
)]
async fn look_again(deps: &Deps, metrics: &BacklogMetrics, instances: &Instances) {
    let limited = Limited::<&'static str>::new(LINE_EVERY);
    let watched =
        [(Role::Fanout, &deps.topics.events), (Role::Delivery, &deps.topics.deliveries)].map(|(role, topic)| {
            WatchedBacklog { role, topic: Arc::clone(topic), keep_ms: deps.kept_ms.get(&**topic).copied() }
        });
    let mut offsets = None;
    loop {
        metrics.count(&instances.counts(clock::now_ms()));
        for of in &watched {
            let looked = tokio::time::timeout(WITHIN, look(deps, &mut offsets, of)).await;
            let looked = looked.unwrap_or(Err(KafkaError::Closed));
            if let Err(error) = &looked
                && let Some(swallowed) = limited.permit(&of.role.name())
            {
                warn!(role = of.role.name(), topic = %of.topic, %error, swallowed, "how far the role is behind is not known now");
            }
            show(metrics, of, looked.ok());
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Records and age, ms.
type Behind = (i64, i64);

async fn look(deps: &Deps, offsets: &mut Option<Offsets>, of: &WatchedBacklog) -> Result<Behind, KafkaError> {
    let group = deps.kafka.group(of.role);
    let lags = lag::of_group(&deps.connection, &group, &[&of.topic]).await?;
    let behind: Vec<&PartitionLag> = lags.iter().filter(|lag| lag.records_behind() > 0).collect();
    let records = behind.iter().map(|lag| lag.records_behind()).sum();
    if behind.is_empty() {
        return Ok((0, 0));
    }
    let offsets = match offsets {
        Some(offsets) => offsets,
        None => offsets.insert(Offsets::start(&deps.connection)?),
    };
    let now_ms = clock::now_ms();
    let mut search = AgeSearch::up_to(of.keep_ms.unwrap_or(OLDEST_MS).min(OLDEST_MS));
    while let Some(asked_ms) = search.next() {
        let partitions = behind.iter().map(|lag| lag.partition.clone()).collect();
        let at = offsets.at_of(partitions, now_ms - asked_ms).await;
        let mut is_older = false;
        for lag in &behind {
            // The first record from that time on stands behind the first one that is not done: that one is from before.
            is_older |= at.get(&lag.partition).cloned().unwrap_or(Err(KafkaError::Closed))? > lag.begin();
        }
        search = search.told(asked_ms, is_older);
    }
    Ok((records, search.found_ms()))
}

#[expect(clippy::cast_precision_loss, reason = "records and ages are far below 2^52")]
fn show(metrics: &BacklogMetrics, of: &WatchedBacklog, behind: Option<Behind>) {
    let (records, age_ms) = behind.map_or((f64::NAN, f64::NAN), |(records, age_ms)| (records as f64, age_ms as f64));
    metrics.records.with_label_values(&[of.role.name()]).set(records);
    metrics.seconds.with_label_values(&[of.role.name()]).set(age_ms / 1_000.0);
    // What is kept for ever cannot expire.
    let share = of.keep_ms.map_or(0.0, |keep_ms| age_ms / keep_ms.max(1) as f64);
    metrics.share.with_label_values(&[&of.topic]).set(share);
}

/// How long topics keep their records by configuration, by their full names, ms.
#[must_use]
pub fn kept_ms(settings: &schemas::topics::TopicSettings) -> BTreeMap<String, i64> {
    let kept = |spec: schemas::topics::TopicSpec| {
        let kept_ms = spec.config.get("retention.ms")?.parse().ok()?;
        Some((spec.name.to_string(), kept_ms))
    };
    settings.specs().into_iter().filter_map(kept).collect()
}

#[cfg(test)]
mod tests {
    use chassis::metrics::Registry;
    use schemas::topics::TopicSettings;

    use super::*;

    #[test]
    fn a_backlog_is_a_share_of_what_its_topic_keeps_and_what_is_not_known_is_no_zero() {
        let metrics = BacklogMetrics::new(&Registry::new()).unwrap();
        let settings = TopicSettings::default();
        let keep_ms = kept_ms(&settings).get("hookbus.events").copied();
        assert!(keep_ms.is_some());
        let of = WatchedBacklog { role: Role::Fanout, topic: Arc::from("hookbus.events"), keep_ms };
        let of_role = |gauges: &chassis::metrics::GaugeVec| gauges.with_label_values(&["fanout"]).get();
        let share = || metrics.share.with_label_values(&["hookbus.events"]).get();
        show(&metrics, &of, Some((12, keep_ms.unwrap() / 2)));
        assert_eq!(of_role(&metrics.records).to_bits(), 12.0_f64.to_bits());
        assert!((share() - 0.5).abs() < 1e-9);
        show(&metrics, &of, None);
        assert!(of_role(&metrics.records).is_nan() && of_role(&metrics.seconds).is_nan() && share().is_nan());
        assert!(!kept_ms(&settings).contains_key("hookbus.control"), "compacted topics keep what they have");
    }
}
