//! The sources of a snapshot. There are few of them (`sources.max_sources`), and whoever follows them wants all at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use schemas::control::TopicSource;
use schemas::ids::{OrganizationId, SourceId};

use super::Snapshot;

/// All sources by id. Cheap to keep: it is not copied until one changes.
pub type SourceMap = Arc<BTreeMap<SourceId, Arc<TopicSource>>>;

/// The source that reads a topic: the one that names it most exactly, enabled or not; of two that name it alike the older one.
#[must_use]
pub fn source_of_topic<'a>(sources: &'a SourceMap, topic: &str) -> Option<&'a Arc<TopicSource>> {
    let naming = sources.values().rev().filter_map(|source| Some((source.names(topic)?, source)));
    naming.max_by_key(|(by, _)| *by).map(|(_, source)| source)
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct SourceTable {
    all: SourceMap,
    of_organization: HashMap<OrganizationId, BTreeSet<SourceId>>,
    changes: u64,
}

// === impl Snapshot ===

impl Snapshot {
    /// All sources.
    #[must_use]
    pub fn sources(&self) -> &SourceMap {
        &self.sources.all
    }

    /// A source by its id.
    #[must_use]
    pub fn source(&self, id: SourceId) -> Option<&Arc<TopicSource>> {
        self.sources.all.get(&id)
    }

    /// A source of an organization, by its id or uid.
    #[must_use]
    pub fn source_in(&self, organization: OrganizationId, id_or_uid: &str) -> Option<&Arc<TopicSource>> {
        self.sources_of_after(organization, None).find(|it| it.is_called(id_or_uid))
    }

    /// The sources of an organization whose ids come after this one.
    pub fn sources_of_after(
        &self,
        organization: OrganizationId,
        after: Option<SourceId>,
    ) -> impl Iterator<Item = &Arc<TopicSource>> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let ids = self.sources.of_organization.get(&organization).into_iter().flat_map(move |ids| ids.range(range));
        ids.filter_map(|id| self.sources.all.get(id))
    }

    /// Number of sources of an organization.
    #[must_use]
    pub fn source_count(&self, organization: OrganizationId) -> usize {
        self.sources.of_organization.get(&organization).map_or(0, BTreeSet::len)
    }

    /// How many changes of sources were applied, so that who keeps [`Snapshot::sources`] sees that it is old.
    #[must_use]
    pub fn source_changes(&self) -> u64 {
        self.sources.changes
    }
}

// === impl SourceTable ===

impl SourceTable {
    pub(super) fn put(&mut self, source: Arc<TopicSource>) {
        self.remove(source.source_id);
        self.of_organization.entry(source.organization_id).or_default().insert(source.source_id);
        Arc::make_mut(&mut self.all).insert(source.source_id, source);
        self.changes += 1;
    }

