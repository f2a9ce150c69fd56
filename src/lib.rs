//! Faxwell: a fault-tolerant e-mail-to-fax gateway.
//!
//! The stages ([`intake`], [`render`], [`line`], [`deliver`], [`maintain`], [`console`]) never import one another; they
//! meet in the [`store`]. `ARCHITECTURE.md` tells the whole story, `tests/architecture.rs` checks the directions.

pub mod commands;
pub mod config;
pub mod console;
pub mod deliver;
pub mod documents;
pub mod domain;
pub mod fault;
pub mod intake;
pub mod lifecycle;
pub mod line;
pub mod mail;
pub mod maintain;
pub mod proxy;
pub mod render;
pub mod senders;
pub mod store;
pub mod telemetry;
pub mod work;
