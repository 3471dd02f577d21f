//! The schema registries of a snapshot. There are few of them (`MAX_REGISTRIES`), and whoever follows them wants all at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::control::SchemaRegistry;
use schemas::ids::SchemaRegistryId;

use super::Snapshot;

/// All schema registries by id. Cheap to keep: it is not copied until one changes.
pub type RegistryMap = Arc<BTreeMap<SchemaRegistryId, Arc<SchemaRegistry>>>;

/// The table.
#[derive(Debug, Default)]
pub(super) struct RegistryTable {
    all: RegistryMap,
    changes: u64,
}

// === impl Snapshot ===

impl Snapshot {
    /// All schema registries.
    #[must_use]
    pub fn schema_registries(&self) -> &RegistryMap {
        &self.registries.all
    }

    /// A schema registry by its id.
    #[must_use]
    pub fn schema_registry(&self, id: SchemaRegistryId) -> Option<&Arc<SchemaRegistry>> {
        self.registries.all.get(&id)
    }

    /// A schema registry by its id or uid.
    #[must_use]
    pub fn schema_registry_called(&self, id_or_uid: &str) -> Option<&Arc<SchemaRegistry>> {
        self.registries.all.values().find(|it| it.is_called(id_or_uid))
    }

    /// How many changes of schema registries were applied, so that who keeps [`Snapshot::schema_registries`] sees that it is old.
    #[must_use]
    pub fn registry_changes(&self) -> u64 {
        self.registries.changes
    }
}

// === impl RegistryTable ===

impl RegistryTable {
    pub(super) fn put(&mut self, registry: Arc<SchemaRegistry>) {
        Arc::make_mut(&mut self.all).insert(registry.schema_registry_id, registry);
        self.changes += 1;
    }

    pub(super) fn remove(&mut self, id: SchemaRegistryId) {
        if Arc::make_mut(&mut self.all).remove(&id).is_some() {
            self.changes += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::control::ControlObject;
    use schemas::record::{Headers, OutRecord};
    use uuid::Uuid;
    use vault::{EncryptionKey, Vault};

    use super::*;
    use crate::Catalog;

    fn record(registry: &SchemaRegistry, is_there: bool) -> OutRecord {
        let object = ControlObject::SchemaRegistry(Box::new(registry.clone()));
        OutRecord {
            topic: "control".into(),
            partition: None,
            key: Some(object.key().to_string().into()),
            value: is_there.then(|| object.encode().unwrap().into()),
            headers: Headers::default(),
        }
    }

    #[test]
    fn a_registry_is_kept_told_of_found_by_both_names_and_gone() {
        let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
        let catalog = Catalog::of([], vault);
        let empty = (catalog.read().weight(), catalog.read().digest());
        let (mut changed, mut sources) = (catalog.schema_registries_changed(), catalog.sources_changed());
        let id = SchemaRegistryId(Uuid::from_u128(5));
        let registry = SchemaRegistry { uid: Some("main".to_owned()), ..SchemaRegistry::new(id, "Main", 0) };
        catalog.feed([record(&registry, true)]);
        assert!(changed.has_changed().unwrap() && !sources.has_changed().unwrap());
        changed.borrow_and_update();
        sources.borrow_and_update();
        {
            let snapshot = catalog.read();
            assert_eq!(snapshot.undecodable(), 0);
            assert_eq!(snapshot.schema_registry(id).map(|it| &**it), Some(&registry));
            assert_eq!(snapshot.schema_registry_called("main").map(|it| it.schema_registry_id), Some(id));
            assert_eq!(snapshot.schema_registry_called(&id.to_string()).map(|it| it.schema_registry_id), Some(id));
            assert!(snapshot.schema_registry_called("Main").is_none());
            assert!(snapshot.weight() > empty.0);
        }
        let kept = catalog.schema_registries();
        catalog.feed([record(&registry, false)]);
        assert!(changed.has_changed().unwrap());
        assert_eq!((kept.len(), catalog.schema_registries().len()), (1, 0));
        assert_eq!((catalog.read().weight(), catalog.read().digest()), empty);
    }

    #[test]
    fn what_was_tried_out_is_taken_back() {
        let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
        let was = SchemaRegistry::new(SchemaRegistryId(Uuid::from_u128(5)), "was", 0);
        let new = SchemaRegistry { name: "new".to_owned(), ..was.clone() };
        let catalog = Catalog::of([ControlObject::SchemaRegistry(Box::new(was.clone()))], vault);
        catalog.rehearse(|it| {
            it.put(&ControlObject::SchemaRegistry(Box::new(new.clone()))).unwrap();
            assert_eq!(it.snapshot().schema_registry(new.schema_registry_id).map(|it| &**it), Some(&new));
        });
        assert_eq!(catalog.read().schema_registry(was.schema_registry_id).map(|it| &**it), Some(&was));
    }
}
