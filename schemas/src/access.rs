//! Which part of Hookbus reads and writes which topic: what the pipeline on one page (`topics`) says, for `hookbus acls`.

/// Whoever talks to Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Takes events over HTTP.
    Gateway,
    /// Events times subscriptions.
    Fanout,
    /// Signed requests.
    Delivery,
    /// Waits and promotes.
    Retry,
    /// The management API.
    Control,
    /// Who mends what waits in lists by hand, while no delivery worker runs: `hookbus lanes accept` and `hookbus lanes release`.
    Operator,
    /// People and their own programs: producers, redrive, audits, analytics.
    People,
}

/// Who writes and who reads a topic.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Short name; `retry` is every delay topic.
    pub topic: &'static str,
    /// Who writes it.
    pub writers: &'static [Part],
    /// Who reads it.
    pub readers: &'static [Part],
}

/// Every topic, in flow order.
pub const ACCESS: &[Access] = {
    use Part::{Control, Delivery, Fanout, Gateway, Operator, People, Retry};
    &[
        // The control plane writes operational events, and reads payloads back: for the delivery log, and to send them again.
        Access { topic: "events", writers: &[Gateway, Control, People], readers: &[Fanout, Control] },
        Access {
            topic: "deliveries",
            writers: &[Fanout, Delivery, Retry, Control, Operator],
            readers: &[Delivery, Control, Operator],
        },
        Access { topic: "lanes", writers: &[Delivery, Operator], readers: &[Delivery, Control, Operator] },
        Access { topic: "retry", writers: &[Delivery, Retry], readers: &[Retry] },
        // What died is sent again from there once its delivery is gone.
        // The fan-out writes what `deliveries` never takes of an event of which others are written.
        Access { topic: "dead-letters", writers: &[Fanout, Delivery], readers: &[Control, People] },
        Access { topic: "attempts", writers: &[Fanout, Delivery, Retry, Control], readers: &[Control, People] },
        Access { topic: "jobs", writers: &[Control], readers: &[Control] },
        // The control plane shows what was rejected, and has the fan-out plan it again.
        Access { topic: "rejected", writers: &[Fanout, Delivery, Retry], readers: &[Control, People] },
        Access { topic: "retried", writers: &[Control], readers: &[Fanout] },
        Access { topic: "seen", writers: &[Fanout], readers: &[Fanout] },
        Access { topic: "control", writers: &[Control], readers: &[Gateway, Fanout, Delivery, Control] },
        Access { topic: "audit", writers: &[Control], readers: &[Control, People] },
        Access { topic: "status", writers: &[Gateway, Fanout, Delivery, Retry, Control], readers: &[Gateway, Control] },
    ]
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::topics::TopicSettings;

    #[test]
    fn every_topic_has_writers_and_readers_and_no_other_is_named() {
        let settings = TopicSettings { prefix: String::new(), ..TopicSettings::default() };
        let known: BTreeSet<String> = settings
            .specs()
            .iter()
            .map(|spec| settings.topics().tier_of(&spec.name).map_or_else(|| spec.name.to_string(), |_| "retry".into()))
            .collect();
        let named: BTreeSet<String> = ACCESS.iter().map(|access| access.topic.to_owned()).collect();
        assert_eq!(known, named);
        for access in ACCESS {
            assert!(!access.writers.is_empty() && !access.readers.is_empty(), "{}", access.topic);
        }
    }
}
