//! End to end: real processes, real sockets, real files. Each file is one subject.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without ends the test")]

mod answering;
mod backup;
mod bad_input;
mod chaos;
mod crash;
mod harness;
mod orders;
mod outcomes;
mod preview;
mod receive;
mod receive_end;
mod received_mail;
mod second_process;
mod simulated_day;
mod starting;
