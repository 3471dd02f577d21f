//! What every role stands on: configuration, telemetry, admin port, shutdown, tasks, clock.
