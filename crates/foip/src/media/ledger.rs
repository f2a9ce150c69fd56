//! What is known of a call: fed by T.30's frames and pages, it tells the observer and keeps the evidence.
//!
//! In: what [`spandsp`] shows, on the media thread. Out: [`CallEvent`]s in order, the observer's refusals as an end of the
//! call, and a [`CallReport`]. The ledger decides when a page has begun, which page of the document it is, and what a
//! fault of the sandbox does.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use spandsp::{Direction, Frame, Line, PageOutcome, PageReport, Verdict};

use super::damage::Gaps;
use super::keeping::{self, Answer, Held};
use super::{Faults, MediaOrder, Observer, Role, tiff_page};
use crate::call::{CallEvent, CallReport, Keeping, ReceivedPage, Refusal, Transport};

/// A page that is rejected so often will not come through; T.30 would go on training down to 2400 bit/s.
const REJECTIONS_MAX: u32 = 3;
/// From our CFR or MCF to the middle of a short page: V.21 with its preamble takes 1.1 s, training 0.2 to 1.5 s.
const MIDDLE_OF_PAGE: Duration = Duration::from_millis(2_800);
/// From the far end's CFR or MCF to the middle of a short page that we send: training takes 0.2 to 1.5 s.
const MIDDLE_OF_OUR_PAGE: Duration = Duration::from_millis(700);
/// How long the sandbox's far end is silent before it hangs up.
const SILENCE_BEFORE_HANGUP: Duration = Duration::from_secs(2);

/// Name of the file that spandsp appends received pages to, in the order's folder.
const RECEIVE_FILE: &str = "received.tif";

/// How the call is to end, once T.30 cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The observer refused, or a page was rejected too often: hang up.
    Broken,
    /// A fault: hang up when the call's clock shows this.
    HangUpAt(Duration),
}

/// See the module.
pub(super) struct Ledger {
    observer: Observer,
    role: Role,
    first_page: u32,
    receive_file: Option<PathBuf>,
    faults: Faults,
    may_switch: Arc<AtomicBool>,
    /// What is known so far.
    pub(super) outcome: CallReport,
    /// The call's own clock.
    pub(super) now: Duration,
    /// Set once; nothing is sent any more.
    pub(super) ending: Option<Ending>,
    /// Pages done in this call before the terminal that runs now.
    pages_before: u32,
    /// The page under way, in this call from 1, and when it began.
    page: Option<(u32, Duration)>,
    /// Between the start of a page's image and its post-message command.
    image_under_way: bool,
    /// What the last post-message command said.
    follows: Option<u8>,
    rejections: u32,
    /// How long to block for an observer that keeps a page.
    keeping_wait: Duration,
    /// A page whose keeping the sender waits for.
    held: Option<Held>,
    /// A page was kept whose confirmation has not left yet.
    confirmation_due: bool,
    /// What the network has taken since the page under way began.
    gaps: Gaps,
}

/// The ledger as it is shared between the media loop and spandsp's callbacks, which run on the same thread.
#[derive(Clone)]
pub(super) struct SharedLedger(Arc<Mutex<Ledger>>);

impl SharedLedger {
    pub(super) fn new(order: &MediaOrder, observer: Observer, may_switch: Arc<AtomicBool>) -> Self {
        Self(Arc::new(Mutex::new(Ledger {
            observer,
            role: order.role,
            first_page: order.send.as_ref().map_or(1, |send| send.first_page),
            receive_file: order.receive_dir.as_ref().map(|dir| dir.join(RECEIVE_FILE)),
            faults: order.faults.clone(),
            may_switch,
            outcome: CallReport::default(),
            now: Duration::ZERO,
            ending: None,
            pages_before: 0,
            page: None,
            image_under_way: false,
            follows: None,
            rejections: 0,
            keeping_wait: order.keeping_wait,
            held: None,
            confirmation_due: false,
            gaps: Gaps::default(),
        })))
    }

    /// Never held while spandsp runs, so that its callbacks can take it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Ledger> {
        // A panic of the observer has already ended the call; the evidence is still good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl spandsp::Watcher for SharedLedger {
    fn frame(&mut self, frame: Frame, line: &Line) -> Verdict {
        let mut ledger = self.lock();
        ledger.frame(frame, line);
        // A fault goes on listening; what it would say is dropped.
        if ledger.ending == Some(Ending::Broken) { Verdict::Abort } else { Verdict::Continue }
    }

