//! What a call is asked to do and what it tells.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// How a call carries the fax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// T.38 over UDPTL.
    T38,
    /// Audio, G.711 over RTP.
    G711,
}

/// How fast the media clock of a call runs.
///
/// `RealTime` is the only one that a real far end understands. The others exist for the sandbox, where both ends are
/// ours: the ends tick in lock-step over the media socket (an SDP attribute announces it, see [`crate::media::pace`]),
/// so that T.30's timers see the same virtual time on both sides however fast it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// 20 ms of signal take 20 ms.
    RealTime,
    /// In lock-step, at most this many times faster than real time; `f32::INFINITY` for as fast as the machine can.
    LockStep(f32),
}

/// A trunk as the agent needs it.
#[derive(Debug, Clone)]
pub struct TrunkSettings {
    /// Its name in the configuration.
    pub name: String,
    /// Where INVITEs go: host name or address, and port (5060 when left out).
    pub server: String,
    /// User of digest authentication and of the From header; `number` when absent.
    pub user: Option<String>,
    /// Password of digest authentication.
    pub password: Option<String>,
    /// Caller ID and station ID, E.164.
    pub number: String,
    /// Whether T.38 is accepted and asked for.
    pub t38: bool,
    /// Whether the fax goes on as G.711 audio when T.38 is refused.
    pub fallback_g711: bool,
    /// Ask for T.38 ourselves when the far end has not done so this long after its answer; none: only wait.
    pub reinvite_after: Option<Duration>,
    /// Whether error correction is offered.
    pub ecm: bool,
    /// 2400 to 14400 bits per second.
    pub max_rate_bps: u32,
    /// T38FaxVersion that we offer, 0 to 3.
    pub t38_version: u8,
    /// Overrides T38FaxMaxDatagram of the far end, octets of a whole UDPTL packet.
    pub max_datagram: Option<usize>,
    /// How fast the media clock runs.
    pub pace: Pace,
    /// No answer to the INVITE at all within this: the trunk is down (5 s).
    pub invite_timeout: Duration,
    /// No final answer within this: CANCEL, no answer (60 s).
    pub ring_timeout: Duration,
}

/// One call to place.
#[derive(Debug, Clone)]
pub struct CallOrder {
    /// The trunk to use.
    pub trunk: TrunkSettings,
    /// User part of the request URI, as in `+41441234567`.
    pub number: String,
    /// TSI: at most 20 characters of digits, plus and space.
    pub station_id: String,
    /// Multi-page TIFF-F.
    pub document: PathBuf,
    /// Pages in the document.
    pub page_count: u32,
    /// First page to send, from 1.
    pub first_page: u32,
    /// T.33 subaddress, sent as T.30 SUB.
    pub subaddress: Option<String>,
    /// Whether T.38 may be used in this call (it failed with this destination before: no).
    pub allow_t38: bool,
    /// Sent as `X-Fax-Id`, so that a far end of ours can name what it received.
    pub fax_id: String,
}

/// What happens in a call, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum CallEvent {
    /// 180 or 183 came.
    Ringing,
    /// 200 came.
    Answered,
    /// The fax is carried so from here.
    Carried(Transport),
    /// Training succeeded (CFR): pages follow.
    Trained {
        /// Bits per second.
        rate_bps: u32,
        /// Whether error correction is on.
        ecm: bool,
        /// CSI (or TSI) of the far end, printable ASCII.
        remote_id: String,
        /// Receiving: T.33 subaddress that the caller asked for (T.30 SUB), printable ASCII.
        subaddress: Option<String>,
    },
    /// A page's image has begun to leave (or to arrive). Numbered in the document, from 1.
    PageStarted {
        /// From 1.
        page: u32,
    },
    /// Sending: MCF (or RTP) came for the page. The next page does not start before the observer returns.
    /// Receiving: the observer has kept the page ([`CallObserver::page_received`]), and MCF leaves when this returns.
    Page {
        /// From 1.
        page: u32,
        /// Bits per second.
        rate_bps: u32,
        /// Whether error correction was on.
        ecm: bool,
        /// From the start of its image to its confirmation, in the call's own clock.
        duration: Duration,
        /// ECM frames sent again.
        blocks_resent: u32,
    },
    /// Sending: the far end said that the page arrived badly (RTN). It is sent again, or the call ends; if it was the last
    /// one, its confirmation is no longer outstanding. Receiving: we said so.
    PageRejected {
        /// From 1.
        page: u32,
    },
    /// Sending: after [`CallEvent::AllPagesSent`] the far end wants parts of the last page again (PPR): it has not taken the
    /// page, and its confirmation is not outstanding until `AllPagesSent` comes again.
    PageAskedAgain {
        /// From 1.
        page: u32,
    },
    /// Sending: the last page and EOP (or PPS-EOP) have left; its confirmation is outstanding.
    /// Receiving: EOP has come, and the page that follows is the last one.
    AllPagesSent,
}

