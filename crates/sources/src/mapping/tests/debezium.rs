//! Debezium's records, with and without their schema.

use super::*;

fn source() -> TopicSource {
    TopicSource { event_type: None, ..super::source(SourceFormat::Debezium) }
}

/// An envelope as a connector for PostgreSQL writes it.
fn envelope(op: &str) -> String {
    format!(
        r#"{{"before":null, "after":{{"id":7,"name":"a"}},"source":{{"connector":"postgresql","snapshot":"false","table":"users","lsn":24}},"op":"{op}","ts_ms":1700000000000,"transaction":null}}"#
    )
}

fn wrapped(envelope: &str) -> String {
    format!(r#"{{"schema":{{"type":"struct","fields":[],"op":1}}, "payload": {envelope} }}"#)
}

#[test]
fn operations_are_types_with_and_without_a_schema() {
    for (op, verb) in [("c", "created"), ("u", "updated"), ("d", "deleted"), ("t", "truncated")] {
        let envelope = envelope(op);
        let expected = format!("shop users.{verb} - -  {envelope}");
        assert_eq!(told(&source(), &record(envelope.as_bytes())), expected);
        assert_eq!(told(&source(), &record(wrapped(&envelope).as_bytes())), expected, "the payload is a slice");
    }
}

#[test]
fn rows_of_a_snapshot_are_skipped_unless_they_are_asked_for() {
    let record = record(envelope("r").as_bytes());
    assert_eq!(told(&source(), &record), "skipped snapshot");
    let asked =
        TopicSource { options: serde_json::from_str(r#"{"debezium":{"snapshots":true}}"#).unwrap(), ..source() };
    assert!(told(&asked, &record).starts_with("shop users.read "));
}

#[test]
fn templates_lead_into_the_envelope_whichever_way_it_came() {
    let mut source = source();
    source.id = Some("{value:/source/lsn}:{value:/op}".to_owned());
    source.payload = Some("/after".to_owned());
    source.time = Some("{value:/ts_ms}".to_owned());
    source.time_unit = Some(TimeUnit::Ms);
    for value in [envelope("u"), wrapped(&envelope("u"))] {
        let expected = r#"shop users.updated 24:u 2023-11-14T22:13:20.000Z  {"id":7,"name":"a"}"#;
        assert_eq!(told(&source, &record(value.as_bytes())), expected);
    }
    source.event_type = Some("row.{value:/after/name}".to_owned());
    assert!(told(&source, &record(envelope("u").as_bytes())).starts_with("shop row.a "));
    let default = TopicSource { default_type: Some("row.changed".to_owned()), ..self::source() };
    assert!(told(&default, &record(envelope("u").as_bytes())).starts_with("shop row.changed "));
}

#[test]
fn heartbeats_transactions_and_changes_of_tables_are_skipped() {
    for (value, reason) in [
        (r#"{"ts_ms":1700000000000}"#, "heartbeat"),
        (
            r#"{"status":"BEGIN","id":"571:53195829","ts_ms":1,"event_count":null,"data_collections":null}"#,
            "transaction",
        ),
        (
            r#"{"source":{"db":"x"},"ts_ms":1,"databaseName":"x","ddl":"CREATE TABLE t","tableChanges":[]}"#,
            "schema_change",
        ),
    ] {
        assert_eq!(told(&source(), &record(value.as_bytes())), format!("skipped {reason}"));
        assert_eq!(told(&source(), &record(wrapped(value).as_bytes())), format!("skipped {reason}"));
    }
    let tombstone = Record { value: None, ..record(b"") };
    assert_eq!(told(&source(), &tombstone), "skipped tombstone");
}

#[test]
fn debezium_without_op_with_unknown_op_and_with_a_null_payload_is_rejected() {
    for (value, expected) in [
        (r#"{"before":null,"after":{"id":1},"source":{"table":"t"}}"#, "unmapped @/op: there is no `op`"),
        (r#"{"id":1,"name":"a"}"#, "unmapped @/op: there is no `op`"),
        (r#"{"source":{"table":"t"},"op":"x"}"#, "unmapped @/op: `op` is `x`, none of c, u, d, r and t"),
        (r#"{"source":{"table":"t"},"op":{}}"#, "unmapped @/op: `op` is `{}`"),
        (r#"{"schema":{},"payload":null}"#, "null_value @/payload: there is no change event"),
        ("null", "null_value @: there is no change event"),
        (r#"{"op":"c""#, "undecodable @byte 9: the value: not JSON: it ends"),
        (r#"{"op":"c","op":"d"}"#, "undecodable @byte 10: the value: `op` stands twice"),
        (r#"{"op":"c"}"#, "invalid_attribute: the event has no type"),
    ] {
        let told = told(&source(), &record(value.as_bytes()));
        assert!(told.starts_with(expected), "{value}: {told}");
    }
    let collection = r#"{"op":"c","source":{"collection":"people"},"after":"{}"}"#;
    assert!(told(&source(), &record(collection.as_bytes())).starts_with("shop people.created "));
}
