//! The media side of a call: one OS thread that owns the spandsp state and one UDP socket.
//!
//! The thread advances the signal by elapsed samples (8000 a second), never by counting wake-ups. RTP and UDPTL use the
//! same local port, so that the media clock and a session border controller's pinhole survive the switch.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::call::{AudioTarget, CallObserver, Pace, T30Status, Transport};

mod ledger;
mod leg;
mod listen;
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
    /// What this end does wrong on purpose (the sandbox's far end only).
    pub faults: Faults,
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

/// All that the media thread can say about its call when it ends; the SIP side adds the rest of a
/// [`CallReport`](crate::call::CallReport).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MediaOutcome {
    /// How T.30 ended; none when no media ever ran.
    pub t30: Option<T30Status>,
    /// How the fax was carried last.
    pub transport: Option<Transport>,
    /// Last bit rate agreed on.
    pub rate_bps: Option<u32>,
    /// Whether error correction was agreed on.
    pub ecm: Option<bool>,
    /// CSI (or TSI) of the far end, printable ASCII.
    pub remote_id: Option<String>,
    /// Highest page confirmed in this call, numbered in the document; 0 for none.
    pub last_page_confirmed: u32,
    /// Whether the last page and its end of procedure have left (Calling) or arrived (Called).
    pub all_pages_sent: bool,
    /// A page was rejected (RTN) and not confirmed afterwards.
    pub page_rejected: bool,
    /// Whether something like speech was heard before any fax signal.
    pub voice_heard: bool,
    /// Whether any fax signal or frame of the far end was seen.
    pub fax_seen: bool,
    /// Whether the far end hung up before T.30 was over.
    pub remote_hung_up: bool,
    /// The observer refused, with its words; the call was ended for it.
    pub refused: Option<String>,
    /// Nothing of the far end was heard for too long, and the call was given up.
    pub dead: bool,
    /// UDPTL or RTP packets lost and not repaired.
    pub packets_lost: u64,
    /// Packets that redundancy or parity brought back.
    pub packets_recovered: u64,
    /// From the first media command to the end, in the call's own clock.
    pub duration: Duration,
}

/// The running media thread of one call.
///
/// The thread ends by itself after [`MediaEvent::Finished`] or [`MediaEvent::Dead`] and always after
/// [`MediaCommand::Stop`], [`MediaCommand::RemoteHungUp`] or the loss of the command channel; the event channel closes then.
#[derive(Debug)]
pub struct MediaThread {
    join: JoinHandle<MediaOutcome>,
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
    /// A panic of the observer ends the call and comes back here as an outcome with `refused`.
    #[must_use]
    pub fn join(self) -> MediaOutcome {
        self.join.join().unwrap_or_else(|_| MediaOutcome {
            refused: Some("the media thread panicked".to_owned()),
            ..MediaOutcome::default()
        })
    }
}
