//! The requests of an HTTP/2 connection as tasks that can be ended one by one.
//!
//! hyper hands each of them to an executor: the service's future, and then what writes its answer. Here they run with a handle of their
//! own. One that is ended is dropped, which resets its stream (`RST_STREAM`, `CANCEL`) and lets go of what waited in it for the peer; the other
//! streams of the connection, which may be of other clients of a proxy, go on.

use futures_util::future::{AbortHandle, Abortable};
use hyper::rt::Executor;

use crate::tasks;

tokio::task_local! {
    /// Ends the request of this task.
    static STREAM: AbortHandle;
}

/// Runs what hyper serves HTTP/2 with.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamExecutor;

/// What ends the request that is being served; `None` over HTTP/1.1, which has one at a time.
pub(super) fn end_of_current() -> Option<AbortHandle> {
    STREAM.try_with(AbortHandle::clone).ok()
}

// === impl StreamExecutor ===

impl<F> Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let (end, ended) = AbortHandle::new_pair();
        // It runs out, or is ended through its handle.
        let _task = tasks::spawn("stream", STREAM.scope(end, Abortable::new(future, ended)));
    }
}
