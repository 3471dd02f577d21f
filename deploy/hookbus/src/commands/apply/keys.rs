//! The kinds of documents and their known fields. Pure.

use std::fmt;

/// What a document describes, in the order in which one needs the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// A tenant.
    Organization,
    /// A scope of events.
    Application,
    /// A token of an application; stands inside the application's document.
    Secret,
    /// A declared event type.
    EventType,
    /// Who receives what.
    Subscription,
    /// Where schemas are asked for.
    SchemaRegistry,
    /// Topics that are read.
    Source,
}

/// Kinds that have documents of their own.
pub(crate) const KINDS: [Kind; 6] =
    [Kind::Organization, Kind::Application, Kind::EventType, Kind::Subscription, Kind::SchemaRegistry, Kind::Source];

/// Fields of a subscription in a document.
const SUBSCRIPTION: &[&str] = &[
    "kind",
    "id",
    "uid",
    "application",
    "is_enabled",
    "is_paused",
    "event_types",
    "labels",
    "filter",
    "description",
    "metadata",
    "target",
    "auth",
    "secret",
    "signing_private_key",
    "signing",
    "body",
    "api_version",
    "retry",
    "timeout_ms",
    "concurrency",
    "rate_per_second",
    "max_age",
    "max_age_ms",
    "disable_after",
    "disable_after_ms",
    "ordering",
    "dedicated_workers",
];

/// Fields of a source in a document.
const SOURCE: &[&str] = &[
    "kind",
    "source_id",
    "uid",
    "organization",
    "name",
    "topics",
    "exclude",
    "wait_for_topic",
    "format",
    "registry",
    "application",
    "type",
    "default_type",
    "id",
    "time",
    "time_unit",
    "labels",
    "payload",
    "on_null",
    "start",
    "json",
    "json_schema",
    "binary",
    "avro",
    "protobuf",
    "debezium",
    "is_enabled",
    "is_paused",
];

/// Fields of `limits`.
const LIMITS: &[&str] = &["applications", "subscriptions", "event_types", "events_per_day", "events_per_second"];
/// Fields of `target`.
const TARGET: &[&str] = &["type", "method", "url", "headers", "secret_headers", "ca_certificates"];
/// Fields of a schema registry's `auth`.
const REGISTRY_AUTH: &[&str] = &["type", "username", "password", "token"];

// === impl Kind ===

impl Kind {
    /// Its name in a document.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Application => "application",
            Self::Secret => "application_secret",
            Self::EventType => "event_type",
            Self::Subscription => "subscription",
            Self::SchemaRegistry => "schema_registry",
            Self::Source => "source",
        }
    }

    /// Its name in the API's lists: `/organizations`.
    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Self::Organization => "organizations",
            Self::Application => "applications",
            Self::Secret => "application_secrets",
            Self::EventType => "event_types",
            Self::Subscription => "subscriptions",
            Self::SchemaRegistry => "schema_registries",
            Self::Source => "sources",
        }
    }

    /// The field of its id in the API; an event type is known by its name.
    pub(crate) const fn id_field(self) -> &'static str {
        match self {
            Self::Organization => "organization_id",
            Self::Application => "application_id",
            Self::Secret => "token",
            Self::EventType => "event_type_name",
            Self::Subscription => "subscription_id",
            Self::SchemaRegistry => "schema_registry_id",
            Self::Source => "source_id",
        }
    }

    /// The field of its id in a document; an event type has none. A source's `id` is the template of its events' ids.
    pub(crate) const fn id_key(self) -> Option<&'static str> {
        match self {
            Self::Organization | Self::Application | Self::Subscription | Self::SchemaRegistry => Some("id"),
            Self::Secret => Some("token"),
            Self::EventType => None,
            Self::Source => Some("source_id"),
        }
    }

    /// The field that names what it belongs to: in a document, and in the API.
    pub(crate) const fn parent_fields(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Organization | Self::SchemaRegistry => None,
            Self::Application | Self::Source => Some(("organization", "organization_id")),
            Self::Secret | Self::EventType | Self::Subscription => Some(("application", "application_id")),
        }
    }

    /// Its fields in a document.
    pub(crate) const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Organization => &["kind", "id", "uid", "name", "limits", "plan", "source_topics"],
            Self::Application => &[
                "kind",
                "id",
                "uid",
                "organization",
                "name",
                "unknown_event_types",
                "limits",
                "log_retention_days",
                "dedup_window_ms",
                "secrets",
            ],
            Self::Secret => &["name", "token", "role", "expires_at"],
            Self::EventType => {
                &["kind", "application", "name", "description", "schema", "deprecated", "deprecated_at", "sunset_at"]
            }
            Self::Subscription => SUBSCRIPTION,
            Self::SchemaRegistry => &["kind", "id", "uid", "name", "urls", "auth", "ca_pem", "timeout_ms"],
            Self::Source => SOURCE,
        }
    }

    /// Fields of a mapping inside it, where they are all known.
    pub(crate) fn inner_fields(self, field: &str) -> Option<&'static [&'static str]> {
        match (self, field) {
            (Self::Organization | Self::Application, "limits") => Some(LIMITS),
            (Self::Subscription, "target") => Some(TARGET),
            (Self::SchemaRegistry, "auth") => Some(REGISTRY_AUTH),
            _other => None,
        }
    }

    /// Whether a field may hold `{env: NAME}` and `{file: PATH}` at any depth. Elsewhere such a mapping is the client's own data.
    pub(crate) fn may_refer(self, field: &str) -> bool {
        self != Self::Source && !matches!(field, "metadata" | "labels" | "schema")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Organization => "organization",
            Self::Application => "application",
            Self::Secret => "application secret",
            Self::EventType => "event type",
            Self::Subscription => "subscription",
            Self::SchemaRegistry => "schema registry",
            Self::Source => "source",
        })
    }
}

