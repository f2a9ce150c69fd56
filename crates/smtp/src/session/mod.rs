//! The session: where a connection is in its dialogue, and what comes next.
//!
//! Three phases: commands (`verbs`; a login is lines too, `login`), content (`content`) and waiting for the driver's answer to a
//! [`Question`]. What the client pipelined meanwhile stays in the input buffer, so replies always come in the order of the commands
//! (RFC 2920 §3.2). What a client said in the clear is forgotten when TLS begins, and octets that came with STARTTLS are never read.

mod content;
mod login;
mod settings;
mod verbs;

use std::collections::VecDeque;
use std::time::Duration;

use crate::data::DataScanner;
use crate::line::LineReader;
use crate::params::{BodyKind, MailParams, RcptParams};
use crate::path::Path;
use crate::reply::{Charset, Reply};
use crate::sasl::{Credentials, Exchange, Verifier};
use crate::xclient::XClient;
use content::{Chunk, Chunks};
pub use settings::{FutureRelease, InClear, Offers, SessionSettings, Slugs, Starttls, XClientOffer};

/// What the driver does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write this; it may be collected until [`Action::Read`] (RFC 2920 §3.2).
    Reply(String),
    /// Decide, then call [`Session::answer`]. Repeated until it is answered.
    Ask(Question),
    /// Append to the message that is coming in.
    Content(Vec<u8>),
    /// Forget the transaction with its recipients and content.
    Reset,
    /// Flush, read from the socket and call [`Session::receive`].
    Read,
    /// Flush, negotiate TLS and call [`Session::secured`]; close when that fails. Repeated until it is called.
    StartTls,
    /// Flush and close.
    Close,
}

/// What only the driver can decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// May this sender send?
    Mail(MailFrom),
    /// Is this a recipient?
    Recipient(RcptTo),
    /// May the content come? Accept with [`Reply::go_ahead`].
    Content,
    /// The content is complete and clean: is it stored?
    Message,
    /// Are these right? Accept with [`Reply::logged_in`]; any refusal with 535 gets the session's own words.
    Login(Credentials),
    /// How is the password of this user verified? Answer with [`Decision::Verifier`], for users that do not exist too, or the answer would
    /// tell who does.
    Verifier(String),
    /// May the client speak for this one? From now on it does, when accepted; any positive reply becomes the greeting.
    XClient(XClient),
}

/// `MAIL FROM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailFrom {
    /// The reverse-path; none is the null path `<>`.
    pub path: Option<Path>,
    /// Its parameters.
    pub params: MailParams,
}

/// `RCPT TO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RcptTo {
    /// The forward-path.
    pub path: Path,
    /// Its parameters.
    pub params: RcptParams,
}

/// What the driver decided. The reply's code must fit: 2yz or 3yz to accept, 4yz or 5yz otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Accept(Reply),
    /// No.
    Refuse(Reply),
    /// No, and the connection ends.
    Close(Reply),
    /// The answer to [`Question::Verifier`] alone.
    Verifier(Box<Verifier>),
}

/// What the session waits for, so that the driver knows its timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// A command. The timer runs from the last whole command, not from the last octet.
    Command,
    /// Content. The timer starts again with each block.
    Content,
}

/// Whether the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// It is not.
    Clear,
    /// TLS.
    Tls,
}

#[derive(Debug)]
enum Phase {
    Command,
    Question(Question),
    /// After DATA.
    Content(Incoming),
    /// After BDAT.
    Chunk(Chunk),
    Handshake,
    Closed,
}

/// Content that is coming in after DATA.
#[derive(Debug)]
struct Incoming {
    scanner: DataScanner,
    size_bytes: u64,
    dropped: bool,
}

