//! What stands behind the listeners of a process: addresses that are taken before any work begins, and their TLS.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use chassis::config::TlsFiles;
use chassis::server::tls::{ListenerTls, Protocols};
use tokio::net::TcpListener;

use crate::process::Process;

/// Takes an address before any work begins, so that a taken port is the first thing one hears of.
///
/// # Errors
/// When it is taken.
pub(crate) async fn listen(process: &mut Process, address: SocketAddr, key: &str) -> Result<TcpListener> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("HB-004: cannot listen on {address} ({key})"))?;
    tracing::info!(address = %listener.local_addr()?, key, "listening");
    process.listens_on(listener.local_addr()?);
    Ok(listener)
}

/// The TLS of a section's listener, if it has one. A listener that others can reach and that has none is said aloud.
///
/// # Errors
/// Its files cannot be used.
pub(crate) fn tls(
    section: &str,
    files: Option<&TlsFiles>,
    address: SocketAddr,
    protocols: Protocols,
) -> Result<Option<ListenerTls>> {
    let Some(files) = files else {
        if !address.ip().to_canonical().is_loopback() {
            tracing::warn!(
                %address,
                "{section}.listen can be reached from other hosts and speaks plain HTTP: tokens and payloads cross the network \
                 in clear unless something in front of it speaks TLS ({section}.tls_certificate, {section}.tls_key)"
            );
        }
        return Ok(None);
    };
    let tls =
        ListenerTls::load(files.clone(), protocols).with_context(|| format!("HB-006: {section}.tls_certificate"))?;
    let client_ca = files.client_ca.as_ref().map(|path| path.display().to_string());
    tracing::info!(%address, certificate = %files.certificate.display(), client_ca, "{section} speaks TLS");
    Ok(Some(tls))
}

/// As [`tls`], and its files are looked at for as long as the process runs.
///
/// # Errors
/// As [`tls`].
pub(crate) fn followed_tls(
    process: &Process,
    section: &'static str,
    files: Option<&TlsFiles>,
    listener: &TcpListener,
) -> Result<Option<ListenerTls>> {
    let tls = tls(section, files, listener.local_addr()?, Protocols::Http1And2)?;
    if let Some(tls) = tls.clone() {
        let shutdown = process.shutdown.clone();
        process.tasks.spawn(format!("{section}-certificate"), async move {
            tokio::select! {
                never = tls.follow(section) => match never {},
                () = shutdown.requested() => Ok::<_, std::convert::Infallible>(()),
            }
        });
    }
    Ok(tls)
}
