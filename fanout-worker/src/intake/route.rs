//! Which source reads which topic: an exact name before a prefix, a longer prefix before a shorter one. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use catalog::SourceMap;
use kafka::{FoundTopics, KafkaError};
use schemas::control::TopicSource;
use schemas::control::source::{NamedBy, PartitionStart};
use schemas::ids::{OrganizationId, SourceId};
use schemas::record::{Record, TopicPartition};
use schemas::status::SourceFailure;
use sources::schema::{SchemaKey, SchemaLookup};
use sources::{Against, Event, Mapped, Mapping, MappingError, Rejection};
use tracing::warn;
use uuid::Uuid;

use super::health::failure;

/// What Kafka's own topics begin with.
const INTERNAL: &str = "__";

/// What a record of a source is.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are events, and none is kept: a box would be one for each record"
)]
pub(crate) enum SourceReading<'a> {
    Event(Event<'a>),
    /// None of its events, for this reason.
    Skipped(&'static str),
    /// Nobody can tell for now, whatever the record says.
    Held(SourceFailure),
    /// Nobody can tell before this schema is here.
    Awaits(SchemaKey),
}

/// A source, and what its records become.
#[derive(Debug)]
pub(crate) struct SourceRoute {
    source: Arc<TopicSource>,
    /// The application that it names itself, whatever its records say.
    application: Option<String>,
    /// What it says of its records; an error: a newer build wrote it.
    mapping: Result<Mapping, MappingError>,
    /// Most bytes that a record is decoded to.
    decoded_limit: usize,
}

/// The topics of all sources.
#[derive(Debug, Default)]
pub(crate) struct SourceRoutes {
    of: BTreeMap<SourceId, Arc<SourceRoute>>,
    by_topic: BTreeMap<Arc<str>, Arc<SourceRoute>>,
    /// Topics that a source names and that cannot be read, and why.
    missing: BTreeMap<SourceId, BTreeMap<Arc<str>, KafkaError>>,
}

/// What bounds the routes.
#[derive(Clone, Debug)]
pub(crate) struct RouteLimits {
    /// What our own topics begin with.
    pub(crate) own_prefix: String,
    /// Partitions of all sources together.
    pub(crate) partitions: usize,
    /// Bytes that a record is decoded to.
    pub(crate) decoded: usize,
}

// === impl SourceRoute ===

impl SourceRoute {
    pub(crate) fn new(source: Arc<TopicSource>, decoded_limit: usize) -> Self {
        let is_fixed = |template: &&String| !template.contains(['{', '}']);
        let application = source.application.as_ref().filter(is_fixed).cloned();
        let mapping = Mapping::compile(&source);
        if let Err(error) = &mapping {
            warn!(source = %source.source_id, field = error.field, %error, "a source's definition cannot be used: its topics wait");
        }
        Self { source, application, mapping, decoded_limit }
    }

    /// Whether it is the route of this source, as that is now.
    pub(crate) fn is_of(&self, source: &Arc<TopicSource>) -> bool {
        Arc::ptr_eq(&self.source, source)
    }

    pub(crate) fn source_id(&self) -> SourceId {
        self.source.source_id
    }

    /// Whose it is: its events go to this organization's applications.
    pub(crate) fn organization(&self) -> OrganizationId {
        self.source.organization_id
    }

    /// The application that a record means, by id or uid, as far as it can be told.
    pub(crate) fn application_of<'a>(&'a self, record: &'a Record, from: &'a TopicPartition) -> Option<Cow<'a, str>> {
        self.mapping.as_ref().ok()?.named_application(record, from)
    }

    /// Whether it names the application of all its records.
    pub(crate) fn names_application(&self) -> bool {
        self.application.is_some()
    }

    /// Whether none of it is read for now. What is disabled is owned like what is paused: Kafka forgets within a week what was
    /// committed of a topic that nobody of the group reads.
    pub(crate) fn is_paused(&self) -> bool {
        self.source.is_paused || !self.source.is_enabled
    }

    /// Where a partition begins.
    pub(crate) fn begins(&self, partition: &TopicPartition, topic_id: Uuid) -> PartitionStart {
        self.source.begins(&partition.topic, topic_id, partition.partition)
    }

    /// What a record is, by the schemas that are here.
    ///
    /// # Errors
    /// Why it is no event.
    pub(crate) fn read<'a>(
        &'a self,
        record: &'a Record,
        from: &'a TopicPartition,
        schemas: &dyn SchemaLookup,
    ) -> Result<SourceReading<'a>, Rejection> {
        let mapping = match &self.mapping {
            Ok(mapping) => mapping,
            Err(error) => {
                let why = format!("`{}` of the source {error}", error.field);
                return Ok(SourceReading::Held(failure("invalid_source", &why)));
            }
        };
        match mapping.map(record, from, Against { schemas, decoded_limit: self.decoded_limit }) {
            Mapped::Event(event) => Ok(SourceReading::Event(event)),
            Mapped::Skipped(reason) => Ok(SourceReading::Skipped(reason.as_str())),
            Mapped::Rejected(rejection) => Err(rejection),
            Mapped::NeedsSchema(key) => Ok(SourceReading::Awaits(key)),
        }
    }
}

