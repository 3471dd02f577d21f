//! What can go wrong on the read side.

use kafka::KafkaError;
use schemas::ids::SubscriptionId;
use signing::SigningError;
use vault::VaultError;

/// Why the catalog could not start, read or answer.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Kafka failed in a way that waiting does not heal.
    #[error("reading {topic} failed")]
    Kafka {
        /// The control topic.
        topic: String,
        /// What happened.
        #[source]
        source: KafkaError,
    },
    /// A metric could not be registered.
    #[error(transparent)]
    Metrics(#[from] chassis::metrics::MetricsError),
    /// The reader has ended: the process stops.
    #[error("the catalog's reader has ended")]
    Closed,
}

/// Why a subscription cannot be used for a request as it stands. Cloneable: it is found once and told to every attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The stored URL does not parse. The control plane stores normalised ones, so this is another writer's.
    #[error("the target of subscription {subscription} is not a URL: {reason}")]
    Url {
        /// Whose.
        subscription: SubscriptionId,
        /// What the parser said.
        reason: String,
    },
    /// A secret or header does not open with the configured keys.
    #[error("a secret of subscription {subscription} cannot be opened: {source}")]
    Sealed {
        /// Whose.
        subscription: SubscriptionId,
        /// Why.
        #[source]
        source: VaultError,
    },
    /// The secrets cannot sign as the subscription asks.
    #[error("subscription {subscription} cannot be signed for: {source}")]
    Signing {
        /// Whose.
        subscription: SubscriptionId,
        /// Why.
        #[source]
        source: SigningError,
    },
}
