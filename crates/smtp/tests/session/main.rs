//! The session as its driver sees it.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod dialogues;
mod differential;
mod driver;
mod properties;
mod smuggling;
