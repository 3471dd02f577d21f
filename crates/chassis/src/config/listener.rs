//! What every listener is configured by: limits of connections, and TLS. The keys stand in the sections of the roles.

use std::path::PathBuf;

use super::key::{Key, Kind, Unit};
use super::reader::Reader;
use crate::proxies::{ProxyHeader, TrustedProxies};

/// The files of a listener's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and an authority, in PEM form.
    pub certificate: PathBuf,
    /// Its private key, in PEM form.
    pub key: PathBuf,
    /// Authorities of clients; with them a client must show a certificate.
    pub client_ca: Option<PathBuf>,
}

pub(super) const fn idle(path: &'static str) -> Key {
    Key {
        path,
        kind: Kind::Integer(1_000, 3_600_000, Unit::Millis),
        default: "75000",
        title: "Idle timeout",
        effect: "Connections without a request are closed after it. Above the load balancer's own.",
    }
}

pub(super) const fn write(path: &'static str) -> Key {
    Key {
        path,
        kind: Kind::Integer(100, 300_000, Unit::Millis),
        default: "10000",
        title: "Write timeout",
        effect: "How long a client may take nothing of an answer that waits for it; then the connection is closed, or the stream of \
                 HTTP/2 alone where others of its connection move.",
    }
}

pub(super) const fn connections(path: &'static str, default: &'static str) -> Key {
    Key {
        path,
        kind: Kind::Integer(1, 1_000_000, Unit::Count),
        default,
        title: "Connections",
        effect: "Served at once; more wait in the kernel's queue. While fewer than a quarter are free, an organization whose \
                 tokens are on half as many as are free gets one more only for an idle one of whoever has most, or of its \
                 own; a balancer's that carry tokens of several count as one organization of their own. A third more than a \
                 balancer opens is never noticed.",
    }
}

pub(super) const fn per_address(path: &'static str, default: &'static str) -> Key {
    Key {
        path,
        kind: Kind::Integer(0, 1_000_000, Unit::Count),
        default,
        title: "Connections of an address",
        effect: "Of one address (of one /64 of IPv6), as long as no request on them showed a known token; more are closed. \
                 A balancer's connections carry tokens, so it is not bounded by this. 0 is no limit.",
    }
}

pub(super) const fn certificate(path: &'static str) -> Key {
    Key {
        path,
        kind: Kind::Text,
        default: "",
        title: "TLS certificate",
        effect: "File with the certificate and those between it and an authority, as PEM. With it the listener speaks TLS \
                 and nothing else. The files are looked at every 10 s: a renewed certificate is used without a restart, \
                 and open connections go on.",
    }
}

pub(super) const fn key(path: &'static str) -> Key {
    Key {
        path,
        kind: Kind::Text,
        default: "",
        title: "TLS key",
        effect: "File with the certificate's private key, as PEM.",
    }
}

pub(super) const fn client_ca(path: &'static str) -> Key {
    Key {
        path,
        kind: Kind::Text,
        default: "",
        title: "Authorities of clients",
        effect: "File with certificates of authorities, as PEM. With it every client must show a certificate of one of them, \
                 beside its token.",
    }
}

pub(super) const fn trusted_proxies(path: &'static str) -> Key {
    Key {
        path,
        kind: Kind::List,
        default: "",
        title: "Trusted proxies",
        effect: "Networks such as 10.0.0.0/8 whose proxies say who called: the right-most address of their header (`proxy_header`) that is \
                 in none of them. What others say is ignored. Connections are counted by the address that they come from all the same; of the \
                 control plane's one of theirs may hold half of what is free, in place of `connections_per_address`.",
    }
}

pub(super) const fn proxy_header(path: &'static str) -> Key {
    Key {
        path,
        kind: Kind::Choice(&["x-forwarded-for", "forwarded"]),
        default: "x-forwarded-for",
        title: "Header of trusted proxies",
        effect: "The header that trusted proxies add the caller to. The other one is ignored: a proxy passes on what a client says there.",
    }
}

/// The proxies of a section that are believed.
pub(super) fn read_trusted_proxies(from: &mut Reader<'_>, section: &str) -> TrustedProxies {
    let networks = from.items(&format!("{section}.trusted_proxies"), "networks such as 10.0.0.0/8");
    let header = match from.text(&format!("{section}.proxy_header")).as_str() {
        "forwarded" => ProxyHeader::Forwarded,
        _ => ProxyHeader::XForwardedFor,
    };
    TrustedProxies::new(&networks, header)
}

/// The TLS of a section; its keys are `<section>.tls_*`.
pub(super) fn read_tls(from: &mut Reader<'_>, section: &str) -> Option<TlsFiles> {
    let path = |key: &str| format!("{section}.{key}");
    let file = |from: &Reader<'_>, key: &str| from.optional(&path(key)).map(PathBuf::from);
    let certificate = file(from, "tls_certificate");
    let (key, client_ca) = (file(from, "tls_key"), file(from, "tls_client_ca"));
    let needed = key.is_some() || client_ca.is_some();
    from.check(certificate.is_some() || !needed, &path("tls_certificate"), "a file, because other `tls_` keys are set");
    from.check(key.is_some() || certificate.is_none(), &path("tls_key"), "the file with the certificate's key");
    Some(TlsFiles { certificate: certificate?, key: key?, client_ca })
}
