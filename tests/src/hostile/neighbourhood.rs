//! One hostile endpoint of each kind, for whoever has to live beside them.

use super::{Cruelty, Hostile};
use crate::endpoint::{Endpoint, EndpointOptions, Flaw, Secure, TestAuthority};

/// One of each kind. Dropping it ends them.
///
/// Stalled handshakes, early answers with an unread body, interim answers and frames without end, heads that drip, connections that
/// are closed, GOAWAY every ten requests, one stream at a time, silence after a hundred requests.
#[derive(Debug)]
pub struct HostileNeighbourhood {
    raw: Vec<Hostile>,
    secure: Vec<Endpoint>,
}

impl HostileNeighbourhood {
    /// Starts all of them; those with TLS have certificates of this authority.
    ///
    /// # Errors
    /// No free port.
    pub fn start(authority: &TestAuthority) -> anyhow::Result<Self> {
        let plain = [
            Cruelty::AnswersEarly,
            Cruelty::InterimWithoutEnd,
            Cruelty::Drips,
            Cruelty::ClosesOnTheFirst,
            Cruelty::BlackHoleAfter(100),
        ];
        let mut raw = plain.into_iter().map(Hostile::start).collect::<anyhow::Result<Vec<_>>>()?;
        let h2 = authority.secure(&["h2"], Flaw::None)?;
        raw.push(Hostile::start_secure(Cruelty::FloodsWithPings, &h2)?);
        let with = |change: fn(&mut Secure)| {
            let mut secure = authority.secure(&["h2"], Flaw::None)?;
            change(&mut secure);
            Endpoint::start_secure(EndpointOptions { keep: false, ..EndpointOptions::default() }, secure)
        };
        let secure = vec![
            with(|secure| secure.handshakes = Some(0))?,
            with(|secure| secure.goaway_after = Some(10))?,
            with(|secure| secure.max_streams = Some(1))?,
        ];
        Ok(Self { raw, secure })
    }

    /// Where they are.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        let raw = self.raw.iter().enumerate();
        let raw = raw.map(|(at, hostile)| hostile.url(if at + 1 == self.raw.len() { "https" } else { "http" }));
        raw.chain(self.secure.iter().map(|endpoint| endpoint.url("/"))).collect()
    }

    /// Connections that were made to those that are no servers.
    #[must_use]
    pub fn raw_connections(&self) -> usize {
        self.raw.iter().map(Hostile::connections).sum()
    }
}
