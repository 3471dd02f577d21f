//! The 28 operations that read no events, attempts or responses.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use hook0_client::generated::*;
use serde_json::json;
use uuid::Uuid;

use crate::setup::{Reqwest, Setup, done, refused};

const KNOWN_PROBLEMS: usize = 46;

/// An application of this run.
#[derive(Debug)]
pub struct Tenant {
    /// Its id.
    pub id: Uuid,
    /// A secret of it.
    pub secret: String,
}

impl Tenant {
    /// Makes it and finds the secret that was made with it.
    pub async fn make(setup: &Setup) -> Result<Self> {
        let made = ApplicationsApi::new(setup.editing()).create(application(setup, "rust client")).await?;
        let secrets = ApplicationSecretsApi::new(setup.editing()).read(&made.application_id.to_string()).await?;
        let secret = secrets.first().context("a new application has a secret")?.token.to_string();
        Ok(Self { id: made.application_id, secret })
    }

    /// Removes it.
    pub async fn remove(self, setup: &Setup) -> Result<()> {
        Ok(ApplicationsApi::new(setup.editing()).delete(&self.id.to_string()).await?)
    }
}

fn application(setup: &Setup, name: &str) -> ApplicationPost {
    ApplicationPost { name: name.to_owned(), organization_id: setup.organization }
}

/// A subscription as this client posts it.
pub fn subscription(application: Uuid, url: &str, event_types: &[&str]) -> Result<SubscriptionPost> {
    let target = json!({ "type": "http", "method": "POST", "url": url, "headers": { "X-Tenant": "acme" } });
    Ok(serde_json::from_value(json!({
        "application_id": application, "event_types": event_types, "is_enabled": true, "target": target,
    }))?)
}

/// What needs no object.
pub async fn instance(setup: &Setup) -> Result<()> {
    let instance = InstanceApi::new(setup.editing()).get().await?;
    ensure!(instance.registration_disabled, "there are no users to register");
    done("instance.get")?;
    ensure!(QuotasApi::new(setup.editing()).get().await?.limits.global_events_per_day_limit > 0);
    done("quotas.get")?;
    let problems = ErrorsApi::new(setup.editing()).list().await?;
    let ids: BTreeSet<String> = problems.iter().map(|problem| problem.id.to_string()).collect();
    ensure!(ids.len() == KNOWN_PROBLEMS, "{ids:?}");
    done("errors.list")?;
    let types = PayloadContentTypesApi::new(setup.editing()).list().await?;
    ensure!(types.iter().any(|known| known == "application/json"), "{types:?}");
    done("payload_content_types.list")
}

/// Made, read, renamed, listed, deleted twice.
pub async fn applications(setup: &Setup) -> Result<()> {
    let applications = ApplicationsApi::new(setup.editing());
    let key = applications.create(application(setup, "short-lived")).await?.application_id.to_string();
    done("applications.create")?;
    let info = applications.get(&key).await?;
    ensure!(info.name == "short-lived" && info.quotas.events_per_day_limit > 0, "{info:?}");
    done("applications.get")?;
    let renamed = applications.update(&key, application(setup, "renamed")).await?;
    ensure!(renamed.name == "renamed", "{renamed:?}");
    done("applications.update")?;
    let listed = applications.list(&setup.organization.to_string()).await?;
    ensure!(listed.iter().any(|one| one.application_id == renamed.application_id && one.name == "renamed"));
    ensure!(listed.iter().any(|one| one.application_id == setup.application));
    done("applications.list")?;
    applications.delete(&key).await?;
    applications.delete(&key).await?;
    refused(applications.get(&key).await, ProblemId::NotFound, 404)?;
    done("applications.delete")
}

/// Made, used, renamed, read, listed, deleted twice, useless.
pub async fn service_tokens(setup: &Setup) -> Result<()> {
    let tokens = ServiceTokenApi::new(setup.editing());
    let post = |name: &str| ServiceTokenPost { name: name.to_owned(), organization_id: setup.organization };
    let organization = setup.organization.to_string();
    let made = tokens.create(post("rust client")).await?;
    done("service_token.create")?;
    let opened = ApplicationsApi::new(setup.with(&made.biscuit));
    ensure!(opened.list(&organization).await?.iter().any(|one| one.application_id == setup.application));
    let key = made.token_id.to_string();
    let renamed = tokens.edit(&key, post("renamed")).await?;
    ensure!(renamed.name == "renamed" && renamed.token_id == made.token_id, "{renamed:?}");
    done("service_token.edit")?;
    ensure!(tokens.get(&key, &organization).await?.name == "renamed");
    done("service_token.get")?;
    ensure!(tokens.list(&organization).await?.iter().any(|one| one.token_id == made.token_id));
    done("service_token.list")?;
    tokens.delete(&key, &organization).await?;
    tokens.delete(&key, &organization).await?;
    refused(opened.list(&organization).await, ProblemId::AuthInvalidBiscuit, 403)?;
    done("service_token.delete")
}

