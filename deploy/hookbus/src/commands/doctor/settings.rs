//! Settings of the brokers that Hookbus depends on, and whether there are enough brokers.

use std::collections::BTreeMap;

use chassis::config::Config;
use kafka::Connection;
use kafka::probe::{self, BrokerSeen};

use super::finding::DoctorFindings;
use crate::codes::Code;

/// An idle group's offsets are to be kept so long at least, minutes: a week, the default.
const OFFSETS_KEPT_MIN: i64 = 7 * 24 * 60;
/// What commit metadata may take, bytes: what a window needs, the default.
const METADATA_BYTES: i64 = 4_096;
/// A dead worker's transaction holds its readers for so long beyond its timeout at most, ms.
const CLEANUP_MS: i64 = 60_000;

/// A setting that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SettingMisfit {
    name: &'static str,
    found: i64,
    wanted: String,
}

/// Looks at one broker's settings, which are all brokers' in a cluster that is well kept, and at how many there are.
pub(super) async fn look(
    connection: &Connection,
    config: &Config,
    brokers: &[BrokerSeen],
    findings: &mut DoctorFindings,
) {
    let wanted = config.topics.replication_factor.unwrap_or(1);
    if usize::try_from(wanted).is_ok_and(|wanted| wanted > brokers.len()) {
        findings.wrong(
            Code::BrokerSetting,
            "brokers",
            format!("{} brokers, and topics want {wanted} replicas", brokers.len()),
            "add brokers, or lower topics.replication_factor",
        );
    } else {
        findings.well("brokers", format!("{}, enough for {wanted} replicas", brokers.len()));
    }
    let Some(broker) = brokers.first() else { return };
    let what = format!("settings of broker {}", broker.id);
    match probe::settings(connection, broker.id).await {
        Ok(settings) => {
            let misfits = misfits(&settings, config);
            if misfits.is_empty() {
                findings.well(what, "fit");
            }
            for SettingMisfit { name, found, wanted } in misfits {
                let what = format!("{name} of broker {}", broker.id);
                findings.wrong(
                    Code::BrokerSetting,
                    what,
                    format!("{found}, should be {wanted}"),
                    format!("set {name} on all brokers"),
                );
            }
        }
        // Managed clusters show them to nobody.
        Err(error) if error.is_denied() => findings.skipped(what, "may not be seen by this principal"),
        Err(error) => findings.failed(Code::BrokerSilent, what, &error.into()),
    }
}

/// What does not fit. A setting that is not told is one that this Kafka does not have.
fn misfits(settings: &BTreeMap<String, String>, config: &Config) -> Vec<SettingMisfit> {
    let millis = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let transaction_ms = millis(config.kafka.transaction_timeout);
    let session_ms = millis(config.kafka.session_timeout);
    let at_least = |wanted: i64| (wanted, i64::MAX, format!("{wanted} or more"));
    let at_most = |wanted: i64| (i64::MIN, wanted, format!("{wanted} or less"));
    let wanted = [
        ("transaction.max.timeout.ms", at_least(transaction_ms)),
        ("transaction.abort.timed.out.transaction.cleanup.interval.ms", at_most(CLEANUP_MS)),
        ("offsets.retention.minutes", at_least(OFFSETS_KEPT_MIN)),
        ("offset.metadata.max.bytes", at_least(METADATA_BYTES)),
        ("group.min.session.timeout.ms", at_most(session_ms)),
        ("group.max.session.timeout.ms", at_least(session_ms)),
    ];
    let misfit = |(name, (low, high, wanted)): (&'static str, (i64, i64, String))| {
        let found = settings.get(name)?.parse().ok()?;
        (found < low || found > high).then_some(SettingMisfit { name, found, wanted })
    };
    wanted.into_iter().filter_map(misfit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named_with_what_it_should_be() {
        let config = Config::for_tests();
        let settings = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let defaults = settings(&[
            ("transaction.max.timeout.ms", "900000"),
            ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "10000"),
            ("offsets.retention.minutes", "10080"),
            ("offset.metadata.max.bytes", "4096"),
            ("group.min.session.timeout.ms", "6000"),
            ("group.max.session.timeout.ms", "1800000"),
        ]);
        assert_eq!(misfits(&defaults, &config), []);
        assert_eq!(misfits(&BTreeMap::new(), &config), [], "what this Kafka does not have");
        let bad = settings(&[
            ("transaction.max.timeout.ms", "900"),
            ("offsets.retention.minutes", "60"),
            ("group.min.session.timeout.ms", "600000"),
        ]);
        let names: Vec<&str> = misfits(&bad, &config).iter().map(|misfit| misfit.name).collect();
        assert_eq!(names, ["transaction.max.timeout.ms", "offsets.retention.minutes", "group.min.session.timeout.ms"]);
    }
}
