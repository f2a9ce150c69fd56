//! End to end: real processes, real sockets, real files. Each file is one subject.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without ends the test")]

mod bad_input;
mod crash;
mod harness;
mod outcomes;
mod preview;
