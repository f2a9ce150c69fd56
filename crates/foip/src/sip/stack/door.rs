//! Requests from outside: new calls go into the agent's queue, requests in a dialog to their dialog.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rsipstack::dialog::dialog_layer::DialogLayer;
use rsipstack::sip::prelude::*;
use rsipstack::sip::{Header, Host, Method, Request, StatusCode};
use rsipstack::transaction::TransactionReceiver;
use rsipstack::transaction::key::TransactionRole;
use rsipstack::transaction::transaction::Transaction;
use rsipstack::transport::SipConnection;
use tokio::sync::mpsc::unbounded_channel;
use tracing::{debug, warn};

use super::convert::{allow, contact, header};
use super::pump::Pump;
use super::{Dialog, Tasks};
use crate::sip::{IncomingInvite, SDP_TYPE};

/// RFC 3261 §18.2.1: where a Via without a port means.
const SIP_PORT: u16 = 5060;
/// A request may overtake the registration of the dialog that our own 200 or its ACK established; it waits this long.
const DIALOG_APPEARS_WITHIN: Duration = Duration::from_millis(500);
/// How often it looks.
const DIALOG_LOOK: Duration = Duration::from_millis(10);

/// Takes the transactions that come in from outside.
pub(super) struct Door {
    pub(super) layer: Arc<DialogLayer>,
    pub(super) local: SocketAddr,
    pub(super) queue: tokio::sync::mpsc::Sender<IncomingInvite>,
    pub(super) tasks: Tasks,
}

impl Door {
    pub(super) async fn serve(self, mut transactions: TransactionReceiver) {
        while let Some(mut transaction) = transactions.recv().await {
            let tagged = transaction.original.to_header().is_ok_and(|to| matches!(to.tag(), Ok(Some(_))));
            match transaction.original.method {
                _ if tagged => {
                    self.tasks.spawn(in_dialog(self.layer.clone(), transaction));
                }
                Method::Invite => self.invited(transaction),
                Method::Ack => {}
                Method::Options => {
                    // RFC 3261 §11.2: says that we are here and what we take.
                    self.tasks.spawn(async move {
                        let (name, value) = allow();
                        let headers = vec![header(name, value), Header::Accept(SDP_TYPE.into())];
                        let _ = transaction.reply_with(StatusCode::OK, headers, None).await;
                    });
                }
                _ => {
                    self.tasks.spawn(async move {
                        let _ = transaction.reply(StatusCode::MethodNotAllowed).await;
                    });
                }
            }
        }
    }

    fn invited(&self, mut transaction: Transaction) {
        let request = transaction.original.clone();
        let remote = source(&transaction, &request);
        let number = request.uri.auth.as_ref().map(|auth| auth.user.clone()).unwrap_or_default();
        let from = request.from_header().ok().and_then(|from| from.clone().typed().ok());
        let caller = from.and_then(|from| from.uri.auth).map(|auth| auth.user).unwrap_or_default();
        let fax_id = request.header_value("X-Fax-Id");
        let ours = contact(&number, self.contact_address(remote));
        let (sender, states) = self.layer.new_dialog_state_channel();
        let mut inner = match self.layer.get_or_create_server_invite(&transaction, sender, None, Some(ours)) {
            Ok(inner) => inner,
            Err(error) => {
                warn!(%error, "INVITE without a usable dialog");
                self.tasks.spawn(async move {
                    let _ = transaction.reply(StatusCode::BadRequest).await;
                });
                return;
            }
        };
        let (events, receiver) = unbounded_channel();
        let dialog = Dialog::new(inner.clone(), None, &self.tasks);
        let pump = Pump { ours: TransactionRole::Server, layer: self.layer.clone(), events };
        self.tasks.finish(pump.run(states, None));
        let call = IncomingInvite { number, caller, fax_id, body: request.body, remote, dialog, events: receiver };
        if let Err(full) = self.queue.try_send(call) {
            warn!("more INVITEs than can be taken");
            full.into_inner().dialog.reject(503, Some(42));
        }
        self.tasks.spawn(async move {
            if let Err(error) = inner.handle(&mut transaction).await {
                debug!(%error, "INVITE transaction");
            }
        });
    }

    fn contact_address(&self, remote: Option<SocketAddr>) -> SocketAddr {
        let listed = self.layer.endpoint.transport_layer.get_listen_addrs();
        let listed = listed.first().and_then(|address| address.get_socketaddr().ok()).unwrap_or(self.local);
        if self.local.ip().is_unspecified() && remote.is_some_and(|remote| remote.ip().is_loopback()) {
            return SocketAddr::new(remote.map_or(self.local.ip(), |remote| remote.ip()), self.local.port());
        }
        listed
    }
}

/// Hands a request to its dialog; 481 when there is none.
async fn in_dialog(layer: Arc<DialogLayer>, mut transaction: Transaction) {
    let deadline = tokio::time::Instant::now() + DIALOG_APPEARS_WITHIN;
    loop {
        if let Some(mut dialog) = layer.match_dialog(&transaction) {
            if let Err(error) = dialog.handle(&mut transaction).await {
                debug!(%error, method = %transaction.original.method, "request in a dialog");
            }
            return;
        }
        let waits = matches!(transaction.original.method, Method::Invite | Method::Bye | Method::Update);
        if !waits || tokio::time::Instant::now() >= deadline {
            break;
        }
        tokio::time::sleep(DIALOG_LOOK).await;
    }
    if transaction.original.method != Method::Ack {
        let _ = transaction.reply(StatusCode::CallTransactionDoesNotExist).await;
    }
}

/// Where a request came from. Over UDP the stack has checked the top Via against the packet's source, and has written the
/// source there where it differed (RFC 3261 §18.2.1, RFC 3581).
fn source(transaction: &Transaction, request: &Request) -> Option<SocketAddr> {
    let connected = transaction.connection.as_ref().and_then(|c| c.get_remote_addr()?.get_socketaddr().ok());
    connected.or_else(|| {
        let (_, via) = SipConnection::parse_target_from_via(request.via_header().ok()?).ok()?;
        let Host::IpAddr(ip) = via.host else { return None };
        Some(SocketAddr::new(ip, via.port.map_or(SIP_PORT, |port| port.into())))
    })
}
