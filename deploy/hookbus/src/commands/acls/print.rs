//! Permissions as commands, as a table, as JSON.

use anyhow::Result;
use chassis::config::Config;

use super::{Acl, NamePattern};
use crate::screen;

/// One `kafka-acls.sh` for all that differs by its name only: each takes seconds to start.
pub(super) fn commands(config: &Config, acls: &[Acl]) -> Result<()> {
    screen::line("# Run as somebody who may alter the cluster; ADMIN names a file with that client's properties.")?;
    screen::line("# Kafka before 2.8 also wants: --operation IdempotentWrite --cluster, for every role.")?;
    screen::line("set -e\n: \"${KAFKA_ACLS:=kafka-acls.sh}\" \"${ADMIN:=admin.properties}\"")?;
    let mut role = "";
    for same in acls.chunk_by(alike) {
        let Some(first) = same.first() else { continue };
        if first.role != role {
            role = first.role;
            screen::line(&format!("\n# {role}"))?;
        }
        screen::line(&command(config, first, same))?;
    }
    Ok(())
}

fn alike(one: &Acl, other: &Acl) -> bool {
    let what = |acl: &Acl| (acl.role, acl.resource, acl.pattern, acl.operations);
    what(one) == what(other)
}

fn command(config: &Config, first: &Acl, same: &[Acl]) -> String {
    let operations: String = first.operations.iter().map(|operation| format!(" --operation {operation}")).collect();
    let names: String = same.iter().map(|acl| format!(" {} {}", acl.resource.option(), quoted(&acl.name))).collect();
    let pattern = match first.pattern {
        NamePattern::Literal => String::new(),
        NamePattern::Prefixed => format!(" --resource-pattern-type {}", first.pattern.name()),
    };
    format!(
        "\"$KAFKA_ACLS\" --bootstrap-server {} --command-config \"$ADMIN\" --add --allow-principal {}{operations}{names}{pattern}",
        quoted(&config.kafka.brokers),
        quoted(&first.principal),
    )
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

pub(super) fn table(acls: &[Acl]) -> Result<()> {
    let mut rows = vec![["ROLE", "RESOURCE", "NAME", "PATTERN", "OPERATIONS"].map(str::to_owned)];
    rows.extend(acls.iter().map(|acl| {
        [acl.role, acl.resource.name(), &acl.name, acl.pattern.name(), &acl.operations.join(", ")].map(str::to_owned)
    }));
    screen::columns(&rows)
}

pub(super) fn json(acls: &[Acl]) -> Result<()> {
    Ok(screen::line(&serde_json::to_string_pretty(acls)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_of_a_shell() {
        assert_eq!(quoted("User:a b"), "'User:a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