/// Made, listed, renamed, used, deleted, useless.
pub async fn secrets(setup: &Setup, tenant: &Tenant) -> Result<()> {
    let secrets = ApplicationSecretsApi::new(setup.editing());
    let post = |name: &str| ApplicationSecretPost { name: Some(name.to_owned()), application_id: tenant.id };
    let key = tenant.id.to_string();
    let made = secrets.create(post("rust client")).await?;
    done("application_secrets.create")?;
    let names: BTreeSet<_> = secrets.read(&key).await?.into_iter().filter_map(|secret| secret.name).collect();
    ensure!(names == BTreeSet::from(["Default".to_owned(), "rust client".to_owned()]), "{names:?}");
    done("application_secrets.read")?;
    let token = made.token.to_string();
    let renamed = secrets.update(&token, post("renamed")).await?;
    ensure!(renamed.name.as_deref() == Some("renamed") && renamed.token == made.token, "{renamed:?}");
    done("application_secrets.update")?;
    let opened = EventTypesApi::new(setup.with(&token));
    ensure!(opened.list(&key).await?.is_empty());
    secrets.delete(&token, &key).await?;
    refused(opened.list(&key).await, ProblemId::AuthInvalidApplicationSecret, 403)?;
    done("application_secrets.delete")
}

/// Declared twice, read, listed, deleted twice.
pub async fn event_types(setup: &Setup, tenant: &Tenant) -> Result<()> {
    let types = EventTypesApi::new(setup.with(&tenant.secret));
    let key = tenant.id.to_string();
    let post = |verb: &str| EventTypePost {
        application_id: tenant.id,
        service: "billing".to_owned(),
        resource_type: "invoice".to_owned(),
        verb: verb.to_owned(),
    };
    let made = types.create(post("paid")).await?;
    ensure!(made.event_type_name == "billing.invoice.paid" && made.resource_type_name == "invoice", "{made:?}");
    types.create(post("paid")).await?;
    done("event_types.create")?;
    ensure!(types.get("billing.invoice.paid", &key).await?.verb_name == "paid");
    done("event_types.get")?;
    let client = hook0_client::Hook0Client::new(setup.base.parse()?, tenant.id, &tenant.secret)?;
    let created = client.upsert_event_types(&["billing.invoice.paid", "user.account.created"]).await?;
    ensure!(created == ["user.account.created"], "{created:?}");
    done("upsert_event_types")?;
    ensure!(types.list(&key).await?.len() == 2);
    done("event_types.list")?;
    types.create(post("gone")).await?;
    types.delete("billing.invoice.gone", &key).await?;
    types.delete("billing.invoice.gone", &key).await?;
    refused(types.get("billing.invoice.gone", &key).await, ProblemId::NotFound, 404)?;
    done("event_types.delete")
}

/// Made, read, changed, listed, deleted twice.
pub async fn subscriptions(setup: &Setup, tenant: &Tenant) -> Result<()> {
    let subscriptions = SubscriptionsApi::new(setup.with(&tenant.secret));
    let mut post = subscription(tenant.id, &format!("{}/short-lived", setup.endpoint), &["user.account.created"])?;
    post.label_key = Some("environment".to_owned());
    post.label_value = Some("test".to_owned());
    post.description = Some("short-lived".to_owned());
    let made = subscriptions.create(post.clone()).await?;
    ensure!(made.label_key == "environment" && made.labels["environment"] == "test", "{made:?}");
    done("subscriptions.create")?;
    let key = made.subscription_id.to_string();
    ensure!(subscriptions.get(&key).await?.description.as_deref() == Some("short-lived"));
    done("subscriptions.get")?;
    post.label_key = None;
    post.label_value = None;
    post.labels = Some([("a".to_owned(), "b".to_owned())].into());
    post.target.url = format!("{}/renamed", setup.endpoint).parse()?;
    let changed = subscriptions.update(&key, post).await?;
    ensure!(changed.target.url.path().ends_with("/renamed") && changed.labels["a"] == "b", "{changed:?}");
    ensure!(changed.secret == made.secret, "an edit leaves the secret alone");
    done("subscriptions.update")?;
    let application = tenant.id.to_string();
    ensure!(subscriptions.list(&application).await?.len() == 1);
    done("subscriptions.list")?;
    subscriptions.delete(&key, &application).await?;
    subscriptions.delete(&key, &application).await?;
    ensure!(subscriptions.list(&application).await?.is_empty());
    done("subscriptions.delete")
}

/// An application that holds what Hook0 does not know: every list decodes, an edit keeps it.
pub async fn mixed(setup: &Setup) -> Result<()> {
    let key = setup.application.to_string();
    let types = EventTypesApi::new(setup.with(&setup.secret)).list(&key).await?;
    let two = types.iter().find(|one| one.event_type_name == "invoice.paid").context("a two-part type")?;
    ensure!(
        (two.service_name.as_str(), two.resource_type_name.as_str(), two.verb_name.as_str()) == ("invoice", "", "paid")
    );
    let subscriptions = SubscriptionsApi::new(setup.with(&setup.secret));
    let listed = subscriptions.list(&key).await?;
    let listed: BTreeMap<_, _> =
        listed.into_iter().map(|one| (one.description.clone().unwrap_or_default(), one)).collect();
    for name in ["filtered", "label-less", "paused", "imported"] {
        let one = listed.get(name).with_context(|| format!("{name} is not listed"))?;
        edit_with_what_was_read(&subscriptions, one).await?;
    }
    done("mixed: lists decode and edits keep what the client does not know")
}

async fn edit_with_what_was_read(subscriptions: &SubscriptionsApi<Reqwest>, one: &Subscription) -> Result<()> {
    let post: SubscriptionPost = serde_json::from_value(serde_json::to_value(one)?)?;
    let kept = subscriptions.update(&one.subscription_id.to_string(), post).await?;
    ensure!(kept.secret == one.secret && kept.labels == one.labels && kept.target.url == one.target.url, "{kept:?}");
    Ok(())
}
