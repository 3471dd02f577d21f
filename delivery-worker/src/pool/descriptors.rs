//! Descriptors: raised as far as the host allows when the worker starts, and what it may open is fitted to them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::PoolLimits;
use super::connect::SPARE_SOCKETS;

/// What the process opens beside connections of deliveries: Kafka's, listeners, files; and sockets of connects that try several
/// addresses.
const OTHERS: u64 = 512 + SPARE_SOCKETS as u64;

/// Raises the limit of open files if it is too low for these limits; lowers the limits if that does not help.
pub(crate) fn fit_descriptors(limits: PoolLimits) -> PoolLimits {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = limits.total as u64 + OTHERS;
    let Some(raised) = raise(wanted, current, maximum) else { return limits };
    let open = match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => raised,
        Err(error) => {
            tracing::warn!(%error, limit = raised, "the limit of open files could not be raised");
            current.unwrap_or(raised)
        }
    };
    if open >= wanted {
        return limits;
    }
    let total = usize::try_from(open.saturating_sub(OTHERS).max(open / 4)).unwrap_or(limits.total);
    tracing::warn!(
        open.files = open,
        wanted.files = wanted,
        connections = total,
        "the limit of open files is too low for the configured requests, so fewer connections are made; raise RLIMIT_NOFILE"
    );
    PoolLimits { total, per_origin: limits.per_origin.min(total), ..limits }
}

/// What the soft limit becomes, if it is below what is wanted: never less than it was, never above the hard one.
fn raise(wanted: u64, current: Option<u64>, maximum: Option<u64>) -> Option<u64> {
    let current = current?;
    (current < wanted).then(|| maximum.map_or(wanted, |maximum| wanted.min(maximum)).max(current))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_as_far_as_needed_and_allowed() {
        assert_eq!(raise(2_560, Some(1_024), Some(524_288)), Some(2_560));
        assert_eq!(raise(2_560, Some(1_024), None), Some(2_560));
        assert_eq!(raise(2_560, Some(1_024), Some(2_000)), Some(2_000));
        assert_eq!(raise(2_560, Some(65_536), Some(65_536)), None);
        assert_eq!(raise(2_560, None, None), None, "there is none");
    }
}
