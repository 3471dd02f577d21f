//! What is shown of an object, as a document that wants it so. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use signing::Secret;

use crate::commands::apply::keys::Kind;

/// An organization.
pub(crate) fn organization(shown: &Value) -> Map<String, Value> {
    document(Kind::Organization, shown, &[])
}

/// An application with its secrets.
pub(crate) fn application(shown: &Value, secrets: &[Value], with_secrets: bool) -> Map<String, Value> {
    let organization = [("organization", &shown["organization_id"])];
    let mut document = document(Kind::Application, shown, &organization);
    let secrets = if with_secrets { whole(secrets) } else { by_name(secrets) };
    if !secrets.is_empty() {
        document.insert("secrets".to_owned(), Value::Array(secrets));
    }
    document
}

/// An event type.
pub(crate) fn event_type(shown: &Value, application: &str) -> Map<String, Value> {
    let own = [("application", &json!(application)), ("name", &shown["event_type_name"])];
    document(Kind::EventType, shown, &own)
}

/// A subscription.
pub(crate) fn subscription(shown: &Value, application: &str, with_secrets: bool) -> Map<String, Value> {
    let mut document = document(Kind::Subscription, shown, &[("application", &json!(application))]);
    document.remove("secret");
    if with_secrets && let Some(secret) = signing_key(shown) {
        document.insert("secret".to_owned(), secret);
    }
    document
}

/// A source.
pub(crate) fn source(shown: &Value) -> Map<String, Value> {
    document(Kind::Source, shown, &[("organization", &shown["organization_id"])])
}

/// A schema registry. Its secret stays masked.
pub(crate) fn schema_registry(shown: &Value) -> Map<String, Value> {
    document(Kind::SchemaRegistry, shown, &[])
}

/// The secret as it was given: a UUID, unless a UUID only stands for it.
fn signing_key(shown: &Value) -> Option<Value> {
    let uuid = shown["secret"].as_str()?;
    let of_uuid = Secret::parse(uuid).ok()?.signing_secret();
    match shown["signing_secret"].as_str() {
        Some(other) if other != of_uuid.as_str() => Some(json!(other)),
        Some(_) | None => Some(json!(uuid)),
    }
}

/// Kind and names first, then every field a document may have.
fn document(kind: Kind, shown: &Value, own: &[(&str, &Value)]) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("kind".to_owned(), json!(kind.word()));
    if let Some(key) = kind.id_key() {
        document.insert(key.to_owned(), shown[kind.id_field()].clone());
    }
    document.extend(own.iter().map(|(name, value)| ((*name).to_owned(), (*value).clone())));
    for name in kind.fields() {
        let value = &shown[*name];
        let says_nothing = value.is_null() || value.as_object().is_some_and(Map::is_empty);
        if !says_nothing && !document.contains_key(*name) {
            document.insert((*name).to_owned(), value.clone());
        }
    }
    document
}

/// Secrets by their tokens.
fn whole(secrets: &[Value]) -> Vec<Value> {
    let secret = |shown: &Value| {
        let mut secret = Map::new();
        for name in Kind::Secret.fields() {
            if !shown[*name].is_null() {
                secret.insert((*name).to_owned(), shown[*name].clone());
            }
        }
        // An entry is known by its name, and one without has to be called something.
        secret.entry("name").or_insert_with(|| json!("unnamed"));
        Value::Object(secret)
    };
    secrets.iter().map(secret).collect()
}

/// Secrets by their names alone: where two have the same one, which is meant could not be told.
fn by_name(secrets: &[Value]) -> Vec<Value> {
    let names = secrets.iter().filter_map(|shown| shown["name"].as_str());
    let (mut once, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for name in names {
        if !once.insert(name) {
            twice.insert(name);
        }
    }
    let mut kept: Vec<Value> = secrets.to_vec();
    kept.retain(|shown| shown["name"].as_str().is_some_and(|name| !name.is_empty() && !twice.contains(name)));
    for shown in &mut kept {
        shown["token"] = Value::Null;
    }
    whole(&kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_written_without_what_follows_and_without_secrets() {
        let uuid = "0193b2f1-5d1e-4c31-9a55-0e4b5c6d7e8f";
        let whsec = Secret::parse(uuid).unwrap().signing_secret().to_string();
        let shown = json!({
            "subscription_id": "i", "application_id": "a", "uid": "s", "is_enabled": true, "event_types": ["a.b"],
            "secret": uuid, "signing_secret": whsec, "metadata": {}, "label_key": "", "label_value": "", "labels": {"x": "y"},
            "target": {"type": "http", "headers": {"authorization": "********"}}, "created_at": "t", "updated_at": "t",
        });
        let expected = json!({
            "kind": "subscription", "id": "i", "application": "shop", "uid": "s", "is_enabled": true,
            "event_types": ["a.b"], "labels": {"x": "y"},
            "target": {"type": "http", "headers": {"authorization": "********"}},
        });
        assert_eq!(Value::Object(subscription(&shown, "shop", false)), expected);
        assert_eq!(subscription(&shown, "shop", true)["secret"], uuid);
        let mut imported = shown;
        imported["signing_secret"] = json!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let written = subscription(&imported, "shop", true);
        assert_eq!(written["secret"], "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "not the UUID that stands for it");
    }

    #[test]
    fn a_source_is_written_with_the_template_of_its_events_ids() {
        let shown = json!({
            "source_id": "s", "organization_id": "o", "name": "Orders", "topics": ["crm.orders"], "format": "json",
            "application": "shop", "id": "{value:/id}", "start": "end", "position_id": "p", "status": {"state": "running"},
            "created_at": "t",
        });
        let expected = json!({
            "kind": "source", "source_id": "s", "organization": "o", "name": "Orders", "topics": ["crm.orders"],
            "format": "json", "application": "shop", "id": "{value:/id}", "start": "end",
        });
        assert_eq!(Value::Object(source(&shown)), expected);
    }

    #[test]
    fn a_schema_registry_is_written_with_its_secret_masked() {
        let auth = json!({"type": "basic", "username": "hookbus", "password": "********"});
        let shown = json!({"schema_registry_id": "r", "uid": "main", "name": "Main", "urls": ["http://r:8081"], "auth": auth,
            "timeout_ms": 5_000, "created_at": "t"});
        let expected = json!({"kind": "schema_registry", "id": "r", "uid": "main", "name": "Main", "urls": ["http://r:8081"],
            "auth": auth, "timeout_ms": 5_000});
        assert_eq!(Value::Object(schema_registry(&shown)), expected);
    }

    #[test]
    fn secrets_of_an_application_are_named_unless_two_have_one_name() {
        let shown = json!({"application_id": "i", "organization_id": "o", "name": "Shop", "created_at": "t"});
        let secret =
            |name: &str, token: &str| json!({"name": name, "token": token, "role": "ingest", "deleted_at": null});
        let secrets = [secret("a", "1"), secret("b", "2"), secret("b", "3"), secret("", "4")];
        let named = application(&shown, &secrets, false);
        assert_eq!(named["secrets"], json!([{"name": "a", "role": "ingest"}]));
        assert_eq!(application(&shown, &secrets, true)["secrets"].as_array().unwrap().len(), 4);
        assert_eq!(named["organization"], "o");
    }
}
