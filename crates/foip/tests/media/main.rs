//! Calls between two media threads of ours over loopback UDP.

mod calls;
mod endings;
mod pair;
