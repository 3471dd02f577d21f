//! Where the topics of a source begin: worked out when it is written, so that no worker ever guesses. Pure.

use std::collections::BTreeMap;

use schemas::control::source::TopicStart;
use schemas::control::{SourceStart, TopicSource};
use schemas::ids::PositionId;
use schemas::problem::Code;

use super::cluster::{SeenTopics, TopicEdges};
use crate::problem::Problem;

/// What was found of the topics of a request, before it is decided.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoundStarts {
    /// Which topics there are.
    pub(crate) seen: SeenTopics,
    /// Of those that the source names: where they begin.
    pub(crate) edges: BTreeMap<String, TopicEdges>,
}

/// Lists the topics that are new to a source, and forgets those that it names no more. What it has named before stays where it is,
/// listed or not: a topic that came later and is read from its first record is not moved by a change of the source's name.
///
/// # Errors
/// 422 where a topic that it names is not there or may not be read, or an offset is none of its partition's.
pub(crate) fn begin(
    former: Option<&TopicSource>,
    source: &mut TopicSource,
    found: &FoundStarts,
    fresh: PositionId,
) -> Result<(), Problem> {
    let is_new = |topic: &str| former.is_none_or(|former| former.names(topic).is_none());
    for (topic, is_denied) in &found.seen.missing {
        if source.topics.contains(topic) && is_new(topic) {
            check_missing(source, topic, *is_denied)?;
        }
    }
    let mut starts = std::mem::take(&mut source.starts);
    starts.retain(|topic, _| source.names(topic).is_some());
    for (topic, edges) in &found.edges {
        if source.names(topic).is_some() && is_new(topic) {
            let offsets = offsets(topic, edges, &source.start, "start")?;
            let start = TopicStart { topic_id: edges.id, position_id: fresh, again: false, offsets };
            starts.insert(topic.clone(), start);
            source.position_id = fresh;
        }
    }
    source.starts = starts;
    Ok(())
}

/// Moves these topics of a source, or all of them, under new positions.
///
/// # Errors
/// 422 where an offset is none of its partition's.
pub(crate) fn moved(
    source: &mut TopicSource,
    found: &FoundStarts,
    (to, topics, again): (&SourceStart, Option<&[String]>, bool),
    fresh: PositionId,
) -> Result<(), Problem> {
    let asked = |topic: &str| {
        let named = match to {
            SourceStart::Offsets(of) => of.contains_key(topic),
            SourceStart::End | SourceStart::Beginning | SourceStart::TimeMs(_) => true,
        };
        named && topics.is_none_or(|topics| topics.iter().any(|it| it == topic))
    };
    let mut count = 0;
    for (topic, edges) in found.edges.iter().filter(|(topic, _)| asked(topic)) {
        if source.names(topic).is_none() {
            continue;
        }
        if let SourceStart::Offsets(of) = to {
            whole(topic, edges, of)?;
        }
        let offsets = offsets(topic, edges, to, "to")?;
        source.starts.insert(topic.clone(), TopicStart { topic_id: edges.id, position_id: fresh, again, offsets });
        count += 1;
    }
    let named = |name: &&String| !found.edges.contains_key(*name) || source.names(name).is_none();
    if let Some(unknown) = topics.into_iter().flatten().find(named) {
        let message = format!("`{unknown}` is no topic that this source reads");
        return Err(Problem::field("topics", Code::InvalidField, message));
    }
    if let SourceStart::Offsets(of) = to
        && let Some(unknown) = of.keys().find(|name| named(name))
    {
        let message = format!("`{unknown}` is no topic that this source reads");
        return Err(Problem::field("to", Code::InvalidField, message));
    }
    let is_whole = topics.is_none() && !matches!(to, SourceStart::Offsets(_));
    if is_whole {
        // Where it began in one that may not be looked at just now would be forgotten with those that are gone.
        if let Some((denied, _)) = found.seen.missing.iter().find(|(_, is_denied)| **is_denied) {
            check_missing(source, denied, true)?;
        }
        // Topics that are gone are forgotten, and one that comes after the move belongs to it.
        source.starts.retain(|_, it| it.position_id == fresh);
        (source.later_id, source.later_again) = (fresh, again);
    }
    if count > 0 || is_whole {
        source.position_id = fresh;
    }
    Ok(())
}

fn check_missing(source: &TopicSource, topic: &str, is_denied: bool) -> Result<(), Problem> {
    if is_denied {
        let message = format!(
            "Hookbus may not look at `{topic}`: allow Describe and Read on it (`hookbus acls --source-topic {topic}` prints how)"
        );
        return Err(Problem::field("topics", Code::InvalidField, message));
    }
    if source.wait_for_topic {
        return Ok(());
    }
    let message = format!("there is no topic `{topic}`: create it, correct the name, or set `wait_for_topic`");
    Err(Problem::field("topics", Code::InvalidField, message))
}

/// The first offset of each partition.
fn offsets(topic: &str, edges: &TopicEdges, start: &SourceStart, field: &str) -> Result<Vec<i64>, Problem> {
    let given = match start {
        SourceStart::Offsets(of) => of.get(topic),
        SourceStart::End | SourceStart::Beginning | SourceStart::TimeMs(_) => None,
    };
    let mut offsets: Vec<i64> = edges.offsets.iter().map(|(_, wanted, _)| *wanted).collect();
    for (partition, offset) in given.into_iter().flatten() {
        let wrong = |message: String| Problem::field(field, Code::InvalidField, message);
        let at = usize::try_from(*partition).unwrap_or(usize::MAX);
        let (Some(place), Some((first, _, next))) = (offsets.get_mut(at), edges.offsets.get(at)) else {
            let count = edges.offsets.len();
            return Err(wrong(format!("`{topic}` has no partition {partition}: it has {count}, from 0")));
        };
        if !(*first..=*next).contains(offset) {
            return Err(wrong(format!(
                "partition {partition} of `{topic}` has offsets {first} to {next}, not {offset}"
            )));
        }
        *place = *offset;
    }
    Ok(offsets)
}

/// A move to offsets says one for each partition: what is left out would have to stay where it is, which only its worker knows.
fn whole(topic: &str, edges: &TopicEdges, of: &BTreeMap<String, BTreeMap<i32, i64>>) -> Result<(), Problem> {
    let given = of.get(topic).map_or(0, BTreeMap::len);
    if given == edges.offsets.len() {
        return Ok(());
    }
    let message =
        format!("`{topic}` has {} partitions and {given} are given: give an offset for each", edges.offsets.len());
    Err(Problem::field("to", Code::InvalidField, message))
}

#[cfg(test)]
mod tests;
