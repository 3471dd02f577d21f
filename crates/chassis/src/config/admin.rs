//! `[admin]`: the port for probes and metrics.

use std::net::SocketAddr;

use super::key::{Key, Kind, Section};
use super::listener::{self, TlsFiles};
use super::reader::Reader;

pub(super) const SECTION: Section = Section {
    name: "admin",
    about: "The port of every role for `/livez`, `/readyz` and `/metrics`. Not for the public.",
    keys: &[
        Key {
            path: "admin.listen",
            kind: Kind::Address,
            default: "0.0.0.0:9090",
            title: "Listen address",
            effect: "Where probes and scrapers ask.",
        },
        listener::certificate("admin.tls_certificate"),
        listener::key("admin.tls_key"),
        listener::client_ca("admin.tls_client_ca"),
    ],
};

/// The `[admin]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where probes and scrapers ask.
    pub listen: SocketAddr,
    /// Its TLS; without it plain HTTP.
    pub tls: Option<TlsFiles>,
}

impl AdminConfig {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        Self { listen: from.address("admin.listen"), tls: listener::read_tls(from, "admin") }
    }
}