#[derive(Debug, Default)]
struct Transaction {
    accepted: usize,
    refused: usize,
    utf8: bool,
    body: BodyKind,
    /// From the first BDAT on.
    chunks: Option<Chunks>,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    settings: SessionSettings,
    phase: Phase,
    channel: Channel,
    input: Vec<u8>,
    used: usize,
    lines: LineReader,
    out: VecDeque<Action>,
    hello: Option<(Hello, String)>,
    transaction: Option<Transaction>,
    /// The chunk whose first question is not answered yet.
    chunk: Option<Chunk>,
    /// A mail in chunks was refused: those of it that were pipelined already come to nothing and are no errors.
    chunks_failed: bool,
    /// Octets of refused chunks since the last accepted mail.
    swallowed: u64,
    /// A login that is under way.
    login: Option<Exchange>,
    user: Option<String>,
    commands: u64,
    errors: usize,
    refused: usize,
    failed_logins: usize,
    transactions: usize,
    draining: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hello {
    Helo,
    Ehlo,
}

impl Session {
    /// A new connection; its first action is the greeting. On a port where TLS comes first, `channel` is that already.
    pub fn new(settings: SessionSettings, channel: Channel) -> Self {
        let greeting = greeting(&settings);
        let mut session = Self {
            settings,
            phase: Phase::Command,
            channel,
            input: Vec::new(),
            used: 0,
            lines: LineReader::new(),
            out: VecDeque::new(),
            hello: None,
            transaction: None,
            chunk: None,
            chunks_failed: false,
            swallowed: 0,
            login: None,
            user: None,
            commands: 0,
            errors: 0,
            refused: 0,
            failed_logins: 0,
            transactions: 0,
            draining: false,
        };
        session.reply(&greeting);
        session
    }

    /// Takes octets from the socket. Call it after [`Action::Read`] only, then the buffer holds one read at most.
    pub fn receive(&mut self, octets: &[u8]) {
        if self.used > 0 {
            self.input.drain(..self.used);
            self.used = 0;
        }
        if !matches!(self.phase, Phase::Closed) {
            self.input.extend_from_slice(octets);
        }
    }

    /// What the driver does next.
    #[expect(clippy::should_implement_trait, reason = "an iterator would end; a session says Close again")]
    pub fn next(&mut self) -> Action {
        loop {
            if let Some(action) = self.out.pop_front() {
                return action;
            }
            match &mut self.phase {
                Phase::Closed => return Action::Close,
                Phase::Handshake => return Action::StartTls,
                Phase::Question(question) => return Action::Ask(question.clone()),
                Phase::Chunk(chunk) if chunk.is_complete() => self.chunk_ended(),
                Phase::Content(_) | Phase::Chunk(_) if self.used == self.input.len() => return self.read(),
                Phase::Content(_) => self.content(),
                Phase::Chunk(_) => self.chunk(),
                Phase::Command if self.draining && self.transaction.is_none() => self.end_of_service(),
                Phase::Command => {
                    let (used, line) = self.lines.read(&self.input[self.used..]);
                    self.used += used;
                    match line {
                        Some(line) => self.line(line),
                        None => return self.read(),
                    }
                }
            }
        }
    }

    /// Everything that came is used: a client that says nothing for long holds no memory for it.
    fn read(&mut self) -> Action {
        self.input = Vec::new();
        self.used = 0;
        Action::Read
    }

    /// Answers the question of the last [`Action::Ask`]. Without a question it does nothing.
    pub fn answer(&mut self, decision: Decision) {
        if !matches!(self.phase, Phase::Question(_)) {
            return;
        }
        let Phase::Question(question) = std::mem::replace(&mut self.phase, Phase::Command) else { return };
        let (reply, accepted) = match decision {
            Decision::Accept(reply) => (reply, true),
            Decision::Refuse(reply) => (reply, false),
            Decision::Close(reply) => {
                self.close_with(&reply);
                return;
            }
            Decision::Verifier(verifier) => return self.verifier(&verifier),
        };
        debug_assert_eq!(reply.is_positive(), accepted, "a reply that contradicts its decision: {reply:?}");
        match question {
            Question::Login(credentials) => self.login_answered(credentials, accepted, &reply),
            Question::Verifier(_) => self.login_ended(&reply),
            Question::XClient(client) if accepted => self.speaks_for(client),
            Question::Content if self.chunk.is_some() => self.chunk_answered(accepted, reply),
            question => {
                self.reply(&reply);
                self.answered(&question, accepted);
                if matches!(question, Question::Message) {
                    self.forget();
                }
            }
        }
    }

    /// TLS was negotiated: everything that was said before is forgotten (RFC 3207 §4.2).
    pub fn secured(&mut self) {
        if matches!(self.phase, Phase::Handshake) {
            self.phase = Phase::Command;
            self.channel = Channel::Tls;
            self.restart();
        }
    }

    /// How long the driver waits for octets.
    pub fn timeout(&self) -> Duration {
        match self.waiting() {
            Waiting::Command => self.settings.command_timeout,
            Waiting::Content => self.settings.data_timeout,
        }
    }