// === impl SourceRoutes ===

impl SourceRoutes {
    /// The routes of these sources over these topics. What a former route's source still is keeps it.
    pub(crate) fn of_sources(sources: &SourceMap, found: &FoundTopics, limits: &RouteLimits, former: &Self) -> Self {
        let kept = |source: &Arc<TopicSource>| {
            let former = former.of.get(&source.source_id).filter(|it| Arc::ptr_eq(&it.source, source));
            former.cloned().unwrap_or_else(|| Arc::new(SourceRoute::new(Arc::clone(source), limits.decoded)))
        };
        let all: BTreeMap<SourceId, Arc<SourceRoute>> = sources.values().map(|it| (it.source_id, kept(it))).collect();
        // Of all: what a disabled source has is read by nobody else. Another one's prefix would begin there months back.
        let patterns = Patterns::of(all.values());
        let is_enabled = |route: &Arc<SourceRoute>| route.source.is_enabled;
        let mut routes = Self::default();
        let is_ours = |topic: &str| topic.starts_with(INTERNAL) || topic.starts_with(&limits.own_prefix);
        let theirs = found.there.iter().filter(|(topic, _)| !is_ours(topic));
        let mut wanted: Vec<_> =
            theirs.filter_map(|(topic, partitions)| Some((topic, partitions, patterns.reader(topic)?))).collect();
        // Whoever is read stays, whatever others come; what is disabled needs its room less. Stable: then by name.
        let was_read = |topic: &str, route: &SourceRoute| {
            former.of(topic).is_some_and(|former| former.source_id() == route.source_id())
        };
        wanted.sort_by_key(|(topic, _, route)| (!was_read(topic, route), !is_enabled(route)));
        let mut room = limits.partitions;
        for (topic, partitions, route) in wanted {
            let route = Arc::clone(route);
            if let Some(left) = room.checked_sub(*partitions) {
                room = left;
                routes.by_topic.insert(Arc::clone(topic), route);
            } else if is_enabled(&route) {
                let reason = format!("sources.max_partitions allows {} of all sources together", limits.partitions);
                let error = KafkaError::Invalid { what: "number of partitions", reason };
                routes.missing.entry(route.source_id()).or_default().insert(Arc::clone(topic), error);
            }
        }
        for (topic, why) in &found.missing {
            let is_awaited =
                |it: &&&Arc<SourceRoute>| it.source.wait_for_topic && matches!(why, KafkaError::NoTopic { .. });
            if let Some(route) = patterns.exact.get(&**topic).filter(|it| is_enabled(it) && !is_awaited(it)) {
                routes.missing.entry(route.source_id()).or_default().insert(Arc::clone(topic), why.clone());
            }
        }
        Self { of: all, ..routes }
    }

    /// What reads a topic.
    pub(crate) fn of(&self, topic: &str) -> Option<&Arc<SourceRoute>> {
        self.by_topic.get(topic)
    }

    /// Whether there is such a source, and it is enabled.
    pub(crate) fn has(&self, source: SourceId) -> bool {
        self.of.get(&source).is_some_and(|route| route.source.is_enabled)
    }

    /// The topics that are owned, sorted: those that are read, and those that stand still.
    pub(crate) fn names(&self) -> Vec<String> {
        self.by_topic.keys().map(|topic| topic.to_string()).collect()
    }

