//! What is there, as far as the documents speak of it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::Value;

use super::keys::Kind;
use super::wanted::Wanted;
use super::yaml::Wrong;
use crate::management::{Management, path};

/// What is there.
#[derive(Debug, Default)]
pub(crate) struct State {
    organizations: Vec<Value>,
    applications: Vec<Value>,
    schema_registries: Vec<Value>,
    /// By the organization's id, and all of them without one.
    sources: BTreeMap<Option<String>, Vec<Value>>,
    /// By the application's id.
    inside: BTreeMap<String, Inside>,
}

/// What one application holds.
#[derive(Debug, Default)]
struct Inside {
    secrets: Vec<Value>,
    event_types: Vec<Value>,
    subscriptions: Vec<Value>,
}

/// Asks for everything the documents speak of.
///
/// # Errors
/// The management API refuses or cannot be reached.
pub(crate) async fn read(management: &Management, wanted: &[Wanted<'_>]) -> Result<State> {
    let applications = management.list("applications", "/applications").await?;
    let mut state = State { applications, ..State::default() };
    // Who may make an application may see its organization; who only fills one perhaps not.
    let is_new = |it: &Wanted<'_>| it.kind == Kind::Application && matches!(state.find(it), Ok(None));
    let has_sources = wanted.iter().any(|it| it.kind == Kind::Source);
    if has_sources || wanted.iter().any(|it| it.kind == Kind::Organization || is_new(it)) {
        state.organizations = management.list("organizations", "/organizations").await?;
    }
    if has_sources {
        state.hold_sources(management.list("sources", "/sources").await?);
    }
    if wanted.iter().any(|it| it.kind == Kind::SchemaRegistry) {
        state.schema_registries = management.list("schema registries", "/schema_registries").await?;
    }
    let named: BTreeSet<String> = wanted.iter().filter_map(|it| state.application_of(it)).collect();
    for application in named {
        let mut inside = Inside::default();
        let of = |kind: Kind| path(&format!("/{}?application_id={{}}", kind.plural()), [&application]);
        if wanted.iter().any(|it| it.kind == Kind::Secret && state.application_of(it).as_ref() == Some(&application)) {
            inside.secrets = management.list("application secrets", &of(Kind::Secret)).await?;
        }
        inside.event_types = management.list("event types", &of(Kind::EventType)).await?;
        inside.subscriptions = management.list("subscriptions", &of(Kind::Subscription)).await?;
        state.inside.insert(application, inside);
    }
    Ok(state)
}

// === impl State ===

impl State {
    /// The object a document means, if it is there.
    ///
    /// # Errors
    /// Its uid is another object's than its id.
    pub(crate) fn find(&self, wanted: &Wanted<'_>) -> Result<Option<&Value>, Wrong> {
        let candidates = self.candidates(wanted);
        let key_field = match wanted.kind {
            Kind::Organization | Kind::Application | Kind::Subscription | Kind::SchemaRegistry | Kind::Source => "uid",
            Kind::EventType => "event_type_name",
            Kind::Secret => "name",
        };
        let by = |field: &str, text: Option<&String>| {
            candidates.iter().find(|it| text.is_some_and(|text| it[field] == **text))
        };
        let by_id = by(wanted.kind.id_field(), wanted.id.as_ref());
        if wanted.id.is_none() {
            return Ok(by(key_field, wanted.key.as_ref()));
        }
        // A secret's name is no key: many may have it.
        let taken = if wanted.kind == Kind::Secret { None } else { by(key_field, wanted.key.as_ref()) };
        let id = |it: &Value| it[wanted.kind.id_field()].as_str().unwrap_or_default().to_owned();
        match (by_id, taken) {
            (found, None) => Ok(found),
            (Some(found), Some(other)) if id(found) == id(other) => Ok(Some(found)),
            (_, Some(other)) => {
                let message = format!("is the one of {}, which has another id", id(other));
                Err(wanted.wrong(key_field, &message))
            }
        }
    }

    /// The id of the application a document is, or is of, if that is there.
    pub(crate) fn application_of(&self, wanted: &Wanted<'_>) -> Option<String> {
        match wanted.kind {
            Kind::Organization | Kind::SchemaRegistry | Kind::Source => None,
            Kind::Application => id_of(self.find(wanted).ok()??),
            Kind::Secret | Kind::EventType | Kind::Subscription => self.application(wanted.parent.as_deref()?),
        }
    }

    /// What is wrong with an object that is of something neither there nor in the documents: a misspelt name, mostly.
    pub(crate) fn without_parent(&self, wanted: &Wanted<'_>, all: &[Wanted<'_>]) -> Option<Wrong> {
        let name = wanted.parent.as_deref()?;
        let (_, field) = wanted.kind.parent_fields()?;
        let (kind, there) = match wanted.kind {
            Kind::Organization | Kind::SchemaRegistry => return None,
            Kind::Application | Kind::Source => (Kind::Organization, &self.organizations),
            Kind::Secret | Kind::EventType | Kind::Subscription => (Kind::Application, &self.applications),
        };
        let is_id = |id: &str| id.eq_ignore_ascii_case(name);
        let is_there = there.iter().any(|it| it["uid"] == name || it[kind.id_field()].as_str().is_some_and(is_id));
        let mut planned = all.iter().filter(|it| it.kind == kind);
        if is_there || planned.any(|it| it.key.as_deref() == Some(name) || it.id.as_deref().is_some_and(is_id)) {
            return None;
        }
        Some(wanted.wrong(field, &format!("names no {kind} that is there or in the files: `{name}`")))
    }

    /// What an application holds of a kind.
    pub(crate) fn held(&self, application: &str, kind: Kind) -> &[Value] {
        let Some(inside) = self.inside.get(application) else { return &[] };
        match kind {
            Kind::Organization | Kind::Application | Kind::SchemaRegistry | Kind::Source => &[],
            Kind::Secret => &inside.secrets,
            Kind::EventType => &inside.event_types,
            Kind::Subscription => &inside.subscriptions,
        }
    }

    fn candidates(&self, wanted: &Wanted<'_>) -> &[Value] {
        match wanted.kind {
            Kind::Organization => &self.organizations,
            Kind::SchemaRegistry => &self.schema_registries,
            Kind::Application => &self.applications,
            Kind::Source => {
                let organization = wanted.parent.as_deref().map(|name| self.organization(name));
                self.sources.get(&organization).map_or(&[], Vec::as_slice)
            }
            Kind::Secret | Kind::EventType | Kind::Subscription => {
                self.application_of(wanted).map_or(&[], |application| self.held(&application, wanted.kind))
            }
        }
    }

    fn hold_sources(&mut self, all: Vec<Value>) {
        for source in &all {
            let organization = source["organization_id"].as_str().map(str::to_owned);
            self.sources.entry(organization).or_default().push(source.clone());
        }
        self.sources.insert(None, all);
    }

    /// The id of an organization; what is none that is there stands for itself.
    fn organization(&self, id_or_uid: &str) -> String {
        let mut all = self.organizations.iter();
        let found = all.find(|it| it["uid"] == id_or_uid).and_then(|it| it["organization_id"].as_str());
        found.map_or_else(|| id_or_uid.to_ascii_lowercase(), str::to_owned)
    }

    fn application(&self, id_or_uid: &str) -> Option<String> {
        let found = self.applications.iter().find(|it| it["application_id"] == id_or_uid || it["uid"] == id_or_uid);
        found.and_then(id_of)
    }
}

