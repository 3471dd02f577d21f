//! Tenants with many subscriptions, made over the API in batches.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, ensure};
use kafka::clock::instant;
use serde_json::{Value, json};
use testkit::http::Http;
use tokio::task::JoinSet;

use super::{Tenant, tenant};
use crate::stage::Control;

/// Subscriptions of a batch: the most there may be.
pub(super) const BATCH: u32 = 1_000;
/// Tenants that have them: each stays below its share of memory.
const TENANTS: u32 = 8;
/// Batches under way at once.
const POSTERS: u32 = 4;
/// What they all want.
const TYPE: &str = "million.thing.made";

/// Who has the subscriptions.
#[derive(Debug)]
pub(super) struct Population {
    control: Control,
    tenants: Arc<[Tenant]>,
}

// === impl Population ===

impl Population {
    /// Tenants without subscriptions.
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let mut tenants = Vec::new();
        for number in 0..TENANTS {
            tenants.push(format!("tenant{number}"));
        }
        Self::of(address, &tenants).await
    }

    /// Of one tenant.
    pub(super) async fn of_one(address: SocketAddr, name: &str) -> anyhow::Result<(Self, String)> {
        let one = Self::of(address, &[name.to_owned()]).await?;
        let application = one.tenants[0].application.clone();
        Ok((one, application))
    }

    async fn of(address: SocketAddr, names: &[String]) -> anyhow::Result<Self> {
        let control = Control { http: Http::default(), address };
        let mut tenants = Vec::new();
        for name in names {
            let tenant = tenant(&control, name).await?;
            control.post("event_types", &json!({ "application_id": tenant.application, "name": TYPE })).await?;
            tenants.push(tenant);
        }
        Ok(Self { control, tenants: tenants.into() })
    }

    /// Makes the batches with these numbers; the seconds that it took.
    pub(super) async fn make(&self, batches: Range<u32>) -> anyhow::Result<f64> {
        let began = instant();
        let mut posters = JoinSet::new();
        for first in 0..POSTERS {
            let (tenants, control) = (Arc::clone(&self.tenants), self.control.clone());
            let own = batches.clone().skip(first as usize).step_by(POSTERS as usize);
            posters.spawn(async move {
                for batch in own {
                    post(&control, &tenants[batch as usize % tenants.len()].application, batch).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = posters.join_next().await {
            ended??;
        }
        Ok(began.elapsed().as_secs_f64())
    }
}

async fn post(control: &Control, application: &str, batch: u32) -> anyhow::Result<()> {
    let one = |number: u32| subscription(batch * BATCH + number);
    let body = json!({
        "application_id": application,
        "subscriptions": (0..BATCH).map(one).collect::<Vec<Value>>(),
    });
    let made = control.post("subscriptions:batch", &body).await?;
    let results = made["results"].as_array().context("a batch has results")?;
    let failed = results.iter().find(|result| result["status"] != 201);
    ensure!(failed.is_none(), "{failed:?}");
    Ok(())
}

fn subscription(number: u32) -> Value {
    json!({
        "is_enabled": true,
        "event_types": [TYPE],
        "labels": { "customer": format!("c{number}") },
        "target": { "type": "http", "method": "POST", "url": "http://127.0.0.1:9/", "headers": {} },
    })
}
