//! Maintenance: what crashed workers left is settled.
