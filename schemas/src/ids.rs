//! Ids as newtypes: bare lower-case hyphenated UUIDs on the wire, distinct types in Rust.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    };
}

id!(
    /// An organization: the tenant that owns applications.
    OrganizationId
);
id!(
    /// An application: the scope of event types, subscriptions and secrets.
    ApplicationId
);
id!(
    /// A subscription.
    SubscriptionId
);
id!(
    /// An answer that is kept for a repeat of its request.
    AnswerId
);
id!(
    /// One secret of an application, as an object (not the token itself).
    SecretId
);
id!(
    /// A service token of an organization, as an object.
    ServiceTokenId
);
id!(
    /// One delivery: a pure function of (event identity, subscription, generation).
    DeliveryId
);
id!(
    /// One write to the control topic.
    WriteId
);
id!(
    /// A source: topics of others that are read as they are.
    SourceId
);
id!(
    /// Where reading of a source's topics begins: a new one with each move.
    PositionId
);
id!(
    /// A schema registry.
    SchemaRegistryId
);
id!(
    /// Something that is sent again, or decided about many dead letters, at somebody's request.
    JobId
);

/// What made a delivery: nothing (the event itself), or the id of a replay, redrive, single retry or ping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub Option<Uuid>);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |id| fmt::Display::fmt(&id, f))
    }
}
