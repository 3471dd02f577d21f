//! `hookbus audit`: who changed what, oldest first.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use chassis::clock;
use kafka::{Below, Connection, From, Offsets, Tail, TailEvent, TailOptions};
use schemas::audit::Audit;
use schemas::record::{Record, TopicPartition};
use schemas::topics::TopicSettings;

use crate::cli::manage::Output;
use crate::cli::operate::AuditArgs;
use crate::screen;

/// A record's time is taken before it is written; Kafka's own, by which one seeks, after.
const SLACK_MS: i64 = 60_000;

/// Which records are wanted.
#[derive(Debug)]
struct AuditFilter {
    since_ms: Option<i64>,
    object: Option<String>,
    actor: Option<String>,
}

/// Prints the records, to the end or for ever.
///
/// # Errors
/// When the topic cannot be read, or a time is none.
pub(crate) async fn run(connection: &Connection, settings: &TopicSettings, args: &AuditArgs) -> Result<()> {
    let wanted = AuditFilter {
        since_ms: args.since.as_deref().map(|text| since(text, clock::now_ms())).transpose()?,
        object: args.object.clone(),
        actor: args.actor.clone(),
    };
    let partition = TopicPartition::new(Arc::clone(&settings.topics().audit), 0);
    let offsets = Offsets::start(connection)?;
    let end = offsets.end(&partition).await.with_context(|| format!("cannot read {partition}"))?;
    let from = match wanted.since_ms {
        Some(since_ms) => {
            let offset = offsets.at(&partition, since_ms.saturating_sub(SLACK_MS)).await?;
            From::Offsets(HashMap::from([(partition.partition, offset)]))
        }
        None => From::Beginning,
    };
    let options = TailOptions {
        topic: partition.topic.to_string(),
        partitions: Some(vec![partition.partition]),
        from,
        committed: true,
        eof: true,
        fetch_wait_ms: if args.follow { 500 } else { 20 },
    };
    let mut tail = Tail::start(connection, options)?;
    if args.output == Output::Table {
        head()?;
    }
    if !args.follow {
        let mut below = Below::new(tail, end);
        while let Some(record) = below.next().await.with_context(|| format!("cannot read {partition}"))? {
            show(&record, &wanted, args.output)?;
        }
        return Ok(());
    }
    loop {
        if let TailEvent::Record { record, .. } =
            tail.next().await.with_context(|| format!("cannot read {partition}"))?
        {
            show(&record, &wanted, args.output)?;
        }
    }
}

fn show(record: &Record, wanted: &AuditFilter, output: Output) -> Result<()> {
    let value = record.value.as_deref().unwrap_or_default();
    let audit: Audit = match serde_json::from_slice(value) {
        Ok(audit) => audit,
        // Whoever may write the topic can write anything: it is shown as such, and what follows is not lost.
        Err(error) => {
            tracing::warn!(offset = record.offset, %error, "a record of the audit topic cannot be decoded");
            return Ok(());
        }
    };
    if !wanted.fits(&audit) {
        return Ok(());
    }
    let line = match output {
        Output::Json => serde_json::to_string(&audit)?,
        Output::Table => row(&audit),
    };
    Ok(screen::line(&line)?)
}

fn head() -> Result<()> {
    Ok(screen::line(&format!("{:24} {:30} {:55} {:18} OBJECT", "TIME", "ACTION", "ACTOR", "ADDRESS"))?)
}

/// Fixed widths: rows are printed as they come.
fn row(audit: &Audit) -> String {
    let text = |text: &str| screen::text(text.as_bytes(), 200);
    format!(
        "{:24} {:30} {:55} {:18} {}",
        screen::time(audit.at_ms),
        text(&audit.action),
        text(&audit.actor),
        text(audit.address.as_deref().unwrap_or("-")),
        text(&audit.key),
    )
}

/// Unix ms of a time, or of a span before now.
pub(super) fn since(text: &str, now_ms: i64) -> Result<i64> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.as_millisecond());
    }
    let Ok(span) = text.parse::<jiff::Span>() else {
        return Err(crate::usage(format!(
            "--since takes a span such as `2h` or `7d`, or a time such as `2026-11-22T00:00:00Z`, not `{text}`"
        )));
    };
    let marked = jiff::SpanRelativeTo::days_are_24_hours();
    let milliseconds = span.total((jiff::Unit::Millisecond, marked)).context("--since takes weeks, days and less")?;
    // Beyond 2^63 ms nothing was ever written: the conversion saturates.
    #[expect(clippy::cast_possible_truncation, reason = "a number of milliseconds, and it saturates")]
    Ok(now_ms.saturating_sub(milliseconds.abs() as i64))
}

// === impl AuditFilter ===

impl AuditFilter {
    fn fits(&self, audit: &Audit) -> bool {
        let since = self.since_ms.is_none_or(|since_ms| audit.at_ms >= since_ms);
        let actor = self.actor.as_deref().is_none_or(|actor| audit.actor.starts_with(actor));
        let object = self
            .object
            .as_deref()
            .is_none_or(|object| audit.key == object || audit.key.split('/').skip(1).any(|part| part == object));
        since && actor && object
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn audit() -> Audit {
        Audit {
            v: 1,
            at_ms: 1_000,
            actor: "application_secret/x".into(),
            action: "subscription.update".into(),
            key: "subscription/app/sub".into(),
            before: None,
            after: None,
            changed: Vec::new(),
            address: None,
            request_id: None,
            write_id: Uuid::nil(),
        }
    }

    #[test]
    fn an_object_is_named_by_its_key_its_id_or_what_it_belongs_to() {
        let fits = |object: &str| {
            let wanted = AuditFilter { since_ms: None, object: Some(object.to_owned()), actor: None };
            wanted.fits(&audit())
        };
        assert!(fits("subscription/app/sub") && fits("sub") && fits("app"));
        assert!(!fits("subscription") && !fits("su") && !fits("app/sub"));
        let wanted = |since_ms, actor: &str| AuditFilter { since_ms, object: None, actor: Some(actor.to_owned()) };
        assert!(wanted(Some(1_000), "application_secret").fits(&audit()));
        assert!(!wanted(Some(1_001), "application_secret").fits(&audit()));
        assert!(!wanted(None, "admin").fits(&audit()));
    }

    #[test]
    fn since_is_a_span_or_a_time() {
        assert_eq!(since("2h", 10_000_000).unwrap(), 10_000_000 - 7_200_000);
        assert_eq!(since("1d", 100_000_000).unwrap(), 100_000_000 - 86_400_000);
        assert_eq!(since("1970-01-01T00:00:01Z", 5).unwrap(), 1_000);
        for bad in ["yesterday", "", "1y"] {
            assert!(since(bad, 0).is_err(), "{bad}");
        }
    }
}
