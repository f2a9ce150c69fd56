//! End to end: real processes, real sockets, real files. Each file is one subject.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without ends the test")]

mod answering;
mod back_in_time;
mod backup;
mod bad_input;
mod chaos;
mod crash;
mod harness;
mod logins;
mod nodes;
mod orders;
mod outcomes;
mod postgres;
mod preview;
mod receive;
mod receive_end;
mod received_mail;
mod second_process;
mod services;
mod simulated_day;
mod starting;
