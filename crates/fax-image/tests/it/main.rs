//! The codec and the TIFF reader and writer against themselves, other implementations, libtiff and hostile bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod hostile;
mod libtiff;
mod made;
mod others;
mod roundtrip;
mod tiff_files;
