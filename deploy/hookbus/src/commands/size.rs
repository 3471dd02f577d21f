//! `hookbus size`: what an installation needs for so many events: processes, partitions, memory, and what Kafka does for it. Looks at
//! the configuration, for its bounds and retention, and at nothing else.

mod estimate;
mod measured;

use std::path::Path;

use anyhow::Result;
use chassis::config::{self, Config};

use self::estimate::{SizeDemand, SizeEstimate};
use crate::cli::size::SizeArgs;
use crate::screen;

const GIB: f64 = 1_024.0 * 1_024.0 * 1_024.0;

/// Prints it.
///
/// # Errors
/// A number is none that can be meant, or standard output cannot be written.
pub(crate) fn run(file: Option<&Path>, args: &SizeArgs) -> Result<()> {
    let demand = demand(args)?;
    let config = config::load(file, config::environment())?.config;
    lines(&demand, &config).iter().try_for_each(|line| Ok(screen::line(line)?))
}

fn demand(args: &SizeArgs) -> Result<SizeDemand> {
    let positive = |name: &str, value: f64, least: f64| {
        let is_fine = value.is_finite() && value >= least;
        is_fine.then_some(value).ok_or_else(|| crate::usage(format!("--{name}: {value} is not at least {least}")))
    };
    let peak = positive("events", args.events, 0.001)?;
    let mean = args.mean.map_or(Ok(peak), |mean| positive("mean", mean, 0.0))?;
    if mean > peak {
        return Err(crate::usage(format!("--mean: {mean} is more than the peak, --events {peak}")));
    }
    Ok(SizeDemand {
        peak,
        mean,
        payload: positive("payload", args.payload, 0.0)?,
        matches: positive("matches", args.matches, 0.0)?,
        attempts: positive("attempts", args.attempts, 1.0)?,
        latency_s: positive("latency-ms", args.latency_ms, 0.0)? / 1_000.0,
        cores: positive("cores", args.cores, 0.1)?,
        replication: args.replication,
    })
}

/// The answer, as it is printed: `docs/sizing.md` shows four of it.
fn lines(demand: &SizeDemand, config: &Config) -> Vec<String> {
    let estimate = SizeEstimate::of(demand, config);
    let mut lines = vec![
        format!(
            "{} events/s of {} bytes at the peak, {} in the mean of a day; {} deliveries/s, {} attempts/s, {} of them in flight",
            number(demand.peak),
            number(demand.payload),
            number(demand.mean),
            number(demand.peak * demand.matches),
            number(demand.peak * demand.matches * demand.attempts),
            number(estimate.in_flight.ceil()),
        ),
        String::new(),
        format!("{:<10} {:>5} {:>13} {:>13} {:>13}", "ROLE", "PODS", "CORES IN ALL", "REQUEST EACH", "MEMORY EACH"),
    ];
    lines.extend(estimate.roles.iter().map(|size| {
        let (request, memory) = (format!("{}m", size.request_millis), format!("{}Mi", size.memory_mib));
        format!("{:<10} {:>5} {:>13.2} {request:>13} {memory:>13}", size.role.name(), size.pods, size.cores)
    }));
    lines.extend([String::new(), format!("{:<12} {:>10}", "TOPIC", "PARTITIONS")]);
    let shown = |topic: &'static str| if topic == "retry" { "retry.*" } else { topic };
    lines.extend(estimate.partitions.iter().map(|(topic, count)| format!("{:<12} {count:>10}", shown(topic))));
    lines.extend([String::new(), format!("{:<10} {:>15} {:>16}", "KAFKA", "TRANSACTIONS/S", "PARTITIONS EACH")]);
    let transactions = estimate.kafka.transactions.iter();
    lines.extend(
        transactions.map(|(role, count, partitions)| {
            format!("{:<10} {:>15.0} {:>16.1}", role.name(), count.ceil(), partitions)
        }),
    );
    lines.push(format!("cores of the brokers for them, at most: {:.1}", estimate.kafka.cores));
    lines.extend([String::new(), format!("{:<12} {:>12} {:>10}", "TOPIC", "GIB A DAY", "DAYS KEPT")]);
    let topics = estimate.kafka.topics.iter();
    lines.extend(topics.map(|(topic, bytes, days)| format!("{:<12} {:>12.1} {days:>10.1}", shown(topic), bytes / GIB)));
    lines.push(format!(
        "disks of all brokers, {} copies: {:.0} GiB",
        demand.replication,
        estimate.kafka.disk(demand.replication) / GIB
    ));
    lines.extend([String::new(), format!("{:<16} {:>12}", "NETWORK", "GIB A DAY")]);
    lines.extend(estimate.kafka.network.iter().map(|(way, bytes)| format!("{way:<16} {:>12.1}", bytes / GIB)));
    lines
}

/// A count with commas; a fraction stays one.
fn number(count: f64) -> String {
    if (count - count.round()).abs() >= 0.05 || count.abs() >= 1e15 {
        return format!("{count:.1}");
    }
    let digits = format!("{count:.0}");
    let from_end = digits.chars().rev().enumerate();
    let grouped: Vec<char> =
        from_end.flat_map(|(at, digit)| (at > 0 && at % 3 == 0).then_some(',').into_iter().chain([digit])).collect();
    grouped.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> SizeArgs {
        SizeArgs {
            events: 1_000.0,
            mean: None,
            payload: 2_048.0,
            matches: 3.0,
            attempts: 1.05,
            latency_ms: 200.0,
            cores: 2.0,
            replication: 3,
        }
    }

    #[test]
    fn everything_is_said_once() {
        let lines = lines(&demand(&args()).unwrap(), &Config::for_tests());
        let text = lines.join("\n");
        assert!(text.starts_with("1,000 events/s of 2,048 bytes at the peak"), "{text}");
        for part in ["gateway ", "fanout ", "delivery ", "retry ", "control ", "deliveries ", "to endpoints ", "GiB"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(lines.iter().all(|line| line.len() < 140 && line.trim_end() == line), "{text}");
    }

    #[test]
    fn what_cannot_be_meant_is_wrong_usage() {
        for wrong in [
            SizeArgs { events: 0.0, ..args() },
            SizeArgs { attempts: 0.5, ..args() },
            SizeArgs { payload: f64::NAN, ..args() },
            SizeArgs { mean: Some(2_000.0), ..args() },
        ] {
            assert!(demand(&wrong).unwrap_err().is::<crate::Usage>(), "{wrong:?}");
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [number(999.0), number(1_000.0), number(1_234_567.0), number(0.5)],
            ["999", "1,000", "1,234,567", "0.5"]
        );
    }
}
