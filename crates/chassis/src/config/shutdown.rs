//! `[shutdown]`: how a process ends.

use std::time::Duration;

use super::key::{Key, Kind, Section, Unit};
use super::reader::Reader;

pub(super) const SECTION: Section = Section {
    name: "shutdown",
    about: "What happens at SIGTERM or SIGINT: intake stops, what is in flight finishes, outcomes are committed.",
    keys: &[Key {
        path: "shutdown.grace_ms",
        kind: Kind::Integer(0, 600_000, Unit::Millis),
        default: "30000",
        title: "Grace period",
        effect: "After it the process ends, whatever is left; less than what Kubernetes waits. A second signal ends it \
                 at once.",
    }],
};

/// The `[shutdown]` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownConfig {
    /// How long draining may take.
    pub grace: Duration,
}

impl ShutdownConfig {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        Self { grace: from.millis("shutdown.grace_ms") }
    }
}