/// Why an observer refuses; the call is then ended without confirming the page.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// A page that has arrived completely and is not yet confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedPage {
    /// In this call, from 1. A page that the sender repeats because our MCF was lost does not come a second time.
    pub page: u32,
    /// The page as single-page TIFF-F, MMR.
    pub image: Vec<u8>,
    /// Pixels of a line.
    pub width_px: u32,
    /// Lines.
    pub height_px: u32,
    /// Bits per second.
    pub rate_bps: u32,
    /// Whether error correction was on.
    pub ecm: bool,
    /// From the start of its image to its end, in the call's own clock.
    pub duration: Duration,
    /// Whether EOP came with it: the fax is complete when this page is.
    pub last: bool,
    /// Lines that could not be decoded; 0 with error correction. A page with too many never comes here.
    pub damaged_lines: u32,
}

/// Whether a received page is kept, or when that will be known.
#[derive(Debug)]
pub enum Keeping {
    /// It is durable, and MCF may leave; or it cannot be kept, and the call ends without MCF.
    Done(Result<(), Refusal>),
    /// The answer will come. The media thread blocks for a moment, then holds the sender off (RNR) for up to 50 s of the
    /// call's clock. Without error correction there is no RNR, and it blocks 3 s at most. A sender that goes unanswered, for
    /// whatever reason, ends the call without MCF; the answer is then lost.
    Pending(Receiver<Result<(), Refusal>>),
}

/// Sees the events of a call, in order. Called on a thread where blocking up to two seconds is harmless.
pub trait CallObserver: Send {
    /// One event.
    fn event(&mut self, event: CallEvent) -> Result<(), Refusal>;

    /// Receiving: a page to make durable, each page once and in order. MCF does not leave before the answer is `Ok`;
    /// [`CallEvent::Page`] follows then. A page that was kept and for which no such event followed was never confirmed:
    /// the sender holds it for unsent.
    fn page_received(&mut self, page: ReceivedPage) -> Keeping {
        Keeping::Done(Err(Refusal(format!("page {} came to an end that keeps none", page.page))))
    }
}

/// A SIP final answer, or one that we made up ourselves (`local`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipStatus {
    /// 200 to 699; 408 with `local` when nothing came at all.
    pub code: u16,
    /// Reason phrase.
    pub phrase: String,
    /// Q.850 cause of the Reason header.
    pub q850: Option<u16>,
    /// Seconds of the Retry-After header.
    pub retry_after_s: Option<u32>,
    /// Whether a provisional answer beyond 100 came before.
    pub rang: bool,
    /// Whether no packet of the far side stands behind this.
    pub local: bool,
}

/// spandsp's view of the end of T.30.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct T30Status {
    /// spandsp's completion code (`T30_ERR_…`), 0 for OK.
    pub code: i32,
    /// Its words for it.
    pub text: String,
}

/// How punctual the media thread was in real time: 20 ms of signal that left later than they were due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lateness {
    /// Pieces of 20 ms in all; none in lock-step.
    pub ticks: u64,
    /// Left more than 20 ms late.
    pub over_20_ms: u64,
    /// Left more than 100 ms late: a far end's jitter buffer has run dry.
    pub over_100_ms: u64,
    /// The worst of them.
    pub max: Duration,
}

impl Lateness {
    pub(crate) fn note(&mut self, late: Duration) {
        self.ticks += 1;
        self.over_20_ms += u64::from(late > Duration::from_millis(20));
        self.over_100_ms += u64::from(late > Duration::from_millis(100));
        self.max = self.max.max(late);
    }
}

/// All the evidence of a call.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CallReport {
    /// The INVITE's final answer.
    pub sip: Option<SipStatus>,
    /// How T.30 ended; none when no media ever ran.
    pub t30: Option<T30Status>,
    /// How the fax was carried last.
    pub transport: Option<Transport>,
    /// Whether the far end refused our offer of T.38 (488, 415, 606, port 0).
    pub t38_refused: bool,
    /// Last bit rate agreed on.
    pub rate_bps: Option<u32>,
    /// Whether error correction was on.
    pub ecm: Option<bool>,
    /// CSI (or TSI) of the far end, printable ASCII.
    pub remote_id: Option<String>,
    /// Highest page confirmed in this call, numbered in the document; 0 for none.
    pub last_page_confirmed: u32,
    /// Whether the last page and its end of procedure have left (sending), or have come.
    pub all_pages_sent: bool,
    /// A page was rejected (RTN) and not confirmed afterwards.
    pub page_rejected: bool,
    /// Whether something like speech was heard before any fax signal.
    pub voice_heard: bool,
    /// Whether any fax signal or frame of the far end was seen.
    pub fax_seen: bool,
    /// Whether the far end hung up (BYE) before T.30 was over.
    pub remote_hung_up: bool,
    /// Nothing of the far end was heard for too long, and the call was given up.
    pub dead: bool,
    /// An observer refused, or a received page was too damaged to confirm, in words; the call was ended for it.
    pub refused: Option<String>,
    /// UDPTL or RTP packets lost and repaired.
    pub packets_lost: u64,
    /// Packets that redundancy brought back.
    pub packets_recovered: u64,
    /// From the answer to the end, in the call's own clock.
    pub duration: Duration,
    /// Whether this machine kept up with the call.
    pub lateness: Lateness,
}

/// A media address with the law of its audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioTarget {
    /// Where RTP goes.
    pub remote: SocketAddr,
    /// Payload type 8 instead of 0.
    pub a_law: bool,
}
