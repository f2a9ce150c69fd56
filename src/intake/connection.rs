//! One SMTP connection: the session's actions carried out on a socket.
//!
//! Replies are collected until the session wants to read (RFC 2920 §3.2). The timer for commands runs from the last whole command
//! and that for content from the last block with an end for the whole mail, so that a client that drips octets is
//! closed with 421. A null sender that may submit no fax may still bring back a mail of ours. When the process drains, the mail under way may end and no new one may begin.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use smtp::{Action, Decision, MailFrom, Question, RcptTo, Reply, Session, SessionSettings, Slugs, Waiting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::received::{self, Trace};
use super::refusal::Refusal;
use super::spool::Spool;
use super::submission::{self, Envelope};
use super::{Intake, bounce, policy};
use crate::domain::{Cause, MessageId, NoticeId};
use crate::store::{Ret, Source, StoreError};

/// What one read takes at most.
const READ_MAX: usize = 32 * 1024;

/// Serves one connection until it ends.
pub(crate) async fn serve(intake: Arc<Intake>, stream: TcpStream, peer: SocketAddr, shutdown: CancellationToken) {
    let mut connection = Connection::new(&intake, stream, peer);
    match connection.run(&shutdown).await {
        Ok(()) => debug!(%peer, "connection ended"),
        Err(error) => debug!(%peer, %error, "connection broke"),
    }
}

struct Connection<'a> {
    intake: &'a Intake,
    stream: TcpStream,
    peer: SocketAddr,
    session: Session,
    out: Vec<u8>,
    envelope: Option<Envelope>,
    /// Why this client may submit no fax. A null sender is let in all the same: a mail may come back from anywhere.
    returns_only: Option<Refusal>,
    /// The notice whose mail comes back in this transaction.
    returned: Option<NoticeId>,
    spool: Spool,
    spool_error: Option<io::Error>,
    deadline: Instant,
    /// When the content must have ended.
    content_deadline: Option<Instant>,
    commands: u64,
}

impl<'a> Connection<'a> {
    fn new(intake: &'a Intake, stream: TcpStream, peer: SocketAddr) -> Self {
        let settings = &intake.settings;
        let session = Session::new(SessionSettings {
            max_size_bytes: settings.smtp.max_size_bytes,
            max_recipients: settings.smtp.max_recipients,
            command_timeout: settings.timeouts.command,
            data_timeout: settings.timeouts.data,
            slugs: Slugs {
                protocol: Cause::ProtocolError.slug().into(),
                too_large: Cause::TooLarge.slug().into(),
                too_many_recipients: Cause::TooManyRecipients.slug().into(),
                draining: Cause::Draining.slug().into(),
            },
            ..SessionSettings::new(&settings.address.domain)
        });
        Self {
            deadline: Instant::now() + session.timeout(),
            intake,
            stream,
            peer,
            session,
            out: Vec::new(),
            envelope: None,
            returns_only: None,
            returned: None,
            spool: Spool::new(&settings.spool),
            spool_error: None,
            content_deadline: None,
            commands: 0,
        }
    }

