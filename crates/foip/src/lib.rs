//! Places and answers fax calls: SIP, SDP, UDPTL, RTP, T.30 through spandsp.
//!
//! ```text
//! Agent (SIP user agent, tokio) ── one call ──► media thread (spandsp, one UDP socket for RTP and UDPTL)
//!    ▲ INVITE, re-INVITE, BYE                      │ events, in order, on the media thread
//!    └────────── commands: Audio, T38, Stop ◄──────┘ CallObserver may block it (a page is recorded there)
//! ```
//!
//! What goes in: a number, a TIFF-F file and the first page to send (or where to put received pages). What comes out:
//! events while the call runs and one [`CallReport`] with the evidence. Deciding what a report means for a fax is the
//! caller's work. The sandbox's far end ([`far_end`]) is a second agent built from the same parts.

pub mod agent;
pub mod call;
mod codings;
pub mod far_end;
mod g711;
pub mod media;
mod rtp;
mod sdp;
mod sip;
pub mod udptl;

pub use agent::{Agent, AgentError, AgentSettings};
pub use call::{
    CallEvent, CallObserver, CallOrder, CallReport, Keeping, Lateness, ReceivedPage, Refusal, SipStatus, T30Status,
    Transport, TrunkSettings,
};
pub use far_end::{FarEnd, FarEndError, FarEndSettings};
