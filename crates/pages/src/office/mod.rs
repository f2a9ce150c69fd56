//! Office documents: which kind one is, and LibreOffice in a sandbox of its own for all of them.
//!
//! * [`kind`] tells DOCX from ODT from DOC by content.
//! * [`suite`] is the gateway's side: it keeps LibreOffice warm between documents and ends it after a number of them.
//! * [`jail`] is a process of ours between the two: it starts bubblewrap, and its end is the end of everything in there.
//! * `suite.py` runs in the sandbox, beside LibreOffice, and hands documents over to it.

pub(crate) mod jail;
pub(crate) mod kind;
pub(crate) mod suite;

pub use kind::OfficeKind;
pub use suite::{Suite, SuiteSettings};
