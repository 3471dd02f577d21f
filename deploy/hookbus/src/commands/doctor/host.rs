//! What this host lets a process of the role have, against what its configuration may come to use.

use chassis::config::{Config, Role};
use fanout_worker::Intakes;

use super::finding::DoctorFindings;
use super::memory;
use crate::codes::Code;
use crate::host::HostFacts;

/// Connections to Kafka, files and the like, beside what is configured.
const OTHERS: usize = 256;

/// Looks at the limits of descriptors and of memory, which are those of this process: run it where the role runs.
pub(super) fn look(config: &Config, (role, intakes): (Role, Intakes), findings: &mut DoctorFindings) {
    let facts = HostFacts::own();
    // A delivery worker raises its own as far as it may.
    let limit = if role == Role::Delivery { facts.most_files } else { facts.max_files };
    told(needed(config, role), limit, findings);
    memory::look(config, (role, intakes), findings);
}

/// Connections that the role may have open.
fn needed(config: &Config, role: Role) -> usize {
    OTHERS
        + match role {
            Role::Gateway => config.gateway.max_connections,
            Role::Control => config.control.max_connections,
            Role::Delivery => config.delivery.concurrency,
            Role::Fanout | Role::Retry => 0,
        }
}

fn told(needed: usize, limit: Option<f64>, findings: &mut DoctorFindings) {
    let Some(limit) = limit else {
        return findings.skipped("descriptors", "the system does not say how many may be open");
    };
    #[expect(clippy::cast_precision_loss, reason = "descriptors are far below 2^52")]
    let is_short = limit < needed as f64;
    if is_short {
        let found = format!("{limit} may be open, the configuration may come to {needed}");
        let remedy = "raise the limit of open files, or lower max_connections or delivery.concurrency";
        findings.wrong(Code::Limits, "descriptors", found, remedy);
    } else {
        findings.well("descriptors", format!("{limit} may be open, {needed} may be needed"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_below_what_the_role_may_use_is_told() {
        let config = Config::for_tests();
        let needed = needed(&config, Role::Delivery);
        assert!(needed > config.delivery.concurrency);
        let first = |limit| {
            let mut findings = DoctorFindings::default();
            told(needed, limit, &mut findings);
            findings.first()
        };
        assert_eq!((first(Some(1_024.0)), first(Some(1e6)), first(None)), (Some(Code::Limits), None, None));
    }
}