    async fn run(&mut self, shutdown: &CancellationToken) -> io::Result<()> {
        let mut buffer = vec![0; READ_MAX];
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
                    let read = timeout_at(self.deadline, self.stream.read(&mut buffer));
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
                                self.session.receive(&buffer[..count]);
                            }
                            Err(_) => self.session.timed_out(),
                        },
                    }
                }
                Action::Close => {
                    self.flush().await?;
                    return timeout(self.intake.settings.timeouts.write, self.stream.shutdown()).await?;
                }
            }
        }
    }

    fn set_deadline(&mut self) {
        let now = Instant::now();
        match self.session.waiting() {
            Waiting::Content => {
                let end = *self.content_deadline.get_or_insert(now + self.intake.settings.timeouts.message);
                self.deadline = end.min(now + self.session.timeout());
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
        // A client that does not read its replies is not waited for for ever.
        timeout(self.intake.settings.timeouts.write, self.stream.write_all(&self.out)).await??;
        self.out.clear();
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
        self.spool.clear();
        self.spool_error = None;
    }

    async fn decide(&mut self, question: &Question) -> Decision {
        match question {
            Question::Mail(mail) => self.mail(mail).await,
            Question::Recipient(rcpt) => self.recipient(rcpt),
            // Better known before 25 MB than after.
            Question::Content => match self.intake.check_writable().await {
                Ok(()) => Decision::Accept(Reply::go_ahead()),
                Err(error) => self.not_now(&error),
            },
            Question::Message => match self.message().await {
                Ok(reply) => Decision::Accept(reply),
                Err(refusal) => Decision::Refuse(refusal.to_reply()),
            },
        }
    }

    async fn mail(&mut self, mail: &MailFrom) -> Decision {
        let refusal = policy::sender(&self.intake.settings, self.peer.ip(), mail).err();
        if let Some(refusal) = refusal.as_ref().filter(|_| mail.path.is_some()) {
            return Decision::Refuse(refusal.to_reply());
        }
        if let Err(error) = self.intake.check_writable().await {
            return self.not_now(&error);
        }
        self.reset();
        self.returns_only = refusal;
        let hello = self.session.client_name().unwrap_or_default();
        self.envelope = Some(Envelope {
            source: Source::Smtp,
            client: format!("{} ({hello})", self.peer.ip().to_canonical()),
            reverse_path: mail.path.as_ref().map(|path| path.as_str().to_owned()),
            ret: mail.params.ret.map(|ret| match ret {
                smtp::Ret::Full => Ret::Full,
                smtp::Ret::Hdrs => Ret::Hdrs,
            }),
            envid: mail.params.envid.clone(),
            recipients: Vec::new(),
        });
        Decision::Accept(Reply::new(250, "2.1.0", "sender accepted"))
    }

    fn not_now(&self, error: &StoreError) -> Decision {
        warn!(%error, "refused a mail for now: it cannot be stored safely");
        Decision::Refuse(Refusal::store_unavailable().to_reply())
    }

    fn recipient(&mut self, rcpt: &RcptTo) -> Decision {
        match bounce::recipient(self.intake, rcpt) {
            Ok(None) => {}
            Ok(Some(notice)) => return self.return_address(notice),
            Err(refusal) => return Decision::Refuse(refusal.to_reply()),
        }
        if let Some(refusal) = &self.returns_only {
            return Decision::Refuse(refusal.to_reply());
        }
        if self.returned.is_some() {
            return Decision::Refuse(bounce::not_together().to_reply());
        }
        let recipient = match policy::recipient(&self.intake.settings, rcpt) {
            Ok(recipient) => recipient,
            Err(refusal) => return Decision::Refuse(refusal.to_reply()),
        };
        let number = recipient.address.number.clone();
        let Some(envelope) = &mut self.envelope else {
            return Decision::Refuse(
                Refusal::new(451, Cause::Internal, "the transaction is lost; send it again").to_reply(),
            );
        };
        let text = if envelope.add(recipient) {
            format!("fax to {number}")
        } else {
            format!("fax to {number}, the same as an earlier recipient: one call, one report")
        };
        Decision::Accept(Reply::new(250, "2.1.5", text))
    }

    fn return_address(&mut self, notice: NoticeId) -> Decision {
        let envelope = self.envelope.as_ref();
        if envelope.is_some_and(|envelope| envelope.reverse_path.is_some()) {
            return Decision::Refuse(bounce::not_null_sender().to_reply());
        }
        let alone = envelope.is_some_and(|envelope| envelope.recipients.is_empty());
        if !alone || self.returned.is_some_and(|returned| returned != notice) {
            return Decision::Refuse(bounce::not_together().to_reply());
        }
        self.returned = Some(notice);
        Decision::Accept(Reply::new(250, "2.1.5", "returned mail is taken"))
    }

    /// The end of the content: from here to the reply everything becomes durable.
    async fn message(&mut self) -> Result<Reply, Refusal> {
        if let Some(error) = self.spool_error.take() {
            warn!(%error, "a mail could not be spooled; the client was told to try again");
            return Err(Refusal::store_unavailable());
        }
        let Some(envelope) = self.envelope.take() else {
            return Err(Refusal::new(451, Cause::Internal, "the transaction is lost; send it again"));
        };
        let _place = self.intake.place_to_finish(self.spool.size_bytes()).await?;
        if let Some(notice) = self.returned.take() {
            let raw = self.spool.take(b"").await.map_err(|error| {
                warn!(%error, "a returned mail could not be read back; the host was told to try again");
                Refusal::store_unavailable()
            })?;
            return bounce::take(self.intake, notice, &raw).await;
        }
        let id = MessageId::new();
        let trace = Trace {
            hello: self.session.client_name().unwrap_or("unknown"),
            peer: self.peer.ip().to_canonical(),
            protocol: self.session.protocol(),
        };
        let by = &self.intake.settings.address.domain;
        let head = received::field(&trace, by, id.short().as_str(), self.intake.clock.now());
        let raw = self.spool.take(head.as_bytes()).await.map_err(|error| {
            warn!(%error, "a spooled mail could not be read back; the client was told to try again");
            Refusal::store_unavailable()
        })?;
        let accepted =
            submission::submit(self.intake, &envelope, id, raw, head.len()).await.inspect_err(|refusal| {
                tracing::info!(client = %envelope.client, cause = %refusal.cause, "refused a mail after its content");
            })?;
        let reply = Reply::new(250, "2.0.0", accepted.text());
        Ok(if accepted.duplicate { reply.slug(Cause::DuplicateSubmission.slug()) } else { reply })
    }
}

/// What the client had said when it was refused.
fn place(question: &Question) -> &'static str {
    match question {
        Question::Mail(_) => "mail",
        Question::Recipient(_) => "recipient",
        Question::Content => "data",
        Question::Message => "message",
    }
}
