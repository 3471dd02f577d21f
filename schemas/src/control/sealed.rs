//! Every sealed value of an object, for whoever has to seal them all again. What an answer that is kept holds is not among them: it
//! is gone after a day.

use super::{Auth, ControlObject, RegistryAuth, Sealed, Subscription};

impl ControlObject {
    /// Its sealed values.
    #[must_use]
    pub fn sealed(&self) -> Vec<&Sealed> {
        match self {
            Self::ServiceToken(it) => vec![&it.token],
            Self::ApplicationSecret(it) => vec![&it.token],
            Self::Subscription(it) => it.sealed(),
            Self::SchemaRegistry(it) => it.auth.iter().map(RegistryAuth::sealed).collect(),
            Self::Organization(_)
            | Self::Application(_)
            | Self::RetiredApplication(_)
            | Self::EventType(_)
            | Self::Source(_)
            | Self::KeptAnswer(_)
            | Self::CancelledJob(_) => Vec::new(),
        }
    }

    /// Its sealed values, to be replaced.
    pub fn sealed_mut(&mut self) -> Vec<&mut Sealed> {
        match self {
            Self::ServiceToken(it) => vec![&mut it.token],
            Self::ApplicationSecret(it) => vec![&mut it.token],
            Self::Subscription(it) => it.sealed_mut(),
            Self::SchemaRegistry(it) => it.auth.iter_mut().map(RegistryAuth::sealed_mut).collect(),
            Self::Organization(_)
            | Self::Application(_)
            | Self::RetiredApplication(_)
            | Self::EventType(_)
            | Self::Source(_)
            | Self::KeptAnswer(_)
            | Self::CancelledJob(_) => Vec::new(),
        }
    }
}

impl Subscription {
    /// Its sealed values: header values, credentials, signing secrets.
    #[must_use]
    pub fn sealed(&self) -> Vec<&Sealed> {
        let credentials = match &self.auth {
            None => None,
            Some(Auth::Basic { password: sealed, .. })
            | Some(Auth::Bearer { token: sealed })
            | Some(Auth::Oauth2 { client_secret: sealed, .. })
            | Some(Auth::Mtls { private_key: sealed, .. }) => Some(sealed),
        };
        let secrets = self.secrets.iter().map(|secret| &secret.sealed);
        self.target.headers.values().chain(credentials).chain(secrets).collect()
    }

    fn sealed_mut(&mut self) -> Vec<&mut Sealed> {
        let credentials = match &mut self.auth {
            None => None,
            Some(Auth::Basic { password: sealed, .. })
            | Some(Auth::Bearer { token: sealed })
            | Some(Auth::Oauth2 { client_secret: sealed, .. })
            | Some(Auth::Mtls { private_key: sealed, .. }) => Some(sealed),
        };
        let secrets = self.secrets.iter_mut().map(|secret| &mut secret.sealed);
        self.target.headers.values_mut().chain(credentials).chain(secrets).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;
    use uuid::Uuid;

    use super::*;
    use crate::control::{ApplicationSecret, SchemaRegistry, ServiceToken, SigningSecret, TokenRole};
    use crate::ids::{ApplicationId, OrganizationId, SchemaRegistryId, SecretId, ServiceTokenId, SubscriptionId};

    fn sealed(number: usize) -> Sealed {
        Sealed { kid: "old".into(), nonce: format!("n{number}"), ct: "c".into() }
    }

    fn subscription(auth: Auth) -> ControlObject {
        let mut it = Subscription::new(SubscriptionId(Uuid::nil()), ApplicationId(Uuid::nil()), 1);
        it.target.headers = BTreeMap::from([("a".to_owned(), sealed(1)), ("b".to_owned(), sealed(2))]);
        it.secrets = [3, 4].map(|number| SigningSecret { sealed: sealed(number), expires_ms: None }).to_vec();
        it.auth = Some(auth);
        ControlObject::Subscription(Box::new(it))
    }

    fn objects() -> Vec<ControlObject> {
        let text = || "x".to_owned();
        let auths = [
            Auth::Basic { username: text(), password: sealed(5) },
            Auth::Bearer { token: sealed(5) },
            Auth::Oauth2 { token_url: text(), client_id: text(), client_secret: sealed(5), scopes: vec![] },
            Auth::Mtls { certificate: text(), private_key: sealed(5) },
        ];
        let secret = ControlObject::ApplicationSecret(ApplicationSecret {
            secret_id: SecretId(Uuid::nil()),
            application_id: ApplicationId(Uuid::nil()),
            name: None,
            lookup: text(),
            token: sealed(1),
            role: TokenRole::Editor,
            created_ms: 1,
            expires_ms: None,
        });
        let token = ControlObject::ServiceToken(ServiceToken {
            token_id: ServiceTokenId(Uuid::nil()),
            organization_id: OrganizationId(Uuid::nil()),
            name: text(),
            role: TokenRole::Editor,
            lookup: text(),
            token: sealed(1),
            created_ms: 1,
            expires_ms: None,
        });
        let credentials =
            [RegistryAuth::Basic { username: text(), password: sealed(6) }, RegistryAuth::Bearer { token: sealed(6) }];
        let registry = |auth| {
            let new = SchemaRegistry::new(SchemaRegistryId(Uuid::nil()), "r", 1);
            ControlObject::SchemaRegistry(Box::new(SchemaRegistry { auth: Some(auth), ..new }))
        };
        let registries = credentials.into_iter().map(registry);
        auths.into_iter().map(subscription).chain([secret, token]).chain(registries).collect()
    }

    fn envelopes(value: &Value) -> usize {
        match value {
            Value::Object(map) => usize::from(map.contains_key("kid")) + map.values().map(envelopes).sum::<usize>(),
            Value::Array(list) => list.iter().map(envelopes).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }

    #[test]
    fn no_envelope_of_an_object_is_left_out() {
        for mut object in objects() {
            let there = envelopes(&serde_json::from_slice(&object.encode().unwrap()).unwrap());
            assert!(there > 0);
            assert_eq!(object.sealed().len(), there, "{object:?}");
            object.sealed_mut().into_iter().for_each(|sealed| sealed.kid = "new".into());
            assert_eq!(object.sealed().iter().filter(|sealed| sealed.kid == "new").count(), there);
        }
    }
}
