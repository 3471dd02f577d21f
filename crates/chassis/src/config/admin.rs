//! `[admin]`: the port for probes and metrics.

use std::net::SocketAddr;

use super::key::{Key, Kind, Section};
use super::reader::Reader;

pub(super) const SECTION: Section = Section {
    name: "admin",
    about: "The port of every role for `/livez`, `/readyz` and `/metrics`. Not for the public.",
    keys: &[Key {
        path: "admin.listen",
        kind: Kind::Address,
        default: "0.0.0.0:9090",
        title: "Listen address",
        effect: "Where probes and scrapers ask.",
    }],
};

/// The `[admin]` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where probes and scrapers ask.
    pub listen: SocketAddr,
}

impl AdminConfig {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        Self { listen: from.address("admin.listen") }
    }
}
