//! `hookbus acls`: what each role must be allowed to do in Kafka, from the same names the roles use.

mod print;

use anyhow::{Result, bail};
use chassis::config::{Config, Role};
use kafka::TAIL_GROUP;
use schemas::access::{ACCESS, Access, Part};
use serde::Serialize;

use crate::cli::operate::{AclOutput, AclsArgs};

/// Who creates and looks at topics, sets offsets and mends lists: people with `hookbus topics`, `tail`, `audit`, `offsets` and `lanes`.
pub(crate) const OPERATOR: &str = "operator";

/// One permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Acl {
    pub(crate) role: &'static str,
    pub(crate) principal: String,
    pub(crate) resource: Resource,
    pub(crate) name: String,
    pub(crate) pattern: NamePattern,
    pub(crate) operations: &'static [&'static str],
}

/// What it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Resource {
    Topic,
    Group,
    TransactionalId,
}

/// How the name is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NamePattern {
    Literal,
    Prefixed,
}

/// The permissions of one principal, as they are put together.
struct Grants<'a> {
    config: &'a Config,
    role: &'static str,
    principal: String,
    acls: Vec<Acl>,
}

// === impl Acl ===

impl Acl {
    /// Whether it is about this topic.
    pub(crate) fn is_of_topic(&self, topic: &str) -> bool {
        self.resource == Resource::Topic
            && match self.pattern {
                NamePattern::Literal => topic == self.name,
                NamePattern::Prefixed => topic.starts_with(&self.name),
            }
    }
}

/// That there is no such role, and which there are.
pub(crate) fn no_such_role(name: &str) -> String {
    let known: Vec<&str> = Role::ALL.iter().map(|role| role.name()).chain([OPERATOR]).collect();
    format!("there is no role `{name}`; there are {}", known.join(", "))
}

/// Prints them.
///
/// # Errors
/// There is no such role.
pub(crate) fn run(config: &Config, args: &AclsArgs) -> Result<()> {
    let mut acls = all(config, &args.principal);
    acls.extend(of_source_topics(config, &args.principal, &args.source_topics));
    if let Some(role) = &args.role {
        acls.retain(|acl| acl.role == role);
        if acls.is_empty() {
            bail!(no_such_role(role));
        }
    }
    match args.output {
        AclOutput::Commands => print::commands(config, &acls),
        AclOutput::Table => print::table(&acls),
        AclOutput::Json => print::json(&acls),
    }
}

/// Every role's, then the operator's. `{role}` in the principal becomes the role's name.
pub(crate) fn all(config: &Config, principal: &str) -> Vec<Acl> {
    let roles = Role::ALL.iter().flat_map(|role| of_role(config, *role, principal));
    roles.chain(of_operator(config, principal)).collect()
}

fn of_role(config: &Config, role: Role, principal: &str) -> Vec<Acl> {
    let mut grants = Grants::new(config, role.name(), principal);
    let part = part(role);
    for access in ACCESS {
        let operations: &[&str] = match (access.readers.contains(&part), access.writers.contains(&part)) {
            (true, true) => &["Read", "Write", "Describe"],
            (true, false) => &["Read", "Describe"],
            (false, true) => &["Write", "Describe"],
            (false, false) => continue,
        };
        grants.topic(access, operations);
    }
    // Alike ones stand together.
    grants.acls.sort_by_key(|acl| (acl.pattern, acl.operations));
    // A reader without a group names one, and librdkafka looks for its coordinator.
    if ACCESS.iter().any(|access| access.topic == "control" && access.readers.contains(&part)) {
        grants.add(Resource::Group, TAIL_GROUP.to_owned(), NamePattern::Literal, &["Describe"]);
    }
    if let Role::Gateway = role {
        return grants.acls;
    }
    grants.add(Resource::Group, config.kafka.group(role), NamePattern::Literal, &["Read", "Describe"]);
    grants.transactions_of(role);
    if let Role::Fanout = role {
        grants.sources();
    }
    if let Role::Delivery = role {
        // How long a delivery that waits is kept is asked of the topic.
        let name = config.topics.topics().deliveries.to_string();
        grants.add(Resource::Topic, name, NamePattern::Literal, &["DescribeConfigs"]);
    }
    if let Role::Control = role {
        let store = control_plane::transactional_id(&config.kafka);
        grants.add(Resource::TransactionalId, store, NamePattern::Literal, &["Write", "Describe"]);
        let (ids, group) = control_plane::job_names(&config.kafka);
        for id in ids {
            grants.add(Resource::TransactionalId, id, NamePattern::Prefixed, &["Write", "Describe"]);
        }
        grants.add(Resource::Group, group, NamePattern::Literal, &["Read", "Describe"]);
        // It says for all how far they are behind.
        for watched in [Role::Fanout, Role::Delivery] {
            grants.add(Resource::Group, config.kafka.group(watched), NamePattern::Literal, &["Describe"]);
        }
        // A backfill waits until the fan-out has read what was there before.
        grants.add(Resource::Group, config.kafka.sources_group(), NamePattern::Literal, &["Describe"]);
    }
    grants.acls
}

