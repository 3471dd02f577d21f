//! `[shutdown]`: how a process ends.

use std::time::Duration;

use super::key::{Key, Kind, Section, Unit};
use super::reader::Reader;

pub(super) const SECTION: Section = Section {
    name: "shutdown",
    about: "What happens at SIGTERM or SIGINT: intake stops, what is in flight finishes, outcomes are committed.",
    keys: &[
        Key {
            path: "shutdown.delay_ms",
            kind: Kind::Integer(0, 300_000, Unit::Millis),
            default: "0",
            title: "Delay",
            effect: "From the signal on `/readyz` is 503, and for so long the listeners take new connections as before: \
                     balancers that have not seen it yet send into no closed port. Answers on kept connections say that they \
                     end (`Connection: close`, GOAWAY). Then the grace period begins.",
        },
        Key {
            path: "shutdown.grace_ms",
            kind: Kind::Integer(0, 600_000, Unit::Millis),
            default: "30000",
            title: "Grace period",
            effect: "After it the process ends, whatever is left; with the delay less than what Kubernetes waits. A \
                     second signal ends it at once.",
        },
    ],
};

/// The `[shutdown]` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownConfig {
    /// How long listeners go on after the signal, while the process is not ready any more.
    pub delay: Duration,
    /// How long draining may take.
    pub grace: Duration,
}

impl ShutdownConfig {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        Self { delay: from.millis("shutdown.delay_ms"), grace: from.millis("shutdown.grace_ms") }
    }
}
