//! One SMTP connection: the session's actions carried out on a socket.
//!
//! Replies are collected until the session wants to read (RFC 2920 §3.2). The timer for commands runs from the last whole command
//! and that for content from the last block with an end for the whole mail and a least speed, so that a client that drips octets is
//! closed with 421. A null sender that may submit no fax may still bring back a mail of ours. When the process drains, the mail under
//! way may end and no new one may begin. A client that waits holds a buffer of [`IDLE_READ`] and no other memory for octets.

mod transaction;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use smtp::{
    Action, Channel, Decision, FutureRelease, Offers, Question, Session, SessionSettings, Slugs, Starttls, Waiting,
    XClientOffer,
};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::places::Place;
use super::refusal::Refusal;
use super::service::Service;
use super::spool::Spool;
use super::submission::Envelope;
use super::tls::Presented;
use super::{Intake, bounce, policy};
use crate::domain::{Cause, NoticeId};
use wire::Wire;

/// What one read of commands takes at most: thousands of clients wait, each with such a buffer.
const IDLE_READ: usize = 1024;
/// RFC 4865: how far ahead a fax may be handed in.
const HOLD_MAX: Duration = Duration::from_secs(30 * 86_400);
/// RFC 2852: no call ends sooner than this.
const DELIVER_BY_MIN_S: u32 = 60;
/// So many errors are answered as fast as anything else.
const ERRORS_FREE: usize = 5;

/// What one read of content takes at most.
const READ_MAX: usize = 32 * 1024;

/// Serves one connection until it ends.
pub(crate) async fn serve(
    intake: Arc<Intake>,
    stream: TcpStream,
    peer: SocketAddr,
    channel: Channel,
    place: Place,
    shutdown: CancellationToken,
) {
    let mut connection = Connection::new(&intake, stream, peer, channel, place);
    match connection.run(&shutdown).await {
        Ok(()) => debug!(%peer, "connection ended"),
        Err(error) => debug!(%peer, %error, "connection broke"),
    }
}

struct Connection<'a> {
    intake: &'a Intake,
    wire: Wire,
    peer: SocketAddr,
    place: Place,
    /// What is known of the client beside its address.
    who: policy::Who,
    /// Protocol and suite of TLS, for the trace field.
    cipher: Option<String>,
    session: Session,
    out: Vec<u8>,
    envelope: Option<Envelope>,
    /// Why this client may submit no fax. A null sender is let in all the same: a mail may come back from anywhere.
    returns_only: Option<Refusal>,
    /// The notice whose mail comes back in this transaction.
    returned: Option<NoticeId>,
    /// What is asked of the gateway itself in this transaction.
    service: Option<Service>,
    spool: Spool,
    spool_error: Option<io::Error>,
    deadline: Instant,
    /// When the content must have ended.
    content_deadline: Option<Instant>,
    /// Octets since the content began, to see how fast it comes.
    content_bytes: u64,
    commands: u64,
}

impl<'a> Connection<'a> {
    fn new(intake: &'a Intake, stream: TcpStream, peer: SocketAddr, channel: Channel, place: Place) -> Self {
        let settings = &intake.settings;
        let session = Session::new(session_settings(intake, peer), channel);
        Self {
            deadline: Instant::now() + session.timeout(),
            intake,
            wire: Wire::Clear(stream),
            peer,
            place,
            who: policy::Who::default(),
            cipher: None,
            session,
            out: Vec::new(),
            envelope: None,
            returns_only: None,
            returned: None,
            service: None,
            spool: Spool::new(&settings.spool),
            spool_error: None,
            content_deadline: None,
            content_bytes: 0,
            commands: 0,
        }
    }

    async fn run(&mut self, shutdown: &CancellationToken) -> io::Result<()> {
        if self.session.channel() == Channel::Tls {
            self.secure().await?;
        }
        let mut buffer = vec![0; IDLE_READ];
        let mut draining = false;
        loop {
            match self.session.next() {
                Action::Reply(text) => self.out.extend_from_slice(text.as_bytes()),
                Action::Content(chunk) => self.content(&chunk).await,
                Action::Reset => self.reset(),
                Action::Ask(question) => {
                    let decision = self.decide(&question).await;
                    if let Decision::Refuse(reply) = &decision {
                        self.intake.refused(place(&question), reply.code());
                    }
                    self.session.answer(decision);
                }
                Action::Read => {
                    self.flush().await?;
                    self.set_deadline();
                    self.fit(&mut buffer);
                    let read = timeout_at(self.deadline, self.wire.read(&mut buffer));
                    tokio::select! {
                        () = shutdown.cancelled(), if !draining => {
                            draining = true;
                            self.session.drain();
                        }
                        read = read => match read {
                            Ok(count) => {
                                let count = count?;
                                if count == 0 {
                                    return Ok(());
                                }
                                self.content_bytes += count as u64;
                                self.session.receive(&buffer[..count]);
                            }
                            Err(_) => self.session.timed_out(),
                        },
                    }
                }
                Action::StartTls => {
                    self.flush().await?;
                    self.secure().await?;
                    self.session.secured();
                }
                Action::Close => {
                    self.flush().await?;
                    return timeout(self.intake.settings.timeouts.write, self.wire.shutdown()).await?;
                }
            }
        }
    }

