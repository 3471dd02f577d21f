//! How long certificates still hold: those that brokers show, the one that we show them, and those of our own listeners.
//!
//! rustls judges certificates and tells nobody their days, and a library that does has half of the workspace compiled anew, by the
//! features of what its macros are made with. Two times are read here, and nothing is believed because of them.

use std::path::Path;

use chassis::clock;
use chassis::config::{Config, Role, TlsFiles};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::finding::DoctorFindings;
use crate::codes::Code;

/// A certificate that ends sooner is told of: renewals come earlier than that.
const SOON_S: i64 = 14 * DAY_S;
/// Of one that is made for hours or days: in the last tenth of its time.
const LAST_PART: i64 = 10;
const DAY_S: i64 = 86_400;

/// Tags of DER.
const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const LONG_TIME: u8 = 0x18;

/// From when to when a certificate holds, Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holds {
    from_s: i64,
    until_s: i64,
}

/// Tells how long a chain holds: as long as the certificate of it that ends first.
pub(super) fn told(code: Code, what: &str, chain: &[CertificateDer<'_>], findings: &mut DoctorFindings) {
    let holds = chain.iter().map(|certificate| Holds::of(certificate)).collect::<Option<Vec<Holds>>>();
    match holds.unwrap_or_default().into_iter().min_by_key(|holds| holds.until_s) {
        Some(holds) => judge(holds, clock::now_ms() / 1_000, (code, what), findings),
        None => findings.skipped(what, "its days cannot be read"),
    }
}

/// Looks at the certificate that brokers are shown, where there is one.
pub(super) fn of_client(config: &Config, findings: &mut DoctorFindings) {
    let properties = config.kafka.properties.as_map();
    let what = "certificate that brokers are shown";
    if let Some(path) = properties.get("ssl.certificate.location") {
        of_file(Code::BrokerTls, what, Path::new(path), findings);
    } else if let Some(pem) = properties.get("ssl.certificate.pem") {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        told(Code::BrokerTls, what, &read.unwrap_or_default(), findings);
    }
}

/// Looks at those of the role's listeners.
pub(super) fn of_listeners(config: &Config, role: Role, findings: &mut DoctorFindings) {
    let own = match role {
        Role::Gateway => ("gateway", &config.gateway.tls),
        Role::Control => ("control", &config.control.tls),
        Role::Fanout | Role::Delivery | Role::Retry => ("", &None),
    };
    for (section, tls) in [own, ("admin", &config.admin.tls)] {
        if let Some(TlsFiles { certificate, .. }) = tls {
            of_file(Code::ListenerTls, &format!("{section}.tls_certificate"), certificate, findings);
        }
    }
}

fn of_file(code: Code, what: &str, path: &Path, findings: &mut DoctorFindings) {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if !chain.is_empty() => told(code, what, &chain, findings),
        Ok(_) => {
            findings.wrong(code, what, format!("{} holds no certificate", path.display()), "give a file in PEM form");
        }
        Err(error) => {
            let found = format!("{} cannot be read: {error}", path.display());
            findings.wrong(code, what, found, "give a file in PEM form that the user of the process may read");
        }
    }
}

fn judge(holds: Holds, now_s: i64, (code, what): (Code, &str), findings: &mut DoctorFindings) {
    let (left, days) = (holds.until_s - now_s, (holds.until_s - now_s).abs() / DAY_S);
    let found = if now_s < holds.from_s {
        format!("holds in {} days only", (holds.from_s - now_s) / DAY_S)
    } else if left < 0 {
        format!("ended {days} days ago")
    } else {
        format!("ends in {days} days")
    };
    if holds.is_soon_over(now_s) || now_s < holds.from_s {
        let remedy = "renew the certificate, and see why what renews it has not; a clock may be wrong too";
        findings.wrong(code, what, found, remedy);
    } else {
        findings.well(what, found);
    }
}

// === impl Holds ===

impl Holds {
    /// `None`: it is no certificate.
    fn of(certificate: &[u8]) -> Option<Self> {
        let (certificate, _) = element(certificate, &[SEQUENCE])?;
        let (mut rest, _) = element(certificate, &[SEQUENCE])?;
        if let Some((_version, after)) = element(rest, &[VERSION]) {
            rest = after;
        }
        // Serial number, algorithm, issuer.
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            rest = element(rest, &[tag])?.1;
        }
        let (validity, _) = element(rest, &[SEQUENCE])?;
        let (from, rest) = element(validity, &[UTC_TIME, LONG_TIME])?;
        let (until, _) = element(rest, &[UTC_TIME, LONG_TIME])?;
        Some(Self { from_s: seconds(from)?, until_s: seconds(until)? })
    }

    fn is_soon_over(self, now_s: i64) -> bool {
        let whole = self.until_s.saturating_sub(self.from_s);
        self.until_s.saturating_sub(now_s) < SOON_S.min(whole / LAST_PART)
    }
}