    fn page(&mut self, report: PageReport, line: &Line) -> Verdict {
        self.lock().page(report, line)
    }
}

impl Ledger {
    /// A fresh terminal begins on `transport`; returns the file to receive into and the first page to send.
    pub(super) fn begin(&mut self, transport: Transport) -> (Option<PathBuf>, u32) {
        self.outcome.transport = Some(transport);
        self.pages_before = match self.role {
            Role::Calling => self.outcome.last_page_confirmed.saturating_sub(self.first_page - 1),
            Role::Called => self.outcome.last_page_confirmed,
        };
        self.page = None;
        self.image_under_way = false;
        self.tell(CallEvent::Carried(transport));
        (self.receive_file.clone(), self.first_page + self.pages_before)
    }

    /// Whether our image data is on its way, so that the far end must be silent.
    pub(super) fn sending_image(&self) -> bool {
        self.role == Role::Calling && self.image_under_way
    }

    /// Whether the image that comes in is to be damaged.
    pub(super) fn damages_image(&self) -> bool {
        let page = self.page.map(|(page, _)| page);
        self.role == Role::Called && self.image_under_way && page.is_some() && page == self.faults.reject_page
    }

    /// Lets faults act that wait for a moment; to be called at each tick.
    pub(super) fn tick(&mut self, now: Duration) {
        self.now = now;
        self.outcome.duration = now;
        let Some((page, began)) = self.page else { return };
        let hangs_up = self.faults.hang_up_in_page == Some(page);
        let middle = match self.role {
            Role::Calling => MIDDLE_OF_OUR_PAGE,
            Role::Called => MIDDLE_OF_PAGE,
        };
        if hangs_up && self.ending.is_none() && self.image_under_way && now >= began + middle {
            self.ending = Some(Ending::HangUpAt(now));
        }
    }

    /// Data that is no V.21 has come over T.38. In a page it is the page's image, and a fault need not guess the moment.
    pub(super) fn image_arrives(&mut self) {
        let page = self.page.map(|(page, _)| page);
        let hangs_up = page.is_some() && page == self.faults.hang_up_in_page;
        if hangs_up && self.image_under_way && self.ending.is_none() && self.role == Role::Called {
            self.ending = Some(Ending::HangUpAt(self.now));
        }
    }

    /// So many packets of the far end are lost for good, one after the other.
    pub(super) fn packets_lost(&mut self, count: u64) {
        if self.role == Role::Called && self.image_under_way {
            self.gaps.lose(count);
        }
    }

    /// A packet of the far end has come, or 20 ms of its signal.
    pub(super) fn packet_heard(&mut self) {
        if self.image_under_way {
            self.gaps.hear();
        }
    }

    /// A callback panicked, so that T.30 was broken off without a word of the observer.
    pub(super) fn observer_panicked(&mut self) {
        if self.ending.is_none() {
            self.refuse("the observer panicked".to_owned());
        }
    }

    fn tell(&mut self, event: CallEvent) {
        if let Err(refusal) = self.observer.event(event) {
            self.refuse(refusal.0);
        }
    }

    fn refuse(&mut self, words: String) {
        tracing::warn!(refusal = %words, "the call is broken off");
        self.outcome.refused.get_or_insert(words);
        self.ending.get_or_insert(Ending::Broken);
    }

    /// Page of this terminal to page of the document.
    fn in_document(&self, page: u32) -> u32 {
        match self.role {
            Role::Calling => self.first_page - 1 + page,
            Role::Called => page,
        }
    }

