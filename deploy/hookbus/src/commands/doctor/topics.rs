//! The topics that a principal needs: whether they are there, as configured, and whether their partitions have leaders and replicas enough.

use chassis::config::Config;
use kafka::probe;
use kafka::{Connection, KafkaError};

use super::DoctorPrincipal;
use super::finding::DoctorFindings;
use crate::codes::Code;

/// Partitions that are named; where more are poorly, the first ones say enough.
const NAMED: usize = 5;

/// Looks. Before topics are created what is missing is no fault.
pub(super) async fn look(
    connection: &Connection,
    config: &Config,
    (who, is_before): (DoctorPrincipal, bool),
    findings: &mut DoctorFindings,
) {
    // Of topics of others a role may know nothing.
    let (mut specs, needed) = (config.topics.specs(), who.needs(config));
    specs.retain(|spec| needed.iter().any(|acl| acl.is_of_topic(&spec.name)));
    let plan = match kafka::topics::plan(connection, &specs).await {
        Ok(plan) => plan,
        Err(error) => return findings.unseen(who, Code::BrokerSilent, "topics", &error.into()),
    };
    if is_before && !plan.missing.is_empty() {
        findings.skipped("topics", format!("{} are to be created", plan.missing.len()));
    }
    if !is_before && !plan.missing.is_empty() {
        missing(connection, plan.missing.iter().map(|spec| spec.name.to_string()).collect(), findings).await;
    }
    for difference in &plan.differing {
        findings.wrong(
            Code::TopicDiffers,
            format!("topic {}", difference.topic),
            format!("{} is {}, should be {}", difference.property, difference.found, difference.wanted),
            "change the topic or the configuration: hookbus explain HB-016",
        );
    }
    unseen(who, &plan.unseen, findings);
    if plan.is_settled() {
        findings.well("topics", format!("all {} are as configured", plan.matching.len()));
    }
    leaders(connection, config, findings).await;
}

/// How topics are set is the operator's to see; a role does without, but for what it is looked at by itself.
fn unseen(who: DoctorPrincipal, topics: &[String], findings: &mut DoctorFindings) {
    let (Some(first), what) = (topics.first(), "settings of topics") else { return };
    let found = format!("{} may not be described by this principal, {first} among them", topics.len());
    match who {
        DoctorPrincipal::Operator => findings.wrong(Code::Denied, what, found, "grant what hookbus acls prints"),
        DoctorPrincipal::Role(_) => findings.skipped(what, format!("{found}; it does not need it")),
    }
}

/// Of a topic that may not be described a list says nothing, as of one that is not there; asked for by name it is told apart.
async fn missing(connection: &Connection, names: Vec<String>, findings: &mut DoctorFindings) {
    let rights = match probe::rights(connection, names.clone()).await {
        Ok(rights) => rights,
        Err(error) => return findings.failed(Code::Denied, "topics", &error.into()),
    };
    for name in names {
        let what = format!("topic {name}");
        if rights.get(&name).is_some_and(|rights| rights.as_ref().is_err_and(KafkaError::is_denied)) {
            let remedy = "grant what hookbus acls prints";
            findings.wrong(Code::Denied, what, "this principal may not see it", remedy);
        } else {
            let remedy = "hookbus topics ensure, as a principal that may create topics";
            findings.wrong(Code::TopicMissing, what, "is not there", remedy);
        }
    }
}

async fn leaders(connection: &Connection, config: &Config, findings: &mut DoctorFindings) {
    let specs = config.topics.specs();
    let names = specs.iter().map(|spec| spec.name.to_string()).collect();
    match probe::poor_partitions(connection, names).await {
        Ok(poor) => {
            let in_sync = usize::try_from(config.topics.min_insync_replicas.unwrap_or(1)).unwrap_or(1);
            let poor: Vec<_> = poor.iter().filter(|it| !it.has_leader || it.in_sync < in_sync).collect();
            for it in poor.iter().take(NAMED) {
                let found = if it.has_leader {
                    format!("{} of {} replicas are in sync, writes need {in_sync}", it.in_sync, it.replicas)
                } else {
                    "has no leader".to_owned()
                };
                let remedy = "bring its brokers back: kafka-topics.sh --describe --unavailable-partitions";
                findings.wrong(Code::Leaderless, format!("partition {}", it.partition), found, remedy);
            }
            if poor.len() > NAMED {
                findings.skipped("partitions", format!("{} more are like that", poor.len() - NAMED));
            }
        }
        Err(error) => findings.failed(Code::BrokerSilent, "partitions", &error.into()),
    }
}
