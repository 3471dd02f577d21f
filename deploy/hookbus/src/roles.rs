//! How each role is wired: its section of the configuration, what it stands on, its task.

use std::future::poll_fn;
use std::task::Poll;

use anyhow::Result;
use catalog::Catalog;
use control_plane::ControlPlane;
use fanout_worker::Intakes;
use ingest_gateway::Fallback;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use crate::listeners;
use crate::process::Process;

/// The read side of `control` in this process.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    /// The snapshot.
    pub(crate) catalog: Catalog,
}

impl Directory {
    /// Starts the snapshot of a process that reads it.
    ///
    /// # Errors
    /// When a key is missing or Kafka cannot be reached at all.
    pub(crate) fn start(process: &Process) -> Result<Self> {
        Self::of(process, false)
    }

    /// Starts the snapshot of a process with the control plane in it, which answers repeats of writes.
    ///
    /// # Errors
    /// As [`Directory::start`].
    pub(crate) fn of_control(process: &Process) -> Result<Self> {
        Self::of(process, true)
    }

    fn of(process: &Process, keeps_answers: bool) -> Result<Self> {
        let vault = process.vault()?;
        Ok(Self { catalog: process.catalog(&vault, keeps_answers)? })
    }
}

/// Runs a role as a task. The process is not ready before the role has taken its own latches, which it does before it waits
/// for anything.
fn spawn<E>(process: &Process, name: &'static str, run: impl Future<Output = Result<(), E>> + Send + 'static)
where
    E: std::error::Error + Send + Sync + 'static,
{
    let begun = process.health.latch(name);
    process.tasks.spawn(name, async move {
        let mut run = Box::pin(run);
        let first = poll_fn(|context| Poll::Ready(run.as_mut().poll(context))).await;
        begun.release();
        let outcome = match first {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => run.await,
        };
        // Its last words name every cause: the first line alone does not say what to do.
        outcome.map_err(anyhow::Error::new)
    });
}

/// Tells the control plane when tokens were used.
fn share_token_use(process: &Process, directory: &Directory, role: &'static str) {
    catalog::usage::share_use(catalog::usage::UseDeps {
        connection: process.connection.clone(),
        topic: std::sync::Arc::clone(&process.topics.status),
        tasks: process.tasks.clone(),
        used: std::sync::Arc::clone(directory.catalog.used()),
        role,
        instance: process.config.kafka.slot.clone(),
        hears: None,
    });
}

/// Events over HTTP.
///
/// # Errors
/// When its certificate cannot be used.
pub(crate) fn gateway(
    process: &Process,
    directory: &Directory,
    listener: TcpListener,
    fallback: Option<Fallback>,
) -> Result<()> {
    let mut config = process.config.gateway.clone();
    if config.admin_keys.is_empty() {
        config.admin_keys.clone_from(&process.config.control.admin_keys);
    }
    // With the control plane in the same process, that one tells for both.
    if fallback.is_none() {
        share_token_use(process, directory, "gateway");
    }
    let deps = ingest_gateway::Deps {
        connection: process.connection.clone(),
        kafka: process.config.kafka.clone(),
        topics: process.topics.clone(),
        catalog: directory.catalog.clone(),
        registry: process.registry.clone(),
        health: process.health.clone(),
        fallback,
        tls: listeners::followed_tls(process, "gateway", config.tls.as_ref(), &listener)?,
    };
    spawn(process, "gateway", ingest_gateway::run(config, deps, listener, process.shutdown.clone()));
    Ok(())
}

/// Events x subscriptions, of these intakes.
pub(crate) fn fanout(process: &Process, directory: &Directory, intakes: Intakes) {
    let deps = fanout_worker::Deps {
        connection: process.connection.clone(),
        kafka: process.config.kafka.clone(),
        topics: process.topics.clone(),
        catalog: directory.catalog.clone(),
        registry: process.registry.clone(),
        health: process.health.clone(),
        grace: process.config.shutdown.grace,
    };
    let (config, sources) = (process.config.fanout.clone(), process.config.sources.clone());
    let run = fanout_worker::run(config, (sources, intakes), deps, process.shutdown.clone());
    spawn(process, "fanout", run);
}

/// Signed requests.
pub(crate) fn delivery(process: &Process, directory: &Directory) {
    let deps = delivery_worker::Deps {
        targets: process.targets(),
        connection: process.connection.clone(),
        kafka: process.config.kafka.clone(),
        topics: process.topics.clone(),
        catalog: directory.catalog.clone(),
        registry: process.registry.clone(),
        health: process.health.clone(),
        grace: process.config.shutdown.grace,
    };
    let run = delivery_worker::run(process.config.delivery.clone(), deps, process.shutdown.clone());
    spawn(process, "delivery", run);
}

/// Waiting until due.
pub(crate) fn retry(process: &Process) {
    let deps = retry_scheduler::Deps {
        connection: process.connection.clone(),
        kafka: process.config.kafka.clone(),
        topics: process.topics.clone(),
        registry: process.registry.clone(),
        health: process.health.clone(),
        grace: process.config.shutdown.grace,
    };
    let run = retry_scheduler::run(process.config.retry.clone(), deps, process.shutdown.clone());
    spawn(process, "retry", run);
}

/// The management API, started; serve it with [`serve_control`] or as the gateway's fallback.
///
/// # Errors
/// When a Kafka client cannot be made.
pub(crate) async fn control(process: &Process, directory: &Directory) -> Result<ControlPlane> {
    let deps = control_plane::Deps {
        connection: process.connection.clone(),
        topics: process.topics.clone(),
        kept_ms: control_plane::kept_ms(&process.config.topics),
        catalog: directory.catalog.clone(),
        kafka: process.config.kafka.clone(),
        policy: process.targets(),
        registry: process.registry.clone(),
        health: process.health.clone(),
        tasks: process.tasks.clone(),
    };
    Ok(ControlPlane::start(process.config.control.clone(), deps).await?)
}

/// Serves the management API on its own port.
///
/// # Errors
/// When its certificate cannot be used.
pub(crate) fn serve_control(process: &Process, control: ControlPlane, listener: TcpListener) -> Result<()> {
    let tls = listeners::followed_tls(process, "control", process.config.control.tls.as_ref(), &listener)?;
    spawn(process, "control", control.serve(listener, tls, process.shutdown.clone()));
    Ok(())
}

/// The management API as what the gateway does not serve itself: one address for both, as Hook0's clients expect.
pub(crate) fn as_fallback(control: &ControlPlane) -> Fallback {
    let router = control.router();
    Fallback::new(move |request| {
        let router = router.clone();
        async move { router.oneshot(request).await.unwrap_or_else(|never| match never {}) }
    })
}
