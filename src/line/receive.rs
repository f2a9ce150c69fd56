//! Calls that come in: a fax is taken page by page, and the far end is told so when a page is durable.
//!
//! ```text
//! INVITE ─► channel free, store writable, room on the disk? ─► 200 ─► page ─► documents.put ─► store.begin_received
//!             no: 486 or 503, the far end tries again                 ▲             or store.received_page ─► MCF
//!                                                                     └── next page ◄──────────────────────────┘
//! BYE ─► store.end_received: mailboxes chosen by the routes, their mails owed
//! ```
//!
//! A call takes a channel of its trunk on all nodes together, by a row of the store, before it is answered. Calls come from the trunk's server or from `accept_from`; others get 403. Every called number is taken: what no route knows goes to the default mailboxes. A call that breaks after some pages
//! is delivered with them, marked as incomplete. While the store is slow the sender is held off; when it cannot keep a
//! page, the page is not confirmed and the call ends. When it is away at the end of the call, the end is told to it as
//! long as this process lives, under a renewed lease; after that `maintain` settles the fax from its pages.

pub(super) mod callers;
mod keep;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use foip::CallReport;
use foip::agent::{AnswerOrder, CallHandler, IncomingCall};
use foip::media::Faults;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::callers::Callers;
use self::keep::{Begun, Kept, Told};
use super::{CALL_LEASE, Channel, Context, Line, call, verdict};
use crate::domain::Cause;
use crate::domain::inbound::Incoming;
use crate::fault::crash_point;
use crate::store::{Lease, NewIncoming, ReceivedEnd, Result as StoreResult, StoreError};
use crate::work::{self, Held};

/// In real time the called side asks for T.38 while its answer tone (CED, 2.6 to 4 s) still sounds.
const REINVITE_AFTER: Duration = Duration::from_millis(1500);

/// How long the store may take to say that it can write, before the caller is sent away: SIP's own timers repeat the
/// INVITE meanwhile.
const READY_WAIT: Duration = Duration::from_secs(4);

/// Room on the disk that a call must find beside what is kept free: a dense fax of many pages.
const CALL_BYTES: u64 = 32 << 20;

/// How the folders of calls that come in begin, within the spool.
pub(super) const SPOOL_PREFIX: &str = "in-";

/// Longest number that is looked at.
const NUMBER_CHARS_MAX: usize = 64;

/// How long to wait before the end of a call is told once more to a store that is away.
const STORE_WAIT: Duration = Duration::from_secs(1);

/// Longest call: T.30's timers end a dead one much earlier, and a far end that keeps them going must not keep the channel.
const CALL_MAX: Duration = Duration::from_secs(2 * 60 * 60);

/// Takes the calls that come in on one line.
pub(super) struct Receiver {
    pub(super) context: Context,
    /// Weak: the line's agent holds this.
    pub(super) line: Weak<Line>,
    /// Who may call.
    pub(super) callers: Callers,
    /// Counts the calls of all lines in this life of the process.
    pub(super) calls_begun: Arc<AtomicI64>,
    pub(super) calls: TaskTracker,
    /// No new call is answered.
    pub(super) draining: CancellationToken,
    /// Ends the calls under way.
    pub(super) stop_calls: CancellationToken,
}

/// A channel of the trunk, here and on all nodes together.
struct Taken {
    channel: Channel,
    id: uuid::Uuid,
    /// Renews it while the call lasts.
    _held: Held,
}

/// What a call needs before it is answered.
struct Admitted {
    taken: Taken,
    spool: TempDir,
}

/// Why a call is not answered: SIP status and Q.850 cause.
struct Refused(u16, u16);

/// Q.850 cause 21: call rejected.
const NOT_ALLOWED: Refused = Refused(403, 21);
/// All channels are taken. Q.850 cause 17: user busy; fax machines call again.
const BUSY: Refused = Refused(486, 17);
/// The gateway ends. Q.850 cause 41: temporary failure; a carrier tries the next gateway.
const ENDING: Refused = Refused(503, 41);
/// Nothing can be stored. Q.850 cause 42: switching equipment congestion.
const NOT_STORABLE: Refused = Refused(503, 42);

