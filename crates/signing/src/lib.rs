//! Signs and verifies webhooks: Standard Webhooks v1 and v1a, Hook0 v1, body-only.
