//! The adapter to rsipstack: the only module that names it.
//!
//! One task reads transactions off the endpoint and hands each to its dialog in a task of its own (a handler that waits
//! would hold up all others, one that drops its transaction answers 501). One task per dialog, the pump, turns its
//! states into [`DialogEvent`]s and removes the dialog from the stack's table when it ends, which the stack leaves to
//! its user. Standard: RFC 3261, 3311 (UPDATE), 3326 (Reason), 3581 (rport).

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rsipstack::EndpointBuilder;
use rsipstack::dialog::dialog::TransactionHandle;
use rsipstack::dialog::dialog_layer::DialogLayer;
use rsipstack::dialog::invitation::InviteOption;
use rsipstack::dialog::invite_dialog::InviteDialog;
use rsipstack::dialog::registration::{RefreshOutcome, Registration};
use rsipstack::sip::{Header, Method, SipMessage, StatusCode, StatusCodeKind, Uri};
use rsipstack::transaction::endpoint::EndpointInnerRef;
use rsipstack::transaction::key::{TransactionKey, TransactionRole};
use rsipstack::transaction::make_tag;
use rsipstack::transaction::transaction::{Transaction, TransactionEvent};
use rsipstack::transport::TransportLayer;
use rsipstack::transport::tcp_listener::TcpListenerConnection;
use rsipstack::transport::udp::UdpConnection;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::{Answer, Carrier, DialogEvent, IncomingInvite, Invite, SDP_TYPE, Server};

mod convert;
mod door;
mod pump;

use convert::{address, allow, answer, contact, credential, header, uri};
use door::Door;
use pump::Pump;

/// INVITEs that wait for the agent to take them.
const INCOMING_QUEUE: usize = 256;
/// Between two looks whether the last task has let go of the socket.
const RELEASE_POLL: Duration = Duration::from_millis(5);

/// One SIP endpoint on one address.
pub(crate) struct Stack {
    endpoint: EndpointInnerRef,
    layer: Arc<DialogLayer>,
    local: SocketAddr,
    /// Gone when nobody holds it any more.
    socket: Weak<tokio::net::UdpSocket>,
    tasks: Tasks,
}

/// Where a [`Stack`] listens.
pub(crate) struct Binding {
    pub(crate) bind: SocketAddr,
    /// Our address as others see it, when it differs.
    pub(crate) advertised: Option<IpAddr>,
    pub(crate) user_agent: String,
}

impl Stack {
    /// Opens UDP and TCP on the address and begins to serve. The receiver yields the INVITEs that come in.
    pub(crate) async fn start(binding: Binding) -> Result<(Self, tokio::sync::mpsc::Receiver<IncomingInvite>), String> {
        let stop = CancellationToken::new();
        let transport = TransportLayer::new(stop.clone());
        let text = |error: rsipstack::Error| error.to_string();
        let socket = tokio::net::UdpSocket::bind(binding.bind).await.map_err(|error| error.to_string())?;
        let local = socket.local_addr().map_err(|error| error.to_string())?;
        let external = binding.advertised.map(|ip| SocketAddr::new(ip, local.port()));
        let socket = Arc::new(socket);
        let (held, socket) = (Arc::downgrade(&socket), socket);
        let udp = UdpConnection::from_socket(socket, external, Some(stop.child_token())).await.map_err(text)?;
        transport.add_transport(udp.into());
        let tcp = TcpListenerConnection::new(local, external).await.map_err(text)?;
        transport.add_transport(tcp.into());
        let endpoint = EndpointBuilder::new()
            .with_user_agent(&binding.user_agent)
            .with_cancel_token(stop.clone())
            .with_transport_layer(transport)
            .build();
        let transactions = endpoint.incoming_transactions().map_err(text)?;
        let inner = endpoint.inner.clone();
        let layer = Arc::new(DialogLayer::new(inner.clone()));
        let tasks = Tasks::new(stop);
        tasks.all.spawn(async move { endpoint.serve().await });
        let stack = Self { endpoint: inner, layer, local, socket: held, tasks };
        let (queue, incoming) = tokio::sync::mpsc::channel(INCOMING_QUEUE);
        let door = Door { layer: stack.layer.clone(), local, queue, tasks: stack.tasks.clone() };
        stack.tasks.spawn(door.serve(transactions));
        Ok((stack, incoming))
    }

    /// The address that UDP is bound to.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Dialogs in the stack's table, for tests of leaks.
    pub(crate) fn dialog_count(&self) -> usize {
        self.layer.len()
    }

