//! SASL on the server's side (RFC 4422, RFC 4954), without I/O and without knowing anybody.
//!
//! An [`Exchange`] takes the client's decoded responses and says what comes next: a challenge, a question for whoever knows the
//! accounts, or the end. Passwords and tokens are judged by the answer to [`Credentials`]; SCRAM is proved here with the
//! [`Verifier`] that was asked for, so that no password is ever sent.
//!
//! Five mechanisms, each because clients in the field have no other: `LOGIN` for copiers and old libraries, `PLAIN` for everything else,
//! `SCRAM-SHA-256` for those who do not show their password, `XOAUTH2` and `OAUTHBEARER` for tokens.

mod bearer;
mod plain;
pub mod scram;

use std::fmt;

pub use scram::Verifier;

/// RFC 4616 §2 has 255 octets; names that are addresses need more.
const NAME_MAX: usize = 320;
/// No password or token that anybody uses is longer.
const SECRET_MAX: usize = 8192;

/// A mechanism by its registered name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Two prompts; never registered with a specification.
    Login,
    /// RFC 5802 and RFC 7677, without channel binding.
    ScramSha256,
    /// Google's and Microsoft's form of a bearer token.
    XOAuth2,
    /// RFC 7628.
    OAuthBearer,
}

impl Mechanism {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 5] = [Self::ScramSha256, Self::Plain, Self::Login, Self::OAuthBearer, Self::XOAuth2];

    /// As it is written behind `AUTH`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::XOAuth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }

    /// In any case.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }
}

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Who the client says it is, and how it proves that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A password, to be compared.
    Password {
        /// Whose password.
        user: String,
        /// As it was sent.
        password: Secret,
        /// For whom the user wants to act, when that is somebody else (RFC 4616 §2).
        act_as: Option<String>,
    },
    /// A bearer token, to be verified.
    Token {
        /// For whom, when the client said so; the token must agree.
        user: Option<String>,
        /// As it was sent.
        token: Secret,
    },
    /// A password that SCRAM has proved already: only the account is to be looked at.
    Proved {
        /// Whose password.
        user: String,
        /// For whom the user wants to act.
        act_as: Option<String>,
    },
    /// A password that SCRAM has found wrong: to be counted. No answer makes it right.
    Disproved {
        /// Whose password.
        user: String,
    },
}

/// Why an exchange ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The credentials are wrong: `535 5.7.8`.
    Wrong,
    /// The response is none of this mechanism: `501 5.5.2`.
    Malformed(&'static str),
}

/// What comes next in an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send this; then comes a response.
    Challenge(Vec<u8>),
    /// Are these right? A refusal goes to [`Exchange::refused`].
    Ask(Credentials),
    /// How is this user's password verified? The answer goes to [`Exchange::verifier`].
    AskVerifier(String),
    /// It is over.
    Fail(Failure),
}

/// A login that is under way.
#[derive(Debug)]
pub(crate) enum Exchange {
    Plain,
    Login(plain::Login),
    Scram(Box<scram::Scram>),
    Bearer(bearer::Bearer),
}

impl Exchange {
    /// The exchange and what its first challenge is; a client that sent an initial response goes on with [`Exchange::respond`] instead.
    pub(crate) fn begin(mechanism: Mechanism) -> (Self, Vec<u8>) {
        match mechanism {
            Mechanism::Plain => (Self::Plain, Vec::new()),
            Mechanism::Login => (Self::Login(plain::Login::default()), plain::USER_PROMPT.to_vec()),
            Mechanism::ScramSha256 => (Self::Scram(Box::default()), Vec::new()),
            Mechanism::XOAuth2 => (Self::Bearer(bearer::Bearer::new(bearer::Form::XOAuth2)), Vec::new()),
            Mechanism::OAuthBearer => (Self::Bearer(bearer::Bearer::new(bearer::Form::OAuthBearer)), Vec::new()),
        }
    }

    /// Takes a response of the client.
    pub(crate) fn respond(&mut self, response: &[u8]) -> Next {
        match self {
            Self::Plain => plain::plain(response),
            Self::Login(login) => login.respond(response),
            Self::Scram(scram) => scram.respond(response),
            Self::Bearer(bearer) => bearer.respond(response),
        }
    }

    /// Takes the answer to [`Next::AskVerifier`].
    pub(crate) fn verifier(&mut self, verifier: &Verifier) -> Next {
        match self {
            Self::Scram(scram) => scram.verifier(verifier),
            _ => Next::Fail(Failure::Wrong),
        }
    }

    /// The answer to [`Next::Ask`] was no.
    pub(crate) fn refused(&mut self) -> Next {
        match self {
            Self::Bearer(bearer) => bearer.refused(),
            _ => Next::Fail(Failure::Wrong),
        }
    }
}

/// A name of the client: UTF-8, printable, not empty and not too long.
fn name(octets: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(octets).ok()?;
    let good = !text.is_empty() && text.len() <= NAME_MAX && !text.chars().any(char::is_control);
    good.then(|| text.to_owned())
}

/// A password or token: UTF-8 without a zero octet.
fn secret(octets: &[u8]) -> Option<Secret> {
    let text = std::str::from_utf8(octets).ok()?;
    let good = !text.is_empty() && text.len() <= SECRET_MAX && !text.contains('\0');
    good.then(|| Secret(text.to_owned()))
}
