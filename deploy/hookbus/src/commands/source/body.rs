//! What is sent of a source. Pure but for files that are named.

use std::collections::BTreeMap;
use std::io::Read as _;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::cli::manage::Output;
use crate::cli::source::{SourceCreateArgs, SourceFields, SourceMoveArgs, SourceSetArgs, SourceTestArgs};
use crate::output::Column;

/// What is shown of a record that was tried.
pub(super) const TESTED: &[Column] = &[
    ("skipped", "skipped"),
    ("rejected", "rejection.reason"),
    ("because", "rejection.detail"),
    ("at", "rejection.at"),
    ("application", "event.application_id"),
    ("type", "event.type"),
    ("id", "event.id"),
    ("time", "event.time"),
    ("labels", "event.labels"),
    ("content type", "event.content_type"),
    ("payload", "event.payload"),
    ("matches", "event.matches"),
];
/// Larger values are a mistake.
const VALUE_LIMIT: u64 = 16 * 1024 * 1024;

/// The body that makes one.
pub(super) fn created(args: &SourceCreateArgs) -> Result<Value> {
    let mut body = json!({ "name": args.name, "topics": args.topics, "format": args.format });
    if let Some(organization) = &args.organization {
        body["organization_id"] = json!(organization);
    }
    for (name, is_given, value) in [("is_enabled", args.disabled, false), ("is_paused", args.paused, true)] {
        if is_given {
            body[name] = json!(value);
        }
    }
    lay_over(&mut body, &args.fields, &args.format)?;
    Ok(body)
}

/// The body that changes one.
pub(super) fn changed(args: &SourceSetArgs) -> Result<Value> {
    let mut body = json!({});
    if !args.topics.is_empty() {
        body["topics"] = json!(args.topics);
    }
    let given = [("name", json!(args.name)), ("format", json!(args.format)), ("is_enabled", json!(args.enabled))];
    for (name, value) in given.into_iter().filter(|(_, value)| !value.is_null()) {
        body[name] = value;
    }
    if args.fields.options.is_some() && args.format.is_none() {
        return Err(crate::usage("--options needs --format: which format they are of".to_owned()));
    }
    lay_over(&mut body, &args.fields, args.format.as_deref().unwrap_or_default())?;
    for name in &args.clear {
        body[name.as_str()] = Value::Null;
    }
    Ok(body)
}

/// The body that moves one.
pub(super) fn moved(args: &SourceMoveArgs) -> Result<Value> {
    let to = match &args.to {
        Some(place) => start(place),
        None => json!({ "offsets": offsets(&args.offsets)? }),
    };
    let mut body = json!({ "to": to, "again": args.again });
    if !args.topics.is_empty() {
        body["topics"] = json!(args.topics);
    }
    Ok(body)
}

/// The body that tries a record.
pub(super) fn tested(args: &SourceTestArgs) -> Result<Value> {
    let value = match (&args.value, &args.value_file) {
        (Some(text), _) => Some(text.clone().into_bytes()),
        (None, Some(file)) if file.as_os_str() == "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().take(VALUE_LIMIT).read_to_end(&mut bytes).context("cannot read standard input")?;
            Some(bytes)
        }
        (None, Some(file)) => Some(std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?),
        (None, None) => None,
    };
    let mut record = json!({ "headers": args.headers.iter().cloned().collect::<BTreeMap<String, String>>() });
    if let Some(value) = value {
        record["value_base64"] = json!(STANDARD.encode(value));
    }
    if let Some(key) = &args.key {
        record["key"] = json!(key);
    }
    Ok(json!({ "source": args.one.source, "record": record }))
}

/// For people the payload as text, where it is text.
pub(super) fn readable(output: Output, mut answer: Value) -> Value {
    if output == Output::Table
        && let Some(bytes) = answer["event"]["payload_base64"].as_str().and_then(|it| STANDARD.decode(it).ok())
    {
        answer["event"]["payload"] = json!(String::from_utf8_lossy(&bytes));
    }
    answer
}