#[async_trait]
impl CallHandler for Receiver {
    async fn incoming(&self, call: IncomingCall) {
        let _tracked = self.calls.token();
        match self.admit(call.source()).await {
            Ok(Admitted { taken, spool }) => {
                self.receive(call, &taken.channel, spool).await;
                self.give_back(taken).await;
            }
            Err((Refused(code, q850), why)) => {
                tracing::warn!(did = call.number(), code, why, "a call is not answered");
                call.reject(code, Some(q850));
            }
        }
    }
}

impl Receiver {
    /// Takes a channel and makes sure that a page can be kept, before the far end is told that somebody is here.
    async fn admit(&self, from: Option<IpAddr>) -> Result<Admitted, (Refused, String)> {
        let Some(from) = from else { return Err((NOT_ALLOWED, "nobody knows where it comes from".to_owned())) };
        if !self.callers.allow(from).await {
            let why = format!("{from} is neither the trunk's server nor in accept_from of the line");
            return Err((NOT_ALLOWED, why));
        }
        let line = self.line.upgrade().filter(|_| !self.draining.is_cancelled());
        let line = line.ok_or_else(|| (ENDING, "the gateway ends".to_owned()))?;
        let channel = Channel::take(&line).ok_or_else(|| (BUSY, "every channel is taken".to_owned()))?;
        let taken = self.take_everywhere(channel).await?;
        match self.place_for_pages().await {
            Ok(spool) => Ok(Admitted { taken, spool }),
            Err(why) => {
                self.give_back(taken).await;
                Err((NOT_STORABLE, why))
            }
        }
    }

    /// The channel is one of the trunk's on all nodes. Its row is a write as well: the store can keep a page.
    async fn take_everywhere(&self, channel: Channel) -> Result<Taken, (Refused, String)> {
        let (id, line) = (uuid::Uuid::now_v7(), channel.line.name.clone());
        let call = NewIncoming { id, line, channels: channel.line.channels };
        let held = self.context.leases.hold([Lease::Incoming(id)]);
        let begun = self.context.store.begin_incoming(&self.context.owner, call, CALL_LEASE);
        match tokio::time::timeout(READY_WAIT, begun).await {
            Ok(Ok(())) => Ok(Taken { channel, id, _held: held }),
            Ok(Err(StoreError::NotNow(why))) => Err((BUSY, why)),
            Ok(Err(error)) => Err((NOT_STORABLE, error.to_string())),
            // If it has one, nobody renews it.
            Err(_) => Err((NOT_STORABLE, "the store does not answer".to_owned())),
        }
    }

    async fn place_for_pages(&self) -> Result<TempDir, String> {
        let room = self.context.documents.check_space(CALL_BYTES);
        match tokio::time::timeout(READY_WAIT, room).await {
            Ok(room) => room.map_err(|error| error.to_string())?,
            Err(_) => return Err("the documents do not answer".to_owned()),
        }
        let spool = tempfile::Builder::new().prefix(SPOOL_PREFIX).tempdir_in(&self.context.spool);
        spool.map_err(|error| format!("no folder for the pages: {error}"))
    }

    /// Frees the channel. When the store stays away its lease runs out.
    async fn give_back(&self, taken: Taken) {
        if let Err(error) = work::written_back(|| self.context.store.end_incoming(taken.id)).await {
            tracing::warn!(line = %taken.channel.line.name, %error, "the call's channel is free when its lease runs out");
        }
    }

    async fn receive(&self, call: IncomingCall, channel: &Channel, spool: TempDir) {
        let line = &channel.line;
        let incoming =
            Incoming { did: printable(call.number()), caller: Some(printable(call.caller())), ..Incoming::default() };
        let Incoming { did: called, caller, .. } = self.context.mailboxes.normalised(incoming);
        let call_no = self.calls_begun.fetch_add(1, Ordering::AcqRel) + 1;
        tracing::info!(line = %line.name, call_no, "a call comes in");
        let begun = Begun { call_no, line: line.name.clone(), called, caller };
        let over = CancellationToken::new();
        let (taker, told, keeper) = keep::new(self.context.clone(), begun, over.clone());
        let keeping = tokio::spawn(keeper.run());
        let stop = self.stop_calls.child_token();
        let answer = call.answer(answer_order(line, spool.path().to_owned()), Box::new(taker), stop.clone());
        tokio::pin!(answer);
        let report = tokio::select! {
            report = &mut answer => report,
            () = tokio::time::sleep(CALL_MAX) => {
                stop.cancel();
                answer.await
            }
        };
        over.cancel();
        let told = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match keeping.await {
            Ok(Some(kept)) => self.finish(&kept, ended(&report, &told, stop.is_cancelled())).await,
            Ok(None) => {
                tracing::info!(line = %line.name, call_no, detail = %evidence(&report), "the call brought no page")
            }
            Err(error) => {
                tracing::error!(line = %line.name, call_no, %error, "the pages' keeper failed; its lease will run out")
            }
        }
    }

