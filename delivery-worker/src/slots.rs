//! A table of what is live, addressed by tickets that are never mistaken: a ticket of something that is gone finds nothing.

/// The address of one live delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket {
    index: u32,
    turn: u32,
}

/// Things by ticket. Iteration is in the order of places, which is deterministic.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Keeps something.
    pub(crate) fn insert(&mut self, value: T) -> Ticket {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            u32::try_from(self.places.len() - 1).expect("live deliveries are bounded far below 2^32")
        });
        let place = &mut self.places[index as usize];
        place.1 = Some(value);
        Ticket { index, turn: place.0 }
    }

    /// Looks at something.
    pub(crate) fn get(&self, ticket: Ticket) -> Option<&T> {
        let (turn, value) = self.places.get(ticket.index as usize)?;
        value.as_ref().filter(|_| *turn == ticket.turn)
    }

    /// Changes something.
    pub(crate) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        let (turn, value) = self.places.get_mut(ticket.index as usize)?;
        value.as_mut().filter(|_| *turn == ticket.turn)
    }

    /// Takes something out; its ticket finds nothing from now on.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let (turn, value) = self.places.get_mut(ticket.index as usize)?;
        if *turn != ticket.turn {
            return None;
        }
        let value = value.take()?;
        *turn = turn.wrapping_add(1);
        self.free.push(ticket.index);
        Some(value)
    }

    /// Everything with its ticket.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ticket, &T)> {
        (0_u32..)
            .zip(&self.places)
            .filter_map(|(index, (turn, value))| value.as_ref().map(|value| (Ticket { index, turn: *turn }, value)))
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_ticket_finds_nothing_in_a_place_that_is_used_again() {
        let mut slots = Slots::default();
        let old = slots.insert('a');
        assert_eq!(slots.remove(old), Some('a'));
        let new = slots.insert('b');
        assert_eq!(slots.get(old), None);
        assert_eq!(slots.remove(old), None);
        assert_eq!(slots.get(new), Some(&'b'));
        assert_eq!((slots.len(), slots.iter().count()), (1, 1));
    }
}
