//! What made a delivery, where that was not the fan-out as its event came.

/// What made a delivery that is none of an event as it came: of a later generation, but for a backfill's.
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
    /// A backfill: its event came before its subscription. It is the first, so it has no generation.
    Backfill,
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
            Self::Backfill => "backfill",
        }
    }
}
