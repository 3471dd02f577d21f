//! Step 3: a signed request and its outcome.
