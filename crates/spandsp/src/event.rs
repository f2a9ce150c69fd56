//! What a terminal tells while it works.

use std::ffi::CStr;

use crate::session::{self, Statistics};
use crate::sys;

/// Sees one T.30 terminal at work.
///
/// All methods are called synchronously, inside spandsp's processing, in the order in which T.30 goes on. They may block
/// (T.30's own timers do not run meanwhile, the far end's do: two seconds are safe, T.30 §5.4.3.1's T4 is 3 s). They
/// cannot reach the terminal, so that it is never re-entered.
pub trait Watcher: Send {
    /// A T.30 frame is about to leave or has come. ECM image frames that come are not shown. After [`Verdict::Abort`] a frame
    /// that was about to leave does not.
    fn frame(&mut self, frame: Frame, line: &Line) -> Verdict;

    /// DIS (calling) or DCS (called) has been understood.
    fn negotiated(&mut self, _line: &Line) -> Verdict {
        Verdict::Continue
    }

    /// A page has come to its post-message response. See [`PageOutcome`].
    fn page(&mut self, report: PageReport, line: &Line) -> Verdict;

    /// T.30 is over.
    fn ended(&mut self, _completion: Completion) {}
}

/// Whether T.30 may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Continue,
    /// Receiving with error correction, for [`Watcher::page`] alone: the sender is held off with RNR until the terminal's
    /// `release`, and only then MCF leaves. Anywhere else it is an abort.
    Hold,
    /// Nothing more is sent: no MCF, no next page, no DCN.
    Abort,
}

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// We send it.
    Out,
    /// The far end sent it.
    In,
}

/// A T.30 frame, reduced to its facsimile control fields (T.30 §5.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Which way it goes.
    pub direction: Direction,
    /// Facsimile control field in spandsp's bit order, with the X bit of T.30 §5.3.6.1 cleared for commands and responses.
    pub fcf: u8,
    /// Second control field of PPS and EOR (T.30 Annex A), which says what follows the page.
    pub fcf2: Option<u8>,
}

impl Frame {
    /// Digital identification signal.
    pub const DIS: u8 = 0x80;
    /// Digital command signal.
    pub const DCS: u8 = 0x82;
    /// Confirmation to receive.
    pub const CFR: u8 = 0x84;
    /// Failure to train.
    pub const FTT: u8 = 0x44;
    /// End of message: another page in another format follows.
    pub const EOM: u8 = 0x8e;
    /// Multipage signal: another page in the same format follows.
    pub const MPS: u8 = 0x4e;
    /// End of procedure: no page follows.
    pub const EOP: u8 = 0x2e;
    /// Partial page signal.
    pub const PPS: u8 = 0xbe;
    /// Message confirmation.
    pub const MCF: u8 = 0x8c;
    /// Retrain positive: received, train again.
    pub const RTP: u8 = 0xcc;
    /// Retrain negative: not received.
    pub const RTN: u8 = 0x4c;
    /// Procedure interrupt positive: received, operator wanted.
    pub const PIP: u8 = 0xac;
    /// Procedure interrupt negative: not received, operator wanted.
    pub const PIN: u8 = 0x2c;
    /// Partial page request: some ECM frames are wanted again.
    pub const PPR: u8 = 0xbc;
    /// Disconnect.
    pub const DCN: u8 = 0xfa;
    /// Facsimile coded data (ECM).
    pub const FCD: u8 = 0x06;

    /// Set in the control fields of PRI-EOM, PRI-MPS and PRI-EOP.
    const PROCEDURE_INTERRUPT: u8 = 0x10;

    /// What the post-message command says about the next page, if this is one: [`Frame::MPS`], [`Frame::EOM`] or
    /// [`Frame::EOP`], whether it came plainly, in PPS, or with a procedure interrupt.
    #[must_use]
    pub fn post_message(&self) -> Option<u8> {
        let field = if self.fcf == Self::PPS { self.fcf2? } else { self.fcf };
        let plain = field & !Self::PROCEDURE_INTERRUPT;
        // 0x8e ^ 0x10 is PRI-EOM, and so on; EOS (0x1e) does not occur without polling.
        [Self::MPS, Self::EOM, Self::EOP].contains(&plain).then_some(plain)
    }

    pub(crate) fn parse(direction: Direction, message: &[u8]) -> Option<Self> {
        // Address, control, facsimile control field.
        let fcf = *message.get(2)?;
        // T.30 §5.3.6.1: the X bit says who received DIS; initial identification has no X bit and tells DIS from DTC.
        let initial = fcf & 0x0e == 0 || fcf == Self::FCD;
        let fcf = if initial { fcf } else { fcf & 0xfe };
        let fcf2 = (fcf == Self::PPS).then(|| message.get(3).map(|second| second & 0xfe)).flatten();
        Some(Self { direction, fcf, fcf2 })
    }
}

/// How a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageOutcome {
    /// Sending: MCF, RTP or PIP came.
    Confirmed,
    /// Sending: RTN or PIN came; the same page is sent again with fresh training at a lower rate, or the call ends.
    Rejected,
    /// Receiving: the page is complete in the file; MCF or RTP leaves after [`Verdict::Continue`].
    Received,
    /// Receiving: too many bad lines; the page is not in the file and RTN leaves.
    Unusable,
}

/// One page at its post-message response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageReport {
    /// Page of this call, from 1; the same number again after a rejection.
    pub page: u32,
    /// How it ended.
    pub outcome: PageOutcome,
    /// Sending: the response that came. Receiving: the command that came ([`Frame::MPS`], …).
    pub frame: u8,
    /// Rate, error correction and image of this page.
    pub statistics: Statistics,
}

/// How T.30 ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// spandsp's `T30_ERR_…`, 0 for OK.
    pub code: i32,
    /// Its words.
    pub text: String,
}

impl Completion {
    pub(crate) fn of(code: i32) -> Self {
        // SAFETY: spandsp returns a static NUL-terminated string for any code.
        let text = unsafe { CStr::from_ptr(sys::t30_completion_code_to_str(code)) };
        Self { code, text: text.to_string_lossy().into_owned() }
    }
}

/// What a watcher may ask about the line while it is called.
#[derive(Debug)]
pub struct Line {
    t30: sys::Object,
}

impl Line {
    pub(crate) fn new(t30: sys::Object) -> Self {
        Self { t30 }
    }

    /// Rate, error correction and image at this moment.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        session::statistics(self.t30)
    }

    /// CSI or TSI of the far end, printable ASCII, trimmed; empty when none came.
    #[must_use]
    pub fn remote_id(&self) -> String {
        session::remote_id(self.t30)
    }

    /// T.30 SUB of the caller, printable ASCII.
    #[must_use]
    pub fn subaddress(&self) -> String {
        session::subaddress(self.t30)
    }
}
