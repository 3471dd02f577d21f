//! Whether the keys of this configuration open what stands sealed on `control`.

use std::collections::BTreeMap;

use anyhow::Result;
use chassis::config::Config;
use kafka::Connection;
use schemas::control::Sealed;
use schemas::record::Record;
use secrecy::ExposeSecret;
use serde_json::Value;
use vault::Vault;

use super::DoctorPrincipal;
use super::finding::DoctorFindings;
use crate::codes::Code;
use crate::commands::whole::each_record;

/// Envelopes of one key: how many objects, and how many of them do not open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Opened {
    objects: usize,
    shut: usize,
}

/// Looks. Where the configuration has no keys there is nothing to compare: topics are created without.
pub(super) async fn look(
    connection: &Connection,
    config: &Config,
    who: DoctorPrincipal,
    findings: &mut DoctorFindings,
) {
    let (Some(keys), Some(lookup)) = (&config.security.encryption_keys, &config.security.lookup_key) else {
        return findings.skipped("keys", "this configuration has none");
    };
    let vault = vault::parse_keys(keys.expose_secret())
        .and_then(|keys| Vault::new(&keys, &*vault::parse_lookup_key(lookup.expose_secret())?));
    let vault = match vault {
        Ok(vault) => vault,
        Err(error) => return findings.failed(Code::Keys, "keys", &error.into()),
    };
    match read(connection, config, &vault).await {
        Ok(opened) => told(&opened, findings),
        Err(error) => findings.unseen(who, Code::BrokerSilent, "keys", &error),
    }
}

fn told(opened: &BTreeMap<String, Opened>, findings: &mut DoctorFindings) {
    for (kid, Opened { objects, shut }) in opened {
        let what = format!("secrets sealed with key `{kid}`");
        if *shut == 0 {
            findings.well(what, format!("{objects} objects, they open"));
        } else {
            let found = format!("{shut} of {objects} objects do not open with the keys of this configuration");
            let remedy = "add that key behind the current one in security.encryption_keys of every role";
            findings.wrong(Code::SealedWithout, what, found, remedy);
        }
    }
    if opened.is_empty() {
        findings.well("keys", "nothing is sealed yet");
    }
}

/// The newest record of each object, and whether its envelopes open, by key.
async fn read(connection: &Connection, config: &Config, vault: &Vault) -> Result<BTreeMap<String, Opened>> {
    // Of each object only by which keys, and whether they open: a million objects are a few hundred MB as records.
    let mut newest: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    each_record(connection, &config.topics.topics().control, |record| take(record, vault, &mut newest)).await?;
    Ok(by_key(newest))
}

fn by_key(newest: BTreeMap<String, BTreeMap<String, bool>>) -> BTreeMap<String, Opened> {
    let mut opened: BTreeMap<String, Opened> = BTreeMap::new();
    for (kid, opens) in newest.into_values().flatten() {
        let of = opened.entry(kid).or_default();
        of.objects += 1;
        of.shut += usize::from(!opens);
    }
    opened
}

fn take(record: &Record, vault: &Vault, newest: &mut BTreeMap<String, BTreeMap<String, bool>>) {
    let Some(key) = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()) else { return };
    let value = record.value.as_deref().and_then(|value| serde_json::from_slice::<Value>(value).ok());
    let mut keys = BTreeMap::new();
    if let Some(value) = &value {
        envelopes(value, &mut |sealed| {
            let opens = catalog::sealed::open_text(vault, key, sealed).is_ok();
            keys.entry(sealed.kid.clone()).and_modify(|all| *all &= opens).or_insert(opens);
        });
    }
    if keys.is_empty() {
        newest.remove(key);
    } else {
        newest.insert(key.to_owned(), keys);
    }
}

/// Every envelope in a value, wherever it stands.
fn envelopes(value: &Value, take: &mut impl FnMut(&Sealed)) {
    match value {
        Value::Object(map) if map.contains_key("kid") && map.contains_key("ct") => {
            if let Ok(sealed) = serde_json::from_value(value.clone()) {
                take(&sealed);
            }
        }
        Value::Object(map) => map.values().for_each(|value| envelopes(value, take)),
        Value::Array(list) => list.iter().for_each(|value| envelopes(value, take)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use schemas::record::Headers;
    use vault::EncryptionKey;

    use super::*;

    fn vault_of(id: &str, byte: u8) -> Vault {
        Vault::new(&[EncryptionKey::new(id, [byte; 32])], &[9; 32]).unwrap()
    }

    fn record(key: &str, value: Option<String>) -> Record {
        let (key, value) = (Some(key.to_owned().into()), value.map(Into::into));
        Record { offset: 0, timestamp_ms: 0, key, value, headers: Headers::default() }
    }

    fn opened(records: &[Record], vault: &Vault) -> Option<Code> {
        let mut newest = BTreeMap::new();
        records.iter().for_each(|record| take(record, vault, &mut newest));
        let mut findings = DoctorFindings::default();
        told(&by_key(newest), &mut findings);
        findings.first()
    }

    #[test]
    fn a_key_that_is_missing_or_another_one_under_its_name_is_found() {
        let sealing = vault_of("k1", 1);
        let sealed = catalog::sealed::seal_text(&sealing, "subscription/a/b", "secret").unwrap();
        let value = serde_json::json!({ "secrets": [{ "sealed": sealed }] }).to_string();
        let there = record("subscription/a/b", Some(value));
        assert_eq!(opened(&[], &sealing), None);
        assert_eq!(opened(std::slice::from_ref(&there), &sealing), None);
        assert_eq!(opened(std::slice::from_ref(&there), &vault_of("k2", 2)), Some(Code::SealedWithout), "it is gone");
        assert_eq!(opened(std::slice::from_ref(&there), &vault_of("k1", 2)), Some(Code::SealedWithout), "another one");
        let deleted = record("subscription/a/b", None);
        assert_eq!(opened(&[there, deleted], &vault_of("k2", 2)), None, "nobody needs it any more");
    }
}
