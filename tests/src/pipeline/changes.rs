//! What a tenant changes about a subscription while events are on their way, remembered for the ledger.

use anyhow::Context;
use http::Method;
use kafka::clock::now_ms;
use serde_json::{Value, json};

use super::{Application, Pipeline, Subscription};
use crate::ledger::books::Subscribed;

impl Pipeline {
    /// Changes fields of a subscription. Returns when that was answered, Unix ms, and how the subscription is shown then.
    ///
    /// # Errors
    /// The management API refuses.
    pub async fn edit(
        &self,
        application: &Application,
        subscription: &Subscription,
        fields: &Value,
    ) -> anyhow::Result<(i64, Value)> {
        let path = format!("/subscriptions/{}?application_id={}", subscription.id, application.id);
        let shown = self.managed(Method::PATCH, &path, Some(fields), 200).await?;
        Ok((now_ms(), shown))
    }

    /// Gives a subscription a new path at the endpoint. Returns when that was answered, Unix ms.
    ///
    /// # Errors
    /// The management API refuses.
    pub async fn move_to(
        &mut self,
        application: &Application,
        subscription: &Subscription,
        path: &str,
    ) -> anyhow::Result<i64> {
        let (at_ms, shown) =
            self.edit(application, subscription, &json!({ "target": { "url": self.endpoint.url(path) } })).await?;
        let secret = shown["secret"].as_str().context("a subscription shows its secret")?;
        self.endpoint.expect_secret(path, secret)?;
        let known = self.known(subscription)?;
        known.former_paths.push(std::mem::replace(&mut known.path, path.to_owned()));
        Ok(at_ms)
    }

    /// Disables a subscription. Returns when that was answered, Unix ms.
    ///
    /// # Errors
    /// The management API refuses.
    pub async fn disable(&mut self, application: &Application, subscription: &Subscription) -> anyhow::Result<i64> {
        let asked_ms = now_ms();
        let (at_ms, _) = self.edit(application, subscription, &json!({ "is_enabled": false })).await?;
        self.known(subscription)?.ended_ms = Some((asked_ms, at_ms));
        Ok(at_ms)
    }

    /// Enables a subscription again that was disabled. Returns when that was answered, Unix ms.
    ///
    /// # Errors
    /// The management API refuses.
    pub async fn enable(&mut self, application: &Application, subscription: &Subscription) -> anyhow::Result<i64> {
        let (at_ms, _) = self.edit(application, subscription, &json!({ "is_enabled": true })).await?;
        self.known(subscription)?.enabled_again_ms = Some(at_ms);
        Ok(at_ms)
    }

    /// Pauses or resumes a subscription. Returns when that was answered, Unix ms.
    ///
    /// # Errors
    /// The management API refuses.
    pub async fn pause(
        &self,
        application: &Application,
        subscription: &Subscription,
        pauses: bool,
    ) -> anyhow::Result<i64> {
        let action = if pauses { "pause" } else { "resume" };
        let path = format!("/subscriptions/{}/{action}?application_id={}", subscription.id, application.id);
        self.managed(Method::POST, &path, None, 200).await?;
        Ok(now_ms())
    }

    /// Something else than the test ended a subscription between these times, Unix ms.
    ///
    /// # Errors
    /// It is none of this test.
    pub fn ended(&mut self, subscription: &Subscription, between_ms: (i64, i64)) -> anyhow::Result<()> {
        self.known(subscription)?.ended_ms = Some(between_ms);
        Ok(())
    }

    fn known(&mut self, subscription: &Subscription) -> anyhow::Result<&mut Subscribed> {
        let known = self.subscriptions.iter_mut().find(|known| known.id == subscription.id);
        known.context("a subscription of this test")
    }
}
