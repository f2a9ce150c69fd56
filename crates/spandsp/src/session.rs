//! What T.38 and audio terminals have in common: the T.30 state, its settings, and the way back from C.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Once;

use crate::event::{Completion, Direction, Frame, Line, PageOutcome, PageReport, Verdict, Watcher};
use crate::settings::{Checked, Settings};
use crate::sys;
use crate::t38::Ifp;

/// Rate, error correction and image of the page under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Bits per second of the image modem.
    pub rate_bps: u32,
    /// Whether error correction is on.
    pub ecm: bool,
    /// Pages confirmed to us in this call.
    pub pages_sent: u32,
    /// Pages that we have received in this call.
    pub pages_received: u32,
    /// ECM frames of this page sent again.
    pub frames_resent: u32,
    /// Lines of this page that could not be decoded (without error correction).
    pub bad_rows: u32,
    /// The most of them in a row.
    pub longest_bad_run: u32,
    /// Width in pixels.
    pub width: u32,
    /// Length in lines.
    pub length: u32,
    /// Coding on the line: 2 MH, 4 MR, 8 MMR.
    pub compression: u32,
}

/// What the callbacks work on. It lives as long as the C object, at one address.
pub(crate) struct Context {
    watcher: Box<dyn Watcher>,
    t30: sys::Object,
    receiving: bool,
    pages_done: u32,
    aborted: bool,
    /// A page waits for its release: no confirmation may leave.
    held: bool,
    ended: Option<c_int>,
    pub(crate) packets: Vec<Ifp>,
}

/// T.30 of one terminal, whatever carries it.
// Owns the `Context` that C points to. Rust makes a reference to it only inside a callback or while no C function runs, so
// that there is never more than one.
pub struct Session {
    context: NonNull<Context>,
    t30: sys::Object,
}

impl Session {
    pub(crate) fn new(settings: &Settings, watcher: Box<dyn Watcher>) -> Self {
        quiet_libtiff();
        let context = Box::new(Context {
            watcher,
            t30: std::ptr::null_mut(),
            receiving: settings.send.is_none(),
            pages_done: 0,
            aborted: false,
            held: false,
            ended: None,
            packets: Vec::new(),
        });
        Self { context: NonNull::from(Box::leak(context)), t30: std::ptr::null_mut() }
    }

    /// What to hand to C as user data.
    pub(crate) fn user(&self) -> *mut c_void {
        self.context.as_ptr().cast()
    }

    /// Connects the T.30 state of a fresh terminal.
    pub(crate) fn attach(&mut self, t30: sys::Object, settings: &Settings, checked: &Checked) {
        self.t30 = t30;
        self.context_mut().t30 = t30;
        let user = self.user();
        // SAFETY: `t30` belongs to the live terminal that the caller has just made; strings are NUL-terminated and copied
        // by spandsp; the handlers have the types that the setters want and `user` outlives the terminal.
        unsafe {
            sys::t30_set_tx_ident(t30, checked.station_id.as_ptr());
            sys::t30_set_ecm_capability(t30, settings.ecm);
            // Without this spandsp answers RTN by "sending the next page, regardless of the problem with the current one".
            sys::t30_set_retransmit_capable(t30, true);
            sys::t30_set_supported_modems(t30, settings.modems());
            sys::t30_set_supported_compressions(t30, settings.compressions());
            sys::t30_set_supported_output_compressions(t30, sys::COMPRESSION_T6);
            sys::t30_set_supported_colour_resolutions(t30, 0);
            sys::t30_set_supported_bilevel_resolutions(t30, sys::RESOLUTIONS);
            sys::t30_set_supported_image_sizes(t30, sys::IMAGE_SIZES);
            sys::t30_set_supported_t30_features(t30, sys::FEATURE_SUB_ADDRESSING);
            if let Some(subaddress) = &checked.subaddress {
                sys::t30_set_tx_sub_address(t30, subaddress.as_ptr());
            }
            if let Some((file, first, last)) = &checked.send {
                sys::t30_set_tx_file(t30, file.as_ptr(), *first, *last);
            }
            if let Some(file) = &checked.receive {
                sys::t30_set_rx_file(t30, file.as_ptr(), -1);
            }
            sys::t30_set_phase_b_handler(t30, on_phase_b, user);
            sys::t30_set_phase_d_handler(t30, on_phase_d, user);
            sys::t30_set_phase_e_handler(t30, on_phase_e, user);
            sys::t30_set_real_time_frame_handler(t30, on_frame, user);
        }
    }

    pub(crate) fn context(&self) -> &Context {
        // SAFETY: the context lives until `drop`; no C function runs, since all of them are called through `&mut self`
        // of the terminal that owns this session.
        unsafe { self.context.as_ref() }
    }