    /// The handshake, and what it says of the client.
    async fn secure(&mut self) -> io::Result<()> {
        let Some(tls) = &self.intake.tls else { return Err(io::ErrorKind::Unsupported.into()) };
        let now = self.intake.clock.now();
        let handshake = timeout(self.intake.settings.timeouts.handshake, self.wire.secure(tls, now)).await??;
        if let Presented::Bad(why) = &handshake.presented {
            debug!(peer = %self.peer, why, "a client certificate is none of ours");
        }
        self.cipher = Some(handshake.cipher);
        self.who = policy::Who { presented: handshake.presented, account: None };
        self.may_be_known();
        Ok(())
    }

    /// Who may submit now stands in no stranger's way.
    fn may_be_known(&mut self) {
        if policy::identify(&self.intake.settings, self.peer.ip(), &self.who).is_some() {
            self.place.is_known();
        }
    }

    /// Content comes in large reads; whoever waits between commands keeps no large buffer.
    fn fit(&self, buffer: &mut Vec<u8>) {
        let size = if self.session.waiting() == Waiting::Content { READ_MAX } else { IDLE_READ };
        if buffer.len() != size {
            *buffer = vec![0; size];
        }
    }

    fn set_deadline(&mut self) {
        let now = Instant::now();
        let timeouts = &self.intake.settings.timeouts;
        match self.session.waiting() {
            Waiting::Content => {
                let end = *self.content_deadline.get_or_insert_with(|| {
                    self.content_bytes = 0;
                    now + timeouts.message
                });
                // Each octet buys time, so that one that comes now and then is not enough.
                let begun = end - timeouts.message;
                let bought = Duration::from_secs(self.content_bytes / timeouts.content_bytes_per_s.max(1));
                let slow = begun + timeouts.data + bought;
                self.deadline = end.min(now + self.session.timeout()).min(slow);
            }
            Waiting::Command => {
                let after_content = self.content_deadline.take().is_some();
                if after_content || self.commands != self.session.commands() {
                    self.commands = self.session.commands();
                    self.deadline = now + self.session.timeout();
                }
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let timeouts = &self.intake.settings.timeouts;
        if self.session.errors() > ERRORS_FREE {
            sleep(timeouts.tarpit).await;
        }
        // A client that does not read its replies is not waited for for ever.
        timeout(timeouts.write, self.wire.write_all(&self.out)).await??;
        self.out = Vec::new();
        Ok(())
    }

    async fn content(&mut self, chunk: &[u8]) {
        if self.returned.is_some() && self.spool.size_bytes() >= bounce::READ_BYTES_MAX {
            return;
        }
        if self.spool_error.is_none()
            && let Err(error) = self.spool.push(chunk).await
        {
            self.spool.clear();
            self.spool_error = Some(error);
        }
    }

    fn reset(&mut self) {
        self.envelope = None;
        self.returns_only = None;
        self.returned = None;
        self.service = None;
        self.spool.clear();
        self.spool_error = None;
    }
}

fn session_settings(intake: &Intake, peer: SocketAddr) -> SessionSettings {
    let settings = &intake.settings;
    let now_unix_s = intake.clock.now().0.div_euclid(1000);
    let offers = Offers {
        starttls: if intake.tls.is_some() { Starttls::Offered } else { Starttls::Absent },
        login: intake.accounts.as_ref().map(|accounts| accounts.mechanisms()).unwrap_or_default(),
        xclient: if policy::is_proxy(settings, peer.ip()) { XClientOffer::Offered } else { XClientOffer::Refused },
        future_release: Some(FutureRelease {
            max_s: u32::try_from(HOLD_MAX.as_secs()).unwrap_or(u32::MAX),
            now_unix_s,
        }),
        deliver_by_min_s: DELIVER_BY_MIN_S,
        ..Offers::default()
    };
    SessionSettings {
        max_size_bytes: settings.smtp.max_size_bytes,
        max_recipients: settings.smtp.max_recipients,
        command_timeout: settings.timeouts.command,
        data_timeout: settings.timeouts.data,
        offers,
        slugs: Slugs {
            protocol: Cause::ProtocolError.slug().into(),
            too_large: Cause::TooLarge.slug().into(),
            too_many_recipients: Cause::TooManyRecipients.slug().into(),
            draining: Cause::Draining.slug().into(),
            login: Cause::LoginRequired.slug().into(),
        },
        ..SessionSettings::new(&settings.address.domain)
    }
}

/// What the client had said when it was refused.
fn place(question: &Question) -> &'static str {
    match question {
        Question::Mail(_) => "mail",
        Question::Recipient(_) => "recipient",
        Question::Content => "data",
        Question::Message => "message",
        Question::Login(_) | Question::Verifier(_) => "login",
        Question::XClient(_) => "xclient",
    }
}
