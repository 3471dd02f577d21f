//! Several JSON pointers, looked up together: a tree of their steps, walked beside the document.

use crate::pointer;

/// Most pointers that the templates of a source have into one document. A format may add as many again: an object's members of
/// interest have a bit each of [`crate::scan`]'s 128.
pub(crate) const MAX_POINTERS: usize = 64;

/// Pointers into one document. Each has a slot: its index in the order in which they were added.
#[derive(Clone, Debug)]
pub(crate) struct Pointers {
    texts: Vec<Box<str>>,
    steps: Vec<PointerStep>,
}

/// A place that a pointer leads to or through.
#[derive(Clone, Debug, Default)]
pub(crate) struct PointerStep {
    /// The pointers that end here have this slot.
    pub(crate) slot: Option<usize>,
    /// Where the pointers go on.
    pub(crate) next: Vec<NextStep>,
}

/// One step further.
#[derive(Clone, Debug)]
pub(crate) struct NextStep {
    /// The member's name.
    pub(crate) name: Box<str>,
    /// The element's index, if the name can be one.
    pub(crate) index: Option<usize>,
    /// Which step it leads to.
    pub(crate) to: usize,
}

// === impl Pointers ===

impl Pointers {
    pub(crate) fn new() -> Self {
        Self { texts: Vec::new(), steps: vec![PointerStep::default()] }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The pointer of a slot, as it was written.
    pub(crate) fn text(&self, slot: usize) -> &str {
        self.texts.get(slot).map_or("", |text| text)
    }

    pub(crate) fn root(&self) -> &PointerStep {
        self.step(0)
    }

    pub(crate) fn step(&self, index: usize) -> &PointerStep {
        &self.steps[index]
    }

    /// Adds a pointer by its steps, and says its slot; the same one has the slot it had.
    pub(crate) fn add(&mut self, text: &str, steps: &[String]) -> usize {
        let mut at = 0;
        for name in steps {
            let known = self.steps[at].next.iter().find(|next| *next.name == **name).map(|next| next.to);
            at = known.unwrap_or_else(|| {
                let to = self.steps.len();
                self.steps.push(PointerStep::default());
                let next = NextStep { name: name.as_str().into(), index: pointer::index(name), to };
                self.steps[at].next.push(next);
                to
            });
        }
        *self.steps[at].slot.get_or_insert_with(|| {
            self.texts.push(text.into());
            self.texts.len() - 1
        })
    }
}

// === impl PointerStep ===

impl PointerStep {
    /// The bit and the step of a member.
    pub(crate) fn member(&self, name: &str) -> Option<(usize, usize)> {
        self.next.iter().enumerate().find(|(_, next)| *next.name == *name).map(|(bit, next)| (bit, next.to))
    }

    /// The step of an element.
    pub(crate) fn element(&self, index: usize) -> Option<usize> {
        self.next.iter().find(|next| next.index == Some(index)).map(|next| next.to)
    }
}
