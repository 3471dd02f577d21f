//! Step 2: event x subscriptions. Deduplicates, matches, writes deliveries in one transaction.
