//! Commands: what each verb does in the state it finds.

use super::{
    Channel, Hello, InClear, MailFrom, Phase, Question, RcptTo, Session, Starttls, Transaction, XClientOffer, greeting,
};
use crate::command::{self, Command, CommandError, Side};
use crate::line::{COMMAND_MAX, Line};
use crate::params::{BodyKind, Hold, LateMode, MailParams, RcptParams};
use crate::path::{Path, PathError, Utf8};
use crate::reply::Reply;
use crate::xclient::{self, Protocol, XClient};

impl Session {
    pub(super) fn line(&mut self, line: Line) {
        self.commands += 1;
        if self.login.is_some() {
            return self.response(line);
        }
        let line = match line {
            Line::Whole(line) if line.len() <= COMMAND_MAX || is_auth(&line) => line,
            Line::Whole(_) | Line::TooLong => {
                return self.error(500, "5.5.2", "the line has more than 4096 octets; shorten it");
            }
            Line::BareLf => return self.error(500, "5.5.2", "a bare LF ends the line; end lines with CRLF"),
            Line::Flood => return self.close_objecting(421, "4.5.2", "a line without end; end lines with CRLF"),
        };
        let utf8 = match &self.transaction {
            Some(Transaction { utf8: true, .. }) => Utf8::Allowed,
            _ => Utf8::Refused,
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
            Command::Bdat { size_bytes, chunk } => self.bdat(size_bytes, chunk),
            Command::Starttls => self.starttls(),
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial.as_deref()),
            Command::XClient(client) => self.xclient(client),
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
                let text = "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP STARTTLS AUTH; RFC 5321";
                self.reply(&Reply::new(214, "2.0.0", text));
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
                self.object(code, status, &text);
                self.recipient_refused();
            }
            CommandError::ChunkSize(_) => self.close_objecting(501, "5.5.4", &text),
            CommandError::Foreign => self.close_objecting(421, "4.7.0", &text),
        }
    }

    // ---- greeting

    fn hello(&mut self, kind: Hello, name: String) {
        // RFC 5321 §4.1.4: EHLO in the middle of a session resets like RSET.
        self.forget();
        self.hello = Some((kind, name));
        let mut lines = vec![self.settings.hostname.clone()];
        if kind == Hello::Ehlo {
            lines.extend(self.extensions());
        }
        self.reply(&Reply::plain(250, lines));
    }

    fn extensions(&self) -> Vec<String> {
        let (settings, offers) = (&self.settings, &self.settings.offers);
        let size = format!("SIZE {}", settings.max_size_bytes);
        let always =
            ["PIPELINING", &size, "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"];
        let mut lines: Vec<String> = always.map(str::to_owned).to_vec();
        // RFC 3207 §4.2: not offered again within TLS.
        if self.offers_starttls() {
            lines.push("STARTTLS".to_owned());
        }
        if self.offers_login() {
            let names: Vec<&str> = offers.login.iter().map(|mechanism| mechanism.name()).collect();
            lines.push(format!("AUTH {}", names.join(" ")));
        }
        // RFC 9422 §4: what one connection and one transaction may hold.
        lines.push(format!("LIMITS MAILMAX={} RCPTMAX={}", settings.max_transactions, settings.max_recipients));
        if let Some(future) = &offers.future_release {
            lines.push(format!("FUTURERELEASE {} {}", future.max_s, future.last()));
        }
        lines.push(format!("DELIVERBY {}", offers.deliver_by_min_s));
        lines.push("MT-PRIORITY".to_owned());
        if offers.xclient == XClientOffer::Offered {
            lines.push(format!("XCLIENT {}", xclient::ATTRIBUTES));
        }
        lines
    }

    fn offers_starttls(&self) -> bool {
        self.settings.offers.starttls == Starttls::Offered && self.channel == Channel::Clear
    }

    pub(super) fn offers_login(&self) -> bool {
        let offers = &self.settings.offers;
        !offers.login.is_empty() && (self.channel == Channel::Tls || offers.login_in_clear == InClear::Allowed)
    }

    fn starttls(&mut self) {
        if self.channel == Channel::Tls {
            return self.error(503, "5.5.1", "STARTTLS within TLS; go on, the connection is encrypted");
        }
        if !self.offers_starttls() {
            return self.error(502, "5.5.1", "STARTTLS is not offered here; use what the EHLO reply lists");
        }
        // RFC 3207 §4.2: somebody else may have put them there, to have them carried out as if they had come encrypted.
        if self.used < self.input.len() {
            return self.close_objecting(554, "5.5.1", "octets follow STARTTLS in the clear; wait for its reply");
        }
        self.forget();
        self.reply(&Reply::new(220, "2.0.0", "ready for TLS"));
        self.phase = Phase::Handshake;
    }

    fn xclient(&mut self, client: XClient) {
        if self.settings.offers.xclient == XClientOffer::Refused {
            return self.error(550, "5.7.1", "XCLIENT is for trusted proxies; leave it out");
        }
        if self.transaction.is_some() {
            return self.error(503, "5.5.1", "XCLIENT inside a transaction; send RSET first");
        }
        self.phase = Phase::Question(Question::XClient(client));
    }

    /// The client speaks for another one from now on: as if that one had just connected.
    pub(super) fn speaks_for(&mut self, client: XClient) {
        // Not restart(): what was pipelined behind XCLIENT is the proxy's and stays.
        self.forget();
        (self.hello, self.user) = (None, None);
        if let Some(name) = client.helo {
            let kind = if client.protocol == Some(Protocol::Smtp) { Hello::Helo } else { Hello::Ehlo };
            self.hello = Some((kind, name));
        }
        if client.address.is_some() {
            self.settings.offers.xclient = XClientOffer::Refused;
        }
        let greeting = greeting(&self.settings);
        self.reply(&greeting);
    }

    // ---- transaction

    fn mail(&mut self, path: Option<Path>, params: MailParams) {
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
        let max = self.settings.max_size_bytes;
        // RFC 1870 §6.1: said before the content is on its way.
        if let Some(declared) = params.size_bytes.filter(|size| *size > max) {
            let text =
                format!("{declared} octets are declared, at most {max} are taken; send fewer or smaller attachments");
            return self.reply(&Reply::new(552, "5.3.4", text).slug(self.settings.slugs.too_large.clone()));
        }
        if let Some(text) = self.when_impossible(&params) {
            return self.error(501, "5.5.4", &text);
        }
        if self.transactions >= self.settings.max_transactions {
            return self.close_objecting(421, "4.7.0", "enough mails on this connection; connect again for more");
        }
        self.chunks_failed = false;
        self.phase = Phase::Question(Question::Mail(MailFrom { path, params }));
    }

    /// What is wrong with the times of the parameters, if anything is.
    fn when_impossible(&self, params: &MailParams) -> Option<String> {
        let offers = &self.settings.offers;
        if let Some(hold) = params.hold {
            let Some(future) = offers.future_release else {
                return Some("HOLDFOR and HOLDUNTIL are not offered here; leave them out".to_owned());
            };
            let seconds = match hold {
                Hold::For { seconds } => i64::from(seconds),
                Hold::Until { unix_s } => unix_s.saturating_sub(future.now_unix_s),
            };
            if seconds > i64::from(future.max_s) {
                return Some(format!("the mail is to be held too long; ask for at most {} seconds", future.max_s));
            }
        }
        let min = offers.deliver_by_min_s;
        let late = params.deliver_by.filter(|by| by.mode == LateMode::Return && by.seconds < i64::from(min));
        late.map(|by| format!("no fax is called within {} seconds; give BY at least {min}", by.seconds))
    }

    fn rcpt(&mut self, path: Path, params: RcptParams) {
        let Some(transaction) = &self.transaction else {
            return self.error(503, "5.5.1", "RCPT before MAIL; send MAIL first");
        };
        if matches!(self.hello, Some((Hello::Helo, _))) && params != RcptParams::default() {
            return self.error(555, "5.5.4", "parameters after HELO; greet with EHLO to use them");
        }
        if transaction.chunks.is_some() {
            return self.error(503, "5.5.1", "RCPT after BDAT; send all recipients before the content");
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
        if let Some((code, text)) = self.no_content_yet("DATA") {
            return self.error(code, "5.5.1", &text);
        }
        match &self.transaction {
            Some(Transaction { chunks: Some(_), .. }) => {
                self.error(503, "5.5.1", "DATA after BDAT; send the rest of the mail with BDAT");
            }
            // RFC 3030 §3: such octets cannot be told from an end of content.
            Some(Transaction { body: BodyKind::BinaryMime, .. }) => {
                self.error(503, "5.5.1", "DATA after BODY=BINARYMIME; send the content with BDAT");
            }
            _ => self.phase = Phase::Question(Question::Content),
        }
    }

    /// Why no content may come, if so.
    pub(super) fn no_content_yet(&self, verb: &str) -> Option<(u16, String)> {
        match &self.transaction {
            None => Some((503, format!("{verb} before MAIL; send MAIL first"))),
            Some(Transaction { accepted: 0, refused: 0, .. }) => {
                Some((503, format!("{verb} before RCPT; send RCPT first")))
            }
            // RFC 2920 §3.1: a pipelining client sends DATA before it knows that nobody was accepted.
            Some(Transaction { accepted: 0, .. }) => {
                Some((554, "no valid recipients; correct the addresses that were refused".to_owned()))
            }
            Some(_) => None,
        }
    }

    /// What a decision changes before its reply is written.
    pub(super) fn answered(&mut self, question: &Question, accepted: bool) {
        match (question, accepted) {
            (Question::Mail(mail), true) => {
                self.transactions += 1;
                let (utf8, body) = (mail.params.smtputf8, mail.params.body);
                self.transaction = Some(Transaction { utf8, body, ..Transaction::default() });
            }
            (Question::Recipient(_), true) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.accepted += 1;
                }
            }
            (Question::Recipient(_), false) => self.recipient_refused(),
            (Question::Content, true) => self.content_begins(),
            (Question::Message, true) => (self.errors, self.swallowed) = (0, 0),
            _ => {}
        }
    }

    /// Counted apart from errors: a long list may hold many old numbers, but not a thousand.
    fn recipient_refused(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.refused += 1;
        }
        self.refused += 1;
        if self.refused > self.settings.max_refused {
            self.close_objecting(421, "4.7.0", "too many refused recipients; correct the list of addresses");
        }
    }
}

/// Whether a long line may be one: its token does not fit into a command of the usual length.
fn is_auth(line: &[u8]) -> bool {
    line.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "))
}
