//! Asks for the addresses of a name: `/etc/hosts` first, then the name servers of the configuration or of `/etc/resolv.conf`.
//!
//! Both files are read again when they have changed.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use chassis::clock;
use futures_util::future::{self, Either};
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RecordType};
use parking_lot::Mutex;

use super::upstream::Upstream;

/// These say what the system's resolver would do.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];
/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How long one family waits for the other that is still asked for.
const OTHER_FAMILY: Duration = Duration::from_millis(300);
/// Addresses of one family that are kept.
pub(super) const ADDRESSES: usize = 32;

/// Addresses, and for how long name servers say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundAddresses {
    pub(super) addresses: Arc<[IpAddr]>,
    pub(super) ttl: Duration,
}

/// What one family ended with, or both.
type FamilyAnswer = Result<FoundAddresses, LookupError>;

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LookupError {
    /// By a name server's word.
    #[error("there is no such name")]
    NoSuchName,
    /// By a name server's word.
    #[error("the name has no address")]
    NoAddress,
    /// Nobody said anything, or only that something is wrong.
    #[error("{0}")]
    Unanswered(Cow<'static, str>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct NameServers {
    configured: Vec<SocketAddr>,
    current: Mutex<CurrentSystem>,
}

#[derive(Debug)]
struct CurrentSystem {
    looked: Instant,
    modified: [Option<SystemTime>; 2],
    upstream: Arc<Upstream>,
}

// === impl NameServers ===

impl NameServers {
    /// Those, or the system's if there are none.
    pub(super) fn new(configured: &[SocketAddr]) -> Self {
        let upstream = Arc::new(Upstream::load(configured));
        let current = CurrentSystem { looked: clock::instant(), modified: modified(), upstream };
        Self { configured: configured.to_vec(), current: Mutex::new(current) }
    }

    /// The addresses of a name.
    ///
    /// # Errors
    /// It has none, or nobody says so.
    pub(super) async fn ask(&self, name: &str) -> FamilyAnswer {
        let upstream = self.upstream();
        let mut last = LookupError::NoSuchName;
        for candidate in upstream.candidates(name)? {
            if let Some(addresses) = upstream.in_hosts(&candidate) {
                return Ok(FoundAddresses { addresses, ttl: Duration::ZERO });
            }
            match families(&upstream, candidate).await {
                Ok(found) => return Ok(found),
                Err(error) => last = worse(last, error),
            }
        }
        Err(last)
    }

    fn upstream(&self) -> Arc<Upstream> {
        let mut current = self.current.lock();
        let now = clock::instant();
        if now.saturating_duration_since(current.looked) >= LOOK {
            current.looked = now;
            let modified = modified();
            if modified != current.modified {
                tracing::info!(files = ?FILES, "names of targets are resolved as these files say now");
                current.modified = modified;
                current.upstream = Arc::new(Upstream::load(&self.configured));
            }
        }
        Arc::clone(&current.upstream)
    }
}

fn modified() -> [Option<SystemTime>; 2] {
    FILES.map(|file| Path::new(file).metadata().and_then(|it| it.modified()).ok())
}

/// Both families of a full name.
async fn families(upstream: &Upstream, name: Name) -> FamilyAnswer {
    let six = Box::pin(family(upstream, name.clone(), RecordType::AAAA));
    let four = Box::pin(family(upstream, name, RecordType::A));
    let (six, four) = match future::select(six, four).await {
        Either::Left((six, four)) => {
            let four = other(four, &six).await;
            (Some(six), four)
        }
        Either::Right((four, six)) => {
            let six = other(six, &four).await;
            (six, Some(four))
        }
    };
    together(six, four)
}

async fn family(upstream: &Upstream, name: Name, family: RecordType) -> FamilyAnswer {
    let lookup = upstream.resolver.lookup(name, family).await.map_err(unanswered)?;
    let addresses = lookup.answers().iter().filter_map(|record| record.data.ip_addr()).take(ADDRESSES);
    let addresses: Arc<[IpAddr]> = addresses.collect();
    if addresses.is_empty() {
        return Err(LookupError::NoAddress);
    }
    Ok(FoundAddresses { addresses, ttl: lookup.valid_until().saturating_duration_since(clock::instant()) })
}

/// Waits for the second family: only a moment if the first has addresses.
async fn other<F: Future<Output = FamilyAnswer>>(second: F, first: &FamilyAnswer) -> Option<FamilyAnswer> {
    match first {
        Ok(_) => tokio::time::timeout(OTHER_FAMILY, second).await.ok(),
        Err(_) => Some(second.await),
    }
}

fn together(six: Option<FamilyAnswer>, four: Option<FamilyAnswer>) -> FamilyAnswer {
    let mut found: Vec<FoundAddresses> = Vec::with_capacity(2);
    let mut last = LookupError::NoSuchName;
    for family in [six, four].into_iter().flatten() {
        match family {
            Ok(addresses) => found.push(addresses),
            Err(error) => last = worse(last, error),
        }
    }
    let ttl = found.iter().map(|family| family.ttl).min().ok_or(last)?;
    Ok(FoundAddresses { addresses: found.iter().flat_map(|family| family.addresses.iter().copied()).collect(), ttl })
}

/// What a search ends with: that nobody answered says more than that one name is not there.
fn worse(one: LookupError, other: LookupError) -> LookupError {
    match (&one, &other) {
        (LookupError::Unanswered(_), _) | (LookupError::NoAddress, LookupError::NoSuchName) => one,
        (LookupError::NoSuchName | LookupError::NoAddress, _) => other,
    }
}

fn unanswered(error: NetError) -> LookupError {
    let said = |code: ResponseCode| LookupError::Unanswered(format!("the name servers answered: {code}").into());
    if let NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. })) = &error {
        if *response_code == ResponseCode::NXDomain {
            return LookupError::NoSuchName;
        }
        return if *response_code == ResponseCode::NoError { LookupError::NoAddress } else { said(*response_code) };
    }
    if let NetError::Dns(DnsError::ResponseCode(code)) = &error {
        return said(*code);
    }
    if matches!(error, NetError::Timeout) {
        return LookupError::Unanswered("no name server answered in time".into());
    }
    LookupError::Unanswered(format!("the name servers cannot be asked: {error}").into())
}
