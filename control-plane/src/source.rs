//! A source between its JSON and its control object: what may be given, which topics it may read, where they begin.
//!
//! ```text
//! body --input--> SourceInput --apply--> TopicSource --topics (names)--> cluster: ids, first offsets --starts--> TopicSource
//!                                            |                                                                       |
//!                                            +-- rules: whose topics, read by whom; mapping: templates compile       v
//! [status] --health::sources--> status, show <------------------------------------------------------------------ the store
//! ```
//!
//! Kafka is asked before the write is decided, because a decision is pure: what begins at the end begins no later than where the end was
//! when the request came, so nothing that is written after the answer is missed.

pub(crate) mod cluster;
mod describe;
mod input;
mod mapping;
mod moves;
mod rules;
mod show;
mod starts;
mod status;
mod trial;

pub(crate) use cluster::ClusterTopics;
pub(crate) use describe::shapes;
#[cfg(test)]
pub(crate) use input::FIELDS;
pub(crate) use input::SourceInput;
pub(crate) use mapping::{check as check_mapping, mapping_problem};
pub(crate) use moves::MoveInput;
pub(crate) use rules::{allowed_patterns, check_room, check_topics};
pub(crate) use show::{SourcePartitionShown, SourceShown};
pub(crate) use starts::{FoundStarts, begin, moved};
pub(crate) use trial::{SourceTrialShown, TrialEvent, TrialRecord};
