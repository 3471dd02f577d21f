//! Offsets of the roles' groups that would stop them at their start.

use chassis::config::Config;
use kafka::Connection;
use kafka::group::{self, PartitionState, Standing};

use super::DoctorPrincipal;
use super::finding::DoctorFindings;
use crate::cli::offsets::GroupRole;
use crate::codes::Code;
use crate::commands::offsets::topics_of;

/// Looks at every role that has a group; as the principal of a role at its own alone, because it may not see those of others.
pub(super) async fn look(
    connection: &Connection,
    config: &Config,
    who: DoctorPrincipal,
    findings: &mut DoctorFindings,
) {
    let is_own = |role: &GroupRole| match who {
        DoctorPrincipal::Role(own) => role.name() == own.name(),
        DoctorPrincipal::Operator => true,
    };
    for role in GroupRole::ALL.into_iter().filter(|role| role.stops() && is_own(role)) {
        let what = format!("offsets of {}", role.name());
        let group = role.group(config);
        let looked = async {
            let topics = topics_of(role, connection, config).await?;
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            anyhow::Ok(group::state(connection, &group, &names).await?)
        };
        match looked.await {
            Ok(state) => told(role.name(), &what, &state.partitions, findings),
            Err(error) => findings.unseen(who, Code::BrokerSilent, what, &error),
        }
        twice(connection, &group, who, findings).await;
    }
}

fn told(role: &str, what: &str, partitions: &[PartitionState], findings: &mut DoctorFindings) {
    let stops: Vec<&PartitionState> = partitions.iter().filter(|it| it.standing.stops()).collect();
    if stops.is_empty() {
        findings.well(what, format!("{} partitions, the role can begin", partitions.len()));
    }
    for PartitionState { lag, standing } in stops {
        let (code, found) = match standing {
            Standing::Missing => (Code::NoCommittedOffset, "has no committed offset, and has records or had some"),
            Standing::Beyond => (Code::LogTruncated, "ends below what was read"),
            Standing::Cut(_) => (Code::LogTruncated, "was cut below what was read, and has grown again"),
            Standing::Committed | Standing::New | Standing::Lost(_) | Standing::Recreated => continue,
        };
        let remedy = format!("the role stops there: hookbus offsets show {role}, then hookbus explain {code}");
        findings.wrong(code, format!("partition {} for {role}", lag.partition), found, remedy);
    }
}

/// Two members under one name are two processes in one slot.
async fn twice(connection: &Connection, group: &str, who: DoctorPrincipal, findings: &mut DoctorFindings) {
    let members = match group::members(connection, group).await {
        Ok(members) => members,
        Err(error) => return findings.unseen(who, Code::BrokerSilent, format!("members of {group}"), &error.into()),
    };
    for pair in members.windows(2).filter(|pair| pair[0].client_id == pair[1].client_id) {
        let found = format!("is used from {} and {}", pair[0].host, pair[1].host);
        let remedy = "give every process a slot of its own (kafka.slot)";
        findings.wrong(Code::SlotTwice, format!("slot {}", pair[0].client_id), found, remedy);
    }
}
