//! Step 1: one event in. Authenticates, validates, publishes to the events topic.