/// What reading topics of others needs: the fan-out reads them, and the control plane looks where they begin and reads back what is
/// shown and sent again.
fn of_source_topics(config: &Config, principal: &str, topics: &[String]) -> Vec<Acl> {
    let mut all = Vec::new();
    for role in [Role::Fanout, Role::Control] {
        let mut grants = Grants::new(config, role.name(), principal);
        for topic in topics {
            let (name, pattern) = match topic.strip_suffix('*') {
                Some(prefix) => (prefix, NamePattern::Prefixed),
                None => (topic.as_str(), NamePattern::Literal),
            };
            grants.add(Resource::Topic, name.to_owned(), pattern, &["Read", "Describe"]);
        }
        all.extend(grants.acls);
    }
    all
}

fn of_operator(config: &Config, principal: &str) -> Vec<Acl> {
    let mut grants = Grants::new(config, OPERATOR, principal);
    let operations = &["Create", "Describe", "DescribeConfigs", "Read"];
    grants.add(Resource::Topic, config.topics.prefix.clone(), NamePattern::Prefixed, operations);
    grants.add(
        Resource::Group,
        format!("{}.", config.kafka.installation),
        NamePattern::Prefixed,
        &["Read", "Describe"],
    );
    grants.add(Resource::Group, TAIL_GROUP.to_owned(), NamePattern::Literal, &["Describe"]);
    // What accepts or releases lists is a member of the delivery workers' group, and writes as one of them.
    for access in ACCESS.iter().filter(|access| access.writers.contains(&Part::Operator)) {
        grants.topic(access, &["Write"]);
    }
    grants.transactions_of(Role::Delivery);
    grants.acls
}

fn part(role: Role) -> Part {
    match role {
        Role::Gateway => Part::Gateway,
        Role::Fanout => Part::Fanout,
        Role::Delivery => Part::Delivery,
        Role::Retry => Part::Retry,
        Role::Control => Part::Control,
    }
}

// === impl Grants ===

impl<'a> Grants<'a> {
    fn new(config: &'a Config, role: &'static str, principal: &str) -> Self {
        Self { config, role, principal: principal.replace("{role}", role), acls: Vec::new() }
    }

    /// Of any slot of a role: a takeover settles the transaction of a dead owner under its id.
    fn transactions_of(&mut self, role: Role) {
        let kafka = &self.config.kafka;
        let slots = kafka.transactional_id(role);
        let slots = slots.strip_suffix(&kafka.slot).unwrap_or(&slots).to_owned();
        self.add(Resource::TransactionalId, slots, NamePattern::Prefixed, &["Write", "Describe"]);
    }

    /// The fan-out's second intake, which reads sources: its group, and its transactions of any slot.
    fn sources(&mut self) {
        let kafka = &self.config.kafka;
        let (group, ids) = (kafka.sources_group(), kafka.sources_id());
        let slots = ids.strip_suffix(&kafka.slot).unwrap_or(&ids).to_owned();
        self.add(Resource::Group, group, NamePattern::Literal, &["Read", "Describe"]);
        self.add(Resource::TransactionalId, slots, NamePattern::Prefixed, &["Write", "Describe"]);
    }

    /// Delay topics by their prefix: a removed tier still drains.
    fn topic(&mut self, access: &Access, operations: &'static [&'static str]) {
        if access.topic == "retry" {
            let prefix = self.config.topics.topics().retry_prefix.to_string();
            return self.add(Resource::Topic, prefix, NamePattern::Prefixed, operations);
        }
        let name = format!("{}{}", self.config.topics.prefix, access.topic);
        self.add(Resource::Topic, name, NamePattern::Literal, operations);
    }

    fn add(&mut self, resource: Resource, name: String, pattern: NamePattern, operations: &'static [&'static str]) {
        let principal = self.principal.clone();
        self.acls.push(Acl { role: self.role, principal, resource, name, pattern, operations });
    }
}

