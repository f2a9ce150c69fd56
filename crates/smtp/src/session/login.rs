//! AUTH (RFC 4954): the lines of a login, and what becomes of it.
//!
//! A failed login gets the same words whatever was wrong (RFC 8314 §4.1 wants no difference between a wrong name and a wrong password), and
//! a few of them end the connection.

use data_encoding::BASE64;

use super::{Action, Phase, Question, Session};
use crate::line::Line;
use crate::reply::Reply;
use crate::sasl::{Credentials, Exchange, Failure, Mechanism, Next, Verifier};

impl Session {
    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<&str>) {
        if let Some((code, status, text)) = self.no_login() {
            return self.error(code, status, text);
        }
        let offered = Mechanism::of(mechanism).filter(|mechanism| self.settings.offers.login.contains(mechanism));
        let Some(mechanism) = offered else {
            return self.error(504, "5.5.4", "the mechanism is not offered here; use one that the EHLO reply lists");
        };
        let (exchange, challenge) = Exchange::begin(mechanism);
        self.login = Some(exchange);
        match initial {
            None => self.challenge(&challenge),
            // RFC 4954 §4: a lone equals sign is an empty response.
            Some("=") => self.respond(b""),
            Some(initial) => self.decode(initial.as_bytes()),
        }
    }

    /// Why nobody can log in now, if so.
    fn no_login(&self) -> Option<(u16, &'static str, &'static str)> {
        if self.settings.offers.login.is_empty() {
            Some((502, "5.5.1", "AUTH is not offered here; use what the EHLO reply lists"))
        } else if !self.offers_login() {
            // RFC 4954 §6.
            Some((538, "5.7.11", "AUTH needs TLS; send STARTTLS first, or connect to the port for TLS"))
        } else if self.hello.is_none() {
            Some((503, "5.5.1", "AUTH before EHLO; send EHLO first"))
        } else if self.user.is_some() {
            Some((503, "5.5.1", "AUTH after a login; connect again to log in as somebody else"))
        } else if self.transaction.is_some() {
            Some((503, "5.5.1", "AUTH inside a transaction; send RSET first"))
        } else {
            None
        }
    }

    /// A line of the client within a login.
    pub(super) fn response(&mut self, line: Line) {
        match line {
            Line::Whole(line) if line == b"*" => {
                self.login = None;
                self.error(501, "5.7.0", "the login was cancelled");
            }
            Line::Whole(line) => self.decode(&line),
            Line::TooLong => {
                self.login = None;
                self.error(500, "5.5.6", "the line has more than 12288 octets; shorten the token");
            }
            Line::BareLf => {
                self.login = None;
                self.error(500, "5.5.2", "a bare LF ends the line; end lines with CRLF");
            }
            Line::Flood => self.close_objecting(421, "4.5.2", "a line without end; end lines with CRLF"),
        }
    }

    fn decode(&mut self, encoded: &[u8]) {
        match BASE64.decode(encoded) {
            Ok(response) => self.respond(&response),
            Err(_) => {
                self.login = None;
                self.error(501, "5.5.2", "the response is not base64; encode it");
            }
        }
    }

    fn respond(&mut self, response: &[u8]) {
        let next = self.login.as_mut().map(|exchange| exchange.respond(response));
        self.go_on(next);
    }

    pub(super) fn verifier(&mut self, verifier: &Verifier) {
        let next = self.login.as_mut().map(|exchange| exchange.verifier(verifier));
        self.go_on(next);
    }

    fn go_on(&mut self, next: Option<Next>) {
        match next {
            Some(Next::Challenge(challenge)) => self.challenge(&challenge),
            Some(Next::Ask(credentials)) => self.phase = Phase::Question(Question::Login(credentials)),
            Some(Next::AskVerifier(user)) => self.phase = Phase::Question(Question::Verifier(user)),
            Some(Next::Fail(Failure::Malformed(text))) => {
                self.login = None;
                self.error(501, "5.5.2", &format!("{text}; correct the sending program"));
            }
            Some(Next::Fail(Failure::Wrong)) | None => self.login_failed(),
        }
    }

    /// Not a [`Reply`]: a challenge is one line, however long.
    fn challenge(&mut self, challenge: &[u8]) {
        self.out.push_back(Action::Reply(format!("334 {}\r\n", BASE64.encode(challenge))));
    }

    pub(super) fn login_answered(&mut self, credentials: Credentials, accepted: bool, reply: &Reply) {
        let user = match credentials {
            Credentials::Password { user, .. } | Credentials::Proved { user, .. } => Some(user),
            Credentials::Token { user, .. } => Some(user.unwrap_or_else(|| "token".to_owned())),
            Credentials::Disproved { .. } => None,
        };
        if let (true, Some(user)) = (accepted, user) {
            self.login = None;
            self.user = Some(user);
            self.reply(reply);
        } else if accepted || reply.code() == 535 {
            let next = self.login.as_mut().map(Exchange::refused);
            self.go_on(next);
        } else {
            self.login_ended(reply);
        }
    }

    /// The accounts cannot be asked now: nobody's fault.
    pub(super) fn login_ended(&mut self, reply: &Reply) {
        self.login = None;
        self.reply(reply);
    }

    fn login_failed(&mut self) {
        self.login = None;
        self.failed_logins += 1;
        let slug = self.settings.slugs.login.clone();
        self.reply(&Reply::login_failed().slug(slug.clone()));
        if self.failed_logins >= self.settings.max_failed_logins {
            let reply = Reply::new(421, "4.7.0", "too many failed logins; correct user name and password");
            self.close_with(&reply.slug(slug));
        }
    }
}