    /// What the session waits for.
    pub fn waiting(&self) -> Waiting {
        if matches!(self.phase, Phase::Content(_) | Phase::Chunk(_)) { Waiting::Content } else { Waiting::Command }
    }

    /// How many whole lines came so far: a timer for commands starts again when it changes.
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// How many of them were no SMTP or out of order since the last accepted mail: a driver answers such a client slower.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// The time is over: `421` and close (RFC 5321 §4.5.3.2).
    pub fn timed_out(&mut self) {
        let text = match &self.phase {
            Phase::Content(incoming) if incoming.scanner.flaw().is_some() => {
                "timed out waiting for the end of the content, which has bare CR or LF; end every line with CRLF"
            }
            Phase::Content(_) | Phase::Chunk(_) => "timed out waiting for the content; send it again in one go",
            _ => "timed out waiting for a command; connect again when there is something to send",
        };
        self.close_with(&Reply::new(421, "4.4.2", text).slug(self.settings.slugs.protocol.clone()));
    }

    /// From now on: the transaction under way may end, a new one may not begin. The driver goes on with [`Session::next`].
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// The name of EHLO or HELO.
    pub fn client_name(&self) -> Option<&str> {
        self.hello.as_ref().map(|(_, name)| name.as_str())
    }

    /// Who has logged in.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Whether the connection is encrypted.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// For the `with` clause of Received (RFC 3848, RFC 6531 §4.3).
    pub fn protocol(&self) -> &'static str {
        let utf8 = matches!(&self.transaction, Some(Transaction { utf8: true, .. }));
        match (&self.hello, utf8, self.channel, self.user.is_some()) {
            (Some((Hello::Helo, _)), ..) => "SMTP",
            (_, false, Channel::Clear, false) => "ESMTP",
            (_, false, Channel::Clear, true) => "ESMTPA",
            (_, false, Channel::Tls, false) => "ESMTPS",
            (_, false, Channel::Tls, true) => "ESMTPSA",
            (_, true, Channel::Clear, false) => "UTF8SMTP",
            (_, true, Channel::Clear, true) => "UTF8SMTPA",
            (_, true, Channel::Tls, false) => "UTF8SMTPS",
            (_, true, Channel::Tls, true) => "UTF8SMTPSA",
        }
    }

    // ---- what all phases share

    fn reply(&mut self, reply: &Reply) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        let charset = match &self.transaction {
            Some(Transaction { utf8: true, .. }) => Charset::Utf8,
            _ => Charset::Ascii,
        };
        self.out.push_back(Action::Reply(reply.to_wire(charset)));
    }

    /// A reply with the slug of SMTP's own rules.
    fn object(&mut self, code: u16, status: &str, text: &str) {
        self.reply(&Reply::new(code, status, text).slug(self.settings.slugs.protocol.clone()));
    }

    /// A command that was no SMTP or out of order. Too many of them end the connection.
    fn error(&mut self, code: u16, status: &str, text: &str) {
        self.errors += 1;
        self.object(code, status, text);
        if self.errors >= self.settings.max_errors {
            self.close_objecting(421, "4.7.0", "too many errors; correct the sending program");
        }
    }

    fn end_of_service(&mut self) {
        let text = "this node is being taken out of service; try again or use another node";
        self.close_with(&Reply::new(421, "4.3.2", text).slug(self.settings.slugs.draining.clone()));
    }

    fn forget(&mut self) {
        self.chunks_failed = false;
        if self.transaction.take().is_some() {
            self.out.push_back(Action::Reset);
        }
    }

    /// As if the connection were new, but for what is counted.
    fn restart(&mut self) {
        self.forget();
        (self.hello, self.user, self.login) = (None, None, None);
        (self.lines, self.input, self.used) = (LineReader::new(), Vec::new(), 0);
    }

    fn close_objecting(&mut self, code: u16, status: &str, text: &str) {
        self.close_with(&Reply::new(code, status, text).slug(self.settings.slugs.protocol.clone()));
    }

    fn close_with(&mut self, reply: &Reply) {
        self.reply(reply);
        self.forget();
        self.phase = Phase::Closed;
        self.input = Vec::new();
        self.used = 0;
    }
}

fn greeting(settings: &SessionSettings) -> Reply {
    Reply::plain(220, vec![format!("{} ESMTP ready", settings.hostname)])
}
