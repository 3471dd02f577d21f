//! What made a delivery that is not its event's first.

/// What made a delivery of a later generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeBy {
    /// A ping: no event stands behind it.
    Ping,
    /// A replay of an event.
    Replay,
    /// One more attempt that somebody asked for.
    Retry,
    /// A dead letter that is sent once more.
    Redrive,
}

// === impl MadeBy ===

impl MadeBy {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Replay => "replay",
            Self::Retry => "retry",
            Self::Redrive => "redrive",
        }
    }
}
