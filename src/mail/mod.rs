//! Mail: reading MIME, building messages.

pub mod mime;
