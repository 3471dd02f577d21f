//! Tasks: every long-lived part of a process has a name, is joined, and its failure stops the process.
//!
//! A task that ends with an error or a panic requests the shutdown and is remembered; the others then drain as on a signal.
//! Work that lives as long as one request uses the free [`spawn`]: its owner holds the handle.

use std::collections::BTreeMap;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::task::TaskTracker;
use tracing::{debug, error};

use crate::shutdown::Shutdown;

/// The named tasks of one process. Clones are the same set.
#[derive(Clone, Debug)]
pub struct Tasks {
    inner: Arc<TasksInner>,
}

/// The first task that failed, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("task {name} failed: {error}")]
pub struct TaskFailure {
    /// The task's name.
    pub name: String,
    /// Its error, its panic message, or that it did not end within the grace period.
    pub error: String,
}

#[derive(Debug)]
struct TasksInner {
    shutdown: Shutdown,
    tracker: TaskTracker,
    state: Mutex<TasksState>,
}

#[derive(Debug, Default)]
struct TasksState {
    next: u64,
    running: BTreeMap<u64, (String, AbortHandle)>,
    failure: Option<TaskFailure>,
}

// === impl Tasks ===

impl Tasks {
    /// An empty set whose failures request this shutdown.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self { inner: Arc::new(TasksInner { shutdown, tracker: TaskTracker::new(), state: Mutex::default() }) }
    }

    /// Starts a task. Its end with `Ok` is normal at any time, everything else stops the process.
    pub fn spawn<F, E>(&self, name: impl Into<String>, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let name = name.into();
        let inner = Arc::clone(&self.inner);
        let work = self.inner.tracker.spawn(async move {
            future.await.map_err(|error| {
                let error: Box<dyn Error + Send + Sync> = error.into();
                causes(error.as_ref())
            })
        });
        let id = inner.enter(&name, work.abort_handle());
        // The watcher is a second task because a panic is only visible from outside.
        let _watcher = self.inner.tracker.spawn(async move {
            let outcome = match work.await {
                Ok(outcome) => outcome,
                Err(join) => Err(join_error(join)),
            };
            inner.leave(id, name, outcome);
        });
    }

    /// Waits for the end of every task: as long as it takes while nobody asked to stop, then at most `grace`.
    /// What still runs after that is aborted.
    ///
    /// # Errors
    /// The first failure, or the names of the tasks that did not end in time.
    pub async fn join(&self, grace: Duration) -> Result<(), TaskFailure> {
        self.inner.tracker.close();
        tokio::select! {
            () = self.inner.tracker.wait() => return self.outcome(),
            () = self.inner.shutdown.requested() => {}
        }
        if tokio::time::timeout(grace, self.inner.tracker.wait()).await.is_err() {
            self.inner.abort(grace);
        }
        self.outcome()
    }

    /// The shutdown this set requests when one of its tasks fails.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.inner.shutdown
    }

    fn outcome(&self) -> Result<(), TaskFailure> {
        self.inner.state.lock().failure.clone().map_or(Ok(()), Err)
    }
}

// === impl TasksInner ===

impl TasksInner {
    fn enter(&self, name: &str, handle: AbortHandle) -> u64 {
        let mut state = self.state.lock();
        let id = state.next;
        state.next += 1;
        state.running.insert(id, (name.to_owned(), handle));
        id
    }

    fn leave(&self, id: u64, name: String, outcome: Result<(), String>) {
        let mut state = self.state.lock();
        state.running.remove(&id);
        match outcome {
            Ok(()) => debug!(task = name, "task ended"),
            Err(error) => {
                error!(task = name, error, "task failed: stopping the process");
                state.failure.get_or_insert(TaskFailure { name, error });
                self.shutdown.request();
            }
        }
    }

