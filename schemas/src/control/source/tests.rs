//! Golden records, which source reads a topic, and where partitions begin.

use super::*;
use crate::control::{ControlKey, ControlObject};

fn source(topics: &[&str], exclude: &[&str]) -> TopicSource {
    let texts = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
    let (id, owner) = (SourceId(Uuid::from_u128(1)), OrganizationId(Uuid::from_u128(2)));
    let new = TopicSource::new(id, owner, "orders", SourceFormat::Json, PositionId(Uuid::from_u128(3)), 0);
    TopicSource { topics: texts(topics), exclude: texts(exclude), ..new }
}

#[test]
fn golden_sources_of_version_1_decode_and_encode_to_themselves() {
    for line in include_str!("../../../golden/source.v1.txt").lines() {
        let decoded: TopicSource = serde_json::from_str(line).unwrap();
        let object = ControlObject::Source(Box::new(decoded));
        assert_eq!(String::from_utf8(object.encode().unwrap()).unwrap(), line);
        let key = ControlKey::parse(&object.key().to_string()).unwrap();
        assert_eq!(ControlObject::decode(&key, line.as_bytes()).unwrap(), object);
    }
}

#[test]
fn every_format_has_its_word() {
    for format in SourceFormat::ALL {
        assert_eq!(serde_json::to_value(format).unwrap(), format.as_str());
    }
}

#[test]
fn a_name_is_more_exact_than_a_prefix_and_a_long_prefix_than_a_short_one() {
    let source = source(&["crm.*", "crm.orders.*", "crm.orders.new"], &[]);
    assert_eq!(source.names("crm.orders.new"), Some(NamedBy::Exact));
    assert_eq!(source.names("crm.orders.old"), Some(NamedBy::Prefix(11)));
    assert_eq!(source.names("crm.users"), Some(NamedBy::Prefix(4)));
    assert_eq!(source.names("erp.users"), None);
    assert!(NamedBy::Exact > NamedBy::Prefix(249));
}

#[test]
fn what_is_left_out_is_left_out_unless_it_is_named_outright() {
    let source = source(&["crm.*", "crm.internal.audit"], &["crm.internal*", "crm.users"]);
    assert_eq!(source.names("crm.internal.log"), None);
    assert_eq!(source.names("crm.users"), None);
    assert_eq!(source.names("crm.internal.audit"), Some(NamedBy::Exact));
    assert_eq!(source.names("crm.orders"), Some(NamedBy::Prefix(4)));
}

#[test]
fn what_came_later_begins_at_its_first_record() {
    let (topic_id, moved) = (Uuid::from_u128(7), PositionId(Uuid::from_u128(8)));
    let mut source = source(&["crm.*"], &[]);
    let start = TopicStart { topic_id, position_id: moved, again: true, offsets: vec![12, 0] };
    source.starts.insert("crm.orders".to_owned(), start);
    let at = |offset| PartitionStart { position_id: moved, offset, again: true };
    assert_eq!(source.begins("crm.orders", topic_id, 0), at(Some(12)));
    assert_eq!(source.begins("crm.orders", topic_id, 2), at(None), "the topic was grown");
    let later = PartitionStart { position_id: source.later_id, offset: None, again: false };
    assert_eq!(source.begins("crm.users", topic_id, 0), later, "it is not listed");
    assert_eq!(source.begins("crm.orders", Uuid::from_u128(9), 0), later, "it is another topic of that name");
}
