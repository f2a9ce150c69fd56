//! Answering calls: each INVITE becomes an [`IncomingCall`] in the hands of the agent's handler.
//!
//! The handler rings, rejects or answers; answering runs the call to its end and returns its report. A call that is dropped
//! unanswered gets 480. Calls beyond the limit get 503. An INVITE without usable G.711 gets 488 before the handler sees it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::session::{self, Answered, Side, T38Policy};
use super::{Agent, local_status};
use crate::call::{AudioTarget, CallReport, Pace, SipStatus};
use crate::media::{self, Faults, MediaOrder, Observer, Role};
use crate::sdp::{Chosen, LocalSession, Remote, SdpError, T38Limits};
use crate::sip::{DialogEvent, IncomingInvite};

/// Takes the calls that come in, each in a task of its own.
#[async_trait]
pub trait CallHandler: Send + Sync + 'static {
    /// One call. Returning ends it if it was not answered.
    async fn incoming(&self, call: IncomingCall);
}

/// How a call is to be answered.
#[derive(Debug, Clone)]
pub struct AnswerOrder {
    /// CSI: at most 20 characters of digits, plus and space.
    pub station_id: String,
    /// Folder for the pages being received.
    pub receive_dir: PathBuf,
    /// Whether error correction is offered.
    pub ecm: bool,
    /// 2400 to 14400 bits per second.
    pub max_rate_bps: u32,
    /// Whether T.38 is accepted and asked for.
    pub t38: bool,
    /// Ask for T.38 this long after the answer, as the called side is expected to; none: only wait.
    pub reinvite_after: Option<Duration>,
    /// T38FaxVersion that we offer, 0 to 3.
    pub t38_version: u8,
    /// Overrides T38FaxMaxDatagram of the far end.
    pub max_datagram: Option<usize>,
    /// Lock-step when the caller can do so too.
    pub pace: Pace,
    /// What this end does wrong on purpose (the sandbox's far end only).
    pub faults: Faults,
}

/// A call that waits for its answer.
pub struct IncomingCall {
    agent: Agent,
    invite: IncomingInvite,
    offer: Remote,
    audio: (usize, AudioTarget),
    rang: bool,
}

impl IncomingCall {
    /// The number dialled: the user part of the request URI.
    #[must_use]
    pub fn number(&self) -> &str {
        &self.invite.number
    }

    /// The calling number: the user part of From.
    #[must_use]
    pub fn caller(&self) -> &str {
        &self.invite.caller
    }