/// ``unknown field `lables`; did you mean `labels`?``
pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (strsim::normalized_damerau_levenshtein(name, known), known));
    let near = near.filter(|(score, _)| *score >= 0.5).max_by(|one, other| one.0.total_cmp(&other.0));
    near.map_or_else(
        || format!("unknown {what} `{name}`; known are {}", known.join(", ")),
        |(_, near)| format!("unknown {what} `{name}`; did you mean `{near}`?"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const DOCUMENT: &str = include_str!("../../../../../schemas/openapi/openapi.json");

    /// Hook0's older pair for one label.
    const OLDER: [&str; 2] = ["label_key", "label_value"];
    /// What a subscription shows and a client may send back: it changes nothing, so no document has it.
    const SHOWN: [&str; 10] = [
        "created_at",
        "disabled_at",
        "disabled_detail",
        "disabled_reason",
        "former_secrets",
        "position_id",
        "signing_public_key",
        "signing_secret",
        "status",
        "updated_at",
    ];

    #[test]
    fn whatever_can_be_given_to_the_api_can_be_written_in_a_document() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let bodies = [
            (Kind::Organization, "OrganizationPost"),
            (Kind::Application, "ApplicationPost"),
            (Kind::Secret, "ApplicationSecretPut"),
            (Kind::EventType, "EventTypeByName"),
            (Kind::Subscription, "SubscriptionPost"),
            (Kind::SchemaRegistry, "SchemaRegistryPost"),
            (Kind::Source, "SourcePost"),
        ];
        for (kind, body) in bodies {
            let given = document["components"]["schemas"][body]["properties"].as_object().unwrap();
            let parent = kind.parent_fields().map_or("", |(_, field)| field);
            let is_other = |name: &str| OLDER.contains(&name) || SHOWN.contains(&name);
            let named = |name: &&String| *name != kind.id_field() && *name != parent && !is_other(name);
            let missing: Vec<&String> =
                given.keys().filter(named).filter(|name| !kind.fields().contains(&name.as_str())).collect();
            assert!(missing.is_empty(), "{body}: {missing:?}");
        }
    }

    #[test]
    fn the_nearest_known_word_is_named_if_one_is_near() {
        assert_eq!(unknown("field", "lables", &["labels", "target"]), "unknown field `lables`; did you mean `labels`?");
        assert_eq!(unknown("field", "zzz", &["labels"]), "unknown field `zzz`; known are labels");
    }
}
