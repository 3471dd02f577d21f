//! The read side of the control topic: snapshot, lookup, match index.
