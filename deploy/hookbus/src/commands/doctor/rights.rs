//! What this principal may do, against what a role needs by the table of `hookbus acls`: topics as the cluster says, groups and
//! transactional ids by trying. The transaction that is tried is aborted, and its acknowledgement tells the brokers' time.

use std::collections::BTreeMap;

use chassis::config::{Config, Role};
use fanout_worker::Intakes;
use kafka::probe::{self, TopicRights, TriedTransaction};
use kafka::{Connection, KafkaError};
use uuid::Uuid;

use super::DoctorPrincipal;
use super::finding::DoctorFindings;
use crate::codes::Code;
use crate::commands::acls::{self, Acl, NamePattern, Resource};

/// Clocks that differ by more are told, ms.
const CLOCK_MS: i64 = 1_000;
/// What begins the slot under which a transaction is tried: no role has it, and no other doctor that looks at the same time, which
/// would end this one's transaction.
const SLOT: &str = "doctor";

/// Rights to topics, as the cluster told of them.
type ToldRights = BTreeMap<String, Result<TopicRights, KafkaError>>;

/// Looks.
pub(super) async fn look(
    connection: &Connection,
    config: &Config,
    (who, intakes): (DoctorPrincipal, Intakes),
    findings: &mut DoctorFindings,
) {
    let needed = needed(config, who, intakes);
    let names: Vec<String> = config.topics.specs().iter().map(|spec| spec.name.to_string()).collect();
    let told = match probe::rights(connection, names).await {
        Ok(told) => told,
        Err(error) => return findings.failed(Code::Denied, "rights to topics", &error.into()),
    };
    let lacks = lacks(&needed, &told);
    for (topic, lack) in &lacks {
        denied(who, format!("topic {topic}"), format!("this principal may not {lack} it"), findings);
    }
    if let DoctorPrincipal::Role(_) = who {
        // A role's principal may not see the settings of topics, so nobody has looked yet.
        let is_there = |acl: &&Acl| acl.pattern != NamePattern::Literal || told.contains_key(&acl.name);
        let topics = needed.iter().filter(|acl| acl.resource == Resource::Topic);
        for acl in topics.filter(|acl| !is_there(acl)) {
            findings.wrong(Code::TopicMissing, format!("topic {}", acl.name), "is not there", "hookbus topics ensure");
        }
    }
    if lacks.is_empty() {
        findings.well(format!("rights of {} to topics", who.name()), "all it needs");
    }
    groups(connection, config, (who, &needed), findings).await;
    if who == DoctorPrincipal::Role(Role::Delivery) {
        retention(connection, config, who, findings).await;
    }
    transactions(connection, config, (who, &needed, &told), findings).await;
}

/// What a principal needs; of the fan-out, for these intakes.
fn needed(config: &Config, who: DoctorPrincipal, intakes: Intakes) -> Vec<Acl> {
    let kafka = &config.kafka;
    let is_wanted = |acl: &Acl| {
        let (is_of_events, is_of_sources) = match acl.resource {
            Resource::Group => (acl.name == kafka.group(Role::Fanout), acl.name == kafka.sources_group()),
            Resource::TransactionalId => {
                let of = |id: String| id.strip_suffix(&kafka.slot).is_some_and(|prefix| prefix == acl.name);
                (of(kafka.transactional_id(Role::Fanout)), of(kafka.sources_id()))
            }
            Resource::Topic => (false, false),
        };
        (intakes.has_events() || !is_of_events) && (intakes.has_sources() || !is_of_sources)
    };
    acls::all(config, "User:{role}").into_iter().filter(|acl| acl.role == who.name() && is_wanted(acl)).collect()
}

/// A delivery worker asks how long `deliveries` keeps its records before it begins.
async fn retention(connection: &Connection, config: &Config, who: DoctorPrincipal, findings: &mut DoctorFindings) {
    let topic = config.topics.topics().deliveries.to_string();
    let what = format!("settings of topic {topic}");
    match kafka::topics::setting(connection, &topic, "retention.ms").await {
        Ok(_retention) => findings.well(what, "may be read"),
        Err(error) if error.is_denied() => denied(who, what, error.to_string(), findings),
        Err(error) => findings.failed(Code::BrokerSilent, what, &error.into()),
    }
}

