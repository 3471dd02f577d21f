//! Refusals reach the caller as what they are.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use hook0_client::generated::{EventsApi, ProblemId, RequestError, SubscriptionsApi};
use hook0_client::{Hook0Client, RetryPolicy};
use uuid::Uuid;

use crate::events::{event, ingest};
use crate::operations::{Tenant, subscription};
use crate::setup::{Setup, done, refused};

const BURST: usize = 100;

/// Those of one request.
pub async fn check(setup: &Setup, tenant: &Tenant) -> Result<()> {
    let nobody = Uuid::now_v7().to_string();
    let application = tenant.id.to_string();
    let editing = SubscriptionsApi::new(setup.editing());
    refused(editing.get(&nobody).await, ProblemId::NotFound, 404)?;
    done("404 NotFound")?;
    let own = SubscriptionsApi::new(setup.with(&tenant.secret));
    refused(own.list(&setup.application.to_string()).await, ProblemId::Forbidden, 403)?;
    done("403 Forbidden")?;
    let stranger = SubscriptionsApi::new(setup.with(&nobody));
    refused(stranger.list(&application).await, ProblemId::AuthInvalidApplicationSecret, 403)?;
    let stranger = EventsApi::new(setup.with(&nobody));
    refused(stranger.ingest(ingest(tenant.id, None)?).await, ProblemId::AuthInvalidApplicationSecret, 403)?;
    done("403 AuthInvalidApplicationSecret")?;
    let silent = SubscriptionsApi::new(setup.with(""));
    refused(silent.list(&application).await, ProblemId::AuthInvalidAuthorizationHeader, 400)?;
    done("400 AuthInvalidAuthorizationHeader")?;
    let wrong = subscription(tenant.id, "ftp://example.org/", &["billing.invoice.paid"])?;
    let validation = refused(own.create(wrong).await, ProblemId::Validation, 422)?;
    ensure!(validation.is_some_and(|tree| tree.to_string().contains("url")));
    done("422 Validation")?;
    let unknown = subscription(tenant.id, &setup.endpoint, &["no.such.type"])?;
    refused(own.create(unknown).await, ProblemId::EventTypeDoesNotExist, 400)?;
    done("400 EventTypeDoesNotExist")
}

/// An application with one subscription and one event per second at most.
pub async fn limits(setup: &Setup) -> Result<()> {
    let (application, secret) = &setup.limited;
    let second = subscription(*application, &setup.endpoint, &["billing.invoice.paid"])?;
    let second = SubscriptionsApi::new(setup.with(secret)).create(second).await;
    refused(second, ProblemId::TooManySubscriptionsPerApplication, 429)?;
    done("429 TooManySubscriptionsPerApplication")?;
    refused(burst(setup).await?, ProblemId::RateLimited, 429)?;
    done("429 RateLimited")?;
    let policy = RetryPolicy { max_attempts: 8, max_total_delay: Duration::from_secs(20), ..RetryPolicy::default() };
    let patient = Hook0Client::new(setup.base.parse()?, *application, secret)?.with_retry_policy(policy);
    patient.send_event(&event(None, "{}")).await?;
    done("send_event waits when RateLimited")
}

async fn burst(setup: &Setup) -> Result<Result<(), RequestError>> {
    let (application, secret) = &setup.limited;
    let events = EventsApi::new(setup.with(secret));
    for _ in 0..BURST {
        if let Err(refusal) = events.ingest(ingest(*application, None)?).await {
            return Ok(Err(refusal));
        }
    }
    bail!("{BURST} events at once are no burst to an application with one per second")
}