    /// Tells the store the end of a fax, as long as it takes.
    async fn finish(&self, kept: &Kept, broken: Option<(Cause, String)>) {
        let fax = kept.id.short();
        crash_point!("receive.call-over");
        let mut end: Option<ReceivedEnd> = None;
        loop {
            match self.try_finish(kept, &broken, &mut end).await {
                Ok(()) => break,
                Err(StoreError::Unavailable(why)) => {
                    tracing::warn!(%fax, why, "the store is away; the end of the received fax is told again");
                    tokio::time::sleep(STORE_WAIT).await;
                }
                Err(error) => {
                    tracing::error!(%fax, %error, "the received fax could not be ended here; it is settled from its pages");
                    return;
                }
            }
        }
        crash_point!("receive.ended");
        self.context.delivery_hint.wake();
        let end = end.expect("the loop ends after it was told");
        tracing::info!(
            %fax, complete = end.complete, route = end.route.as_deref().unwrap_or("default"),
            mailboxes = end.notices.len(), cause = broken.as_ref().map(|(cause, _)| cause.slug()), "a fax is received"
        );
    }

    async fn try_finish(
        &self,
        kept: &Kept,
        broken: &Option<(Cause, String)>,
        end: &mut Option<ReceivedEnd>,
    ) -> StoreResult<()> {
        let store = &self.context.store;
        // Made once: told again, it is the same end and not another one.
        if end.is_none() {
            let received = store.received(kept.id).await?.received;
            let stored = store.inbound_routes().await?.into_iter().map(|route| route.rule).collect();
            let to = self.context.mailboxes.choose(received.incoming(), received.started_at, stored);
            let (cause, detail) = broken.clone().unzip();
            *end = Some(ReceivedEnd::new(kept.id, &to, cause, detail, &self.context.domain));
        }
        let end = end.clone().expect("it was made just now or before");
        store.end_received(kept.id, kept.token, end).await
    }
}

/// Why a fax is not complete, with the evidence; none when its last page was confirmed.
fn ended(report: &CallReport, told: &Told, stopped: bool) -> Option<(Cause, String)> {
    if told.complete {
        return None;
    }
    if let Some(why) = &report.refused {
        return Some((Cause::StoreUnavailable, why.clone()));
    }
    if stopped {
        return Some((Cause::RemoteHangup, "the gateway stopped in the middle of the call".to_owned()));
    }
    // A document of endless pages: whatever was confirmed, more was to come.
    let cause = verdict::judge(report, u32::MAX).cause().unwrap_or(Cause::RemoteHangup);
    Some((cause, evidence(report)))
}

fn evidence(report: &CallReport) -> String {
    verdict::attempt_end(report, &verdict::judge(report, u32::MAX)).detail
}

/// What came with the INVITE is written by strangers.
fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).take(NUMBER_CHARS_MAX).collect()
}

fn answer_order(line: &Line, receive_dir: PathBuf) -> AnswerOrder {
    let trunk = &line.trunk;
    AnswerOrder {
        station_id: call::station_id(&trunk.number),
        receive_dir,
        ecm: trunk.ecm,
        max_rate_bps: trunk.max_rate_bps,
        t38: trunk.t38,
        reinvite_after: trunk.t38.then_some(REINVITE_AFTER),
        t38_version: trunk.t38_version,
        max_datagram: trunk.max_datagram,
        pace: trunk.pace,
        faults: Faults::default(),
    }
}
