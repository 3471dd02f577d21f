//! Encryption at rest: AES-256-GCM envelopes with key ids, and keyed lookup hashes.
