//! The ground floor: the words every other module speaks. No I/O, no SQL, no clock of its own.
//!
//! Everything here is parsed once at the border and carried as a type after that.

pub mod cause;
pub mod id;
pub mod inbound;
pub mod notice;
pub mod number;
pub mod options;
pub mod page;
#[cfg(test)]
pub(crate) mod reference;
pub mod state;
pub mod time;

pub use cause::{Cause, Class};
pub use id::{AttemptId, FaxId, MessageId, NoticeId, ReceivedFaxId, ShortId};
pub use inbound::ReceivedFormat;
pub use notice::{NoticeKind, NoticeState, NotifyOn};
pub use number::FaxNumber;
pub use options::{BodyPlace, FaxOptions, ReportStyle, matches_pattern};
pub use page::{Paper, Quality};
pub use state::{FaxState, Outcome, ReceivedState};
pub use time::{Clock, SystemClock, Timestamp};
