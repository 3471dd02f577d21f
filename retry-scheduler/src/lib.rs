//! Step 4: waits until a delivery is due and promotes it.
