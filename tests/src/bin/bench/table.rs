//! The table at the end.

use std::io::Write as _;

use crate::meter::Cost;

/// What fan-out and delivery together may cost of their two bare loops.
const BOTH: f64 = 1.6;

/// What a number should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    /// Nothing was promised.
    None,
    /// At most this.
    AtMost(f64),
    /// At most so many times the bare loop.
    TimesBare(f64),
    /// At least this.
    AtLeast(f64),
}

/// Lines so far.
#[derive(Debug, Default)]
pub(crate) struct Table {
    lines: Vec<Line>,
    failures: Vec<String>,
    /// What the fan-out cost with one match, and its bare loop.
    pub(crate) fanout: Option<(Cost, Option<Cost>)>,
    /// What the delivery worker cost, and the bare client.
    pub(crate) delivery: Option<(Cost, Option<Cost>)>,
}

#[derive(Debug)]
struct Line {
    what: String,
    ours: f64,
    bare: Option<f64>,
    aim: Aim,
}

/// Prints one line.
pub(crate) fn say(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{text}")
}

/// Says that a row was measured on a broker that had not become as fast as it will be.
pub(crate) fn say_still_compiling() -> std::io::Result<()> {
    say("    Kafka's Java still compiles what it runs often: it would be faster later")
}

impl Table {
    /// One number of ours and of the bare loop.
    pub(crate) fn add(&mut self, what: impl Into<String>, ours: f64, bare: Option<f64>, aim: Aim) {
        self.lines.push(Line { what: what.into(), ours, bare, aim });
    }

    /// Rate, CPU of the process and CPU of the broker. The aim is for the CPU.
    pub(crate) fn add_costs(&mut self, what: &str, unit: &str, ours: Cost, bare: Option<Cost>, aim: Aim) {
        self.add(format!("{what}: {unit}/s"), ours.per_second(), bare.map(|bare| bare.per_second()), Aim::None);
        let (cpu, bare_cpu) = (ours.cpu_seconds(), bare.map(|bare| bare.cpu_seconds()));
        self.add(format!("{what}: CPU-s per 100,000 {unit}"), cpu, bare_cpu, aim);
        if let Some(broker) = ours.broker_seconds() {
            let bare = bare.and_then(|bare| bare.broker_seconds());
            self.add(format!("{what}: broker's CPU-s per 100,000"), broker, bare, Aim::None);
        }
    }

    /// A row that could not be measured.
    pub(crate) fn failed(&mut self, what: &str, error: &anyhow::Error) {
        self.failures.push(format!("{what}: {error:#}"));
    }

    /// Prints everything.
    ///
    /// # Errors
    /// Rows that could not be measured.
    pub(crate) fn print(mut self) -> anyhow::Result<()> {
        if let (Some((fanout, bare_fanout)), Some((delivery, bare_delivery))) = (self.fanout, self.delivery) {
            let sum = |fanout: Cost, delivery: Cost| fanout.cpu_seconds() + delivery.cpu_seconds();
            let bare = bare_fanout.zip(bare_delivery).map(|(fanout, delivery)| sum(fanout, delivery));
            let aim = if bare.is_some() { Aim::TimesBare(BOTH) } else { Aim::AtMost(5.5) };
            self.add("topic to endpoint: CPU-s per 100,000", sum(fanout, delivery), bare, aim);
        }
        say("")?;
        say(&format!("{:<68} {:>10} {:>10} {:>7}  {}", "", "hookbus", "bare", "ratio", "aim"))?;
        for line in &self.lines {
            say(&line.text())?;
        }
        say("")?;
        match self.failures.as_slice() {
            [] => Ok(()),
            failures => anyhow::bail!("not measured:\n{}", failures.join("\n")),
        }
    }
}

impl Line {
    fn text(&self) -> String {
        let bare = self.bare.map_or_else(String::new, number);
        let ratio = self.bare.map_or_else(String::new, |bare| format!("{:.2}", self.ours / bare));
        format!("{:<68} {:>10} {bare:>10} {ratio:>7}  {}", self.what, number(self.ours), self.verdict())
    }

    fn verdict(&self) -> String {
        if let Aim::AtLeast(limit) = self.aim {
            let verdict = if self.ours >= limit { "met" } else { "MISSED" };
            return format!("at least {limit}: {verdict} (margin {:+.0} %)", (self.ours - limit) / limit * 100.0);
        }
        let (limit, text) = match (self.aim, self.bare) {
            (Aim::AtMost(limit), _) => (limit, format!("at most {limit}")),
            (Aim::TimesBare(times), Some(bare)) => (bare * times, format!("at most {times} x bare")),
            (Aim::None | Aim::AtLeast(_), _) | (Aim::TimesBare(_), None) => return String::new(),
        };
        let verdict = if self.ours <= limit { "met" } else { "MISSED" };
        if limit == 0.0 {
            return format!("none: {verdict}");
        }
        format!("{text}: {verdict} (margin {:+.0} %)", (limit - self.ours) / limit * 100.0)
    }
}

fn number(value: f64) -> String {
    if value >= 1_000.0 || value == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
