//! Fax pages without I/O: [`Bitmap`] is one page as bits, [`codec`] turns it into the codings of T.4 and T.6 and back,
//! [`tiff`] reads and writes the files that hold coded pages.
//!
//! In: pixels, coded octets or files from anywhere. Out: the same page in another form, bit for bit. Failure: one error type a
//! module; hostile input costs no more memory than a page of the largest size and no more time than honest input of its
//! length. Standards: T.4, T.6, TIFF 6.0, RFC 3949.

pub mod bitmap;
pub mod codec;
pub mod gray;
pub mod tiff;

pub use bitmap::{Bitmap, BitmapError, Ink};
pub use gray::Gray;
pub use tiff::Resolution;