    fn frame(&mut self, frame: Frame, line: &Line) {
        if self.ending.is_some() {
            return;
        }
        if frame.direction == Direction::In {
            self.outcome.fax_seen = true;
        }
        // Whose pages and commands they are.
        let sender = match self.role {
            Role::Calling => Direction::Out,
            Role::Called => Direction::In,
        };
        match frame.fcf {
            Frame::DCS => {
                // Past this a switch to T.38 would restart a fax that is under way.
                self.may_switch.store(false, Ordering::Release);
            }
            Frame::CFR if frame.direction != sender => self.trained(line),
            Frame::PPR if frame.direction == Direction::In => self.asked_again(),
            Frame::MCF | Frame::RTP if frame.direction == Direction::Out => self.confirms(),
            _ if frame.direction == sender => {
                if let Some(follows) = frame.post_message() {
                    self.post_message(follows);
                }
            }
            _ => {}
        }
    }

    fn trained(&mut self, line: &Line) {
        let statistics = line.statistics();
        let remote_id = line.remote_id();
        self.outcome.rate_bps = Some(statistics.rate_bps);
        self.outcome.ecm = Some(statistics.ecm);
        self.outcome.remote_id = Some(remote_id.clone());
        let subaddress = Some(line.subaddress()).filter(|subaddress| !subaddress.is_empty());
        self.tell(CallEvent::Trained { rate_bps: statistics.rate_bps, ecm: statistics.ecm, remote_id, subaddress });
        let page = self.page.map_or(self.pages_before + 1, |(page, _)| page);
        self.page_starts(page);
    }

    fn page_starts(&mut self, page: u32) {
        self.page = Some((page, self.now));
        self.image_under_way = true;
        self.gaps = Gaps::default();
        let page = self.in_document(page);
        self.tell(CallEvent::PageStarted { page });
    }

    fn post_message(&mut self, follows: u8) {
        let page = self.page.map(|(page, _)| page);
        if self.role == Role::Calling && page.is_some() && page == self.faults.hang_up_in_page {
            // The page was too short to hang up in its middle; that it is complete is not said all the same.
            self.ending = Some(Ending::HangUpAt(self.now));
            return;
        }
        self.image_under_way = false;
        self.follows = Some(follows);
        if follows == Frame::EOP && !self.outcome.all_pages_sent {
            self.outcome.all_pages_sent = true;
            self.tell(CallEvent::AllPagesSent);
        }
    }

    /// Our confirmation is about to leave.
    fn confirms(&mut self) {
        let again = !std::mem::take(&mut self.confirmation_due);
        // Asked for again without a page between. The sender had missed the confirmation; or we have missed a whole page.
        if again && self.outcome.ecm == Some(false) && self.gaps.matter(self.outcome.transport) {
            return self
                .refuse("a page was lost on the way, and the one before it is not confirmed in its place".to_owned());
        }
        if self.follows == Some(Frame::MPS) {
            self.image_under_way = true;
        }
    }

    /// PPR: the far end has not taken the page, so that a call that ends now leaves nothing in doubt.
    fn asked_again(&mut self) {
        if self.role == Role::Calling
            && std::mem::take(&mut self.outcome.all_pages_sent)
            && let Some((page, _)) = self.page
        {
            let page = self.in_document(page);
            self.tell(CallEvent::PageAskedAgain { page });
        }
    }

    fn page(&mut self, report: PageReport, line: &Line) -> Verdict {
        if self.ending.is_some() {
            return Verdict::Abort;
        }
        let in_call = self.pages_before + report.page;
        self.outcome.rate_bps = Some(report.statistics.rate_bps);
        self.outcome.ecm = Some(report.statistics.ecm);
        self.outcome.remote_id = Some(line.remote_id());
        match report.outcome {
            PageOutcome::Confirmed => self.confirmed(in_call, &report),
            PageOutcome::Received => self.received(in_call, &report),
            PageOutcome::Rejected | PageOutcome::Unusable => self.rejected(in_call),
        }
        match (self.ending, &self.held) {
            (Some(_), _) => Verdict::Abort,
            (None, Some(_)) => Verdict::Hold,
            (None, None) => Verdict::Continue,
        }
    }