    /// Topics that a source names and that cannot be read.
    pub(crate) fn missing(&self) -> &BTreeMap<SourceId, BTreeMap<Arc<str>, KafkaError>> {
        &self.missing
    }

    /// Whether both lead everywhere to the same, and fail of the same.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let same = |one: &Arc<SourceRoute>, two: &Arc<SourceRoute>| Arc::ptr_eq(one, two);
        self.of.len() == other.of.len()
            && self.of.values().zip(other.of.values()).all(|(one, two)| same(one, two))
            && self.by_topic.len() == other.by_topic.len()
            && self.by_topic.iter().zip(&other.by_topic).all(|(one, two)| one.0 == two.0 && same(one.1, two.1))
            && format!("{:?}", self.missing) == format!("{:?}", other.missing)
    }

    /// The topics that sources name outright, for a look at the cluster.
    pub(crate) fn named(sources: &SourceMap) -> Vec<String> {
        let names = sources.values().flat_map(|it| &it.topics).filter(|name| !name.ends_with('*'));
        names.cloned().collect::<BTreeSet<String>>().into_iter().collect()
    }
}

/// The sources by what they name.
struct Patterns<'a> {
    exact: BTreeMap<&'a str, &'a Arc<SourceRoute>>,
    /// Longest first.
    prefixes: Vec<(&'a str, &'a Arc<SourceRoute>)>,
}

impl<'a> Patterns<'a> {
    fn of(routes: impl Iterator<Item = &'a Arc<SourceRoute>>) -> Self {
        let (mut exact, mut prefixes) = (BTreeMap::new(), Vec::new());
        for route in routes {
            for name in &route.source.topics {
                match name.strip_suffix('*') {
                    Some(prefix) => prefixes.push((prefix, route)),
                    // The control plane lets nobody name a topic that another one names; the older one keeps it.
                    None => {
                        exact.entry(name.as_str()).or_insert(route);
                    }
                }
            }
        }
        prefixes.sort_by(|one, two| two.0.len().cmp(&one.0.len()).then(one.0.cmp(two.0)));
        Self { exact, prefixes }
    }

    fn reader(&self, topic: &str) -> Option<&'a Arc<SourceRoute>> {
        let by_name = self.exact.get(topic).copied().filter(|it| it.source.names(topic) == Some(NamedBy::Exact));
        let by_prefix = || {
            let naming = self.prefixes.iter().filter(|(prefix, _)| topic.starts_with(prefix));
            naming.map(|(_, route)| *route).find(|route| route.source.names(topic).is_some())
        };
        by_name.or_else(by_prefix)
    }
}

#[cfg(test)]
mod tests {
    use schemas::control::SourceFormat;
    use schemas::ids::PositionId;

    use super::*;

    fn source(id: u128, topics: &[&str]) -> (SourceId, Arc<TopicSource>) {
        let (organization, position) = (OrganizationId(Uuid::from_u128(9)), PositionId(Uuid::from_u128(id)));
        let id = SourceId(Uuid::from_u128(id));
        let new = TopicSource::new(id, organization, "one", SourceFormat::Cloudevents, position, 0);
        (id, Arc::new(TopicSource { topics: topics.iter().map(|it| (*it).to_owned()).collect(), ..new }))
    }

    fn found(topics: &[&str]) -> FoundTopics {
        let there = topics.iter().map(|topic| (Arc::from(*topic), 4)).collect();
        FoundTopics { there, missing: BTreeMap::new() }
    }

    fn limits() -> RouteLimits {
        RouteLimits { own_prefix: "hookbus.".to_owned(), partitions: 20, decoded: 1_000 }
    }

    fn readers(routes: &SourceRoutes) -> Vec<(&str, u128)> {
        routes.by_topic.iter().map(|(topic, route)| (&**topic, route.source_id().0.as_u128())).collect()
    }

