//! Rich text: unpacked ([`compressed`]), cut into words ([`token`]), and what it says as HTML or plain text ([`text`]).

mod compressed;
mod text;
mod token;

pub(crate) use compressed::decompress;
pub(crate) use text::{Form, Text, read};
