//! What belongs to a path and to everything below it: a script with its call numbers, and secrets.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use signing::{Secret, Verifier};

use super::script::{CountBy, Reply, Script};
use super::seen::trimmed;

/// By path, without a slash at the end.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    scripts: RwLock<HashMap<String, Arc<Route>>>,
    secrets: RwLock<HashMap<String, Arc<Verifiers>>>,
}

/// Of several secrets any may have signed.
pub(crate) type Verifiers = Vec<Arc<Verifier>>;

/// A script and how far it is.
#[derive(Debug)]
pub(crate) struct Route {
    script: Script,
    /// By path or delivery; empty where every call gets the same reply.
    calls: Mutex<HashMap<String, u32>>,
}

impl Routes {
    pub(crate) fn set_script(&self, path: &str, script: Script) {
        let route = Route { script, calls: Mutex::default() };
        self.scripts.write().insert(trimmed(path).to_owned(), Arc::new(route));
    }

    pub(crate) fn add_secret(&self, path: &str, secret: &Secret) {
        let mut secrets = self.secrets.write();
        let known = secrets.entry(trimmed(path).to_owned()).or_default();
        Arc::make_mut(known).push(Arc::new(Verifier::new(secret)));
    }

    /// The script of the nearest folder that has one.
    pub(crate) fn route(&self, path: &str) -> Option<Arc<Route>> {
        nearest(&self.scripts.read(), path)
    }

    /// The secrets of the nearest folder that has some.
    pub(crate) fn secrets(&self, path: &str) -> Option<Arc<Verifiers>> {
        nearest(&self.secrets.read(), path)
    }
}

fn nearest<T>(by_path: &HashMap<String, Arc<T>>, path: &str) -> Option<Arc<T>> {
    if by_path.is_empty() {
        return None;
    }
    let mut folder = trimmed(path);
    loop {
        if let Some(found) = by_path.get(folder) {
            return Some(Arc::clone(found));
        }
        folder = folder.rsplit_once('/')?.0;
    }
}

impl Route {
    /// The number of this call and the reply to it.
    pub(crate) fn next(&self, path: &str, delivery: Option<&str>) -> (u32, &Reply) {
        if self.script.is_constant() {
            return (1, self.script.reply(1));
        }
        let counted = match self.script.count_by() {
            CountBy::Path => path,
            CountBy::Delivery => delivery.unwrap_or(path),
        };
        let mut calls = self.calls.lock();
        let call = calls.entry(counted.to_owned()).or_default();
        *call += 1;
        (*call, self.script.reply(*call))
    }
}
