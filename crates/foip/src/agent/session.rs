//! An answered call: the media thread on one side, the SIP dialog on the other.
//!
//! The session starts the media thread, answers re-INVITEs (to T.38, back to audio, refreshes), asks for T.38 itself when
//! told to, and hangs up: when T.30 is over, when the far end is silent for too long, when the token says so. The far
//! end's BYE is passed on to the media thread, which alone knows whether T.30 was over by then. It ends when the media
//! thread has ended; a BYE may then still be under way in the background.

use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::call::{AudioTarget, CallReport, Pace, SipStatus, Transport};
use crate::media::{self, MediaCommand, MediaEvent, MediaOrder, MediaThread, Observer};
use crate::sdp::{Chosen, LocalSession, Remote};
use crate::sip::{Answer, Dialog, DialogEvent, EndedBy, Offered};

/// A call that lasts longer is stuck: 14,400 bit/s carry some 900 dense pages in it.
const CALL_MAX: Duration = Duration::from_secs(6 * 3600);
/// The media thread ends by itself after Stop; one that does not within this is left behind.
const MEDIA_ENDS_WITHIN: Duration = Duration::from_secs(15);
/// Between two ends of ours in lock-step the wait for the far end's re-INVITE is not played: the clock stands still and
/// this much real time is enough for it, also on a machine with more to do. Earlier, the two would often collide.
const LOCK_STEP_ASK: Duration = Duration::from_millis(1500);
/// re-INVITEs of ours that may collide with the far end's before we leave it at audio.
const GLARE_TRIES: u32 = 3;

/// What a session does about T.38.
#[derive(Debug, Clone, Copy)]
pub(crate) struct T38Policy {
    /// Whether a re-INVITE to T.38 is accepted.
    pub(crate) accept: bool,
    /// Ask for it ourselves this long after the answer.
    pub(crate) ask_after: Option<Duration>,
    /// Whether the call goes on as audio when our asking is refused.
    pub(crate) fallback: bool,
    /// Overrides the far end's T38FaxMaxDatagram.
    pub(crate) max_datagram: Option<usize>,
}

/// Which side of the call this is, for the delay after a collision (RFC 3261 §14.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// We sent the INVITE and own the Call-ID.
    Caller,
    /// We answered it.
    Callee,
}

/// What a session starts from.
pub(crate) struct Answered {
    pub(crate) side: Side,
    pub(crate) dialog: Dialog,
    pub(crate) events: UnboundedReceiver<DialogEvent>,
    pub(crate) local: LocalSession,
    pub(crate) audio: AudioTarget,
    pub(crate) policy: T38Policy,
    pub(crate) order: MediaOrder,
    pub(crate) socket: UdpSocket,
    pub(crate) observer: Observer,
    /// The INVITE's final answer.
    pub(crate) sip: SipStatus,
    /// Seeds the delays after collisions.
    pub(crate) random: u64,
    /// Whether the dialog is confirmed already, as a caller's is; a callee waits for the ACK before it asks for T.38.
    pub(crate) confirmed: bool,
}

/// Runs an answered call to its end.
pub(crate) async fn run(answered: Answered, cancel: CancellationToken, stop: CancellationToken) -> CallReport {
    let lock_step = matches!(answered.order.pace, Pace::LockStep(_));
    let (commands, orders) = std::sync::mpsc::channel();
    let (told, media_events) = tokio::sync::mpsc::unbounded_channel();
    let Answered { policy, audio, sip, .. } = answered;
    let asks = policy.accept && policy.ask_after.is_some();
    // Held before it starts: in lock-step a whole training takes less time than one packet of SIP.
    if asks && lock_step {
        let _ = commands.send(MediaCommand::HoldClock);
    }
    let _ = commands.send(MediaCommand::Audio(audio));
    let last_page = answered.order.send.as_ref().map(|send| send.page_count);
    let thread = media::spawn(answered.order, answered.socket, answered.observer, orders, told);
    let mut session = Session {
        side: answered.side,
        dialog: answered.dialog,
        local: answered.local,
        policy,
        commands,
        thread: Some(thread),
        transport: Transport::G711,
        lock_step,
        confirmed: false,
        asking: Asking::No,
        random: fastrand::Rng::with_seed(answered.random),
        t38_refused: false,
        last_page,
        over: false,
    };
    if answered.confirmed {
        session.confirmed();
    }
    let outcome = session.serve(answered.events, media_events, [cancel, stop]).await;
    session.report(outcome, sip)
}

type Pending = Pin<Box<dyn Future<Output = Option<Answer>> + Send>>;

/// Our own wish for T.38.
enum Asking {
    /// Not wished, not yet confirmed, or settled.
    No,
    /// At this time, for the n-th time.
    At(Instant, u32),
    /// Under way, with the session that holds if it succeeds.
    Sent(Pending, LocalSession, u32),
}

