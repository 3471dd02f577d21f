//! A record that is put aside: until the filters are compiled that it meets, or until the rest of its deliveries is made.

use std::sync::Arc;

use super::Planner;
use crate::config::{ASIDE_AT_MOST, COMPILED_AT_ONCE};

impl Planner {
    /// Compiles what the record that was put aside waits for, until it `is_over`. Whether all is compiled.
    pub(crate) fn compile(&mut self, mut is_over: impl FnMut() -> bool) -> bool {
        while let Some(subscription) = self.uncompiled.pop() {
            // Kept where it was compiled, also when that fails.
            let _compiled = subscription.filter();
            if is_over() {
                break;
            }
        }
        self.uncompiled.is_empty()
    }

    /// What was put aside is gone: nothing waits for its filters or its deliveries.
    pub(crate) fn forget_aside(&mut self) {
        self.asides = 0;
        self.expansion = None;
        self.uncompiled.clear();
    }

    /// Notes which filters are to be compiled for this event, if they are more than are compiled in passing.
    pub(super) fn collect_uncompiled(&mut self) {
        self.uncompiled.clear();
        // Whoever changes filters as fast as they are compiled must not stop a partition.
        if self.asides >= ASIDE_AT_MOST {
            return;
        }
        let uncompiled = self.subscriptions.iter().filter(|subscription| subscription.is_filter_uncompiled());
        self.uncompiled.extend(uncompiled.map(Arc::clone));
        if self.uncompiled.len() <= COMPILED_AT_ONCE {
            self.uncompiled.clear();
        }
    }
}
