//! `hookbus status`: how every running role is doing, as it says itself on `status`.

use std::collections::BTreeMap;

use anyhow::Result;
use chassis::clock;
use kafka::Connection;
use schemas::record::Record;
use schemas::status::{DeliveryHealth, FanoutHealth, GatewayHealth, RetryHealth, Status};
use schemas::topics::TopicSettings;

use crate::cli::manage::Output;
use crate::cli::operate::StatusArgs;
use crate::commands::whole::each_record;
use crate::screen;

/// A role tells at least once a minute. One that was silent for longer than twice that has crashed or reaches no Kafka.
pub(crate) const SILENT_MS: i64 = 120_000;

/// Prints the newest report of every instance, by role.
///
/// # Errors
/// When the topic cannot be read.
pub(crate) async fn run(connection: &Connection, settings: &TopicSettings, args: &StatusArgs) -> Result<()> {
    show(newest(connection, settings).await?.values(), args.output)
}

/// The newest report of every instance, by its key.
///
/// # Errors
/// When the topic cannot be read.
pub(crate) async fn newest(connection: &Connection, settings: &TopicSettings) -> Result<BTreeMap<String, Status>> {
    let mut newest = BTreeMap::new();
    each_record(connection, &settings.topics().status, |record| take(record, &mut newest)).await?;
    Ok(newest)
}

/// Keeps the report, or forgets it where it was taken back. When tokens were used is not about health.
fn take(record: &Record, newest: &mut BTreeMap<String, Status>) {
    let Some(key) = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()) else { return };
    if key.split('/').count() != 2 {
        return;
    }
    let Some(value) = record.value.as_deref() else {
        newest.remove(key);
        return;
    };
    match serde_json::from_slice::<Status>(value) {
        // What speaks for somebody else is not shown: a row's name is the key under which it can be found.
        Ok(status) if Status::key(&status.role, &status.instance) == key => drop(newest.insert(key.to_owned(), status)),
        Ok(_other) => tracing::warn!(offset = record.offset, "a record of the status topic has somebody else's key"),
        // Whoever may write the topic can write anything.
        Err(error) => {
            tracing::warn!(offset = record.offset, %error, "a record of the status topic cannot be decoded");
        }
    }
}

fn show<'a>(reports: impl Iterator<Item = &'a Status>, output: Output) -> Result<()> {
    match output {
        Output::Json => {
            for status in reports {
                screen::line(&serde_json::to_string(status)?)?;
            }
            Ok(())
        }
        Output::Table => {
            let head = ["ROLE", "INSTANCE", "VERSION", "SAID", "PARTITIONS", "LIVE", "IN FLIGHT", "HEALTH"];
            let head = head.map(str::to_owned);
            let now_ms = clock::now_ms();
            let mut reports = reports.peekable();
            if reports.peek().is_none() {
                return Ok(screen::line("no role has said how it is yet: each does within a minute of its start")?);
            }
            let rows: Vec<_> = std::iter::once(head).chain(reports.map(|status| row(status, now_ms))).collect();
            screen::columns(&rows)
        }
    }
}

fn row(status: &Status, now_ms: i64) -> [String; 8] {
    let text = |text: &str| screen::text(text.as_bytes(), 100);
    let silent_ms = now_ms.saturating_sub(status.at_ms).max(0);
    let health = if silent_ms > SILENT_MS { "silent: crashed, or without Kafka".to_owned() } else { health(status) };
    [
        text(&status.role),
        text(&status.instance),
        text(&version(status)),
        format!("{} s ago", silent_ms / 1_000),
        status.partitions.to_string(),
        status.live.to_string(),
        status.in_flight.to_string(),
        screen::text(health.as_bytes(), 400),
    ]
}

/// Version and the beginning of the revision, as `git log` shows it; an older binary says neither.
fn version(status: &Status) -> String {
    let version = status.version.as_deref().unwrap_or("-");
    match status.revision.as_deref().and_then(|revision| revision.get(..revision.len().min(8))) {
        Some(revision) if !revision.is_empty() => format!("{version} ({revision})"),
        _unknown => version.to_owned(),
    }
}