    #[test]
    fn the_most_exact_name_reads_a_topic_and_nobody_reads_ours_or_kafkas() {
        let disabled = {
            let (id, source) = source(4, &["crm.orders"]);
            (id, Arc::new(TopicSource { is_enabled: false, ..(*source).clone() }))
        };
        let all = [
            source(1, &["crm.*", "hoo*", "__c*"]),
            source(2, &["crm.orders*"]),
            source(3, &["crm.orders.new"]),
            disabled,
        ];
        let sources: SourceMap = Arc::new(all.into_iter().collect());
        let topics =
            found(&["__consumer_offsets", "crm.orders", "crm.orders.new", "crm.users", "erp", "hookbus.events"]);
        let routes = SourceRoutes::of_sources(&sources, &topics, &limits(), &SourceRoutes::default());
        let read = [("crm.orders", 4), ("crm.orders.new", 3), ("crm.users", 1)];
        assert_eq!(readers(&routes), read, "a disabled source keeps its topic");
        assert!(routes.of("crm.orders").unwrap().is_paused(), "and its place in it");
        assert_eq!(SourceRoutes::named(&sources), ["crm.orders", "crm.orders.new"]);
    }

    #[test]
    fn topics_beyond_the_limit_are_not_read_and_their_source_says_so() {
        let sources: SourceMap = Arc::new([source(1, &["a.b*"])].into_iter().collect());
        let topics: Vec<String> = (0..7).map(|number| format!("a.b{number}")).collect();
        let topics = found(&topics.iter().map(String::as_str).collect::<Vec<_>>());
        let routes = SourceRoutes::of_sources(&sources, &topics, &limits(), &SourceRoutes::default());
        assert_eq!(routes.names().len(), 5);
        let missing = &routes.missing()[&SourceId(Uuid::from_u128(1))];
        assert_eq!(missing.keys().map(|topic| &**topic).collect::<Vec<_>>(), ["a.b5", "a.b6"]);
    }

    #[test]
    fn what_has_not_changed_is_the_same_route_and_news_are_seen() {
        let sources: SourceMap = Arc::new([source(1, &["crm.*"]), source(2, &["erp"])].into_iter().collect());
        let topics = found(&["crm.a", "erp"]);
        let first = SourceRoutes::of_sources(&sources, &topics, &limits(), &SourceRoutes::default());
        let again = SourceRoutes::of_sources(&sources, &topics, &limits(), &first);
        assert!(first.is_like(&again));
        let grown = SourceRoutes::of_sources(&sources, &found(&["crm.a", "crm.b", "erp"]), &limits(), &again);
        assert!(!again.is_like(&grown));
        let mut changed = sources;
        Arc::make_mut(&mut changed).extend([source(2, &["erp"])]);
        let changed = SourceRoutes::of_sources(&changed, &topics, &limits(), &again);
        assert!(!again.is_like(&changed) && Arc::ptr_eq(again.of("crm.a").unwrap(), changed.of("crm.a").unwrap()));
    }

    #[test]
    fn a_topic_that_is_named_and_missing_is_its_sources_failure() {
        let sources: SourceMap = Arc::new([source(1, &["crm.orders", "crm.*"])].into_iter().collect());
        let mut topics = found(&["crm.users"]);
        let why = KafkaError::NoTopic { topic: Arc::from("crm.orders") };
        topics.missing.insert(Arc::from("crm.orders"), why);
        let routes = SourceRoutes::of_sources(&sources, &topics, &limits(), &SourceRoutes::default());
        assert_eq!(routes.names(), ["crm.users"]);
        assert!(routes.missing()[&SourceId(Uuid::from_u128(1))].contains_key("crm.orders"));
        let mut waits = (*sources[&SourceId(Uuid::from_u128(1))]).clone();
        waits.wait_for_topic = true;
        let waits: SourceMap = Arc::new([(waits.source_id, Arc::new(waits))].into_iter().collect());
        let routes = SourceRoutes::of_sources(&waits, &topics, &limits(), &routes);
        assert!(routes.missing().is_empty(), "that is no failure where it is waited for");
    }

    #[test]
    fn what_is_read_keeps_its_room_and_what_is_disabled_its_place() {
        let sources: SourceMap = Arc::new([source(1, &["m.*"])].into_iter().collect());
        let topics = ["m.a", "m.b", "m.c", "m.d", "m.e"];
        let first = SourceRoutes::of_sources(&sources, &found(&topics), &limits(), &SourceRoutes::default());
        assert_eq!(first.names(), topics);
        let grown = found(&[&["b"], &topics[..]].concat());
        let sources: SourceMap = Arc::new([source(1, &["m.*"]), source(2, &["b*"])].into_iter().collect());
        let grown = SourceRoutes::of_sources(&sources, &grown, &limits(), &first);
        assert_eq!(grown.names(), topics, "a name that sorts before them displaces nothing");
    }
}
