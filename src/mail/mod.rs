//! Mail: reading MIME, building reports.

pub mod build;
pub mod mime;
