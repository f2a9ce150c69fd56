//! Opens Outlook's containers: TNEF (`winmail.dat`) and `.msg` files. Octets in, a [`Message`] out; no I/O, no clock.
//!
//! Both hold the same thing, a message as properties, in two packings: [`tnef`] is a stream of attributes, [`msg`] a
//! compound file ([`compound`]) with a stream for each property. [`property`] is what they have in common, [`message`]
//! makes text and attachments of it, [`rtf`] gets text or HTML out of rich text.
//!
//! The input is hostile. Everything that is opened is bounded by the input's own size ([`budget`]), nothing recurses
//! deeper than a fixed limit, and what cannot be read is said in [`Message::problems`]: never left out in silence.
//! MS-OXTNEF, MS-OXMSG, MS-CFB, MS-OXRTFCP, MS-OXRTFEX, MS-OXPROPS.

mod budget;
mod codepage;
mod compound;
mod message;
mod msg;
mod property;
mod reader;
mod rtf;
mod tnef;

pub use message::{Attachment, Content, Loss, Message, Person, Problem};

use budget::Budget;

/// How deep messages may lie in messages. Forwarding of forwards makes a few.
pub const DEPTH_MAX: usize = 8;

/// The most that can come out of a container of `input` octets: what [`Message::content_bytes`] never exceeds.
pub fn content_bytes_max(input: usize) -> usize {
    budget::octets_max(input)
}

/// Why nothing at all could be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The octets do not begin as this format does.
    #[error("the file is no {0}")]
    OtherFormat(&'static str),
    /// They do, and go wrong where nothing has been read yet.
    #[error("the file is damaged: {0}")]
    Damaged(String),
}

/// Whether octets begin as a TNEF stream does (MS-OXTNEF §2.1.3.1).
pub fn is_tnef(octets: &[u8]) -> bool {
    octets.starts_with(&tnef::SIGNATURE)
}

/// Opens a TNEF stream.
///
/// # Errors
/// It is none. Everything else is partial: what was read, with [`Message::problems`].
pub fn open_tnef(octets: &[u8]) -> Result<Message, Error> {
    tnef::open(octets, &mut Budget::of(octets.len()))
}

/// Opens a `.msg` file.
///
/// # Errors
/// It is no compound file, its structure is broken, or it holds no message (a Word document is a compound file too).
pub fn open_msg(octets: &[u8]) -> Result<Message, Error> {
    msg::open(octets, &mut Budget::of(octets.len()))
}
