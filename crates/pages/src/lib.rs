//! Converters and the sandboxed process that runs them: documents in, fax pages out.
//!
//! Two halves that meet at a pipe:
//!
//! * [`Converter`] lives in the gateway. It keeps converter processes ready, feeds them over standard
//!   input, enforces wall time and octets, and maps every way in which such a process can end to a
//!   [`ConvertError`] that names the guilty part. It never looks into a document.
//! * [`worker::main`] is that process. It locks itself up (limits, landlock, seccomp) before it touches the first
//!   octet of a document, and carries out one [`Order`] after another.
//!
//! So a bomb or a crash costs one document, never the gateway (every engine used here is
//! young). The same order gives the same octets: a preview equals what is sent.
//!
//! Formats: [`Kind`] is the table; [`kind_of`] tells one from content, then media type, then file name; [`Formats`] says
//! which of them a gateway takes. LibreOffice, where it is installed, runs in a sandbox of its own (`office`).

mod bind;
mod compound;
mod converter;
mod cover;
mod finish;
mod fonts;
mod formats;
mod header_line;
mod kind;
mod layout;
mod office;
mod order;
mod parts;
mod paste;
pub mod pdf_out;
mod pictures;
mod process;
mod sandbox;
mod size;
mod thumbnail;
mod tiff_f;
mod wire;
pub mod worker;
mod zip;

pub use converter::{Converted, Converter, Limits, Sandbox};
pub use cover::{
    FIELDS as COVER_FIELDS, PLAIN as PLAIN_COVER, Problem as CoverProblem, TEMPLATE_MAX_BYTES as COVER_MAX_BYTES,
};
pub use cover::{check as check_cover, shipped as shipped_covers};
pub use formats::{Formats, OfficePolicy, ZipPolicy};
pub use kind::{Kind, kind_of};
pub use office::{Heif, OfficeKind, Suite, SuiteSettings};
pub use order::{
    Bound, ConvertError, ConvertOrder, CoverFields, ErrorKind, FinishOrder, HeaderLine, Inline, Order, Paper, Part,
    Quality, RestampOrder, Text,
};
pub use size::{WIDTH_PX, page_rows};
