//! The topic of jobs as the tests play it: there is no Kafka.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use schemas::jobs::JobDefinition;

use super::Jobs;
use super::ask::AskSink;
use super::view::JobsView;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct PlayedTopic {
    writes: AtomicUsize,
    /// What another replica wrote, and this one has not read yet.
    unread: Mutex<Vec<JobDefinition>>,
    /// What is written is not confirmed in time.
    is_stuck: AtomicBool,
}

// === impl PlayedTopic ===

impl PlayedTopic {
    /// How often was written.
    pub(super) fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    /// Reads up to the end.
    pub(super) fn read(&self, view: &JobsView) {
        for job in self.unread.lock().drain(..) {
            view.change(|known| known.define(job.job_id, job, 0));
        }
    }

    /// Whether it was confirmed.
    pub(super) fn write(&self, view: &JobsView, job: &JobDefinition) -> bool {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let is_confirmed = !self.is_stuck.load(Ordering::Relaxed);
        if is_confirmed {
            view.change(|known| known.define(job.job_id, job.clone(), 0));
        }
        is_confirmed
    }
}

// === impl Jobs ===

impl Jobs {
    fn topic(&self) -> &PlayedTopic {
        match self.0.ask.sink() {
            AskSink::Memory(topic) => topic,
            AskSink::Kafka(_) => panic!("this one is real"),
        }
    }

    /// Another replica wrote this, and it is not read here yet.
    pub(crate) fn is_behind(&self, definition: JobDefinition) {
        self.topic().unread.lock().push(definition);
    }

    /// As where Kafka confirms nothing in time.
    pub(crate) fn is_stuck(&self) {
        self.topic().is_stuck.store(true, Ordering::Relaxed);
    }
}