    pub(crate) fn context_mut(&mut self) -> &mut Context {
        // SAFETY: as above, and `&mut self` makes the reference the only one.
        unsafe { self.context.as_mut() }
    }

    /// Whether a watcher has broken the call off, or [`T30Control::abort`] has.
    #[must_use]
    pub fn aborted(&self) -> bool {
        self.context().aborted
    }

    /// How T.30 ended, once it has.
    #[must_use]
    pub fn completion(&self) -> Option<Completion> {
        self.context().ended.map(Completion::of)
    }

    /// Rate, error correction and image of the page under way.
    #[must_use]
    pub fn stats(&self) -> Statistics {
        statistics(self.t30)
    }

    /// CSI or TSI of the far end, printable ASCII; empty when none came.
    #[must_use]
    pub fn remote_id(&self) -> String {
        remote_id(self.t30)
    }
}

/// What a terminal's T.30 can be told.
// A value of its own: whoever had `&mut Session` could swap the sessions of two terminals, and their callbacks would point
// to freed memory.
#[derive(Debug)]
pub struct T30Control<'a>(pub(crate) &'a mut Session);

impl T30Control<'_> {
    /// Lets MCF leave for the page that [`Verdict::Hold`] holds; without one nothing happens.
    pub fn release(self) {
        if std::mem::take(&mut self.0.context_mut().held) {
            // SAFETY: `t30` belongs to the live terminal that owns this session; a plain setter.
            unsafe { sys::t30_set_receiver_not_ready(self.0.t30, 0) };
        }
    }

    /// Breaks T.30 off as [`Verdict::Abort`] does: nothing leaves any more.
    pub fn abort(self) {
        self.0.context_mut().aborted = true;
    }

    /// Ends T.30 at once: the call is gone. It counts as OK when the last page had been confirmed.
    pub fn terminate(self) {
        let aborted = self.0.aborted();
        // SAFETY: `t30` belongs to the live terminal that owns this session; no callback is running.
        unsafe {
            if aborted {
                // spandsp takes an EOP that it has seen for success; a call that we broke off is none.
                sys::t30_set_status(self.0.t30, sys::STATUS_CALL_DROPPED);
            }
            sys::t30_terminate(self.0.t30);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: made by `Box::leak`, freed once; terminals free their C object before this field is dropped.
        drop(unsafe { Box::from_raw(self.context.as_ptr()) });
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let context = self.context();
        f.debug_struct("Session")
            .field("aborted", &context.aborted)
            .field("ended", &context.ended)
            .finish_non_exhaustive()
    }
}

impl Context {
    fn page(&mut self, fcf: u8) -> Verdict {
        let statistics = statistics(self.t30);
        let outcome = if self.receiving {
            if statistics.pages_received > self.pages_done { PageOutcome::Received } else { PageOutcome::Unusable }
        } else {
            match fcf & 0xfe {
                Frame::MCF | Frame::RTP | Frame::PIP => PageOutcome::Confirmed,
                Frame::RTN | Frame::PIN => PageOutcome::Rejected,
                _ => return Verdict::Continue,
            }
        };
        let page = self.pages_done + 1;
        if matches!(outcome, PageOutcome::Confirmed | PageOutcome::Received) {
            self.pages_done = page;
        }
        let report = PageReport { page, outcome, frame: fcf, statistics };
        let verdict = self.watcher.page(report, &Line::new(self.t30));
        match (outcome, verdict) {
            // With error correction spandsp would answer MCF even when nothing of the page could be stored.
            (PageOutcome::Unusable, _) if statistics.ecm => Verdict::Abort,
            (PageOutcome::Received, Verdict::Hold) if statistics.ecm => {
                self.held = true;
                // SAFETY: `t30` is the live state whose callback this is; a plain setter. Only `release` ends it.
                unsafe { sys::t30_set_receiver_not_ready(self.t30, c_int::MAX) };
                Verdict::Continue
            }
            (_, Verdict::Hold) => Verdict::Abort,
            (_, verdict) => verdict,
        }
    }

    fn frame(&mut self, frame: Frame) -> Verdict {
        let verdict = self.watcher.frame(frame, &Line::new(self.t30));
        // Whatever brings spandsp to it: a page that is held is not confirmed.
        let confirms = frame.direction == Direction::Out && matches!(frame.fcf, Frame::MCF | Frame::RTP | Frame::PIP);
        if confirms && self.held { Verdict::Abort } else { verdict }
    }
}