/// What a role says beyond its counts, in words.
fn health(status: &Status) -> String {
    let Status { delivery, fanout, retry, gateway, .. } = status;
    let words = [
        delivery.as_ref().map(of_delivery),
        fanout.as_ref().map(of_fanout),
        retry.as_ref().map(of_retry),
        gateway.as_ref().map(of_gateway),
    ];
    let words: Vec<String> = words.into_iter().flatten().flatten().filter(|words| !words.is_empty()).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

fn of_delivery(health: &DeliveryHealth) -> Vec<String> {
    vec![
        if_any(health.open_circuits.into(), "circuits open"),
        if_any(health.paused.into(), "paused"),
        format!("backlog {}", seconds(health.backlog_ms)),
        if health.queued > 0 {
            format!("{} queued, oldest {}", health.queued, seconds(health.queued_ms))
        } else {
            String::new()
        },
        if health.held { "holds: everything fails".to_owned() } else { String::new() },
    ]
}

fn of_fanout(health: &FanoutHealth) -> Vec<String> {
    vec![
        if health.waiting_for_control { "waits for control".to_owned() } else { String::new() },
        format!("lag {} records, {}", health.lag_records, seconds(health.lag_ms)),
        if_any(health.matched_per_second, "deliveries/s"),
    ]
}

fn of_retry(health: &RetryHealth) -> Vec<String> {
    let waiting = health.waiting.iter().filter(|(_, count)| **count > 0);
    let waiting = waiting.map(|(topic, count)| format!("{count} in {}", topic.rsplit('.').next().unwrap_or_default()));
    let mut words: Vec<String> = waiting.collect();
    words.push(format!("overdue {}", seconds(health.overdue_ms)));
    words
}

fn of_gateway(health: &GatewayHealth) -> Vec<String> {
    let why = if health.why.is_empty() { String::new() } else { format!(" ({})", health.why.join(", ")) };
    vec![
        format!("{}{why}", if health.accepting { "accepts" } else { "refuses" }),
        if_any(health.accepted_per_second, "events/s"),
        if_any(health.refused_per_second, "refused/s"),
        if_any(health.connections, "connections"),
    ]
}

/// Nothing where there is none.
fn if_any(count: u64, of: &str) -> String {
    if count == 0 { String::new() } else { format!("{count} {of}") }
}

fn seconds(ms: i64) -> String {
    format!("{}.{} s", ms.max(0) / 1_000, ms.max(0) % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use schemas::record::Headers;

    use super::*;

    fn record(key: &str, value: Option<&str>) -> Record {
        let (key, value) = (Some(key.to_owned().into()), value.map(|value| value.to_owned().into()));
        Record { offset: 0, timestamp_ms: 0, key, value, headers: Headers::default() }
    }

    #[test]
    fn every_kind_of_report_is_told_in_words() {
        let mut newest = BTreeMap::new();
        for line in include_str!("../../../../schemas/golden/status.v1.txt").lines() {
            let (key, text) = line.split_once(' ').unwrap();
            take(&record(key, Some(text)), &mut newest);
        }
        assert_eq!(version(&newest["gateway/slot-2"]), "0.1.0 (2f6c1d0e)");
        let told: Vec<String> = newest.values().map(health).collect();
        assert_eq!(
            told,
            [
                "1 circuits open, 2 paused, backlog 1.5 s, 12 queued, oldest 90.0 s",
                "-",
                "lag 9 records, 1.5 s, 300 deliveries/s",
                "refuses (kafka_unavailable), 11 refused/s, 8 connections",
                "-",
                "5 in 20s, 2 in 5s, overdue 0.0 s",
            ]
        );
    }

    #[test]
    fn what_was_taken_back_is_gone_and_what_is_silent_says_so() {
        let mut newest = BTreeMap::new();
        let text = String::from_utf8(Status::new("fanout", "1", 5).encode().unwrap()).unwrap();
        take(&record("fanout/1", Some(&text)), &mut newest);
        take(&record("fanout/2", Some("{}")), &mut newest);
        assert_eq!(version(&newest["fanout/1"]), "-", "an older one does not say");
        assert_eq!(row(&newest["fanout/1"], 5 + SILENT_MS)[7], "-");
        assert!(row(&newest["fanout/1"], 6 + SILENT_MS)[7].starts_with("silent"));
        take(&record("fanout/1", None), &mut newest);
        assert!(newest.is_empty());
    }
}
