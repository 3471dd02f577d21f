//! What the parts of this worker are bounded by, taken once from the checked configuration.

use std::time::Duration;

use chassis::config::DeliveryConfig;
use retry::{RetryError, Schedule, Tiers};
use stage::BatchLimits;
use target::TargetPolicy;

use crate::client::ClientLimits;
use crate::engine::{LookAhead, Rules};
use crate::pool::PoolLimits;
use crate::settle::RetryRules;

/// Offsets that a window spans at most, see [`LookAhead::span`]: 1,000 of them always fit the metadata.
const SPAN: i64 = 16_000;

/// Everything, by part.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) rules: Rules,
    pub(crate) retry: RetryRules,
    pub(crate) batch: BatchLimits,
    pub(crate) client: ClientLimits,
    pub(crate) targets: TargetPolicy,
    /// Of subscriptions that do not say.
    pub(crate) attempt_timeout: Duration,
    pub(crate) tier_names: Vec<(String, Duration)>,
}

impl Settings {
    /// From the sections this role reads, and what may be called.
    ///
    /// # Errors
    /// Tiers or a schedule that are none; the configuration has checked them already.
    pub(crate) fn new(config: &DeliveryConfig, targets: TargetPolicy) -> Result<Self, RetryError> {
        let names: Vec<&str> = config.tiers.iter().map(|(name, _)| name.as_str()).collect();
        let tiers = Tiers::parse(&names.join(" "))?;
        let schedule = Schedule::preset(config.schedule.parse()?);
        Ok(Self {
            rules: Rules {
                concurrency: config.concurrency,
                in_flight_bytes: config.in_flight_bytes,
                lane_concurrency: u32::try_from(config.lane_concurrency).unwrap_or(u32::MAX),
                lane_wait_ms: ms(config.lane_wait),
                look_ahead: LookAhead {
                    records: config.live_records,
                    bytes: config.live_bytes,
                    budget: usize::MAX,
                    span: SPAN,
                },
                keep_ms: None,
                queue_bytes: config.queue_bytes,
                queue_entries: config.queue_entries,
                breaker_failures: config.breaker_failures,
                longest_hold_ms: ms(config.retry_after_cap),
                disable_after_ms: (!config.disable_after.is_zero()).then(|| ms(config.disable_after)),
            },
            retry: RetryRules { schedule, tiers, retry_after_cap: config.retry_after_cap },
            batch: BatchLimits { records: config.batch_records, bytes: config.batch_bytes },
            client: ClientLimits::new(
                config.response_headers_limit,
                config.response_body_limit,
                PoolLimits::new(config.connect_timeout, config.pool_idle_timeout, config.concurrency),
            ),
            targets,
            attempt_timeout: config.attempt_timeout,
            tier_names: config.tiers.clone(),
        })
    }
}

/// Whole milliseconds of a configured duration.
pub(crate) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use chassis::config::{Config, load_over};
    use retry::Preset;

    use super::*;

    #[test]
    fn every_schedule_that_has_a_name_can_be_configured() {
        for preset in Preset::ALL {
            let env = [
                ("HOOKBUS__KAFKA__BROKERS", "localhost:9092"),
                ("HOOKBUS__DELIVERY__SCHEDULE", preset.as_str()),
                ("HOSTNAME", "host"),
            ];
            let env = env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            let Config { delivery, .. } = load_over(&chassis::config::Preset::default(), None, env).unwrap().config;
            assert_eq!(
                Settings::new(&delivery, TargetPolicy::default()).unwrap().retry.schedule,
                Schedule::preset(preset)
            );
        }
    }
}