pub(crate) fn statistics(t30: sys::Object) -> Statistics {
    let mut raw = sys::Stats::default();
    // SAFETY: `t30` is live; the struct has the layout of `t30_stats_t` and is only written.
    unsafe { sys::t30_get_transfer_statistics(t30, &raw mut raw) };
    let count = |value: c_int| u32::try_from(value).unwrap_or(0);
    Statistics {
        rate_bps: count(raw.bit_rate),
        ecm: raw.error_correcting_mode != 0,
        pages_sent: count(raw.pages_tx),
        pages_received: count(raw.pages_rx),
        frames_resent: count(raw.error_correcting_mode_retries),
        bad_rows: count(raw.bad_rows),
        longest_bad_run: count(raw.longest_bad_row_run),
        width: count(raw.width),
        length: count(raw.length),
        compression: count(raw.compression),
    }
}

pub(crate) fn remote_id(t30: sys::Object) -> String {
    // SAFETY: `t30` is live; the getter returns NULL or a NUL-terminated string inside it.
    printable(unsafe { sys::t30_get_rx_ident(t30) })
}

pub(crate) fn subaddress(t30: sys::Object) -> String {
    // SAFETY: as above.
    printable(unsafe { sys::t30_get_rx_sub_address(t30) })
}

/// The far end chose these octets: only printable ASCII goes on to people and logs.
fn printable(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not NULL, and NUL-terminated within spandsp's 21-octet field.
    let octets = unsafe { CStr::from_ptr(text) }.to_bytes();
    let text: String = octets.iter().map(|&c| if c.is_ascii_graphic() { char::from(c) } else { ' ' }).collect();
    text.trim().to_owned()
}

/// Runs a watcher's method; a panic aborts the call instead of unwinding through C.
fn guarded(user: *mut c_void, work: impl FnOnce(&mut Context) -> Verdict) -> Verdict {
    // SAFETY: `user` is the `Context` given to the setters; it is live, and Rust holds no reference to it while C runs.
    let context = unsafe { &mut *user.cast::<Context>() };
    if context.aborted {
        return Verdict::Abort;
    }
    let verdict = catch_unwind(AssertUnwindSafe(|| work(context))).unwrap_or(Verdict::Abort);
    if verdict != Verdict::Continue {
        context.aborted = true;
    }
    verdict
}

extern "C" fn on_phase_b(user: *mut c_void, _fcf: c_int) -> c_int {
    match guarded(user, |context| context.watcher.negotiated(&Line::new(context.t30))) {
        Verdict::Continue => sys::STATUS_OK,
        Verdict::Hold | Verdict::Abort => sys::STATUS_CALL_DROPPED,
    }
}

extern "C" fn on_phase_d(user: *mut c_void, fcf: c_int) -> c_int {
    // spandsp ignores what the phase D handler returns; `aborted` keeps every later packet and sample in.
    guarded(user, |context| context.page((fcf & 0xff) as u8));
    sys::STATUS_OK
}

extern "C" fn on_phase_e(user: *mut c_void, code: c_int) {
    // SAFETY: as in `guarded`; the end is told even after an abort.
    let context = unsafe { &mut *user.cast::<Context>() };
    context.ended = Some(code);
    // A panic in the last call of all has nothing left to abort.
    let _ = catch_unwind(AssertUnwindSafe(|| context.watcher.ended(Completion::of(code))));
}

extern "C" fn on_frame(user: *mut c_void, incoming: bool, message: *const u8, length: c_int) {
    let Ok(length) = usize::try_from(length) else { return };
    if message.is_null() {
        return;
    }
    // SAFETY: spandsp passes a frame of `length` octets that lives during this call.
    let message = unsafe { std::slice::from_raw_parts(message, length) };
    let direction = if incoming { Direction::In } else { Direction::Out };
    if let Some(frame) = Frame::parse(direction, message) {
        guarded(user, |context| context.frame(frame));
    }
}

pub(crate) extern "C" fn on_packet(
    _core: sys::Object,
    user: *mut c_void,
    packet: *const u8,
    length: c_int,
    count: c_int,
) -> c_int {
    // SAFETY: as in `guarded`.
    let context = unsafe { &mut *user.cast::<Context>() };
    let Ok(length) = usize::try_from(length) else { return -1 };
    if !context.aborted && !packet.is_null() {
        // SAFETY: spandsp passes a packet of `length` octets that lives during this call.
        let octets = unsafe { std::slice::from_raw_parts(packet, length) }.to_vec();
        context.packets.push(Ifp { octets, copies: u8::try_from(count).unwrap_or(1).clamp(1, 4) });
    }
    0
}

/// libtiff reports through the caller's return codes as well; its prints would go to our standard error.
fn quiet_libtiff() {
    static ONCE: Once = Once::new();
    // SAFETY: both setters take "no handler"; `Once` keeps threads from racing.
    ONCE.call_once(|| unsafe {
        sys::TIFFSetWarningHandler(None);
        sys::TIFFSetErrorHandler(None);
    });
}
