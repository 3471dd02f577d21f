//! Topics and delays: which tier a partition belongs to, and the topic of a hop.

use std::sync::Arc;
use std::time::Duration;

use retry::{RetryError, Tier};
use schemas::topics::Topics;
use tracing::warn;

/// The configured tiers, and the names of their topics.
#[derive(Clone, Debug)]
pub(crate) struct Tiers {
    topics: Topics,
    tiers: retry::Tiers,
    /// Full topic names in the order of the tiers.
    names: Vec<Arc<str>>,
}

// === impl Tiers ===

impl Tiers {
    /// From the configured names.
    pub(crate) fn new(tiers: &[(String, Duration)], topics: Topics) -> Result<Self, RetryError> {
        let text: Vec<&str> = tiers.iter().map(|(name, _)| name.as_str()).collect();
        let tiers = retry::Tiers::parse(&text.join(" "))?;
        let names = tiers.iter().map(|tier| topics.retry(tier.name())).collect();
        Ok(Self { topics, tiers, names })
    }

    /// How long every record of this topic waits. A topic whose name tells no delay does not wait at all: the due time of its
    /// records decides alone.
    pub(crate) fn delay_ms(&self, topic: &str) -> i64 {
        let tier = self.topics.tier_of(topic).map(Tier::parse);
        match tier {
            Some(Ok(tier)) => i64::try_from(tier.delay().as_millis()).unwrap_or(i64::MAX),
            Some(Err(error)) => {
                warn!(topic, %error, "the name of a delay topic tells no delay");
                0
            }
            None => 0,
        }
    }

    /// The topic to wait in next after a tier of this delay, if what remains is not below every tier that may follow.
    pub(crate) fn hop_after(&self, delay_ms: i64, remaining: Duration) -> Option<&Arc<str>> {
        self.tiers.hop_after(millis(delay_ms), remaining).map(|tier| self.topic(tier))
    }

    /// What remains below this after a tier of this delay is waited out, ms.
    pub(crate) fn rest_ms(&self, delay_ms: i64) -> i64 {
        i64::try_from(self.tiers.rest_after(millis(delay_ms)).as_millis()).unwrap_or(i64::MAX)
    }

    fn topic(&self, tier: &Tier) -> &Arc<str> {
        let index = self.tiers.iter().position(|own| own == tier).expect("the tier is one of these");
        &self.names[index]
    }
}

fn millis(delay_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use schemas::topics::TopicSettings;

    use super::*;

    #[test]
    fn delays_come_from_topic_names_also_of_removed_tiers() {
        let settings = TopicSettings::default();
        let tiers = Tiers::new(&settings.tiers, settings.topics()).unwrap();
        assert_eq!(tiers.delay_ms("hookbus.retry.10m"), 600_000);
        assert_eq!(tiers.delay_ms("hookbus.retry.3m"), 180_000);
        assert_eq!(tiers.delay_ms("hookbus.retry.soon"), 0);
        assert_eq!(tiers.rest_ms(600_000), 5_000);
        assert_eq!(tiers.hop_after(0, Duration::from_secs(700)).map(|name| &**name), Some("hookbus.retry.10m"));
        assert_eq!(tiers.hop_after(600_000, Duration::from_secs(4)), None);
    }
}
