//! States of a dialog become events of the agent, in order; the dialog leaves the stack's table at its end.

use std::sync::Arc;

use rsipstack::dialog::dialog::{DialogState, TerminatedReason, TransactionHandle};
use rsipstack::dialog::dialog_layer::DialogLayer;
use rsipstack::dialog::invitation::InviteAsyncResult;
use rsipstack::sip::{Method, Request};
use rsipstack::transaction::key::TransactionRole;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tracing::warn;

use super::Responder;
use super::convert::answer;
use crate::sip::{DialogEvent, EndedBy, Offered};

/// Turns the states of one dialog into events, and removes it from the table at its end.
pub(super) struct Pump {
    pub(super) ours: TransactionRole,
    pub(super) layer: Arc<DialogLayer>,
    pub(super) events: UnboundedSender<DialogEvent>,
}

impl Pump {
    pub(super) async fn run(
        self,
        mut states: UnboundedReceiver<DialogState>,
        mut invite: Option<JoinHandle<InviteAsyncResult>>,
    ) {
        loop {
            let state = tokio::select! {
                // States first: a 18x that came before the final answer is told before it.
                biased;
                state = states.recv() => state,
                result = finished(&mut invite) => {
                    invite = None;
                    self.finished(result);
                    continue;
                }
            };
            match state {
                Some(DialogState::Terminated(id, reason)) => {
                    self.layer.remove_dialog(&id);
                    if let Some(task) = invite.take() {
                        self.finished(task.await);
                    }
                    let _ = self.events.send(DialogEvent::Ended(ended_by(&self.ours, &reason)));
                    return;
                }
                Some(state) => {
                    // A re-INVITE may come before the task that got the 200 has told of it; the order must stay.
                    if matches!(state, DialogState::Updated(..))
                        && let Some(task) = invite.take()
                    {
                        self.finished(task.await);
                    }
                    self.state(state).await;
                }
                None => return,
            }
        }
    }

    fn finished(&self, result: Result<InviteAsyncResult, tokio::task::JoinError>) {
        let response = match result {
            Ok(Ok((_, response))) => response.map(answer),
            Ok(Err(error)) => {
                warn!(%error, "INVITE failed");
                None
            }
            // Abandoned by us.
            Err(_) => None,
        };
        let _ = self.events.send(DialogEvent::Final(response));
    }

    async fn state(&self, state: DialogState) {
        let event = match state {
            DialogState::Trying(_) => DialogEvent::Trying,
            DialogState::Early(..) => DialogEvent::Provisional,
            DialogState::Confirmed(..) => DialogEvent::Established,
            DialogState::Updated(_, request, handle) => DialogEvent::Offered(offered(request, handle)),
            DialogState::Info(_, _, handle) | DialogState::Options(_, _, handle) => {
                Responder(handle).answer(200, None).await;
                return;
            }
            DialogState::Refer(_, _, handle)
            | DialogState::Message(_, _, handle)
            | DialogState::Notify(_, _, handle)
            | DialogState::Publish(_, _, handle) => {
                // RFC 3261 §8.2.1: a method that we know and do not allow here.
                Responder(handle).answer(405, None).await;
                return;
            }
            DialogState::Calling(_) | DialogState::WaitAck(..) | DialogState::Terminated(..) => return,
        };
        if let Err(lost) = self.events.send(event)
            && let DialogEvent::Offered(offer) = lost.0
        {
            // The call is over on our side; its BYE is under way.
            offer.responder.answer(481, None).await;
        }
    }
}

async fn finished(
    invite: &mut Option<JoinHandle<InviteAsyncResult>>,
) -> Result<InviteAsyncResult, tokio::task::JoinError> {
    match invite {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

fn offered(request: Request, handle: TransactionHandle) -> Offered {
    Offered { update: request.method == Method::Update, body: request.body, responder: Responder(handle) }
}

/// The stack names both sides by their part in the INVITE; which of them is the far one depends on ours.
fn ended_by(ours: &TransactionRole, reason: &TerminatedReason) -> EndedBy {
    match (ours, reason) {
        (TransactionRole::Server, TerminatedReason::UacBye | TerminatedReason::UacCancel)
        | (TransactionRole::Client, TerminatedReason::UasBye) => EndedBy::Remote,
        (TransactionRole::Server, TerminatedReason::UasBye | TerminatedReason::UasDecline)
        | (TransactionRole::Client, TerminatedReason::UacBye | TerminatedReason::UacCancel) => EndedBy::Local,
        _ => EndedBy::Failure,
    }
}
