//! Placing a call: INVITE, ringing, answer, and then the session.
//!
//! No answer at all within the trunk's `invite_timeout` is a local 408 (the trunk is down; the stack's own timer would take
//! 32 s), no final answer within `ring_timeout` is a CANCEL and a local 480. Audio is offered
//! first, as gateways refuse an INVITE that brings T.38 alone.

use std::net::UdpSocket;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use spandsp::Codings;

use super::session::{self, Answered, Side, T38Policy};
use super::{Agent, local_status};
use crate::call::{CallEvent, CallOrder, CallReport, Pace, SipStatus, TrunkSettings};
use crate::codings;
use crate::media::{self, Faults, MediaOrder, Observer, Role, SendDocument};
use crate::sdp::{LocalSession, Remote, T38Limits};
use crate::sip::{Answer, Dialog, DialogEvent, Headers, Invite, Server};

/// After a CANCEL the far side has this long to say 487 before we turn away.
const CANCEL_WAIT: Duration = Duration::from_secs(2);
/// A trunk without fallback to audio cannot wait for ever for a far end that does not ask for T.38.
const ASK_WITHOUT_FALLBACK: Duration = Duration::from_secs(4);

/// Places the call of an order.
pub(super) async fn place(
    agent: &Agent,
    order: CallOrder,
    faults: Faults,
    observer: Observer,
    cancel: CancellationToken,
) -> CallReport {
    // Before anybody is called: it takes tens of milliseconds for each photograph.
    let (document, first_page) = (order.document.clone(), order.first_page);
    let codings =
        tokio::task::spawn_blocking(move || codings::shortest(&document, first_page)).await.unwrap_or_default();
    let made = match invite(agent, &order).await {
        Ok(made) => made,
        Err(phrase) => return ended(local_status(408, phrase, false)),
    };
    let Made { dialog, events, socket, local } = made;
    let stop = agent.inner.stop.clone();
    let mut ringing = Ringing { dialog, events, observer: Some(observer), trunk: &order.trunk, rang: false };
    let final_answer = ringing.wait(&cancel, &stop).await;
    let Ringing { dialog, events, observer, rang, .. } = ringing;
    let (answer, observer) = match (final_answer, observer) {
        (Reached::Answer(answer), Some(observer)) => (answer, observer),
        (Reached::Answer(answer), None) => return ended(answer.status(rang)),
        (Reached::Nothing(status), _) => return ended(status),
        (Reached::Refused(words), _) => {
            let status = local_status(487, "the call was given up".to_owned(), rang);
            return CallReport { refused: Some(words), ..ended(status) };
        }
    };
    let status = answer.status(rang);
    if !(200..300).contains(&answer.code) {
        return ended(status);
    }
    let remote = match Remote::parse(&answer.body).and_then(|remote| Ok((remote.expect_audio()?, remote.lock_step))) {
        Ok(remote) => remote,
        Err(error) => {
            dialog.hang_up();
            return ended(local_status(488, format!("the answer's SDP: {error}"), rang));
        }
    };
    let (observer, told) = tell(observer, CallEvent::Answered).await;
    let observer = match (observer, told) {
        (Some(observer), Ok(())) => observer,
        (_, told) => {
            dialog.hang_up();
            return CallReport { refused: Some(told.err().unwrap_or_default()), ..ended(status) };
        }
    };
    let (audio, both_lock_step) = remote;
    let pace = if both_lock_step { order.trunk.pace } else { Pace::RealTime };
    let answered = Answered {
        side: Side::Caller,
        dialog,
        events,
        local,
        audio,
        policy: policy(&order),
        order: media_order(order, codings, pace, faults),
        socket,
        observer,
        sip: status,
        random: agent.random(),
        confirmed: true,
    };
    session::run(answered, cancel, stop).await
}

struct Made {
    dialog: Dialog,
    events: UnboundedReceiver<DialogEvent>,
    socket: UdpSocket,
    local: LocalSession,
}

/// Everything up to the INVITE's first packet. An error is in words for the report.
async fn invite(agent: &Agent, order: &CallOrder) -> Result<Made, String> {
    let trunk = &order.trunk;
    let server = Server::parse(&trunk.server).map_err(|error| error.to_string())?;
    let to = agent.resolve(&server).await.map_err(|error| error.to_string())?;
    let (socket, media) = agent.media_socket(to).map_err(|error| format!("no socket for media: {error}"))?;
    let limits = T38Limits { version: trunk.t38_version.min(3), max_rate_bps: trunk.max_rate_bps };
    let lock_step = matches!(trunk.pace, Pace::LockStep(_));
    let mut local = LocalSession::new(media, agent.session_id(), limits).with_lock_step(lock_step);
    let contact = std::net::SocketAddr::new(media.ip(), agent.local_addr().port());
    let from = trunk.user.clone().unwrap_or_else(|| trunk.number.clone());
    let mut headers: Headers = vec![("X-Fax-Id".to_owned(), order.fax_id.clone())];
    if from != trunk.number && !trunk.number.is_empty() {
        // RFC 3325 §9.2: From names the account, this the number that the called party is to see.
        headers.push(("P-Preferred-Identity".to_owned(), format!("<sip:{}@{}>", trunk.number, server.host)));
    }
    let credential = trunk.password.clone().map(|password| (from.clone(), password));
    let offer = local.offer_audio();
    let number = order.number.clone();
    let invite = Invite { server, to, number, from, contact, credential, headers, offer };
    let (dialog, events) = agent.inner.stack.invite(invite)?;
    Ok(Made { dialog, events, socket, local })
}