struct Session {
    side: Side,
    dialog: Dialog,
    local: LocalSession,
    policy: T38Policy,
    commands: Sender<MediaCommand>,
    thread: Option<MediaThread>,
    transport: Transport,
    lock_step: bool,
    confirmed: bool,
    asking: Asking,
    random: fastrand::Rng,
    t38_refused: bool,
    /// Last page of the document, when sending.
    last_page: Option<u32>,
    /// We hung up or were hung up on.
    over: bool,
}

impl Session {
    async fn serve(
        &mut self,
        mut events: UnboundedReceiver<DialogEvent>,
        mut media_events: UnboundedReceiver<MediaEvent>,
        [cancel, stop]: [CancellationToken; 2],
    ) -> Option<CallReport> {
        let mut deadline = Instant::now() + CALL_MAX;
        let mut dialog_open = true;
        loop {
            tokio::select! {
                event = events.recv(), if dialog_open => match event {
                    Some(event) => self.dialog_event(event).await,
                    None => dialog_open = false,
                },
                event = media_events.recv() => match event {
                    Some(event) => self.media_event(&event),
                    // The thread has dropped its sender: its report is ready.
                    None => break,
                },
                answer = asked(&mut self.asking) => self.asked(answer),
                () = cancel.cancelled(), if !self.over => self.end(MediaCommand::Stop, Bye::Later),
                () = stop.cancelled(), if !self.over => self.end(MediaCommand::Stop, Bye::Later),
                () = tokio::time::sleep_until(deadline) => {
                    if self.over {
                        warn!("the media thread does not end; it is left behind");
                        self.dialog.hang_up();
                        return None;
                    }
                    self.end(MediaCommand::Stop, Bye::Later);
                }
            }
            if self.over {
                deadline = deadline.min(Instant::now() + MEDIA_ENDS_WITHIN);
            }
        }
        self.dialog.hang_up();
        let thread = self.thread.take().expect("taken only here, and this returns");
        tokio::task::spawn_blocking(move || thread.join()).await.ok()
    }

    async fn dialog_event(&mut self, event: DialogEvent) {
        match event {
            DialogEvent::Established => self.confirmed(),
            DialogEvent::Offered(offered) => self.offered(offered).await,
            DialogEvent::Ended(by) => {
                let command = match by {
                    EndedBy::Remote | EndedBy::Failure => MediaCommand::RemoteHungUp,
                    EndedBy::Local => MediaCommand::Stop,
                };
                debug!(?by, "dialog ended");
                self.end(command, Bye::Done);
            }
            DialogEvent::Trying | DialogEvent::Provisional | DialogEvent::Final(_) => {}
        }
    }

    fn media_event(&mut self, event: &MediaEvent) {
        debug!(?event, "media");
        match event {
            MediaEvent::Finished => self.end(MediaCommand::Stop, Bye::Now),
            MediaEvent::HangUpNow | MediaEvent::Dead(_) => self.end(MediaCommand::RemoteHungUp, Bye::Now),
        }
    }

    /// The dialog is confirmed: from here on we may send a re-INVITE.
    fn confirmed(&mut self) {
        // Told again after each refresh of the far end; T.38 is asked for once.
        if std::mem::replace(&mut self.confirmed, true) {
            return;
        }
        let ask_after = self.policy.ask_after.filter(|_| self.policy.accept);
        let (Some(after), Asking::No, Transport::G711) = (ask_after, &self.asking, self.transport) else { return };
        let after = match (self.lock_step, self.side) {
            (false, _) => after,
            // A callee has nobody to wait for.
            (true, Side::Callee) => Duration::ZERO,
            (true, Side::Caller) => LOCK_STEP_ASK,
        };
        self.asking = Asking::At(Instant::now() + after, 1);
    }

    /// A re-INVITE or UPDATE of the far end.
    async fn offered(&mut self, offered: Offered) {
        let Offered { update, body, responder } = offered;
        if self.over {
            return responder.answer(481, None).await;
        }
        if matches!(self.asking, Asking::Sent(..)) && !body.is_empty() {
            // RFC 3261 §14.2: ours is under way.
            return responder.answer(491, None).await;
        }
        if body.is_empty() {
            // A refresh. A re-INVITE without an offer asks for ours (RFC 3261 §14.2), an UPDATE for nothing.
            let sdp = self.local.current().filter(|_| !update).map(str::to_owned);
            return responder.answer(200, sdp).await;
        }
        let remote = match Remote::parse(&body) {
            Ok(remote) => remote,
            Err(error) => {
                info!(%error, "re-INVITE with unusable SDP");
                return responder.answer(488, None).await;
            }
        };
        let may_switch = self.thread.as_ref().is_some_and(MediaThread::may_switch);
        let to_t38 = remote.image().filter(|_| self.policy.accept);
        match (to_t38, remote.audio()) {
            (Some((line, _)), _) if self.transport == Transport::T38 => {
                // A refresh during T.38 gets the same description again, or long faxes break in the middle.
                let sdp = self.local.answer(&remote, Chosen::Image { line });
                responder.answer(200, Some(sdp)).await;
            }
            (Some((line, media)), _) if may_switch => {
                let target = media.t38_target(self.local.limits(), self.policy.max_datagram);
                let sdp = self.local.answer(&remote, Chosen::Image { line });
                responder.answer(200, Some(sdp)).await;
                self.asking = Asking::No;
                self.switch(target.map(MediaCommand::T38));
            }
            // Audio, or back to audio: after the fax, or as a refresh. Nothing changes for the media thread.
            (_, Some((line, target))) => {
                let sdp = self.local.answer(&remote, Chosen::Audio { line, a_law: target.a_law });
                responder.answer(200, Some(sdp)).await;
            }
            _ => {
                info!(may_switch, accept = self.policy.accept, "T.38 refused");
                responder.answer(488, None).await;
            }
        }
    }

