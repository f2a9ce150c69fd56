//! Thin safe binding of spandsp: T.30 over T.38 and over audio.
//!
//! ```text
//! Settings + Watcher ──► T38Terminal ── tick ──► IFP packets out      rx_ifp ◄── IFP packets in
//!                    └─► AudioFax    ── audio_tx / audio_rx, 8000 samples a second
//!                            │
//!                            └── calls the Watcher, on this thread, in the order of T.30: frames, negotiation, pages, end
//! ```
//!
//! One object is one T.30 terminal (what both kinds have in common is its [`Session`]); it is `Send` and not `Sync`, has no clock of its own and opens no socket: time is the
//! samples it is given. It reads the TIFF-F it sends and appends the pages it receives to one TIFF file.
//!
//! The promise of this crate is in [`Watcher::page`]: it is called when a page has been confirmed (sending) or is
//! complete on disk (receiving), and the next page does not start, and no MCF leaves, before it has returned
//! [`Verdict::Continue`]. After [`Verdict::Abort`] nothing leaves any more, not even DCN: the caller hangs up.
//!
//! Failure: construction fails on what T.30 cannot carry ([`SettingsError`]); later failures are completion codes. A
//! watcher that panics aborts its call, since nothing may unwind through C.
//!
//! Standards: ITU-T T.30 (2005), T.38 (2010), T.4, T.6. spandsp is under the LGPL 2.1.

mod audio;
mod event;
mod session;
mod settings;
mod sys;
mod t38;

pub use audio::AudioFax;
pub use event::{Completion, Direction, Frame, Line, PageOutcome, PageReport, Verdict, Watcher};
pub use session::{Session, Statistics, T30Control};
pub use settings::{Codings, Outgoing, Settings, SettingsError};
pub use t38::{Ifp, T38Options, T38Terminal};
