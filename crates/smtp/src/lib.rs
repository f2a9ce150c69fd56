//! SMTP server session and grammar, without I/O.
//!
//! Flow: the driver owns the socket. It hands octets to [`Session::receive`] and pulls [`Action`]s out of
//! [`Session::next`]: a reply to write, a [`Question`] to answer with [`Session::answer`], content of the mail to spool,
//! a wish for more octets, or the end. Every decision about who may send what is the driver's; the session only knows
//! the protocol. Because no socket is in here, a dialogue is a test (`tests/dialogues/`).
//!
//! Failure: nothing a client sends makes the session panic, grow without limit or read one message as two. Only CRLF
//! ends a line and only CRLF.CRLF ends the content (RFC 5321 §2.3.8, §4.1.1.4); content with a bare CR or LF is swallowed to
//! its real end and refused.
//!
//! Standards: RFC 5321 (SMTP), 2920 (PIPELINING), 1870 (SIZE), 6152 (8BITMIME), 3030 (CHUNKING, BINARYMIME), 6531 (SMTPUTF8), 3461 (DSN),
//! 2034 and 3463 (enhanced status codes), 3207 (STARTTLS), 4954 (AUTH), 9422 (LIMITS), 4865 (FUTURERELEASE), 2852 (DELIVERBY),
//! 6710 (MT-PRIORITY), and XCLIENT as Postfix describes it.

mod chunk;
pub mod command;
mod data;
mod line;
pub mod params;
pub mod path;
pub mod reply;
pub mod sasl;
pub mod session;
mod xclient;

pub use params::{BodyKind, DeliverBy, Hold, LateMode, MailParams, Notify, OriginalRecipient, RcptParams, Ret};
pub use path::Path;
pub use reply::{Charset, Reply};
pub use sasl::{Credentials, Mechanism, Secret, Verifier};
pub use session::{
    Action, Channel, Decision, FutureRelease, InClear, MailFrom, Offers, Question, RcptTo, Session, SessionSettings,
    Slugs, Starttls, Waiting, XClientOffer,
};
pub use xclient::{Protocol, XClient};

#[doc(hidden)]
pub use data::{DataScanner, Flaw};