    /// Sends an INVITE. Its fate comes through the receiver.
    pub(crate) fn invite(&self, invite: Invite) -> Result<(Dialog, UnboundedReceiver<DialogEvent>), String> {
        let server = &invite.server;
        let option = InviteOption {
            caller: uri(&invite.from, server),
            callee: uri(&invite.number, server),
            destination: Some(address(invite.to, server.carrier)),
            content_type: Some(SDP_TYPE.to_owned()),
            offer: Some(invite.offer.into_bytes()),
            contact: contact(&invite.from, invite.contact),
            credential: invite.credential.map(credential),
            headers: Some(invite.headers.into_iter().chain([allow()]).map(|(n, v)| header(n, v)).collect()),
            ..Default::default()
        };
        let (sender, states) = self.layer.new_dialog_state_channel();
        let (inner, task) = self.layer.do_invite_async(option, sender).map_err(|error| error.to_string())?;
        let (events, receiver) = unbounded_channel();
        let dialog = Dialog::new(inner, Some(task.abort_handle()), &self.tasks);
        let pump = Pump { ours: TransactionRole::Client, layer: self.layer.clone(), events };
        self.tasks.finish(pump.run(states, Some(task)));
        Ok((dialog, receiver))
    }

    /// Asks a server whether it is there; any answer at all says so.
    pub(crate) async fn options(&self, server: &Server, to: SocketAddr, from: &str) -> Result<Answer, String> {
        let text = |error: rsipstack::Error| error.to_string();
        let target = Uri { auth: None, ..uri("", server) };
        let via = match server.carrier {
            Carrier::Udp => self.endpoint.get_via(None, None),
            Carrier::Tcp => self.endpoint.get_via(Some(address(self.local, Carrier::Tcp)), None),
        }
        .map_err(text)?;
        let from = rsipstack::sip::typed::From { display_name: None, uri: uri(from, server), params: vec![] };
        let to_header = rsipstack::sip::typed::To { display_name: None, uri: target.clone(), params: vec![] };
        let from = from.with_tag(make_tag());
        let mut request = self.endpoint.make_request(Method::Options, target, via, from, to_header, 1, None);
        request.headers.unique_push(Header::Accept(SDP_TYPE.into()));
        let key = TransactionKey::from_request(&request, TransactionRole::Client).map_err(text)?;
        let mut transaction = Transaction::new_client(key, request, self.endpoint.clone(), None);
        transaction.destination = Some(address(to, server.carrier));
        transaction.send().await.map_err(text)?;
        while let Some(message) = transaction.receive().await {
            if let SipMessage::Response(response) = message
                && response.status_code.kind() != StatusCodeKind::Provisional
            {
                return Ok(answer(response));
            }
        }
        Err("the transaction ended without an answer".to_owned())
    }

    /// Registers at a server again and again until `stop`; `told` hears of each attempt.
    pub(crate) async fn register(
        &self,
        registrar: Registrar,
        stop: CancellationToken,
        told: impl Fn(Result<(), String>),
    ) {
        let server = Uri { auth: None, ..uri("", &registrar.server) };
        let mut registration = Registration::new(self.endpoint.clone(), Some(credential(registrar.credential)));
        let outcome = |outcome: RefreshOutcome<'_>| match outcome {
            RefreshOutcome::Registered(_) => told(Ok(())),
            RefreshOutcome::Rejected(response) => {
                told(Err(format!("{} {}", response.status_code.code(), response.status_code.text())));
            }
            RefreshOutcome::Failed(error) => told(Err(error.to_string())),
        };
        registration.keep_alive(server.clone(), registrar.expires_s, stop, outcome).await;
        // RFC 3261 §10.2.2: an expiry of zero takes the binding back. Nobody waits long for it.
        let _ = tokio::time::timeout(Duration::from_secs(2), registration.register(server, Some(0))).await;
    }

    /// Lets BYEs and CANCELs under way finish for at most `grace`, then closes the sockets.
    pub(crate) async fn stop(&self, grace: Duration) {
        let Tasks { stop, to_finish, all } = &self.tasks;
        to_finish.close();
        let _ = tokio::time::timeout(grace, to_finish.wait()).await;
        stop.cancel();
        all.close();
        let transport = &self.endpoint.transport_layer;
        let closed = tokio::time::timeout(grace, async {
            all.wait().await;
            for address in transport.get_listen_addrs() {
                transport.del_transport(&address);
            }
            // Nobody runs their timers any more: half a minute of waiting for late answers ends here (RFC 6026 §7.2).
            for key in self.endpoint.get_running_transactions().unwrap_or_default() {
                if let Some(transaction) = self.endpoint.transactions.get(&key) {
                    let _ = transaction.send(TransactionEvent::Terminate(key));
                }
            }
            // Whoever listens here next finds the address free.
            while self.socket.strong_count() > 0 {
                tokio::time::sleep(RELEASE_POLL).await;
            }
        });
        if closed.await.is_err() {
            warn!(address = %self.local, "the SIP socket is still in use; the address is not free yet");
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.tasks.stop.cancel();
    }
}

/// What the stack does on the side. Each task may hold the sockets, so that none outlives the stack: a transaction whose
/// timers nobody runs any more would wait for ever.
#[derive(Clone)]
pub(super) struct Tasks {
    stop: CancellationToken,
    to_finish: TaskTracker,
    all: TaskTracker,
}

