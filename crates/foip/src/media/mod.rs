//! The media side of a call: one OS thread that owns the spandsp state and one UDP socket.
//!
//! The thread advances the signal by elapsed samples (8000 a second), never by counting wake-ups. RTP and UDPTL use the
//! same local port, so that the media clock and a session border controller's pinhole survive the switch.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use spandsp::Codings;

use crate::call::{AudioTarget, CallObserver, CallReport, Pace};

mod damage;
mod keeping;
mod ledger;
mod leg;
mod listen;
mod noise;
pub mod pace;
mod thread;
mod tiff_page;

pub use thread::spawn;

/// Which side of T.30 this end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It called, and sends.
    Calling,
    /// It was called, and receives.
    Called,
}

/// What the media thread is to do with its call.
#[derive(Debug, Clone)]
pub struct MediaOrder {
    /// Which side of T.30.
    pub role: Role,
    /// TSI or CSI, 20 characters at most.
    pub station_id: String,
    /// TIFF-F to send, for `Role::Calling`.
    pub send: Option<SendDocument>,
    /// Folder for the pages being received, for `Role::Called`.
    pub receive_dir: Option<PathBuf>,
    /// T.30 SUB.
    pub subaddress: Option<String>,
    /// Whether error correction is offered.
    pub ecm: bool,
    /// 2400 to 14400.
    pub max_rate_bps: u32,
    /// How fast the clock runs.
    pub pace: Pace,
    /// How long the media thread blocks for an observer that keeps a page, in real time, before it holds the sender off.
    /// See [`keeping_wait`].
    pub keeping_wait: Duration,
    /// What this end does wrong on purpose (the sandbox's far end only).
    pub faults: Faults,
}

/// How long the media thread blocks for an observer before it turns to RNR, so that a usual commit costs no exchange of
/// frames: well below the sender's T4 (3 s, T.30 §5.4.3.1). In lock-step the sender's clock stands still meanwhile, and only
/// its patience in real time (10 s) counts.
#[must_use]
pub fn keeping_wait(pace: Pace) -> Duration {
    match pace {
        Pace::RealTime => Duration::from_millis(1500),
        Pace::LockStep(_) => Duration::from_secs(5),
    }
}

/// A document to send.
#[derive(Debug, Clone)]
pub struct SendDocument {
    /// Multi-page TIFF-F.
    pub path: PathBuf,
    /// Pages in it.
    pub page_count: u32,
    /// First page to send, from 1.
    pub first_page: u32,
    /// Codings that are worth while for these pages.
    pub codings: Codings,
}

/// Misbehaviour of the sandbox's far end, counted in pages of this call from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Report [`MediaEvent::HangUpNow`] in the middle of this page.
    pub hang_up_in_page: Option<u32>,
    /// Answer RTN to this page, each time it comes: its image is damaged on the way in, without error correction, which is
    /// off in such a call. A caller sends it again twice; a rejected *last* page ends the call at once, since spandsp does
    /// not take it again.
    pub reject_page: Option<u32>,
    /// Fall silent when EOP (or PPS-EOP) has come, and report [`MediaEvent::HangUpNow`] a little later.
    pub lose_last_confirmation: bool,
    /// Sound like a person instead of a fax machine.
    pub voice: bool,
}

/// T.38 as it was negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct T38Target {
    /// Where UDPTL goes.
    pub remote: std::net::SocketAddr,
    /// 0 to 3.
    pub version: u8,
    /// Octets of a whole UDPTL packet that the far end takes.
    pub max_datagram: usize,
    /// Older packets sent along (3); 0 when the far end knows no redundancy.
    pub redundancy: usize,
}

/// What SIP tells the media thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaCommand {
    /// Run T.30 over audio to this address (from the answer on).
    Audio(AudioTarget),
    /// Run T.30 over T.38 from here.
    T38(T38Target),
    /// Stop the clock while a re-INVITE is under way (lock-step only; ignored in real time). It may come before
    /// [`MediaCommand::Audio`], so that the call does not begin before the switch.
    HoldClock,
    /// Let it run again.
    ReleaseClock,
    /// The far end hung up: end T.30, report, stop.
    RemoteHungUp,
    /// End T.30 at once (BYE says the rest), report, stop.
    Stop,
}

/// What the media thread tells SIP, besides the observer's events.
#[derive(Debug, Clone, PartialEq)]
pub enum MediaEvent {
    /// T.30 has come to its end; send BYE.
    Finished,
    /// A fault asks for a BYE right now.
    HangUpNow,
    /// Nothing of the far end was heard for too long; send BYE.
    Dead(Duration),
}

/// Receives events of the media thread; shared because it lives as long as the call.
pub type Observer = Box<dyn CallObserver>;

/// The running media thread of one call.
///
/// The thread ends by itself after [`MediaEvent::Finished`] or [`MediaEvent::Dead`] and always after
/// [`MediaCommand::Stop`], [`MediaCommand::RemoteHungUp`] or the loss of the command channel; the event channel closes then.
#[derive(Debug)]
pub struct MediaThread {
    join: JoinHandle<CallReport>,
    may_switch: Arc<AtomicBool>,
}

impl MediaThread {
    /// Whether a switch to T.38 is still harmless. Once T.30 over audio has passed DCS a switch would restart a fax that
    /// is under way, so that a re-INVITE to T.38 is to be answered 488.
    #[must_use]
    pub fn may_switch(&self) -> bool {
        self.may_switch.load(Ordering::Acquire)
    }

    /// Waits for the end of the thread. Blocks: to be called from `spawn_blocking` in async code.
    ///
    /// What comes back is all that the media thread can say about its call; the SIP side adds the rest. A panic of the
    /// observer ends the call and comes back as `refused`.
    #[must_use]
    pub fn join(self) -> CallReport {
        self.join.join().unwrap_or_else(|_| CallReport {
            refused: Some("the media thread panicked".to_owned()),
            ..CallReport::default()
        })
    }
}