    pub(super) fn remove(&mut self, id: SourceId) {
        let Some(former) = Arc::make_mut(&mut self.all).remove(&id) else { return };
        self.changes += 1;
        if let Some(ids) = self.of_organization.get_mut(&former.organization_id) {
            ids.remove(&id);
            if ids.is_empty() {
                self.of_organization.remove(&former.organization_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::control::{ControlObject, SourceFormat};
    use schemas::ids::PositionId;
    use schemas::record::{Headers, OutRecord};
    use uuid::Uuid;
    use vault::{EncryptionKey, Vault};

    use super::*;
    use crate::Catalog;

    const OWNER: OrganizationId = OrganizationId(Uuid::from_u128(1));

    fn source(id: u128, owner: OrganizationId, uid: &str) -> TopicSource {
        let position = PositionId(Uuid::from_u128(7));
        let new = TopicSource::new(SourceId(Uuid::from_u128(id)), owner, "one", SourceFormat::Json, position, 0);
        TopicSource { uid: Some(uid.to_owned()), topics: vec!["crm.orders".to_owned()], ..new }
    }

    fn record(object: &ControlObject, is_there: bool) -> OutRecord {
        OutRecord {
            topic: "control".into(),
            partition: None,
            key: Some(object.key().to_string().into()),
            value: is_there.then(|| object.encode().unwrap().into()),
            headers: Headers::default(),
        }
    }

    fn catalog() -> Catalog {
        let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
        Catalog::of([], vault)
    }

    #[test]
    fn sources_are_found_by_what_they_are_called_and_by_whose_they_are() {
        let (catalog, other) = (catalog(), OrganizationId(Uuid::from_u128(2)));
        let all = [source(1, OWNER, "a"), source(2, other, "a"), source(3, OWNER, "b")];
        let objects = all.clone().map(|it| ControlObject::Source(Box::new(it)));
        catalog.feed(objects.iter().map(|it| record(it, true)));
        let snapshot = catalog.read();
        let found = |owner, name: &str| snapshot.source_in(owner, name).map(|it| it.source_id.0.as_u128());
        assert_eq!((found(OWNER, "a"), found(other, "a"), found(other, "b")), (Some(1), Some(2), None));
        assert_eq!(found(OWNER, &all[2].source_id.to_string()), Some(3));
        assert_eq!(found(OWNER, &all[1].source_id.to_string()), None, "another's");
        let after = snapshot.sources_of_after(OWNER, Some(all[0].source_id)).map(|it| it.source_id.0.as_u128());
        assert_eq!(after.collect::<Vec<_>>(), [3]);
        assert_eq!((snapshot.source_count(OWNER), snapshot.source_count(other)), (2, 1));
        assert!(snapshot.weight() > 0);
    }

    #[test]
    fn whoever_follows_sources_is_told_of_their_changes_alone_and_keeps_what_was() {
        let catalog = catalog();
        let mut changed = catalog.sources_changed();
        let first = ControlObject::Source(Box::new(source(1, OWNER, "a")));
        catalog.feed([record(&first, true)]);
        assert!(changed.has_changed().unwrap());
        changed.borrow_and_update();
        let kept = catalog.sources();

        let organization = schemas::control::Organization::new(OWNER, "one", 0);
        let weight = || catalog.read().weight_of(crate::weights::WeightOwner::Organization(OWNER));
        let with_source = weight();
        catalog.feed([record(&ControlObject::Organization(organization), true)]);
        let before = weight() - with_source;
        assert!(!changed.has_changed().unwrap(), "no source has changed");

        catalog.feed([record(&first, false)]);
        assert!(changed.has_changed().unwrap());
        assert_eq!((kept.len(), catalog.sources().len()), (1, 0));
        assert_eq!((catalog.read().source_count(OWNER), weight()), (0, before), "its weight goes with it");
    }

    #[test]
    fn the_most_exact_name_reads_a_topic_and_of_two_alike_the_older_one() {
        let of = |id, topics: &[&str], is_enabled| {
            let topics = topics.iter().map(|it| (*it).to_owned()).collect();
            let new = TopicSource { topics, is_enabled, ..source(id, OWNER, "a") };
            (new.source_id, Arc::new(new))
        };
        let all = [
            of(1, &["crm.*"], true),
            of(2, &["crm.orders*"], true),
            of(3, &["crm.orders.new"], false),
            of(4, &["crm.*", "crm.orders.new"], true),
        ];
        let sources: SourceMap = Arc::new(all.into_iter().collect());
        let reader = |topic| source_of_topic(&sources, topic).map(|it| it.source_id.0.as_u128());
        assert_eq!(
            ["crm.users", "crm.orders.old", "crm.orders.new", "erp"].map(reader),
            [Some(1), Some(2), Some(3), None]
        );
    }

    #[test]
    fn what_was_tried_out_is_taken_back() {
        let catalog = catalog();
        let (was, new) = (source(1, OWNER, "a"), TopicSource { is_paused: true, ..source(1, OWNER, "b") });
        catalog.feed([record(&ControlObject::Source(Box::new(was.clone())), true)]);
        let before = (catalog.read().digest(), catalog.read().weight());
        catalog.rehearse(|it| {
            it.put(&ControlObject::Source(Box::new(new.clone()))).unwrap();
            assert_eq!(**it.snapshot().source(was.source_id).unwrap(), new);
        });
        assert_eq!(**catalog.read().source(was.source_id).unwrap(), was);
        assert_eq!((catalog.read().digest(), catalog.read().weight()), before);
    }
}
