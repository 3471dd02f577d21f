//! `hookbus fanout`: which of its two intakes a process runs.

use clap::{Args, ValueEnum};
use fanout_worker::Intakes;

/// `hookbus fanout`
#[derive(Debug, Args)]
pub(crate) struct FanoutArgs {
    /// Read only this: `events` (with what is retried), or topics of sources. Run processes of both kinds, each as many as it needs.
    #[arg(long, value_enum, value_name = "INTAKE")]
    pub(crate) only: Option<OnlyIntake>,
}

/// One of the two intakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnlyIntake {
    /// The topics `events` and `retried`.
    Events,
    /// Topics of sources.
    Sources,
}

// === impl FanoutArgs ===

impl FanoutArgs {
    /// What the process runs.
    pub(crate) fn intakes(&self) -> Intakes {
        intakes(self.only)
    }
}

/// What is run where this alone is asked for.
pub(crate) fn intakes(only: Option<OnlyIntake>) -> Intakes {
    match only {
        None => Intakes::Both,
        Some(OnlyIntake::Events) => Intakes::Events,
        Some(OnlyIntake::Sources) => Intakes::Sources,
    }
}
