//! Mail: reading MIME, building mails, return addresses and what comes back to them.

pub mod bounce;
pub mod build;
pub mod mime;
pub mod order_address;
pub mod returned;
