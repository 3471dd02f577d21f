//! Who receives what: the management API and the only writer of the control topic.
