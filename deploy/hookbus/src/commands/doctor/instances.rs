//! Who runs, as they say on `status`: versions that are mixed, processes that have fallen silent.

use std::collections::BTreeSet;

use chassis::clock;
use chassis::config::Config;
use kafka::Connection;
use schemas::status::Status;

use super::DoctorPrincipal;
use super::finding::DoctorFindings;
use crate::codes::Code;
use crate::commands::status::{self, SILENT_MS};

/// Roles whose processes have a new name after each restart.
const NAMELESS: [&str; 2] = ["gateway", "control"];

/// Looks.
pub(super) async fn look(
    connection: &Connection,
    config: &Config,
    who: DoctorPrincipal,
    findings: &mut DoctorFindings,
) {
    match status::newest(connection, &config.topics).await {
        Ok(newest) => told(newest.values().collect(), clock::now_ms(), findings),
        Err(error) => findings.unseen(who, Code::BrokerSilent, "who runs", &error),
    }
}

fn told(reports: Vec<&Status>, now_ms: i64, findings: &mut DoctorFindings) {
    let (silent, running): (Vec<&Status>, Vec<&Status>) =
        reports.into_iter().partition(|status| now_ms.saturating_sub(status.at_ms) > SILENT_MS);
    for status in &silent {
        let what = format!("{} {}", status.role, status.instance);
        let found = format!("has said nothing for {} s", now_ms.saturating_sub(status.at_ms) / 1_000);
        // Its place was taken under another name; of a worker the name says which place stands empty.
        let is_replaced = NAMELESS.contains(&status.role.as_str()) && running.iter().any(|it| it.role == status.role);
        if is_replaced {
            findings.skipped(what, format!("{found}; others of its role run"));
            continue;
        }
        findings.wrong(
            Code::Silent,
            what,
            found,
            "look at its log; if it is gone for good its report goes within a day",
        );
    }
    let version = |status: &&Status| {
        let revision = status.revision.as_deref().unwrap_or_default();
        format!("{} {revision}", status.version.as_deref().unwrap_or("an older one")).trim().to_owned()
    };
    let versions: BTreeSet<String> = running.iter().map(version).collect();
    if versions.len() > 1 {
        let versions: Vec<String> = versions.into_iter().collect();
        let remedy = "finish the rollout: hookbus status shows the version of each";
        findings.wrong(Code::VersionsMixed, "versions", versions.join(", "), remedy);
    } else if !running.is_empty() {
        let of = versions.first().cloned().unwrap_or_default();
        findings.well("who runs", format!("{} processes, all {of}", running.len()));
    } else if silent.is_empty() {
        findings.skipped("who runs", "nobody has said anything yet");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(role: &str, at_ms: i64, version: &str) -> Status {
        Status { version: Some(version.to_owned()), ..Status::new(role, "1", at_ms) }
    }

    fn first(reports: &[Status]) -> Option<Code> {
        let mut findings = DoctorFindings::default();
        told(reports.iter().collect(), 1_000_000, &mut findings);
        findings.first()
    }

    #[test]
    fn mixed_versions_and_silence_are_told() {
        let now = 1_000_000;
        assert_eq!(first(&[]), None);
        assert_eq!(first(&[status("fanout", now, "1.0.0"), status("retry", now, "1.0.0")]), None);
        assert_eq!(first(&[status("fanout", now, "1.0.0"), status("retry", now, "1.1.0")]), Some(Code::VersionsMixed));
        let gone = status("retry", now - SILENT_MS - 1, "0.9.0");
        assert_eq!(
            first(&[status("fanout", now, "1.0.0"), gone]),
            Some(Code::Silent),
            "and its version counts no more"
        );
        let killed = status("gateway", now - SILENT_MS - 1, "1.0.0");
        let another = Status { instance: "2".to_owned(), ..status("gateway", now, "1.0.0") };
        assert_eq!(first(&[killed.clone(), another]), None, "a pod that was killed comes back under another name");
        assert_eq!(first(&[killed, status("fanout", now, "1.0.0")]), Some(Code::Silent), "nobody took its place");
    }
}