fn id_of(application: &Value) -> Option<String> {
    application["application_id"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::wanted;
    use super::super::yaml::Document;
    use super::*;

    #[test]
    fn a_parent_is_there_or_planned_or_wrong() {
        let id = "01a201c5-6f74-7155-8bf9-6fb582b38b76";
        let state = State {
            organizations: vec![json!({ "organization_id": id, "uid": "acme" })],
            applications: vec![json!({ "application_id": id, "uid": "shop" })],
            ..State::default()
        };
        let text = format!(
            "{{kind: application, uid: a, organization: acme, name: A}}\n---\n\
             {{kind: application, uid: b, organization: {}, name: B}}\n---\n\
             {{kind: event_type, application: a, name: x.y}}\n---\n\
             {{kind: event_type, application: shop, name: x.y}}\n---\n\
             {{kind: application, uid: c, organization: acne, name: C}}\n---\n\
             {{kind: event_type, application: acme, name: x.y}}\n",
            id.to_uppercase()
        );
        let documents = Document::read("f.yaml", &text).unwrap();
        let all = wanted::read(&documents, &|_name| None).unwrap();
        let wrong: Vec<String> =
            all.iter().filter_map(|it| state.without_parent(it, &all)).map(|it| it.to_string()).collect();
        let said = "that is there or in the files";
        assert_eq!(
            wrong,
            [
                format!("f.yaml:9: `organization` names no organization {said}: `acne`"),
                format!("f.yaml:11: `application` names no application {said}: `acme`"),
            ]
        );
    }
}