/// The content of the first element, if it has one of these tags, and what follows it: DER, whose lengths are definite.
fn element<'a>(bytes: &'a [u8], tags: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (_tag, rest) = bytes.split_first().filter(|(tag, _)| tags.contains(tag))?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (digits, rest) =
            rest.split_at_checked(usize::from(first & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    rest.split_at_checked(length)
}

/// `YYMMDDHHMMSSZ`, of 1950 to 2049, or `YYYYMMDDHHMMSSZ`, in Unix seconds.
fn seconds(time: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    let short = text.len() == 12;
    let century = if !short {
        ""
    } else if text < "5" {
        "20"
    } else {
        "19"
    };
    let text = format!("{century}{text}");
    let two = |at: usize| text.get(at..at + 2)?.parse::<i8>().ok();
    let year = text.get(..4)?.parse().ok()?;
    let at = DateTime::new(year, two(4)?, two(6)?, two(8)?, two(10)?, two(12)?, 0).ok()?;
    Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn a_certificate_is_told_of_before_it_ends_and_not_long_before() {
        let now_s = 1_000 * DAY_S;
        let first = |from_days: i64, until_days: i64| {
            let mut findings = DoctorFindings::default();
            let holds = Holds { from_s: now_s + from_days * DAY_S, until_s: now_s + until_days * DAY_S };
            judge(holds, now_s, (Code::BrokerTls, "it"), &mut findings);
            findings.first()
        };
        assert_eq!((first(-350, 15), first(-350, 13)), (None, Some(Code::BrokerTls)), "of a year");
        assert_eq!((first(-80, 10), first(-82, 8)), (None, Some(Code::BrokerTls)), "of three months");
        assert_eq!((first(-5, 5), first(-1, 1)), (None, None), "of days");
        assert_eq!((first(-20, -1), first(1, 90)), (Some(Code::BrokerTls), Some(Code::BrokerTls)));
    }

    #[test]
    fn its_days_are_read_out_of_the_certificate() {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2001, 1, 11));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let holds = Holds::of(certificate.der()).unwrap();
        assert_eq!(holds, Holds { from_s: 978_307_200, until_s: 978_307_200 + 10 * DAY_S });
        let mut findings = DoctorFindings::default();
        told(Code::ListenerTls, "it", &[certificate.der().clone()], &mut findings);
        assert_eq!(findings.first(), Some(Code::ListenerTls));
        assert_eq!(Holds::of(b"no certificate"), None);
        // No part of one, and nothing that is longer than it says, is read as one.
        let whole = certificate.der();
        for end in 0..whole.len() {
            Holds::of(&whole[..end]);
        }
        assert_eq!(Holds::of(&whole[..whole.len() / 4]), None);
    }

    #[test]
    fn times_are_read_in_both_forms() {
        assert_eq!(seconds(b"700101000001Z"), Some(1));
        assert_eq!(seconds(b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(seconds(b"20500101000000Z"), Some(2_524_608_000));
        for bad in [&b"20500101000000"[..], b"20501301000000Z", b"2050Z", b"Z", b"+50101000000Z", b""] {
            assert_eq!(seconds(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn files_of_the_listeners_and_of_our_side_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tls.crt");
        let mut config = Config::for_tests();
        let mut properties = std::collections::BTreeMap::new();
        properties.insert("ssl.certificate.location".to_owned(), path.display().to_string());
        config.kafka.properties = properties.into();
        config.gateway.tls = Some(TlsFiles { certificate: path.clone(), key: path.clone(), client_ca: None });
        let first = |look: &dyn Fn(&mut DoctorFindings)| {
            let mut findings = DoctorFindings::default();
            look(&mut findings);
            findings.first()
        };
        let both = || {
            (
                first(&|findings| of_client(&config, findings)),
                first(&|findings| of_listeners(&config, Role::Gateway, findings)),
            )
        };
        assert_eq!(both(), (Some(Code::BrokerTls), Some(Code::ListenerTls)), "there is no file");
        let certificate = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        std::fs::write(&path, certificate.cert.pem()).unwrap();
        assert_eq!(both(), (None, None));
        assert_eq!(
            first(&|findings| of_listeners(&config, Role::Retry, findings)),
            None,
            "it has none but the admin port's"
        );
    }
}
