//! Commands: wiring only, one file each.
