//! Which topics a source may name, and which of two sources reads a topic.

use catalog::Snapshot;
use chassis::config::SourcesConfig;
use schemas::control::source::{MAX_LISTED_PARTITIONS, MAX_SOURCE_TOPICS, MIN_PREFIX};
use schemas::control::{Organization, TopicSource};
use schemas::problem::{Code, ProblemId};

use crate::auth::{Principal, Who};
use crate::problem::Problem;

/// Longest name of a topic, as Kafka has it.
const MAX_TOPIC: usize = 249;
/// What Kafka's own topics begin with.
const INTERNAL: &str = "__";

/// Names and prefixes of topics, each fit to be one and given once.
pub(crate) fn patterns(field: &str, given: Vec<String>) -> Result<Vec<String>, Problem> {
    let wrong = |message: String| Problem::field(field, Code::InvalidField, message);
    if given.len() > MAX_SOURCE_TOPICS {
        return Err(wrong(format!("has more than {MAX_SOURCE_TOPICS} entries")));
    }
    for (at, name) in given.iter().enumerate() {
        let shown: String = name.chars().take(100).collect();
        let (text, is_prefix) = name.strip_suffix('*').map_or((name.as_str(), false), |text| (text, true));
        if is_prefix && text.len() < MIN_PREFIX {
            return Err(wrong(format!("`{shown}`: a prefix has at least {MIN_PREFIX} characters before its `*`")));
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !(1..=MAX_TOPIC).contains(&text.len()) || !text.bytes().all(fits) || matches!(text, "." | "..") {
            return Err(wrong(format!(
                "`{shown}` is no name of a topic: 1 to {MAX_TOPIC} of `A-Za-z0-9._-`, and one `*` at its end for a prefix"
            )));
        }
        if given[..at].contains(name) {
            return Err(wrong(format!("`{shown}` is given twice")));
        }
    }
    Ok(given)
}

/// The same of what an organization's own tokens may read; `*` alone is everything.
pub(crate) fn allowed_patterns(field: &str, given: Vec<String>) -> Result<Vec<String>, Problem> {
    if given == ["*"] { Ok(given) } else { patterns(field, given) }
}

/// Whether a source may name these topics beside all others there are: none of our own, none of Kafka's, none that another one
/// names in the same words, and for an organization's token none that it may not read.
pub(crate) fn check_topics(
    snapshot: &Snapshot,
    principal: &Principal,
    own_prefix: &str,
    (former, source): (Option<&TopicSource>, &TopicSource),
) -> Result<(), Problem> {
    let wrong = |message: String| Err(Problem::field("topics", Code::InvalidField, message));
    if source.topics.is_empty() {
        return wrong("needs at least one name of a topic, or a prefix that ends in `*`".to_owned());
    }
    for name in &source.topics {
        let text = name.strip_suffix('*').unwrap_or(name);
        let is_prefix = text.len() < name.len();
        if text.starts_with(own_prefix) || is_prefix && own_prefix.starts_with(text) {
            return wrong(format!("`{name}` names topics of Hookbus itself, which begin with `{own_prefix}`"));
        }
        if text.starts_with(INTERNAL) {
            return wrong(format!("`{name}` names topics that are Kafka's own"));
        }
        let is_new = former.is_none_or(|former| !former.topics.contains(name));
        if is_new && !may_read(snapshot, principal, source, name) {
            let message = format!(
                "`{name}` is not among the topics that this organization's tokens may read: the operator sets `source_topics` of \
                 the organization, or makes the source"
            );
            return Err(Problem::field("topics", Code::InvalidField, message).with_status(403));
        }
        check_free(snapshot, principal, source, name)?;
    }
    let former_exclude = former.map_or(&[][..], |former| &former.exclude);
    for name in former_exclude {
        let is_excluded = source.exclude.iter().any(|it| covers(it, name));
        if !is_excluded && !may_read(snapshot, principal, source, name) {
            let message = format!(
                "has no `{name}` any more, which is not among the topics that this organization's tokens may read: the operator \
                 takes it out, or sets `source_topics` of the organization"
            );
            return Err(Problem::field("exclude", Code::InvalidField, message).with_status(403));
        }
    }
    if let Some(both) = source.topics.iter().find(|it| source.exclude.contains(it)) {
        return wrong(format!("`{both}` is in `exclude` too"));
    }
    Ok(())
}

/// No other source names it in the same words.
fn check_free(snapshot: &Snapshot, principal: &Principal, source: &TopicSource, name: &String) -> Result<(), Problem> {
    let mut others = snapshot.sources().values().filter(|it| it.source_id != source.source_id);
    let Some(other) = others.find(|it| it.topics.contains(name)) else { return Ok(()) };
    let whose = if principal.sees_organization(other.organization_id) {
        format!("source {} ({})", other.name, other.source_id)
    } else {
        "a source of another organization".to_owned()
    };
    let message = format!("`{name}` is read by {whose}: a topic is read by one source");
    Err(Problem::field("topics", Code::TopicTaken, message))
}

fn may_read(snapshot: &Snapshot, principal: &Principal, source: &TopicSource, name: &str) -> bool {
    if matches!(principal.who, Who::Admin) {
        return true;
    }
    let organization = snapshot.organization(source.organization_id);
    organization.is_some_and(|it| allows(it, name))
}

/// Whether everything that this names is among what an organization's tokens may read.
pub(crate) fn allows(organization: &Organization, name: &str) -> bool {
    organization.source_topics.iter().any(|allowed| covers(allowed, name))
}

/// Whether a name or prefix of topics names everything that another one does.
fn covers(all: &str, name: &str) -> bool {
    match all.strip_suffix('*') {
        Some(prefix) => name.strip_suffix('*').unwrap_or(name).starts_with(prefix),
        None => all == name,
    }
}

/// Refuses one more source, or one with more partitions than are left for all of them.
pub(crate) fn check_room(
    snapshot: &Snapshot,
    config: &SourcesConfig,
    is_new: bool,
    source: &TopicSource,
) -> Result<(), Problem> {
    let reached = |detail: String| Problem::new(ProblemId::Validation, detail).with_code(Code::LimitReached);
    if is_new && snapshot.sources().len() >= config.max_sources {
        return Err(reached(format!("this instance has at most {} sources", config.max_sources)));
    }
    let listed = |it: &TopicSource| it.starts.values().map(|start| start.offsets.len()).sum::<usize>();
    let own = listed(source);
    if own > MAX_LISTED_PARTITIONS {
        let detail =
            format!("its topics have {own} partitions, one source lists at most {MAX_LISTED_PARTITIONS}: split it");
        return Err(reached(detail));
    }
    let others = snapshot.sources().values().filter(|it| it.source_id != source.source_id);
    let all = own + others.map(|it| listed(it)).sum::<usize>();
    if all > config.max_partitions {
        let limit = config.max_partitions;
        return Err(reached(format!(
            "the topics of all sources would have {all} partitions, this instance reads at most {limit} (`sources.max_partitions`)"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[&str]) -> Result<Vec<String>, Problem> {
        patterns("topics", given.iter().map(|it| (*it).to_owned()).collect())
    }

    #[test]
    fn what_is_no_name_of_a_topic_is_named() {
        assert!(read(&["crm.orders", "crm.*", "a"]).is_ok());
        for bad in ["", "*", "ab*", "a b", "crm.*.x", "crm.**", "..", "\u{e9}", &"x".repeat(250)] {
            assert_eq!(read(&[bad]).unwrap_err().status, 422, "{bad}");
        }
        assert!(read(&["a", "a"]).unwrap_err().detail.contains("twice"));
    }

    #[test]
    fn a_prefix_is_allowed_by_a_prefix_that_is_no_longer() {
        let mut organization = Organization::new(schemas::ids::OrganizationId(uuid::Uuid::nil()), "one", 0);
        assert!(!allows(&organization, "crm.orders"), "nothing is allowed unless it is");
        organization.source_topics = vec!["crm.*".to_owned(), "erp.bookings".to_owned()];
        for good in ["crm.orders", "crm.*", "crm.orders.*", "erp.bookings"] {
            assert!(allows(&organization, good), "{good}");
        }
        for bad in ["crm*", "erp.*", "erp.bookings.x", "cr.x", "erp.bookings*"] {
            assert!(!allows(&organization, bad), "{bad}");
        }
        organization.source_topics = vec!["*".to_owned()];
        assert!(allows(&organization, "anything*"));
    }
}
