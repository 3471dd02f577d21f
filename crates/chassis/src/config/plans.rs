//! `control.plans`: names for limits that belong together, which the operator gives to an organization all at once.

use std::collections::BTreeMap;

use schemas::control::Limits;

use super::key::{Key, Kind};
use super::reader::Reader;

const PATH: &str = "control.plans";
/// Characters of a name.
const MAX_NAME: usize = 50;

pub(super) const PLANS: Key = Key {
    path: PATH,
    kind: Kind::List,
    default: "",
    title: "Plans",
    effect: "Limits that belong together, such as `free:applications=1;subscriptions=10;events_per_day=100`, also `event_types` and \
             `events_per_second`. `plan` of an organization sets all of its limits to those of a plan; one that is changed here \
             counts for an organization when that is given it again.",
};

/// By name.
pub(super) fn read(from: &mut Reader<'_>) -> BTreeMap<String, Limits> {
    let given = from.list(PATH);
    let read: Option<Vec<(String, Limits)>> = given.iter().map(|text| plan(text)).collect();
    let plans: BTreeMap<String, Limits> = read.iter().flatten().cloned().collect();
    let is_fine = read.is_some() && plans.len() == given.len();
    from.check(is_fine, PATH, "NAME:LIMIT=NUMBER;LIMIT=NUMBER for each plan, no name twice");
    plans
}

/// `free:applications=1;events_per_day=100`.
fn plan(text: &str) -> Option<(String, Limits)> {
    let (name, given) = text.split_once(':')?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(fits) {
        return None;
    }
    let mut limits = Limits::default();
    for one in given.split(';') {
        let (limit, number) = one.split_once('=')?;
        // What clients' integers hold.
        let number = number.parse().ok().filter(|number| i32::try_from(*number).is_ok())?;
        let place: &mut Option<u32> = match limit {
            "applications" => &mut limits.applications,
            "subscriptions" => &mut limits.subscriptions,
            "event_types" => &mut limits.event_types,
            "events_per_day" => &mut limits.events_per_day,
            "events_per_second" => &mut limits.events_per_second,
            _unknown => return None,
        };
        if place.replace(number).is_some() {
            return None;
        }
    }
    Some((name.to_owned(), limits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_limits_once_each() {
        let limits = Limits { applications: Some(1), events_per_day: Some(0), ..Limits::default() };
        assert_eq!(plan("free:applications=1;events_per_day=0"), Some(("free".to_owned(), limits)));
        for bad in [
            "free",
            "free:",
            ":applications=1",
            "fr/ee:applications=1",
            "free:applications",
            "free:applications=-1",
            "free:applications=2147483648",
            "free:applications=1;applications=2",
            "free:cats=1",
        ] {
            assert_eq!(plan(bad), None, "{bad}");
        }
    }
}