    /// Our own re-INVITE: it is time to send it, or its answer came.
    fn asked(&mut self, answer: Option<Option<Answer>>) {
        match (std::mem::replace(&mut self.asking, Asking::No), answer) {
            (Asking::At(_, tries), None) => {
                let may_switch = self.thread.as_ref().is_some_and(MediaThread::may_switch);
                if self.over || !may_switch {
                    self.release();
                    return;
                }
                let mut local = self.local.clone();
                let _ = self.commands.send(MediaCommand::HoldClock);
                let pending = Box::pin(self.dialog.reinvite(local.offer_image()));
                self.asking = Asking::Sent(pending, local, tries);
            }
            (Asking::Sent(_, local, tries), Some(answer)) => self.settled(answer, local, tries),
            (asking, _) => self.asking = asking,
        }
    }

    fn settled(&mut self, answer: Option<Answer>, local: LocalSession, tries: u32) {
        let Some(answer) = answer else {
            info!("no answer to our offer of T.38");
            return self.release();
        };
        if answer.code == 491 && tries < GLARE_TRIES {
            let after = self.glare_delay();
            debug!(?after, "re-INVITEs collided");
            self.asking = Asking::At(Instant::now() + after, tries + 1);
            return;
        }
        let remote = Remote::parse(&answer.body).ok().filter(|_| (200..300).contains(&answer.code));
        let image = remote.as_ref().and_then(Remote::image);
        if let Some((_, media)) = image {
            self.local = local;
            let target = media.t38_target(self.local.limits(), self.policy.max_datagram);
            return self.switch(target.map(MediaCommand::T38));
        }
        // 488, 415, 606, 400 and whatever else is not 2xx, or a 200 that closes the m-line.
        info!(code = answer.code, fallback = self.policy.fallback, "the far end refused T.38");
        self.t38_refused = true;
        if self.policy.fallback {
            self.release();
        } else {
            self.end(MediaCommand::Stop, Bye::Later);
        }
    }

    /// RFC 3261 §14.1: the owner of the Call-ID waits 2.1 to 4 s, the other side up to 2 s, in steps of 10 ms.
    fn glare_delay(&mut self) -> Duration {
        let steps = match self.side {
            Side::Caller => self.random.u64(210..=400),
            Side::Callee => self.random.u64(0..=200),
        };
        Duration::from_millis(steps * 10)
    }

    fn switch(&mut self, command: Option<MediaCommand>) {
        if let Some(command) = command {
            self.transport = Transport::T38;
            let _ = self.commands.send(command);
        }
        self.release();
    }

    fn release(&self) {
        let _ = self.commands.send(MediaCommand::ReleaseClock);
    }

    fn end(&mut self, command: MediaCommand, bye: Bye) {
        self.over = true;
        self.asking = Asking::No;
        self.release();
        let _ = self.commands.send(command);
        if bye == Bye::Now {
            self.dialog.hang_up();
        }
    }

    fn report(&self, outcome: Option<CallReport>, sip: SipStatus) -> CallReport {
        let outcome = outcome.unwrap_or_default();
        // Receivers hang up as soon as they have confirmed the last page; our DCN need not reach anybody then.
        let all_confirmed = self.last_page.is_some_and(|last| outcome.last_page_confirmed >= last);
        CallReport {
            sip: Some(sip),
            t38_refused: self.t38_refused,
            remote_hung_up: outcome.remote_hung_up && !all_confirmed,
            ..outcome
        }
    }
}

/// When our BYE leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bye {
    Now,
    /// After the media thread has said DCN and ended.
    Later,
    /// The dialog is over already.
    Done,
}

/// Outer none: it is time to ask. Inner: the answer, if there was one.
async fn asked(asking: &mut Asking) -> Option<Option<Answer>> {
    match asking {
        Asking::No => std::future::pending().await,
        Asking::At(time, _) => {
            tokio::time::sleep_until(*time).await;
            None
        }
        Asking::Sent(pending, ..) => Some(pending.await),
    }
}
