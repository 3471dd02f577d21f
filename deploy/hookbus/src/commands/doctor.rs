//! `hookbus doctor`: looks at everything that has to be right before a role can work, in the order in which one thing stands on
//! another, and says of each what it found, under which code, and what to do.
//!
//! ```text
//! [a broker] name --> TCP --> TLS, login, protocol --+--> brokers' settings --> topics --> rights, one aborted transaction (clock)
//!   bootstrap, then every advertised one             |                                --> offsets --> keys --> who runs
//!                                                    +--> none answers: what needs Kafka is left out
//! [host] descriptors, memory, certificates of listeners    [target] the guard
//! ```
//!
//! It asks; the only thing it writes is one transaction that it aborts.

mod brokers;
mod certificate;
mod finding;
mod host;
mod instances;
mod keys;
mod listener;
pub(crate) mod memory;
mod offsets;
mod rights;
mod settings;
mod target;
mod topics;

use anyhow::{Result, bail};
use chassis::config::{Config, Role};
use fanout_worker::Intakes;
use kafka::Connection;
use serde_json::Value;

use self::finding::DoctorFindings;
use crate::cli::doctor::DoctorArgs;
use crate::cli::fanout::intakes;
use crate::cli::manage::Output;
use crate::commands::acls;
use crate::output;
use crate::screen;

/// Looks, and prints what was found.
///
/// # Errors
/// Something is wrong, the role does not exist, or standard output cannot be written.
pub(crate) async fn run(connection: &Connection, config: &Config, args: &DoctorArgs) -> Result<()> {
    let who = DoctorPrincipal::of(args.role.as_deref())?;
    let intakes = intakes(args.only);
    if intakes != Intakes::Both && who != DoctorPrincipal::Role(Role::Fanout) {
        return Err(crate::usage("--only is about the fan-out: give it with --role fanout"));
    }
    let mut findings = DoctorFindings::default();
    let brokers = brokers::look(connection, config, args.for_topics, &mut findings).await?;
    if brokers.is_empty() {
        findings.skipped("Kafka", "no broker answers that clients are sent to: what is in it was not looked at");
    } else {
        settings::look(connection, config, &brokers, &mut findings).await;
        topics::look(connection, config, (who, args.for_topics), &mut findings).await;
        if !args.for_topics {
            rights::look(connection, config, (who, intakes), &mut findings).await;
            offsets::look(connection, config, who, &mut findings).await;
            keys::look(connection, config, who, &mut findings).await;
            instances::look(connection, config, who, &mut findings).await;
        }
    }
    if let DoctorPrincipal::Role(role) = who {
        host::look(config, (role, intakes), &mut findings);
        certificate::of_listeners(config, role, &mut findings);
    }
    if let Some(url) = &args.target {
        target::look(config, url, &mut findings).await;
    }
    print(&findings, args.output)?;
    match findings.wrong_count() {
        0 => Ok(()),
        wrong => bail!("{wrong} of {} things that were looked at are not as they should be", findings.looked_at()),
    }
}

/// Whose rights are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DoctorPrincipal {
    /// Who creates topics and looks at them.
    Operator,
    /// A role.
    Role(Role),
}

// === impl DoctorPrincipal ===

impl DoctorPrincipal {
    fn of(name: Option<&str>) -> Result<Self> {
        let Some(name) = name.filter(|name| *name != Self::Operator.name()) else { return Ok(Self::Operator) };
        let role = Role::ALL.into_iter().find(|role| role.name() == name);
        role.map(Self::Role).ok_or_else(|| crate::usage(acls::no_such_role(name)))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Operator => acls::OPERATOR,
            Self::Role(role) => role.name(),
        }
    }
}

fn print(findings: &DoctorFindings, format: Output) -> Result<()> {
    match format {
        Output::Json => {
            let rows: Vec<Value> = findings.all().iter().map(finding::Finding::to_json).collect();
            output::list(Output::Json, &rows, &[])
        }
        Output::Table => {
            let head = ["CODE", "WHAT", "FOUND"].map(str::to_owned);
            let rows: Vec<_> = std::iter::once(head).chain(findings.all().iter().map(finding::Finding::row)).collect();
            screen::columns(&rows)?;
            findings.remedies().try_for_each(|remedy| Ok(screen::line(&remedy)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_is_looked_at_unless_a_role_is_named() {
        assert_eq!(
            (DoctorPrincipal::of(None).unwrap(), DoctorPrincipal::of(Some("operator")).unwrap()),
            (DoctorPrincipal::Operator, DoctorPrincipal::Operator)
        );
        assert_eq!(DoctorPrincipal::of(Some("fanout")).unwrap(), DoctorPrincipal::Role(Role::Fanout));
        assert!(DoctorPrincipal::of(Some("fan-out")).unwrap_err().is::<crate::Usage>());
    }
}
