//! Logs: one line an event, with fields; numbers and addresses masked.