    fn received(&mut self, page: u32, report: &PageReport) {
        if self.faults.hang_up_in_page == Some(page) {
            // The page was too short to hang up in its middle; it is not confirmed all the same.
            self.ending = Some(Ending::HangUpAt(self.now));
            return;
        }
        let Some(file) = self.receive_file.clone() else {
            return self.refuse("there is no folder for received pages".to_owned());
        };
        // spandsp begins its file anew with each terminal.
        let taken = match tiff_page::take(&file, report.page) {
            Ok(taken) => taken,
            Err(error) => return self.refuse(error.to_string()),
        };
        let statistics = report.statistics;
        if let Some(damage) = self.gaps.damage(&statistics, taken.height_px, self.outcome.transport) {
            return self.refuse(format!("page {page} is not confirmed: {damage}"));
        }
        let received = ReceivedPage {
            page,
            image: taken.image,
            width_px: taken.width_px,
            height_px: taken.height_px,
            rate_bps: statistics.rate_bps,
            ecm: statistics.ecm,
            duration: self.page_duration(),
            last: self.follows == Some(Frame::EOP),
            damaged_lines: if statistics.ecm { 0 } else { statistics.bad_rows },
        };
        match self.observer.page_received(received) {
            Keeping::Done(result) => self.kept(page, report, result),
            Keeping::Pending(answer) => self.await_keeping(page, report, Held::new(answer, page, *report, self.now)),
        }
    }

    /// Blocks for the observer's answer as long as the sender surely waits; with error correction it can be held off then.
    fn await_keeping(&mut self, page: u32, report: &PageReport, held: Held) {
        let ecm = report.statistics.ecm;
        let wait = if ecm { self.keeping_wait } else { self.keeping_wait.max(keeping::BLOCK_MAX) };
        match held.wait(wait) {
            Some(result) => self.kept(page, report, result),
            None if ecm => self.held = Some(held),
            None => self.refuse(format!("page {page} was not kept in time: without error correction no sender waits")),
        }
    }

    /// Whether the page that the sender is held off for is kept by now; to be asked at each tick.
    pub(super) fn keeping(&mut self) -> Answer {
        let Some(held) = &self.held else { return Answer::Wait };
        let Some(result) = held.answer(self.now) else { return Answer::Wait };
        let (page, report) = (held.page, held.report);
        self.held = None;
        if self.ending.is_none() {
            self.kept(page, &report, result);
        }
        match self.ending {
            None => Answer::Release,
            Some(_) => Answer::Abort,
        }
    }

    fn kept(&mut self, page: u32, report: &PageReport, result: Result<(), Refusal>) {
        if let Err(refusal) = result {
            return self.refuse(refusal.0);
        }
        self.confirmed(page, report);
        if self.faults.lose_last_confirmation && self.follows == Some(Frame::EOP) && self.ending.is_none() {
            self.ending = Some(Ending::HangUpAt(self.now + SILENCE_BEFORE_HANGUP));
        }
    }

    fn page_duration(&self) -> Duration {
        self.page.map_or(Duration::ZERO, |(_, began)| self.now.saturating_sub(began))
    }

    fn confirmed(&mut self, page: u32, report: &PageReport) {
        let number = self.in_document(page);
        self.tell(CallEvent::Page {
            page: number,
            rate_bps: report.statistics.rate_bps,
            ecm: report.statistics.ecm,
            duration: self.page_duration(),
            blocks_resent: report.statistics.frames_resent,
        });
        if self.ending.is_some() && self.role == Role::Called {
            // Refused: it stays unconfirmed, for the far end as for us.
            return;
        }
        // Sending, the far end has confirmed it, whatever the observer says.
        self.outcome.last_page_confirmed = number;
        self.outcome.page_rejected = false;
        self.confirmation_due = self.role == Role::Called;
        self.rejections = 0;
        match self.follows {
            // In the same format the next page begins without further ado.
            Some(Frame::MPS) => self.page_starts(page + 1),
            // Otherwise after fresh training.
            Some(Frame::EOM) => self.page = Some((page + 1, self.now)),
            _ => self.page = None,
        }
    }

    fn rejected(&mut self, page: u32) {
        self.outcome.page_rejected = true;
        self.rejections += 1;
        let number = self.in_document(page);
        // The page, and with it the end of the document, is outstanding again.
        self.outcome.all_pages_sent = false;
        self.page = Some((page, self.now));
        self.tell(CallEvent::PageRejected { page: number });
        if self.role == Role::Calling && self.rejections >= REJECTIONS_MAX {
            self.ending.get_or_insert(Ending::Broken);
        }
    }
}
