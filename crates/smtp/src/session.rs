//! The session: where a connection is in its dialogue, and what comes next.
//!
//! Two phases, commands and content. In both the session may wait for the driver's answer to a [`Question`]; what the client
//! pipelined meanwhile stays in the input buffer, so replies always come in the order of the commands (RFC 2920 §3.2).

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use crate::command::{self, Command, CommandError, Side};
use crate::data::{DataScanner, Flaw};
use crate::line::{Line, LineReader};
use crate::params::{MailParams, RcptParams};
use crate::path::{Path, PathError, Utf8};
use crate::reply::{Charset, Reply};

/// Content is handed out in pieces of at most this many octets.
const CONTENT_CHUNK: usize = 64 * 1024;
/// Content that is refused is swallowed up to this multiple of the largest size; then the connection ends.
const SWALLOW_FACTOR: u64 = 8;

/// What the session needs to know. Limits are those of RFC 5321 §4.5.3; the values are the driver's.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// The name in the greeting.
    pub hostname: String,
    /// Largest content in octets (RFC 1870).
    pub max_size_bytes: u64,
    /// Most accepted recipients of one transaction; 100 at the least (RFC 5321 §4.5.3.1.8).
    pub max_recipients: usize,
    /// Most refused recipients of one connection; somebody who tries more is trying out numbers.
    pub max_refused: usize,
    /// Most commands of one connection that are no SMTP or out of order.
    pub max_errors: usize,
    /// Most transactions of one connection.
    pub max_transactions: usize,
    /// RFC 5321 §4.5.3.2.7: 5 minutes for a command at the least.
    pub command_timeout: Duration,
    /// RFC 5321 §4.5.3.2.5: 3 minutes for a block of content.
    pub data_timeout: Duration,
    /// The catalogue's words for what the session itself refuses.
    pub slugs: Slugs,
}

/// The words in brackets at the end of the session's own replies.
#[derive(Debug, Clone)]
pub struct Slugs {
    /// For what SMTP does not allow.
    pub protocol: Cow<'static, str>,
    /// For content that is too large.
    pub too_large: Cow<'static, str>,
    /// For more recipients than one transaction may have.
    pub too_many_recipients: Cow<'static, str>,
    /// For the end of service.
    pub draining: Cow<'static, str>,
}

impl Default for Slugs {
    fn default() -> Self {
        Self {
            protocol: "protocol-error".into(),
            too_large: "too-large".into(),
            too_many_recipients: "too-many-recipients".into(),
            draining: "draining".into(),
        }
    }
}

impl SessionSettings {
    /// The defaults of RFC 5321 for a host of this name.
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            max_size_bytes: 25_000_000,
            max_recipients: 100,
            max_refused: 1000,
            max_errors: 20,
            max_transactions: 1000,
            command_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(180),
            slugs: Slugs::default(),
        }
    }
}

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
}

/// What the session waits for, so that the driver knows its timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// A command. The timer runs from the last whole command, not from the last octet.
    Command,
    /// Content. The timer starts again with each block.
    Content,
}

#[derive(Debug)]
enum Phase {
    Command,
    Question(Question),
    Content(Incoming),
    Closed,
}

/// Content that is coming in.
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
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    settings: SessionSettings,
    phase: Phase,
    input: Vec<u8>,
    used: usize,
    lines: LineReader,
    out: VecDeque<Action>,
    hello: Option<(Hello, String)>,
    transaction: Option<Transaction>,
    commands: u64,
    errors: usize,
    refused: usize,
    transactions: usize,
    draining: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hello {
    Helo,
    Ehlo,
}

