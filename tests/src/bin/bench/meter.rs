//! What one run cost: wall time, and the CPU time of the process that did the work and of the broker.

use std::time::{Duration, Instant};

use kafka::clock::instant;
use testkit::supervisor::{cpu_time, threads_cpu_time};

/// Costs are given for so many events or requests.
const PER: f64 = 100_000.0;

/// While Java's compilers use less than this part of a CPU, the broker runs as it will run from now on.
const AT_REST: f64 = 0.05;

/// Tells whether the broker still compiles what it runs often: a broker in its first minutes is another machine.
#[derive(Debug)]
pub(crate) struct Compilers {
    broker: i32,
    looked: Instant,
    cpu: Duration,
}

/// A running measurement.
#[derive(Debug)]
pub(crate) struct Meter {
    process: i32,
    broker: i32,
    started: Instant,
    process_cpu: Duration,
    broker_cpu: Duration,
}

/// One run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Events, requests or deliveries.
    pub(crate) count: u32,
    /// How long it took.
    pub(crate) wall: Duration,
    /// What the measured process used.
    pub(crate) cpu: Duration,
    /// What the broker used meanwhile, if it had to do with it.
    pub(crate) broker: Option<Duration>,
}

impl Compilers {
    pub(crate) fn of(broker: i32) -> anyhow::Result<Self> {
        Ok(Self { broker, looked: instant(), cpu: threads_cpu_time(broker, "CompilerThre")? })
    }

    /// Whether they did next to nothing since the last look.
    pub(crate) fn rest(&mut self) -> anyhow::Result<bool> {
        let now = Self::of(self.broker)?;
        let (used, passed) = (now.cpu.saturating_sub(self.cpu), now.looked.saturating_duration_since(self.looked));
        *self = now;
        Ok(used.as_secs_f64() < AT_REST * passed.as_secs_f64())
    }
}

impl Meter {
    pub(crate) fn start(process: i32, broker: i32) -> anyhow::Result<Self> {
        let (process_cpu, broker_cpu) = (cpu_time(process)?, cpu_time(broker)?);
        Ok(Self { process, broker, started: instant(), process_cpu, broker_cpu })
    }

    /// Ends it; the wall time ended at `finished`, which may lie before now.
    pub(crate) fn stop(&self, count: u32, finished: Instant) -> anyhow::Result<Cost> {
        let cpu = cpu_time(self.process)?.saturating_sub(self.process_cpu);
        let broker = cpu_time(self.broker)?.saturating_sub(self.broker_cpu);
        Ok(Cost { count, wall: finished.saturating_duration_since(self.started), cpu, broker: Some(broker) })
    }
}

impl Cost {
    pub(crate) fn per_second(&self) -> f64 {
        f64::from(self.count) / self.wall.as_secs_f64().max(1e-9)
    }

    /// CPU seconds of the process for 100,000.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.cpu.as_secs_f64() * PER / f64::from(self.count.max(1))
    }

    /// CPU seconds of the broker for 100,000.
    pub(crate) fn broker_seconds(&self) -> Option<f64> {
        Some(self.broker?.as_secs_f64() * PER / f64::from(self.count.max(1)))
    }

    /// The same run counted in something that is so many times as frequent.
    pub(crate) fn times(self, factor: u32) -> Self {
        Self { count: self.count * factor, ..self }
    }
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, more: Self) {
        self.count += more.count;
        self.wall += more.wall;
        self.cpu += more.cpu;
        self.broker = more.broker.map(|broker| self.broker.unwrap_or_default() + broker);
    }
}