    fn abort(&self, grace: Duration) {
        let mut state = self.state.lock();
        let names: Vec<String> = state.running.values().map(|(name, _)| name.clone()).collect();
        for (_, handle) in state.running.values() {
            handle.abort();
        }
        if names.is_empty() {
            return;
        }
        let name = names.join(", ");
        let error = format!("HB-031: did not end within the grace period of {} ms", grace.as_millis());
        error!(task = name, error, "task aborted");
        state.failure.get_or_insert(TaskFailure { name, error });
    }
}

/// An error with every cause of it: its first line alone does not say what to do.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        // Some say their cause themselves.
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

/// Starts work that belongs to one request or connection: its owner keeps the handle or lets it run out.
/// A panic is logged with the name; nothing else happens to the process.
#[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(Named { name, future })
}

pin_project! {
    /// Work with its name. No async block: one that awaits what it captured has room for it twice, and a request's work is
    /// moved several times on its way into and out of the runtime.
    struct Named<F> {
        name: &'static str,
        #[pin]
        future: F,
    }
}

struct PanicGuard(&'static str);

impl<F: Future> Future for Named<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _says_so = PanicGuard(this.name);
        this.future.poll(context)
    }
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!(task = self.0, "a task panicked");
        }
    }
}

fn join_error(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => format!("panicked: {}", panic_message(payload.as_ref())),
        Err(error) => error.to_string(),
    }
}

fn panic_message(payload: &(dyn std::any::Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "no message"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    const GRACE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn tasks_that_end_well_are_joined_without_a_shutdown() {
        let tasks = Tasks::new(Shutdown::new());
        tasks.spawn("one", async { Ok::<(), Infallible>(()) });
        tasks.spawn("two", async { Ok::<(), Infallible>(()) });
        tasks.join(GRACE).await.unwrap();
        assert!(!tasks.shutdown().is_requested());
    }

    #[tokio::test]
    async fn a_failure_stops_the_others_and_is_the_answer() {
        let tasks = Tasks::new(Shutdown::new());
        let shutdown = tasks.shutdown().clone();
        tasks.spawn("patient", async move {
            shutdown.requested().await;
            Ok::<(), Infallible>(())
        });
        tasks.spawn("broken", async { Err("no such topic") });
        let failure = tasks.join(GRACE).await.unwrap_err();
        assert_eq!((failure.name.as_str(), failure.error.as_str()), ("broken", "no such topic"));
        assert_eq!(failure.to_string(), "task broken failed: no such topic");
    }

    #[tokio::test]
    async fn the_failure_names_every_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("reading control failed")]
        struct Reading(#[source] std::io::Error);
        let tasks = Tasks::new(Shutdown::new());
        tasks.spawn("catalog", async { Err(Reading(std::io::Error::other("HB-014: may not be read"))) });
        let failure = tasks.join(GRACE).await.unwrap_err();
        assert_eq!(failure.error, "reading control failed: HB-014: may not be read");
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_with_its_message() {
        let tasks = Tasks::new(Shutdown::new());
        tasks.spawn("shaky", async {
            if tokio::task::try_id().is_some() {
                panic!("index {} out of range", 7);
            }
            Ok::<(), Infallible>(())
        });
        let failure = tasks.join(GRACE).await.unwrap_err();
        assert_eq!((failure.name.as_str(), failure.error.as_str()), ("shaky", "panicked: index 7 out of range"));
        assert!(tasks.shutdown().is_requested());
    }

    #[tokio::test]
    async fn what_outlasts_the_grace_period_is_aborted_and_named() {
        let tasks = Tasks::new(Shutdown::new());
        tasks.spawn("stuck", std::future::pending::<Result<(), Infallible>>());
        tasks.shutdown().request();
        let failure = tasks.join(Duration::ZERO).await.unwrap_err();
        assert_eq!(failure.name, "stuck");
        assert!(failure.error.contains("grace period"));
        tasks.inner.tracker.wait().await;
    }

    #[tokio::test]
    async fn request_work_gives_its_output_to_its_owner() {
        assert_eq!(spawn("sum", async { 1 + 1 }).await.unwrap(), 2);
        assert!(spawn("boom", async { assert!(tokio::task::try_id().is_none()) }).await.unwrap_err().is_panic());
    }
}
