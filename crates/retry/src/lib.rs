//! Retry schedules, jitter and due times. Pure.