/// How an INVITE came out.
enum Reached {
    /// Its final answer.
    Answer(Answer),
    /// None: we gave up, or the transaction failed.
    Nothing(SipStatus),
    /// The observer refused.
    Refused(String),
}

struct Ringing<'a> {
    dialog: Dialog,
    events: UnboundedReceiver<DialogEvent>,
    observer: Option<Observer>,
    trunk: &'a TrunkSettings,
    rang: bool,
}

impl Ringing<'_> {
    async fn wait(&mut self, cancel: &CancellationToken, stop: &CancellationToken) -> Reached {
        let silent_until = Instant::now() + self.trunk.invite_timeout;
        let ring_until = Instant::now() + self.trunk.ring_timeout;
        let mut alive = false;
        loop {
            let deadline = if alive { ring_until } else { silent_until.min(ring_until) };
            let event = tokio::select! {
                event = self.events.recv() => event,
                () = cancel.cancelled() => return self.give_up(487, "the call was cancelled".to_owned()).await,
                () = stop.cancelled() => return self.give_up(487, "the agent stops".to_owned()).await,
                () = tokio::time::sleep_until(deadline) => {
                    if !alive {
                        self.dialog.abandon();
                        let phrase = format!("no answer from {}", self.trunk.server);
                        return Reached::Nothing(local_status(408, phrase, false));
                    }
                    // The trunk took the call and did not say that it rings: nobody answered all the same.
                    let code = 480;
                    let phrase = format!("not answered within {} s", self.trunk.ring_timeout.as_secs());
                    return self.give_up(code, phrase).await;
                }
            };
            match event {
                Some(DialogEvent::Trying) => alive = true,
                Some(DialogEvent::Provisional) => {
                    alive = true;
                    if let Err(words) = self.rings().await {
                        let _ = self.give_up(487, String::new()).await;
                        return Reached::Refused(words);
                    }
                }
                Some(DialogEvent::Final(Some(answer))) => return Reached::Answer(answer),
                Some(DialogEvent::Final(None) | DialogEvent::Ended(_)) | None => {
                    let phrase = format!("no final answer from {}", self.trunk.server);
                    let code = if alive { 480 } else { 408 };
                    return Reached::Nothing(local_status(code, phrase, self.rang));
                }
                Some(DialogEvent::Established | DialogEvent::Offered(_)) => {}
            }
        }
    }

    /// The first 18x is told.
    async fn rings(&mut self) -> Result<(), String> {
        if std::mem::replace(&mut self.rang, true) {
            return Ok(());
        }
        let Some(observer) = self.observer.take() else { return Ok(()) };
        let (observer, told) = tell(observer, CallEvent::Ringing).await;
        self.observer = observer;
        told
    }

    /// CANCEL, and a little patience for the 487 so that the far side's view is ours too.
    async fn give_up(&mut self, code: u16, phrase: String) -> Reached {
        info!(code, "INVITE given up");
        self.dialog.cancel();
        let ended = async {
            while let Some(event) = self.events.recv().await {
                if matches!(event, DialogEvent::Ended(_)) {
                    break;
                }
            }
        };
        if tokio::time::timeout(CANCEL_WAIT, ended).await.is_err() {
            self.dialog.abandon();
        }
        Reached::Nothing(local_status(code, phrase, self.rang))
    }
}

/// Tells the observer of an event outside the media thread. Observers may block, so that this has a thread of its own.
async fn tell(mut observer: Observer, event: CallEvent) -> (Option<Observer>, Result<(), String>) {
    let told = tokio::task::spawn_blocking(move || {
        let told = observer.event(event);
        (observer, told)
    });
    match told.await {
        Ok((observer, told)) => (Some(observer), told.map_err(|refusal| refusal.0)),
        Err(_) => (None, Err("the observer panicked".to_owned())),
    }
}

fn policy(order: &CallOrder) -> T38Policy {
    let trunk = &order.trunk;
    let accept = trunk.t38 && order.allow_t38;
    let without_fallback = (!trunk.fallback_g711).then_some(ASK_WITHOUT_FALLBACK);
    T38Policy {
        accept,
        ask_after: trunk.reinvite_after.or(without_fallback),
        fallback: trunk.fallback_g711,
        max_datagram: trunk.max_datagram,
    }
}

fn media_order(order: CallOrder, codings: Codings, pace: Pace, faults: Faults) -> MediaOrder {
    let CallOrder { trunk, station_id, document, page_count, first_page, subaddress, .. } = order;
    MediaOrder {
        role: Role::Calling,
        station_id,
        send: Some(SendDocument { path: document, page_count, first_page, codings }),
        receive_dir: None,
        subaddress,
        ecm: trunk.ecm,
        max_rate_bps: trunk.max_rate_bps,
        pace,
        keeping_wait: media::keeping_wait(pace),
        faults,
    }
}

fn ended(sip: SipStatus) -> CallReport {
    CallReport { sip: Some(sip), ..CallReport::default() }
}
