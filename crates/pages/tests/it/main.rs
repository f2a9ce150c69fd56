//! The converter process as the gateway uses it: real documents in, real pages out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod common;
mod finish;
mod formats;
mod hostile;
mod html;
mod mutations;
mod office;
mod pictures;
mod tiff_kinds;