impl Session {
    /// A new connection; its first action is the greeting.
    pub fn new(settings: SessionSettings) -> Self {
        let greeting = Reply::plain(220, vec![format!("{} ESMTP ready", settings.hostname)]);
        let mut session = Self {
            settings,
            phase: Phase::Command,
            input: Vec::new(),
            used: 0,
            lines: LineReader::new(),
            out: VecDeque::new(),
            hello: None,
            transaction: None,
            commands: 0,
            errors: 0,
            refused: 0,
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
                Phase::Question(question) => return Action::Ask(question.clone()),
                Phase::Content(_) if self.used < self.input.len() => self.content(),
                Phase::Content(_) => return Action::Read,
                Phase::Command if self.draining && self.transaction.is_none() => self.end_of_service(),
                Phase::Command => {
                    let (used, line) = self.lines.read(&self.input[self.used..]);
                    self.used += used;
                    match line {
                        Some(line) => self.line(line),
                        None => return Action::Read,
                    }
                }
            }
        }
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
        };
        debug_assert_eq!(reply.is_positive(), accepted, "a reply that contradicts its decision: {reply:?}");
        self.reply(&reply);
        self.answered(&question, accepted);
        if matches!(question, Question::Message) {
            self.forget();
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
        if matches!(self.phase, Phase::Content(_)) { Waiting::Content } else { Waiting::Command }
    }

    /// How many whole lines came so far: a timer for commands starts again when it changes.
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// The time is over: `421` and close (RFC 5321 §4.5.3.2).
    pub fn timed_out(&mut self) {
        let text = match &self.phase {
            Phase::Content(incoming) if incoming.scanner.flaw().is_some() => {
                "timed out waiting for the end of the content, which has bare CR or LF; end every line with CRLF"
            }
            Phase::Content(_) => "timed out waiting for the content; send it again in one go",
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

    /// For the `with` clause of Received (RFC 3848, RFC 6531 §4.3).
    pub fn protocol(&self) -> &'static str {
        match (&self.hello, &self.transaction) {
            (Some((Hello::Helo, _)), _) => "SMTP",
            (_, Some(Transaction { utf8: true, .. })) => "UTF8SMTP",
            _ => "ESMTP",
        }
    }

    // ---- commands

    fn line(&mut self, line: Line) {
        self.commands += 1;
        let utf8 = match &self.transaction {
            Some(Transaction { utf8: true, .. }) => Utf8::Allowed,
            _ => Utf8::Refused,
        };
        let line = match line {
            Line::Whole(line) => line,
            Line::TooLong => return self.error(500, "5.5.2", "the line has more than 4096 octets; shorten it"),
            Line::BareLf => return self.error(500, "5.5.2", "a bare LF ends the line; end lines with CRLF"),
            Line::Flood => {
                let reply = Reply::new(421, "4.5.2", "a line without end; end lines with CRLF");
                return self.close_with(&reply.slug(self.settings.slugs.protocol.clone()));
            }
        };
        match command::parse(&line, utf8) {
            Ok(command) => self.command(command),
            Err(error) => self.command_error(&error),
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Ehlo(name) => self.hello(Hello::Ehlo, name),
            Command::Helo(name) => self.hello(Hello::Helo, name),
            Command::Mail(path, params) => self.mail(path, params),
            Command::Rcpt(path, params) => self.rcpt(path, params),
            Command::Data => self.data(),
            Command::Rset => {
                self.forget();
                self.reply(&Reply::new(250, "2.0.0", "forgotten"));
            }
            Command::Noop => self.reply(&Reply::new(250, "2.0.0", "here")),
            Command::Quit => self.close_with(&Reply::new(221, "2.0.0", format!("{} bye", self.settings.hostname))),
            // RFC 5321 §3.5.3: 252 says neither yes nor no, so nobody can find out numbers with it.
            Command::Vrfy => {
                self.reply(&Reply::new(252, "2.0.0", "cannot say before RCPT; send RCPT and read its reply"));
            }
            Command::Help => {
                self.reply(&Reply::new(214, "2.0.0", "EHLO HELO MAIL RCPT DATA RSET NOOP QUIT VRFY HELP; RFC 5321"));
            }
        }
    }

    fn command_error(&mut self, error: &CommandError) {
        let text = error.to_string();
        match error {
            CommandError::Line(_) => self.error(500, "5.5.2", &text),
            CommandError::Unknown => self.error(500, "5.5.1", &text),
            CommandError::NotImplemented(_) => self.error(502, "5.5.1", &text),
            CommandError::Argument(_) => self.error(501, "5.5.4", &text),
            CommandError::Parameter(_) => self.error(555, "5.5.4", &text),
            CommandError::Address(side, error) => {
                let (code, status) = match (side, error) {
                    // RFC 6531 §3.5: 553 and 5.6.7 when an address needs SMTPUTF8.
                    (_, PathError::NotAscii(_)) => (553, "5.6.7"),
                    (Side::Sender, _) => (501, "5.1.7"),
                    (Side::Recipient, _) => (501, "5.1.3"),
                };
                self.reply(&Reply::new(code, status, text).slug(self.settings.slugs.protocol.clone()));
                self.recipient_refused();
            }
            CommandError::Foreign => {
                let reply = Reply::new(421, "4.7.0", text).slug(self.settings.slugs.protocol.clone());
                self.close_with(&reply);
            }
        }
    }

    fn hello(&mut self, kind: Hello, name: String) {
        // RFC 5321 §4.1.4: EHLO in the middle of a session resets like RSET.
        self.forget();
        self.hello = Some((kind, name));
        let host = self.settings.hostname.clone();
        let lines = match kind {
            Hello::Helo => vec![host],
            Hello::Ehlo => vec![
                host,
                "PIPELINING".to_owned(),
                format!("SIZE {}", self.settings.max_size_bytes),
                "8BITMIME".to_owned(),
                "SMTPUTF8".to_owned(),
                "DSN".to_owned(),
                "ENHANCEDSTATUSCODES".to_owned(),
            ],
        };
        self.reply(&Reply::plain(250, lines));
    }

    fn mail(&mut self, path: Option<Path>, params: MailParams) {
        let max = self.settings.max_size_bytes;
        match &self.hello {
            None => return self.error(503, "5.5.1", "MAIL before EHLO; send EHLO first"),
            // RFC 5321 §4.1.1.11: parameters belong to EHLO.
            Some((Hello::Helo, _)) if params != MailParams::default() => {
                return self.error(555, "5.5.4", "parameters after HELO; greet with EHLO to use them");
            }
            Some(_) if self.transaction.is_some() => {
                return self.error(503, "5.5.1", "MAIL inside a transaction; send RSET first");
            }
            Some(_) => {}
        }
        // RFC 1870 §6.1: said before the content is on its way.
        if let Some(declared) = params.size_bytes.filter(|size| *size > max) {
            let text =
                format!("{declared} octets are declared, at most {max} are taken; send fewer or smaller attachments");
            return self.reply(&Reply::new(552, "5.3.4", text).slug(self.settings.slugs.too_large.clone()));
        }
        if self.transactions >= self.settings.max_transactions {
            let reply = Reply::new(421, "4.7.0", "enough mails on this connection; connect again for more");
            return self.close_with(&reply.slug(self.settings.slugs.protocol.clone()));
        }
        self.phase = Phase::Question(Question::Mail(MailFrom { path, params }));
    }

    fn rcpt(&mut self, path: Path, params: RcptParams) {
        let Some(transaction) = &self.transaction else {
            return self.error(503, "5.5.1", "RCPT before MAIL; send MAIL first");
        };
        if matches!(self.hello, Some((Hello::Helo, _))) && params != RcptParams::default() {
            return self.error(555, "5.5.4", "parameters after HELO; greet with EHLO to use them");
        }
        if transaction.accepted >= self.settings.max_recipients {
            // RFC 5321 §4.5.3.1.10: the client sends the rest in another transaction; those accepted are served.
            let text = format!(
                "{} recipients are the most of one transaction; send the rest in another one",
                self.settings.max_recipients
            );
            let reply = Reply::new(452, "4.5.3", text).slug(self.settings.slugs.too_many_recipients.clone());
            return self.reply(&reply);
        }
        self.phase = Phase::Question(Question::Recipient(RcptTo { path, params }));
    }

    fn data(&mut self) {
        match &self.transaction {
            None => self.error(503, "5.5.1", "DATA before MAIL; send MAIL first"),
            Some(Transaction { accepted: 0, refused: 0, .. }) => {
                self.error(503, "5.5.1", "DATA before RCPT; send RCPT first");
            }
            // RFC 2920 §3.1: a pipelining client sends DATA before it knows that nobody was accepted.
            Some(Transaction { accepted: 0, .. }) => {
                self.error(554, "5.5.1", "no valid recipients; correct the addresses that were refused");
            }
            Some(_) => self.phase = Phase::Question(Question::Content),
        }
    }

    /// What a decision changes before its reply is written.
    fn answered(&mut self, question: &Question, accepted: bool) {
        match (question, accepted) {
            (Question::Mail(mail), true) => {
                self.transactions += 1;
                self.transaction = Some(Transaction { utf8: mail.params.smtputf8, ..Transaction::default() });
            }
            (Question::Recipient(_), true) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.accepted += 1;
                }
            }
            (Question::Recipient(_), false) => self.recipient_refused(),
            (Question::Content, true) => {
                let incoming = Incoming { scanner: DataScanner::new(), size_bytes: 0, dropped: false };
                self.phase = Phase::Content(incoming);
            }
            (Question::Message, true) => self.errors = 0,
            (Question::Mail(_) | Question::Content | Question::Message, false) => {}
        }
    }

    /// Counted apart from errors: a long list may hold many old numbers, but not a thousand.
    fn recipient_refused(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.refused += 1;
        }
        self.refused += 1;
        if self.refused > self.settings.max_refused {
            let reply = Reply::new(421, "4.7.0", "too many refused recipients; correct the list of addresses");
            self.close_with(&reply.slug(self.settings.slugs.protocol.clone()));
        }
    }

    // ---- content

    fn content(&mut self) {
        let Phase::Content(incoming) = &mut self.phase else { return };
        let end = self.input.len().min(self.used + CONTENT_CHUNK);
        let mut chunk = Vec::new();
        self.used += incoming.scanner.scan(&self.input[self.used..end], &mut chunk);
        incoming.size_bytes = incoming.size_bytes.saturating_add(chunk.len() as u64);
        let max = self.settings.max_size_bytes;
        let (too_large, flaw) = (incoming.size_bytes > max, incoming.scanner.flaw());
        let ended = incoming.scanner.ended();
        if (too_large || flaw.is_some()) && !incoming.dropped {
            // The memory is freed at once; the octets are swallowed to their real end, or the next of them would be
            // taken for commands.
            incoming.dropped = true;
            self.out.push_back(Action::Reset);
        } else if !incoming.dropped && !chunk.is_empty() {
            self.out.push_back(Action::Content(chunk));
        }
        if incoming.size_bytes > max.saturating_mul(SWALLOW_FACTOR) {
            let reply = Reply::new(421, "4.3.4", format!("the mail is far larger than {max} octets; send less"));
            return self.close_with(&reply.slug(self.settings.slugs.too_large.clone()));
        }
        if ended {
            self.content_ended(flaw, too_large);
        }
    }

    fn content_ended(&mut self, flaw: Option<Flaw>, too_large: bool) {
        let max = self.settings.max_size_bytes;
        let reply = match flaw {
            Some(flaw) => {
                let text = match flaw {
                    Flaw::BareLf => "the mail has a bare LF; end every line with CRLF",
                    Flaw::BareCr => "the mail has a bare CR; end every line with CRLF and encode other CRs",
                    Flaw::Nul => "the mail has an octet of value zero; encode binary content in base64",
                };
                Reply::new(554, "5.6.0", text).slug(self.settings.slugs.protocol.clone())
            }
            None if too_large => {
                let text = format!("the mail has more than {max} octets; send fewer or smaller attachments");
                Reply::new(552, "5.3.4", text).slug(self.settings.slugs.too_large.clone())
            }
            None => {
                self.phase = Phase::Question(Question::Message);
                return;
            }
        };
        self.phase = Phase::Command;
        self.reply(&reply);
        self.forget();
    }

    // ---- replies

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

    /// A command that was no SMTP or out of order. Too many of them end the connection.
    fn error(&mut self, code: u16, status: &str, text: &str) {
        self.errors += 1;
        self.reply(&Reply::new(code, status, text).slug(self.settings.slugs.protocol.clone()));
        if self.errors >= self.settings.max_errors {
            let reply = Reply::new(421, "4.7.0", "too many errors; correct the sending program");
            self.close_with(&reply.slug(self.settings.slugs.protocol.clone()));
        }
    }

    fn end_of_service(&mut self) {
        let text = "this node is being taken out of service; try again or use another node";
        self.close_with(&Reply::new(421, "4.3.2", text).slug(self.settings.slugs.draining.clone()));
    }

    fn forget(&mut self) {
        if self.transaction.take().is_some() {
            self.out.push_back(Action::Reset);
        }
    }

    fn close_with(&mut self, reply: &Reply) {
        self.reply(reply);
        self.forget();
        self.phase = Phase::Closed;
        self.input = Vec::new();
        self.used = 0;
    }
}
