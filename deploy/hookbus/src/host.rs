//! What the system says of this process, for Prometheus: `process_*`, under the names that every client library uses, and the
//! errors its Kafka clients met. Read whenever metrics are scraped.

use std::collections::HashMap;
use std::path::Path;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, IntCounterVec, Opts, Registry};

/// Ticks of the processor time in `/proc`: the same on every Linux, whatever its kernel counts in.
const TICKS_PER_SECOND: f64 = 100.0;

const CPU_SECONDS: &str = "process_cpu_seconds_total";
const CPU_HELP: &str = "Processor time of the process, in seconds.";
const ERRORS: &str = "hookbus_kafka_errors_total";
const ERRORS_HELP: &str = "Errors that the Kafka clients of this process met, by what they say.";

/// Reads `/proc/self`. What cannot be read is left out, which is what a dashboard shows as no data.
#[derive(Debug)]
struct OwnProcess {
    /// A registry tells collectors apart by what they describe.
    desc: Desc,
}

/// Reads the counters of `kafka::error_counts`.
#[derive(Debug)]
struct KafkaErrors {
    desc: Desc,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct HostFacts {
    /// Processor time, seconds.
    pub(crate) cpu_seconds: Option<f64>,
    /// Memory in use, bytes.
    pub(crate) resident_bytes: Option<f64>,
    /// Open descriptors.
    pub(crate) open_files: Option<f64>,
    /// How many may be open.
    pub(crate) max_files: Option<f64>,
    /// How far the process itself may raise that; none where there is no limit.
    pub(crate) most_files: Option<f64>,
    /// Start, seconds of Unix time.
    pub(crate) started: Option<f64>,
}

/// Adds the metrics to a registry.
///
/// # Errors
/// When a name is taken.
pub(crate) fn register(registry: &Registry) -> prometheus::Result<()> {
    registry.register(Box::new(OwnProcess { desc: desc(CPU_SECONDS, CPU_HELP)? }))?;
    registry.register(Box::new(KafkaErrors { desc: desc(ERRORS, ERRORS_HELP)? }))
}

fn desc(name: &str, help: &str) -> prometheus::Result<Desc> {
    Desc::new(name.to_owned(), help.to_owned(), Vec::new(), HashMap::new())
}

// === impl HostFacts ===

impl HostFacts {
    /// Of the process of this folder of `/proc`.
    pub(crate) fn read(folder: &Path) -> Self {
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let (stat, limits, status) = (text("stat"), text("limits"), text("status"));
        let boot = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        // The name of the program stands in brackets, and may hold anything.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok().map(|ticks| ticks / TICKS_PER_SECOND);
        let words = |text: &str, line: &str, at: usize| {
            let line = text.lines().find_map(|found| found.strip_prefix(line))?;
            line.split_whitespace().nth(at)?.parse::<f64>().ok()
        };
        let files = std::fs::read_dir(folder.join("fd")).ok().map(Iterator::count);
        #[expect(clippy::cast_precision_loss, reason = "descriptors are far below 2^52")]
        let open_files = files.map(|count| count as f64);
        Self {
            // User and system: the 14th and 15th field, of which the first two stand before the bracket.
            cpu_seconds: ticks(11).zip(ticks(12)).map(|(user, system)| user + system),
            resident_bytes: words(&status, "VmRSS:", 0).map(|kibibytes| kibibytes * 1_024.0),
            open_files,
            max_files: words(&limits, "Max open files", 0),
            most_files: words(&limits, "Max open files", 1),
            started: ticks(19).zip(words(&boot, "btime", 0)).map(|(since_boot, boot)| since_boot + boot),
        }
    }

    /// Of this process.
    pub(crate) fn own() -> Self {
        Self::read(Path::new("/proc/self"))
    }
}

// === impl OwnProcess ===

impl Collector for OwnProcess {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let HostFacts { cpu_seconds, resident_bytes, open_files, max_files, started, .. } = HostFacts::own();
        let mut families = Vec::new();
        if let (Some(seconds), Ok(counter)) = (cpu_seconds, Counter::new(CPU_SECONDS, CPU_HELP)) {
            counter.inc_by(seconds);
            families.extend(counter.collect());
        }
        let gauges = [
            ("process_resident_memory_bytes", "Memory that the process has, in bytes.", resident_bytes),
            ("process_open_fds", "Descriptors that are open.", open_files),
            ("process_max_fds", "Descriptors that may be open.", max_files),
            ("process_start_time_seconds", "When the process started, in seconds of Unix time.", started),
        ];
        for (name, help, value) in gauges {
            if let (Some(value), Ok(gauge)) = (value, Gauge::new(name, help)) {
                gauge.set(value);
                families.extend(gauge.collect());
            }
        }
        families
    }
}

// === impl KafkaErrors ===

impl Collector for KafkaErrors {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(counters) = IntCounterVec::new(Opts::new(ERRORS, ERRORS_HELP), &["kind"]) else {
            return Vec::new();
        };
        for (kind, count) in kafka::error_counts() {
            counters.with_label_values(&[kind]).inc_by(count);
        }
        counters.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_of_this_process() {
        let facts = HostFacts::own();
        let now = std::time::Duration::from_millis(u64::try_from(chassis::clock::now_ms()).unwrap()).as_secs_f64();
        assert!(facts.started.is_some_and(|started| started > 0.0 && started <= now + 2.0), "{facts:?}");
        assert!(facts.resident_bytes.is_some_and(|bytes| bytes > 100_000.0), "{facts:?}");
        assert!(facts.cpu_seconds.is_some_and(|seconds| seconds >= 0.0), "{facts:?}");
        assert!(facts.open_files.unwrap() >= 3.0 && facts.open_files <= facts.max_files, "{facts:?}");
        assert_eq!(HostFacts::read(Path::new("/nowhere")), HostFacts::default(), "nothing is made up");
    }

    #[test]
    fn they_are_served_under_the_usual_names_and_every_kind_of_error_from_the_start() {
        let registry = Registry::new();
        register(&registry).unwrap();
        // Beside the others of a process.
        crate::invariants::register(&registry).unwrap();
        crate::version::register(&registry).unwrap();
        let families = registry.gather();
        let names: Vec<&str> = families.iter().map(MetricFamily::name).collect();
        assert_eq!(
            names,
            [
                "hookbus_build_info",
                "hookbus_invariant_violations_total",
                "hookbus_kafka_errors_total",
                "process_cpu_seconds_total",
                "process_max_fds",
                "process_open_fds",
                "process_resident_memory_bytes",
                "process_start_time_seconds"
            ]
        );
        assert_eq!(families[2].get_metric().len(), 6);
    }
}
