//! What Strimzi's user operator makes of a release's `KafkaUser`s: a password each, its Secret, and permissions; and nothing beside them.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde_json::Value;
use uuid::Uuid;

use super::Secrets;
use super::manifests::{Manifests, name_of};
use crate::pipeline::console;

/// Permissions of one user that one call of `kafka-acls` grants: what they are about, how names are meant, what may be done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Grant {
    option: &'static str,
    pattern: &'static str,
    operations: Vec<String>,
}

/// Makes all of them; returns the Secrets with their passwords.
pub(super) async fn make_users(administrator: &str, manifests: &Manifests) -> anyhow::Result<Secrets> {
    let mut secrets = Secrets::new();
    for user in manifests.of_kind("KafkaUser") {
        let (name, password) = (name_of(user), Uuid::new_v4().simple().to_string());
        ensure!(user["spec"]["authentication"]["type"] == "scram-sha-512", "{name}: SCRAM is played, and nothing else");
        console::scram_user(administrator, name, &password).await?;
        let principal = format!("User:{name}");
        for (grant, names) in grants(&user["spec"]["authorization"]["acls"]).with_context(|| name.to_owned())? {
            let mut rule = vec!["--add", "--allow-principal", &principal, "--resource-pattern-type", grant.pattern];
            rule.extend(grant.operations.iter().flat_map(|operation| ["--operation", operation]));
            rule.extend(names.iter().flat_map(|name| [grant.option, name]));
            console::acls(administrator, &rule).await?;
        }
        secrets.insert(name.to_owned(), [("password".to_owned(), password)].into());
    }
    ensure!(!secrets.is_empty(), "the release has no KafkaUsers");
    Ok(secrets)
}

/// Alike ones together: each call starts a virtual machine.
fn grants(acls: &Value) -> anyhow::Result<BTreeMap<Grant, Vec<String>>> {
    let mut found: BTreeMap<Grant, Vec<String>> = BTreeMap::new();
    for acl in acls.as_array().into_iter().flatten() {
        let resource = &acl["resource"];
        let option = match resource["type"].as_str() {
            Some("topic") => "--topic",
            Some("group") => "--group",
            Some("transactionalId") => "--transactional-id",
            _other => anyhow::bail!("{resource} is of no type that is played"),
        };
        let pattern = match resource["patternType"].as_str() {
            Some("literal") => "literal",
            Some("prefix") => "prefixed",
            _other => anyhow::bail!("{resource} has a pattern that is not played"),
        };
        let operations = acl["operations"].as_array().with_context(|| format!("{acl} allows nothing"))?;
        let operations = operations.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let name = resource["name"].as_str().with_context(|| format!("{resource} has no name"))?;
        found.entry(Grant { option, pattern, operations }).or_default().push(name.to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn permissions_of_one_kind_are_granted_together() {
        let acl = |of: &str, name: &str, pattern: &str| json!({ "resource": { "type": of, "name": name, "patternType": pattern }, "operations": ["Read", "Describe"] });
        let acls = json!([
            acl("topic", "h.events", "literal"),
            acl("topic", "h.retry.", "prefix"),
            acl("topic", "h.control", "literal"),
            acl("transactionalId", "h-fanout-", "prefix"),
        ]);
        let grants = grants(&acls).unwrap();
        assert_eq!(grants.len(), 3);
        let literal = grants.iter().find(|(grant, _)| (grant.option, grant.pattern) == ("--topic", "literal")).unwrap();
        assert_eq!(literal.1, &["h.events", "h.control"]);
        assert_eq!(literal.0.operations, ["Read", "Describe"]);
        assert!(super::grants(&json!([acl("cluster", "x", "literal")])).is_err());
    }
}
