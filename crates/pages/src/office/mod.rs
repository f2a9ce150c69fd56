//! What foreign programs read: office documents by LibreOffice, HEIC by libheif, each in a sandbox of its own.
//!
//! * [`kind`] tells DOCX from ODT from DOC by content.
//! * [`suite`] is the gateway's side: it keeps LibreOffice warm between documents and ends it after a number of them.
//! * [`heif`] is the same for pictures, without warmth.
//! * [`jail`] is a process of ours between the two: it starts bubblewrap, and its end is the end of everything in there;
//!   [`jailed`] speaks with it.
//! * `suite.py` runs in the sandbox, beside LibreOffice, and hands documents over to it.

mod heif;
pub(crate) mod jail;
pub(crate) mod jailed;
pub(crate) mod kind;
pub(crate) mod suite;

pub use heif::Heif;
pub use kind::OfficeKind;
pub use suite::{Suite, SuiteSettings};