fn lay_over(body: &mut Value, fields: &SourceFields, format: &str) -> Result<()> {
    let given = [
        ("uid", json!(fields.uid)),
        ("registry", json!(fields.registry)),
        ("application", json!(fields.application)),
        ("type", json!(fields.event_type)),
        ("default_type", json!(fields.default_type)),
        ("id", json!(fields.event_id)),
        ("time", json!(fields.time)),
        ("time_unit", json!(fields.time_unit)),
        ("payload", json!(fields.payload)),
        ("on_null", json!(fields.on_null)),
        ("start", fields.start.as_deref().map_or(Value::Null, start)),
    ];
    for (name, value) in given.into_iter().filter(|(_, value)| !value.is_null()) {
        body[name] = value;
    }
    if !fields.exclude.is_empty() {
        body["exclude"] = json!(fields.exclude);
    }
    if !fields.labels.is_empty() {
        body["labels"] = json!(fields.labels.iter().cloned().collect::<BTreeMap<String, String>>());
    }
    if fields.wait_for_topic {
        body["wait_for_topic"] = json!(true);
    }
    if let Some(options) = &fields.options {
        let options: Map<String, Value> = serde_json::from_str(options)
            .map_err(|error| crate::usage(format!("--options is no JSON object: {error}")))?;
        body[format] = Value::Object(options);
    }
    Ok(())
}

/// `end`, `beginning`, or a time.
fn start(place: &str) -> Value {
    if matches!(place, "end" | "beginning") { json!(place) } else { json!({ "time": place }) }
}

/// `crm.orders/0=1200`, by topic and partition.
fn offsets(given: &[(String, String)]) -> Result<BTreeMap<String, BTreeMap<String, i64>>> {
    let mut offsets: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for (place, offset) in given {
        let wrong = || crate::usage(format!("--offset {place}={offset}: write TOPIC/PARTITION=OFFSET"));
        let (topic, partition) = place.rsplit_once('/').ok_or_else(wrong)?;
        partition.parse::<u32>().map_err(|_error| wrong())?;
        let offset = offset.parse().map_err(|_error| wrong())?;
        offsets.entry(topic.to_owned()).or_default().insert(partition.to_owned(), offset);
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::source::SourceCommand;
    use crate::cli::{Cli, Command};

    fn command(arguments: &[&str]) -> SourceCommand {
        let all = ["hookbus", "source"].into_iter().chain(arguments.iter().copied());
        let Command::Source(args) = Cli::try_parse_from(all).unwrap().command else { panic!("another command") };
        args.command
    }

    #[test]
    fn what_is_given_is_sent_and_nothing_else() {
        let text = "create Orders --topic crm.orders -a shop --type order.{value:/status} --label t={header:t} --start 2026-01-01T00:00:00Z";
        let SourceCommand::Create(args) = command(&text.split(' ').collect::<Vec<_>>()) else { panic!() };
        let expected = json!({"name": "Orders", "topics": ["crm.orders"], "format": "json", "application": "shop",
            "type": "order.{value:/status}", "labels": {"t": "{header:t}"}, "start": {"time": "2026-01-01T00:00:00Z"}});
        assert_eq!(created(&args).unwrap(), expected);
        let SourceCommand::Set(args) = command(&["set", "orders", "--clear", "payload", "--enabled", "false"]) else {
            panic!()
        };
        assert_eq!(changed(&args).unwrap(), json!({"is_enabled": false, "payload": null}));
        let registered = ["set", "orders", "--format", "avro", "--registry", "main"];
        let SourceCommand::Set(args) = command(&registered) else { panic!() };
        assert_eq!(changed(&args).unwrap(), json!({"format": "avro", "registry": "main"}));
        let options = ["set", "orders", "--format", "debezium", "--options", r#"{"snapshots": true}"#];
        let SourceCommand::Set(args) = command(&options) else { panic!() };
        assert_eq!(changed(&args).unwrap(), json!({"format": "debezium", "debezium": {"snapshots": true}}));
    }

    #[test]
    fn a_move_names_a_place_or_offsets() {
        let body = |arguments: &[&str]| {
            let SourceCommand::Move(args) = command(arguments) else { panic!() };
            moved(&args)
        };
        assert_eq!(body(&["move", "o", "--to", "end"]).unwrap(), json!({"to": "end", "again": false}));
        let two = body(&["move", "o", "--offset", "a.b/0=5", "--offset", "a.b/1=0", "--again"]).unwrap();
        assert_eq!(two, json!({"to": {"offsets": {"a.b": {"0": 5, "1": 0}}}, "again": true}));
        assert!(body(&["move", "o", "--offset", "a.b=5"]).is_err());
        assert!(Cli::try_parse_from(["hookbus", "source", "move", "o"]).is_err());
    }
}