fn denied(who: DoctorPrincipal, what: String, found: String, findings: &mut DoctorFindings) {
    let remedy = format!("hookbus acls --role {} prints what to grant", who.name());
    findings.wrong(Code::Denied, what, found, remedy);
}

/// Topics that may not be read or written and need to be. One that does not exist has been told of before.
fn lacks(needed: &[Acl], told: &ToldRights) -> Vec<(String, &'static str)> {
    let mut lacks = Vec::new();
    for acl in needed.iter().filter(|acl| acl.resource == Resource::Topic) {
        let fits = |topic: &str| match acl.pattern {
            NamePattern::Literal => topic == acl.name,
            NamePattern::Prefixed => topic.starts_with(&acl.name),
        };
        for (topic, rights) in told.iter().filter(|(topic, _)| fits(topic)) {
            let rights = rights.as_ref().copied().unwrap_or(TopicRights { read: false, write: false });
            let wants = |operation: &str| acl.operations.contains(&operation);
            if wants("Read") && !rights.read {
                lacks.push((topic.clone(), "read"));
            }
            if wants("Write") && !rights.write {
                lacks.push((topic.clone(), "write"));
            }
        }
    }
    lacks.sort_unstable();
    lacks.dedup();
    lacks
}

async fn groups(
    connection: &Connection,
    config: &Config,
    (who, needed): (DoctorPrincipal, &[Acl]),
    findings: &mut DoctorFindings,
) {
    let topic = config.topics.topics().events.to_string();
    let groups = needed.iter().filter(|acl| acl.resource == Resource::Group && acl.pattern == NamePattern::Literal);
    for acl in groups.filter(|acl| acl.operations.contains(&"Read")) {
        match probe::group(connection, &acl.name, &topic).await {
            Ok(()) => findings.well(format!("group {}", acl.name), "may be used"),
            Err(error) if error.is_denied() => denied(who, format!("group {}", acl.name), error.to_string(), findings),
            Err(error) => findings.failed(Code::BrokerSilent, format!("group {}", acl.name), &error.into()),
        }
    }
}

async fn transactions(
    connection: &Connection,
    config: &Config,
    (who, needed, told): (DoctorPrincipal, &[Acl], &ToldRights),
    findings: &mut DoctorFindings,
) {
    let ids = ids(config, who, needed);
    if ids.is_empty() {
        return findings.skipped("transaction", "the gateway writes without");
    }
    let topics = config.topics.topics();
    // Topics that nobody reads but people first; an aborted record is seen by nobody in any of them.
    let wanted = [&topics.rejected, &topics.attempts, &topics.deliveries];
    let may_write = |topic: &str| told.get(topic).is_some_and(|may| may.as_ref().is_ok_and(|may| may.write));
    let Some(topic) = wanted.into_iter().find(|topic| may_write(topic)) else {
        return findings.skipped("transaction", "there is no topic that this principal may write");
    };
    let mut tried_first = None;
    for id in ids {
        let what = format!("transaction as {id}");
        match probe::try_transaction(connection, &id, topic).await {
            Ok(tried) => {
                findings.well(what, "begun and aborted");
                tried_first.get_or_insert(tried);
            }
            Err(error) if error.is_denied() => denied(who, what, error.to_string(), findings),
            Err(error) => findings.failed(Code::BrokerSilent, what, &error.into()),
        }
    }
    if let Some(tried) = tried_first {
        clock(tried, findings);
    }
}

/// Transactional ids to try, of a slot that nobody has: one of each prefix that the role begins its own with. An id without a slot is
/// not tried, because that would fence whoever uses it.
fn ids(config: &Config, who: DoctorPrincipal, needed: &[Acl]) -> Vec<String> {
    let slot = format!("{SLOT}{:04x}", Uuid::new_v4().as_fields().1);
    if who == DoctorPrincipal::Operator {
        // Who mends lists writes as a delivery worker does.
        let mut kafka = config.kafka.clone();
        kafka.slot = slot;
        return vec![kafka.transactional_id(Role::Delivery)];
    }
    let prefixes =
        needed.iter().filter(|acl| acl.resource == Resource::TransactionalId && acl.pattern == NamePattern::Prefixed);
    prefixes.map(|acl| format!("{}{slot}", acl.name)).collect()
}

