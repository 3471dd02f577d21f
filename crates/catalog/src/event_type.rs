//! A declared event type: the control object, and its schema compiled when the first event asks.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use schemas::control;

use crate::schema::{Mismatch, PricedCheck, Schema, SchemaError, Unfit};

/// A declared event type. Reads like its control object.
#[derive(Debug)]
pub struct EventType {
    object: control::EventType,
    /// Shared with the same event type before a change that left its schema alone.
    schema: Arc<OnceLock<Result<Schema, SchemaError>>>,
}

impl EventType {
    pub(crate) fn new(object: control::EventType) -> Self {
        Self { object, schema: Arc::default() }
    }

    /// Takes over what was compiled of the same schema: an event type that is changed costs no event a compilation.
    pub(crate) fn share(&mut self, former: &Self) {
        if self.object.schema == former.object.schema {
            self.schema = Arc::clone(&former.schema);
        }
    }

    /// The control object.
    #[must_use]
    pub fn object(&self) -> &control::EventType {
        &self.object
    }

    /// Whether payloads must fit a schema.
    #[must_use]
    pub fn is_demanding(&self) -> bool {
        self.object.schema.is_some()
    }

    /// Whether the schema was asked for before: the first to ask waits until it is compiled.
    #[must_use]
    pub fn is_compiled(&self) -> bool {
        self.schema.get().is_some()
    }

    /// Whether a payload fits the schema; every payload fits if there is none.
    ///
    /// # Errors
    /// The first place where it does not fit. A schema that this build cannot compile (it is checked when it is written, so
    /// a newer build wrote it) fits nothing, and says so. A payload whose check would take too long is not checked.
    pub fn check(&self, payload: &[u8]) -> Result<(), Unfit> {
        self.price(payload)?.map_or(Ok(()), PricedCheck::run)
    }

    /// Reads a payload, and says what its check may take. `None`: there is no schema.
    ///
    /// # Errors
    /// As of [`Self::check`], but for what the check itself finds.
    pub fn price(&self, payload: &[u8]) -> Result<Option<PricedCheck<'_>>, Unfit> {
        let Some(schema) = &self.object.schema else { return Ok(None) };
        match self.schema.get_or_init(|| Schema::compile_stored(schema)).as_ref() {
            Ok(schema) => schema.price(payload).map(Some),
            Err(error) => {
                let message = format!("the schema of `{}` cannot be used: {error}", self.object.name);
                Err(Mismatch { path: String::new(), message }.into())
            }
        }
    }
}

impl Deref for EventType {
    type Target = control::EventType;

    fn deref(&self) -> &control::EventType {
        &self.object
    }
}

impl PartialEq<control::EventType> for EventType {
    fn eq(&self, other: &control::EventType) -> bool {
        self.object == *other
    }
}

#[cfg(test)]
mod tests {
    use schemas::control::ControlKey;
    use schemas::event_type::EventTypeName;
    use schemas::ids::ApplicationId;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::change::ChangeKind;
    use crate::snapshot::Snapshot;
    use crate::stored::Object;

    fn event_type(schema: Option<serde_json::Value>) -> EventType {
        let name = EventTypeName::parse("invoice.paid").unwrap();
        EventType::new(control::EventType { schema, ..control::EventType::new(ApplicationId(Uuid::nil()), name, 1) })
    }

    #[test]
    fn a_type_without_a_schema_takes_everything() {
        let event_type = event_type(None);
        assert!(!event_type.is_demanding());
        assert_eq!(event_type.check(b"\xff not json"), Ok(()));
    }

    #[test]
    fn a_schema_decides_and_one_that_cannot_be_compiled_takes_nothing() {
        let demanding = event_type(Some(json!({"required": ["id"]})));
        assert!(demanding.is_demanding() && !demanding.is_compiled());
        assert_eq!(demanding.check(br#"{"id":1}"#), Ok(()));
        assert!(matches!(demanding.check(b"{}"), Err(Unfit::Mismatch(mismatch)) if mismatch.path.is_empty()));
        let broken = event_type(Some(json!({"type": "nothing"})));
        assert!(broken.check(b"{}").unwrap_err().to_string().contains("cannot be used"));
    }

    #[test]
    fn a_schema_is_compiled_once_for_all_changes_that_leave_it_alone() {
        let mut snapshot = Snapshot::default();
        let mut put = |change: &dyn Fn(&mut control::EventType)| {
            let mut object = event_type(Some(json!({"required": ["id"]}))).object;
            change(&mut object);
            let key = ControlKey::EventType(object.application_id, object.name.clone());
            snapshot.change(ChangeKind::Put(Object::EventType(Arc::new(EventType::new(object))), 1, 1));
            let Some(Object::EventType(found)) = snapshot.held(&key) else { panic!("it was put") };
            found
        };
        let first = put(&|_| {});
        assert_eq!(first.check(br#"{"id":1}"#), Ok(()));
        let described = put(&|it| it.description = Some("paid".to_owned()));
        assert!(described.schema.get().is_some(), "nothing is to be compiled");
        let other = put(&|it| it.schema = Some(json!({"required": ["number"]})));
        assert!(other.schema.get().is_none());
        assert!(other.check(br#"{"id":1}"#).is_err());
        assert_eq!(described.check(br#"{"id":1}"#), Ok(()), "the former one is as it was");
    }

    #[test]
    fn a_schema_that_was_taken_before_its_kind_was_too_costly_goes_on() {
        let properties: serde_json::Map<String, serde_json::Value> =
            (0..300).map(|number| (format!("p{number}"), json!({"pattern": format!("^a{number}$")}))).collect();
        let schema = json!({ "properties": properties });
        assert!(Schema::compile(&schema).unwrap_err().is_costly);
        let stored = event_type(Some(schema));
        assert_eq!(stored.check(br#"{"p7":"a7"}"#), Ok(()));
        assert!(matches!(stored.check(br#"{"p7":"a8"}"#), Err(Unfit::Mismatch(_))));
    }
}
