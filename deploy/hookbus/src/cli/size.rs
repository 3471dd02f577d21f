//! `hookbus size`.

use clap::Args;

pub(crate) const SIZE_HELP: &str = "\
Examples:
  hookbus size --events 1000 --payload 2048 --matches 3
  hookbus size --events 5000 --mean 800 --payload 700 --matches 0.4 --latency-ms 1500

CPU is that of the machine on which it was measured: `make bench` says what yours does.";

/// `hookbus size`
#[derive(Clone, Debug, Args)]
pub(crate) struct SizeArgs {
    /// Events per second at the peak.
    #[arg(long, value_name = "COUNT")]
    pub(crate) events: f64,
    /// Events per second in the mean of a day: what disks and networks carry. The peak, if it is not said.
    #[arg(long, value_name = "COUNT")]
    pub(crate) mean: Option<f64>,
    /// Bytes of a payload, in the mean.
    #[arg(long, value_name = "BYTES", default_value_t = 1_024.0)]
    pub(crate) payload: f64,
    /// Subscriptions that an event matches, in the mean.
    #[arg(long, value_name = "COUNT", default_value_t = 1.0)]
    pub(crate) matches: f64,
    /// Attempts until a delivery has ended, in the mean.
    #[arg(long, value_name = "COUNT", default_value_t = 1.05)]
    pub(crate) attempts: f64,
    /// How long an endpoint takes to answer, in the mean.
    #[arg(long, value_name = "MS", default_value_t = 200.0)]
    pub(crate) latency_ms: f64,
    /// Cores that a pod may use.
    #[arg(long, value_name = "COUNT", default_value_t = 2.0)]
    pub(crate) cores: f64,
    /// Copies that Kafka keeps of each record.
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) replication: u32,
}