fn clock(tried: TriedTransaction, findings: &mut DoctorFindings) {
    match tried.ahead_ms() {
        None => findings.skipped("clock", "the topic's records have no broker's time"),
        Some(ahead_ms) if ahead_ms.abs() <= CLOCK_MS => findings.well("clock", "is that of the brokers"),
        Some(ahead_ms) => {
            let (by_ms, way) = (ahead_ms.abs(), if ahead_ms > 0 { "ahead of" } else { "behind" });
            let found = format!("this host is {by_ms} ms {way} the broker");
            findings.wrong(Code::Clock, "clock", found, "synchronize the clocks of both (chrony, NTP)");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(role: &str) -> Vec<Acl> {
        acls::all(&Config::for_tests(), "User:{role}").into_iter().filter(|acl| acl.role == role).collect()
    }

    #[test]
    fn every_kind_of_id_that_a_role_writes_under_is_tried() {
        let config = Config::for_tests();
        let of = |role| {
            let ids = ids(&config, DoctorPrincipal::Role(role), &needed(&role.to_string()));
            ids.iter().map(|id| id.split(SLOT).next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let installation = &config.kafka.installation;
        assert_eq!(of(Role::Delivery), [format!("{installation}-delivery-")]);
        assert_eq!(of(Role::Fanout).len(), 2, "events and sources");
        assert!(of(Role::Control).len() >= 3, "reports and jobs: {:?}", of(Role::Control));
        assert_eq!(of(Role::Gateway), [""; 0]);
    }

    #[test]
    fn a_fan_out_of_one_intake_needs_the_group_and_the_ids_of_that_alone() {
        let config = Config::for_tests();
        let of = |intakes| {
            let needed = super::needed(&config, DoctorPrincipal::Role(Role::Fanout), intakes);
            let of = |resource| {
                let own = needed.iter().filter(move |acl| acl.resource == resource);
                own.filter(|acl| acl.operations.contains(&"Read") || acl.operations.contains(&"Write"))
                    .map(|acl| acl.name.clone())
                    .collect::<Vec<_>>()
            };
            (of(Resource::Group), of(Resource::TransactionalId))
        };
        let installation = &config.kafka.installation;
        let one = |name: &str| (vec![format!("{installation}.{name}")], vec![format!("{installation}-{name}-")]);
        assert_eq!((of(Intakes::Events), of(Intakes::Sources)), (one("fanout"), one("sources")));
        let (groups, ids) = of(Intakes::Both);
        assert_eq!((groups.len(), ids.len()), (2, 2));
    }

    #[test]
    fn what_a_role_needs_and_has_not_is_named_once() {
        let settings = Config::for_tests().topics;
        let all = |read, write| -> ToldRights {
            settings.specs().iter().map(|spec| (spec.name.to_string(), Ok(TopicRights { read, write }))).collect()
        };
        let topics = settings.topics();
        assert_eq!(lacks(&needed("delivery"), &all(true, true)), []);
        let cannot_write = lacks(&needed("gateway"), &all(true, false));
        assert!(cannot_write.contains(&(topics.events.to_string(), "write")), "{cannot_write:?}");
        assert!(!cannot_write.iter().any(|(topic, _)| *topic == *topics.control), "it only reads that");
        let mut hidden = all(true, true);
        hidden.insert(topics.retry("10m").to_string(), Err(KafkaError::may_not_write("retry.10m")));
        let of_retry = lacks(&needed("retry"), &hidden);
        let lacking: Vec<&str> = of_retry.iter().map(|(_, lack)| *lack).collect();
        assert_eq!(lacking, ["read", "write"], "by its prefix: {of_retry:?}");
        assert_eq!(lacks(&needed("retry"), &ToldRights::new()), [], "what is not there was told before");
    }

    #[test]
    fn a_second_of_difference_is_told() {
        let mut findings = DoctorFindings::default();
        let tried = |broker_ms| TriedTransaction { broker_ms: Some(broker_ms), between_ms: (100_000, 100_010) };
        clock(tried(100_900), &mut findings);
        assert_eq!(findings.first(), None);
        clock(tried(90_000), &mut findings);
        assert_eq!(findings.first(), Some(Code::Clock));
    }
}
