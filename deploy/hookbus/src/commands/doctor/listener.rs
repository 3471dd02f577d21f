//! What a listener of a broker speaks, looked at before a client of ours is made for it: Kafka as it is, TLS, or nothing that is
//! known. Of TLS: the certificates it shows, and whether it asks for one of ours.
//!
//! The handshake believes whoever answers and sends nothing. Whether a certificate may be believed is said by librdkafka, which is what
//! roles use.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kafka::probe;
use parking_lot::Mutex;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// What a listener speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListenerSpeech {
    /// Kafka, without TLS.
    Kafka,
    /// TLS, and who knows what inside.
    Tls(TlsShown),
    /// Neither, within the time that was given.
    Unknown,
}

/// What a handshake showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsShown {
    /// The listener's certificate and those behind it; empty where none came so far.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// Whether it asked for a client's certificate.
    pub(super) asks: bool,
}

/// Notes what it is shown, and believes it.
#[derive(Debug)]
struct NotingVerifier {
    provider: Arc<CryptoProvider>,
    shown: Mutex<TlsShown>,
}

/// Looks, with a client's first bytes of the one and then of the other, within so long each. TLS comes first where it is wanted, so that
/// a healthy broker is asked one question.
pub(super) async fn look(host: &str, address: SocketAddr, wants_tls: bool, within: Duration) -> ListenerSpeech {
    if wants_tls {
        let shown = handshake(host, address, within).await;
        return match shown {
            Some(shown) => ListenerSpeech::Tls(shown),
            None if probe::answers_plainly(address, within).await => ListenerSpeech::Kafka,
            None => ListenerSpeech::Unknown,
        };
    }
    if probe::answers_plainly(address, within).await {
        return ListenerSpeech::Kafka;
    }
    handshake(host, address, within).await.map_or(ListenerSpeech::Unknown, ListenerSpeech::Tls)
}

/// `None`: what answers is no TLS.
async fn handshake(host: &str, address: SocketAddr, within: Duration) -> Option<TlsShown> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let noting = Arc::new(NotingVerifier { provider: Arc::clone(&provider), shown: Mutex::default() });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let verifier: Arc<dyn ServerCertVerifier> = Arc::<NotingVerifier>::clone(&noting);
    let resolver: Arc<dyn ResolvesClientCert> = Arc::<NotingVerifier>::clone(&noting);
    let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_client_cert_resolver(resolver);
    // A name that TLS cannot carry is left out of the handshake, as an address is.
    let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_no_name| ServerName::from(address.ip()));
    let shake = async {
        let socket = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    };
    let is_tls = match timeout(within, shake).await {
        Ok(Ok(_session)) => true,
        // Who refuses in the words of TLS speaks it.
        Ok(Err(error)) => {
            let said = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            matches!(said, Some(rustls::Error::AlertReceived(_)))
        }
        Err(_elapsed) => false,
    };
    let shown = noting.shown.lock().clone();
    (is_tls || !shown.chain.is_empty()).then_some(shown)
}

// === impl ListenerSpeech ===

impl ListenerSpeech {
    /// Why a client that wants TLS, or wants none, gets nowhere.
    pub(super) fn misfit(&self, wants_tls: bool) -> Option<&'static str> {
        match (self, wants_tls) {
            (Self::Kafka, true) => Some("it speaks Kafka without TLS, and security.protocol asks for TLS"),
            (Self::Tls(_), false) => Some("it speaks TLS, and security.protocol asks for none"),
            (Self::Kafka, false) | (Self::Tls(_), true) | (Self::Unknown, _) => None,
        }
    }

    /// What its handshake showed.
    pub(super) fn shown(&self) -> Option<&TlsShown> {
        match self {
            Self::Tls(shown) => Some(shown),
            Self::Kafka | Self::Unknown => None,
        }
    }
}

// === impl NotingVerifier ===

impl ServerCertVerifier for NotingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        self.shown.lock().chain = chain.map(|certificate| certificate.clone().into_owned()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for NotingVerifier {
    fn resolve(&self, _root_hint_subjects: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.shown.lock().asks = true;
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