// === impl Resource ===

impl Resource {
    /// The option of `kafka-acls.sh`.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Topic => "--topic",
            Self::Group => "--group",
            Self::TransactionalId => "--transactional-id",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Group => "group",
            Self::TransactionalId => "transactional id",
        }
    }
}

// === impl NamePattern ===

impl NamePattern {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Literal => "literal",
            Self::Prefixed => "prefixed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let environment = [("HOOKBUS__KAFKA__SLOT".to_owned(), "7".to_owned())];
        chassis::config::load(None, environment.into_iter()).unwrap().config
    }

    #[test]
    fn every_name_a_role_uses_is_allowed_to_it() {
        let config = config();
        let acls = all(&config, "User:{role}");
        let allowed = |role: &str, resource: Resource, name: &str, operation: &str| {
            acls.iter().any(|acl| {
                let fits = match acl.pattern {
                    NamePattern::Literal => acl.name == name,
                    NamePattern::Prefixed => name.starts_with(&acl.name),
                };
                acl.role == role && acl.resource == resource && fits && acl.operations.contains(&operation)
            })
        };
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Gateway) {
            assert!(allowed(role.name(), Resource::Group, &config.kafka.group(role), "Read"), "{role}");
            let id = config.kafka.transactional_id(role);
            assert!(allowed(role.name(), Resource::TransactionalId, &id, "Write"), "{role} {id}");
        }
        assert!(allowed("control", Resource::TransactionalId, "hookbus-control", "Write"));
        assert!(allowed("fanout", Resource::Group, "hookbus.sources", "Read"));
        assert!(allowed("fanout", Resource::TransactionalId, "hookbus-sources-8", "Write"), "a takeover's too");
        for spec in config.topics.specs() {
            assert!(allowed(OPERATOR, Resource::Topic, &spec.name, "Create"), "{}", spec.name);
            let written = Role::ALL.iter().any(|role| allowed(role.name(), Resource::Topic, &spec.name, "Write"));
            assert!(written, "{}", spec.name);
        }
        // `hookbus lanes accept` and `hookbus lanes release`.
        for operation in ["Read", "Write", "Describe", "DescribeConfigs"] {
            assert!(allowed(OPERATOR, Resource::Topic, "hookbus.lanes", operation), "{operation}");
            assert!(allowed(OPERATOR, Resource::Topic, "hookbus.deliveries", operation), "{operation}");
        }
        assert!(allowed(OPERATOR, Resource::Group, &config.kafka.group(Role::Delivery), "Read"));
        assert!(allowed(OPERATOR, Resource::TransactionalId, "hookbus-delivery-lanes", "Write"));
        let may = |resource, name: &str| allowed(OPERATOR, resource, name, "Write");
        assert!(!may(Resource::Topic, "hookbus.control") && !may(Resource::TransactionalId, "hookbus-control"));
        assert!(allowed("control", Resource::Group, &config.kafka.group(Role::Delivery), "Describe"));
        assert!(!allowed("control", Resource::Group, &config.kafka.group(Role::Delivery), "Read"));
        assert!(!allowed("gateway", Resource::Topic, "hookbus.control", "Write"));
        assert!(!allowed("delivery", Resource::Topic, "hookbus.audit", "Write"));
        assert!(acls.iter().any(|acl| acl.principal == "User:delivery"));
    }

    #[test]
    fn topics_of_sources_are_read_by_the_fan_out_and_read_back_by_the_control_plane() {
        let acls = of_source_topics(&config(), "User:{role}", &["crm.orders".to_owned(), "erp.*".to_owned()]);
        let shown: Vec<_> = acls.iter().map(|it| (it.role, it.name.as_str(), it.pattern, it.operations)).collect();
        let read: &[&str] = &["Read", "Describe"];
        assert_eq!(
            shown,
            [
                ("fanout", "crm.orders", NamePattern::Literal, read),
                ("fanout", "erp.", NamePattern::Prefixed, read),
                ("control", "crm.orders", NamePattern::Literal, read),
                ("control", "erp.", NamePattern::Prefixed, read),
            ]
        );
    }
}