    /// The address that the INVITE came from; none when the stack cannot tell.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.invite.remote.map(|remote| remote.ip())
    }

    /// `X-Fax-Id`, as it came from outside.
    #[must_use]
    pub fn fax_id(&self) -> Option<&str> {
        self.invite.fax_id.as_deref()
    }

    /// Tells the caller that it rings (180).
    pub fn ring(&mut self) {
        self.rang = true;
        self.invite.dialog.ring();
    }

    /// Refuses the call with a final answer of 300 to 699 and the Q.850 cause of its Reason header.
    pub fn reject(self, code: u16, q850: Option<u16>) {
        self.invite.dialog.reject(code, q850);
    }

    /// Returns when the caller has given up, or the agent stops.
    pub async fn cancelled(&mut self) {
        let stop = self.agent.inner.stop.clone();
        let ended = async {
            while let Some(event) = self.invite.events.recv().await {
                if matches!(event, DialogEvent::Ended(_)) {
                    break;
                }
            }
        };
        tokio::select! {
            () = ended => {}
            () = stop.cancelled() => {}
        }
    }

    /// Answers with G.711 and runs the call to its end.
    pub async fn answer(self, order: AnswerOrder, observer: Observer, cancel: CancellationToken) -> CallReport {
        let Self { agent, invite, offer, audio, rang } = self;
        let (line, target) = audio;
        let local_failure = |phrase: String| {
            warn!(%phrase, "call not answered");
            CallReport { sip: Some(local_status(500, phrase, rang)), ..CallReport::default() }
        };
        // Where the INVITE came from; for choosing our own address it is as good as any.
        let remote: SocketAddr = invite.remote.unwrap_or(target.remote);
        let (socket, media) = match agent.media_socket(remote) {
            Ok(opened) => opened,
            Err(error) => {
                invite.dialog.reject(500, Some(47));
                return local_failure(format!("no socket for media: {error}"));
            }
        };
        let lock_step = offer.lock_step && matches!(order.pace, Pace::LockStep(_));
        let limits = T38Limits { version: order.t38_version.min(3), max_rate_bps: order.max_rate_bps };
        let mut local = LocalSession::new(media, agent.session_id(), limits).with_lock_step(lock_step);
        let sdp = local.answer(&offer, Chosen::Audio { line, a_law: target.a_law });
        if let Err(error) = invite.dialog.accept(sdp) {
            return local_failure(format!("200 not sent: {error}"));
        }
        let policy = T38Policy {
            accept: order.t38,
            ask_after: order.reinvite_after,
            fallback: true,
            max_datagram: order.max_datagram,
        };
        let pace = if lock_step { order.pace } else { Pace::RealTime };
        let status =
            SipStatus { code: 200, phrase: "OK".to_owned(), q850: None, retry_after_s: None, rang, local: false };
        let stop = agent.inner.stop.clone();
        let answered = Answered {
            side: Side::Callee,
            dialog: invite.dialog,
            events: invite.events,
            local,
            audio: target,
            policy,
            order: media_order(order, pace),
            socket,
            observer,
            sip: status,
            random: agent.random(),
            confirmed: false,
        };
        Box::pin(session::run(answered, cancel, stop)).await
    }
}

fn media_order(order: AnswerOrder, pace: Pace) -> MediaOrder {
    MediaOrder {
        role: Role::Called,
        station_id: order.station_id,
        send: None,
        receive_dir: Some(order.receive_dir),
        subaddress: None,
        ecm: order.ecm,
        max_rate_bps: order.max_rate_bps,
        pace,
        keeping_wait: media::keeping_wait(pace),
        faults: order.faults,
    }
}

/// Hands INVITEs to the handler of the day until the agent stops.
pub(super) fn serve(
    agent: &Agent,
    mut invites: mpsc::Receiver<IncomingInvite>,
    handlers: watch::Receiver<Option<Arc<dyn CallHandler>>>,
) {
    let places = Arc::new(Semaphore::new(agent.inner.settings.incoming_max));
    // Weak: an agent that nobody holds any more ends with its sockets.
    let weak = Arc::downgrade(&agent.inner);
    tokio::spawn(async move {
        while let Some(invite) = invites.recv().await {
            let Some(inner) = weak.upgrade() else { break };
            let handler = handlers.borrow().clone();
            let Some(handler) = handler.filter(|_| !inner.stop.is_cancelled()) else {
                invite.dialog.reject(480, Some(31));
                continue;
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                info!("all places for calls that come in are taken");
                invite.dialog.reject(503, Some(34));
                continue;
            };
            match usable(&invite) {
                Ok((offer, audio)) => {
                    let call = IncomingCall { agent: Agent { inner }, invite, offer, audio, rang: false };
                    tokio::spawn(async move {
                        handler.incoming(call).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    info!(%error, "INVITE refused");
                    // Q.850 cause 88: incompatible destination.
                    invite.dialog.reject(488, Some(88));
                }
            }
        }
    });
}

fn usable(invite: &IncomingInvite) -> Result<(Remote, (usize, AudioTarget)), SdpError> {
    let offer = Remote::parse(&invite.body)?;
    let audio = offer.audio().ok_or(SdpError::NoMedia("expected m=audio with PCMU or PCMA"))?;
    Ok((offer, audio))
}