impl Tasks {
    fn new(stop: CancellationToken) -> Self {
        Self { stop, to_finish: TaskTracker::new(), all: TaskTracker::new() }
    }

    /// Ends with the stack.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.all.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }

    /// The same; [`Stack::stop`] waits a little for it.
    pub(super) fn finish(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn(self.to_finish.track_future(task));
    }
}

/// A registration to keep.
pub(crate) struct Registrar {
    pub(crate) server: Server,
    /// User and password.
    pub(crate) credential: (String, String),
    /// What we ask for; the registrar may grant less.
    pub(crate) expires_s: u32,
}

/// One INVITE dialog. Dropping it hangs up.
pub(crate) struct Dialog {
    inner: InviteDialog,
    invite: Option<AbortHandle>,
    tasks: Tasks,
}

impl Dialog {
    fn new(inner: InviteDialog, invite: Option<AbortHandle>, tasks: &Tasks) -> Self {
        Self { inner, invite, tasks: tasks.clone() }
    }

    /// Sends 180.
    pub(crate) fn ring(&self) {
        if let Err(error) = self.inner.ringing(None, None) {
            debug!(%error, "180 not sent");
        }
    }

    /// Sends 200 with our SDP.
    pub(crate) fn accept(&self, sdp: String) -> Result<(), String> {
        let headers = [(String::from("Content-Type"), SDP_TYPE.to_owned()), allow()];
        let headers = headers.into_iter().map(|(name, value)| header(name, value)).collect();
        self.inner.accept(Some(headers), Some(sdp.into_bytes())).map_err(|error| error.to_string())
    }

    /// Sends a final answer that refuses, with a Q.850 cause.
    pub(crate) fn reject(&self, code: u16, q850: Option<u16>) {
        let reason = q850.map(|cause| format!("Q.850;cause={cause}"));
        if let Err(error) = self.inner.reject(Some(StatusCode::from(code)), reason) {
            debug!(%error, code, "refusal not sent");
        }
    }

    /// A re-INVITE with our SDP; its final answer, none when there was no answer or the dialog is over.
    pub(crate) fn reinvite(&self, sdp: String) -> impl Future<Output = Option<Answer>> + Send + use<> {
        let inner = self.inner.clone();
        async move {
            let headers = [(String::from("Content-Type"), SDP_TYPE.to_owned()), allow()];
            let headers = headers.into_iter().map(|(name, value)| header(name, value)).collect();
            match inner.reinvite(Some(headers), Some(sdp.into_bytes())).await {
                Ok(response) => response.map(answer),
                Err(error) => {
                    warn!(%error, "re-INVITE failed");
                    None
                }
            }
        }
    }

    /// CANCELs an INVITE that has had a provisional answer. Its final answer still comes as an event; a 200 that crosses
    /// the CANCEL is acknowledged and ended by the stack (RFC 3261 §9.1).
    pub(crate) fn cancel(&self) {
        let inner = self.inner.clone();
        self.tasks.finish(async move {
            if let Err(error) = inner.cancel().await {
                debug!(%error, "CANCEL failed");
            }
        });
    }

    /// Forgets an INVITE: no more retransmissions; whatever still answers is cancelled or ended in the background.
    pub(crate) fn abandon(&self) {
        if let Some(task) = &self.invite {
            task.abort();
        }
    }

    /// Ends the dialog as its state demands, in the background: a dead peer holds a BYE up for 32 s.
    pub(crate) fn hang_up(&self) {
        let inner = self.inner.clone();
        if inner.state().is_terminated() {
            return;
        }
        let server = inner.role() == TransactionRole::Server;
        if server && inner.state().can_cancel() {
            // Never answered: 480 is true of whoever gave up.
            self.reject(480, None);
            return;
        }
        self.tasks.finish(async move {
            if let Err(error) = inner.hangup().await {
                debug!(%error, "BYE failed");
            }
        });
    }
}

impl Drop for Dialog {
    fn drop(&mut self) {
        let state = self.inner.state();
        if state.is_terminated() {
            return;
        }
        if state.can_cancel() && self.inner.role() == TransactionRole::Client {
            self.abandon();
        } else if tokio::runtime::Handle::try_current().is_ok() {
            self.hang_up();
        }
    }
}

/// Answers one re-INVITE or UPDATE.
#[derive(Debug)]
pub(crate) struct Responder(TransactionHandle);

impl Responder {
    /// Sends a final answer, with SDP or without.
    pub(crate) async fn answer(self, code: u16, sdp: Option<String>) {
        let headers = match &sdp {
            Some(_) => vec![header(String::from("Content-Type"), SDP_TYPE.to_owned()), {
                let (name, value) = allow();
                header(name, value)
            }],
            None => vec![],
        };
        if self.0.respond(StatusCode::from(code), Some(headers), sdp.map(String::into_bytes)).await.is_err() {
            debug!(code, "the transaction was over before its answer");
        }
    }
}
