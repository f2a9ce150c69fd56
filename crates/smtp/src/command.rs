//! One command line in, one [`Command`] out (RFC 5321 §4.1).
//!
//! A new extension gets its variant here and its arm in `session.rs`; the verbs of extensions that are not built are
//! in [`NOT_IMPLEMENTED`].

use crate::params::{self, MailParams, ParamError, RcptParams};
use crate::path::{self, Path, PathError, Utf8};
use crate::xclient::{self, XClient};

/// Verbs that exist and are not offered: `502 5.5.1` (RFC 5321 §4.2.4).
const NOT_IMPLEMENTED: &[&str] = &["BURL", "ETRN", "ATRN", "EXPN", "SAML", "SEND", "SOML", "TURN", "XFORWARD"];
/// First words of HTTP requests: a browser was made to talk to us (cross-protocol request forgery).
const FOREIGN: &[&str] = &["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
/// RFC 5321 §4.5.3.1.2.
const HELLO_MAX: usize = 255;

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `EHLO name`.
    Ehlo(String),
    /// `HELO name`.
    Helo(String),
    /// `MAIL FROM:<path> parameters`; the null path is none.
    Mail(Option<Path>, MailParams),
    /// `RCPT TO:<path> parameters`.
    Rcpt(Path, RcptParams),
    /// `DATA`.
    Data,
    /// `BDAT octets [LAST]` (RFC 3030 §2).
    Bdat {
        /// How many octets follow the line.
        size_bytes: u64,
        /// Whether it is the last chunk.
        chunk: Chunk,
    },
    /// `STARTTLS`.
    Starttls,
    /// `AUTH mechanism [initial response]`.
    Auth {
        /// Its name as it was written.
        mechanism: String,
        /// Still encoded; `=` is an empty one.
        initial: Option<String>,
    },
    /// `XCLIENT attribute=value …`.
    XClient(XClient),
    /// `RSET`.
    Rset,
    /// `NOOP`.
    Noop,
    /// `QUIT`.
    Quit,
    /// `VRFY text`.
    Vrfy,
    /// `HELP`.
    Help,
}

/// Whether more chunks follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// They do.
    More,
    /// This is the last one.
    Last,
}

/// Why a line is no command. Each has its reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// `500 5.5.2`: not a line of SMTP.
    #[error("{0}")]
    Line(&'static str),
    /// `500 5.5.1`: no such command.
    #[error("unknown command; use EHLO, MAIL, RCPT, DATA, BDAT, RSET, NOOP, VRFY, HELP or QUIT")]
    Unknown,
    /// `502 5.5.1`: known and not offered.
    #[error("{0} is not offered here; use what the EHLO reply lists")]
    NotImplemented(&'static str),
    /// `501 5.5.4`: bad arguments.
    #[error("{0}")]
    Argument(String),
    /// `555 5.5.4`: parameters that are not offered.
    #[error("{0}")]
    Parameter(String),
    /// `501 5.1.7` or `501 5.1.3`: a bad address.
    #[error("{1}")]
    Address(Side, PathError),
    /// `501 5.5.4`: a chunk of unknown size; where its octets end is not known, so the connection is closed.
    #[error("{0}")]
    ChunkSize(&'static str),
    /// The other end does not speak SMTP; the connection is closed.
    #[error("this is SMTP, not HTTP")]
    Foreign,
}

/// Whose address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The reverse-path.
    Sender,
    /// The forward-path.
    Recipient,
}

/// Reads a line without its CRLF. `utf8` is what MAIL of the current transaction allowed.
pub fn parse(line: &[u8], utf8: Utf8) -> Result<Command, CommandError> {
    if line.contains(&b'\r') {
        return Err(CommandError::Line("a bare CR stands in the line; end lines with CRLF and send no CR elsewhere"));
    }
    if line.iter().any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f) {
        return Err(CommandError::Line("a control character stands in the line; send printable characters only"));
    }
    let text = std::str::from_utf8(line)
        .map_err(|_| CommandError::Line("the line is not UTF-8; send ASCII, or UTF-8 after SMTPUTF8"))?;
    // RFC 5321 §4.1.1: trailing white space is tolerated.
    let text = text.trim_end_matches([' ', '\t']);
    let (verb, rest) = text.split_at(text.find([' ', '\t']).unwrap_or(text.len()));
    let argument = rest.trim_start_matches([' ', '\t']);
    match verb.to_ascii_uppercase().as_str() {
        "" => Err(CommandError::Line("empty line; send a command")),
        "EHLO" => hello(argument).map(Command::Ehlo),
        "HELO" => hello(argument).map(Command::Helo),
        "MAIL" => mail(argument),
        "RCPT" => rcpt(argument, utf8),
        "DATA" => alone(argument, "DATA", Command::Data),
        "BDAT" => bdat(argument),
        "STARTTLS" => alone(argument, "STARTTLS", Command::Starttls),
        "AUTH" => auth(argument),
        "XCLIENT" => xclient::parse(argument).map(Command::XClient).map_err(CommandError::Argument),
        "RSET" => alone(argument, "RSET", Command::Rset),
        "QUIT" => alone(argument, "QUIT", Command::Quit),
        "NOOP" => Ok(Command::Noop),
        "HELP" => Ok(Command::Help),
        "VRFY" if argument.is_empty() => Err(missing("VRFY needs a name; write it as in VRFY postmaster")),
        "VRFY" => Ok(Command::Vrfy),
        verb if FOREIGN.contains(&verb) => Err(CommandError::Foreign),
        verb => Err(NOT_IMPLEMENTED
            .iter()
            .find(|known| **known == verb)
            .map_or(CommandError::Unknown, |known| CommandError::NotImplemented(known))),
    }
}

/// RFC 5321 §4.1.4: a name that does not verify is no reason to refuse; one that is no single printable word is.
fn hello(argument: &str) -> Result<String, CommandError> {
    let good = !argument.is_empty() && argument.len() <= HELLO_MAX && argument.bytes().all(|b| b.is_ascii_graphic());
    if good {
        Ok(argument.to_owned())
    } else {
        Err(missing("the greeting needs your host name; write it as in EHLO mail.example.com"))
    }
}

fn mail(argument: &str) -> Result<Command, CommandError> {
    let rest = keyword(argument, "FROM:")
        .ok_or_else(|| missing("FROM: is missing; write it as in MAIL FROM:<user@example.com>"))?;
    // The parameter that allows UTF-8 in the path stands behind the path.
    let (path, params) =
        path::parse(rest, Utf8::Allowed).map_err(|error| CommandError::Address(Side::Sender, error))?;
    let params = params::mail(params).map_err(parameter)?;
    if !params.smtputf8 && path.as_ref().is_some_and(|path| !path.as_str().is_ascii()) {
        let error = PathError::NotAscii("the sender is not ASCII; use an ASCII address or add SMTPUTF8");
        return Err(CommandError::Address(Side::Sender, error));
    }
    Ok(Command::Mail(path, params))
}

fn rcpt(argument: &str, utf8: Utf8) -> Result<Command, CommandError> {
    let rest =
        keyword(argument, "TO:").ok_or_else(|| missing("TO: is missing; write it as in RCPT TO:<user@example.com>"))?;
    let (path, params) = path::parse(rest, utf8).map_err(|error| CommandError::Address(Side::Recipient, error))?;
    let empty = PathError::Syntax("the recipient is empty; write it as <user@example.com>");
    let path = path.ok_or(CommandError::Address(Side::Recipient, empty))?;
    Ok(Command::Rcpt(path, params::rcpt(params).map_err(parameter)?))
}

/// RFC 3030 §2: digits, then nothing or LAST.
fn bdat(argument: &str) -> Result<Command, CommandError> {
    let bad =
        CommandError::ChunkSize("BDAT needs a number of octets, then LAST or nothing; write it as in BDAT 1000 LAST");
    let mut words = argument.split([' ', '\t']).filter(|word| !word.is_empty());
    let (Some(size), last, None) = (words.next(), words.next(), words.next()) else { return Err(bad) };
    let chunk = match last {
        None => Chunk::More,
        Some(word) if word.eq_ignore_ascii_case("LAST") => Chunk::Last,
        Some(_) => return Err(bad),
    };
    let digits = size.len() <= 20 && size.bytes().all(|b| b.is_ascii_digit());
    match size.parse() {
        Ok(size_bytes) if digits => Ok(Command::Bdat { size_bytes, chunk }),
        _ => Err(bad),
    }
}

/// RFC 4954 §4.
fn auth(argument: &str) -> Result<Command, CommandError> {
    let mut words = argument.split([' ', '\t']).filter(|word| !word.is_empty());
    let (mechanism, initial) = (words.next(), words.next().map(str::to_owned));
    match (mechanism, words.next()) {
        (Some(mechanism), None) => Ok(Command::Auth { mechanism: mechanism.to_owned(), initial }),
        _ => Err(missing("AUTH needs a mechanism and at most one response; write it as in AUTH PLAIN")),
    }
}

/// `FROM:` or `TO:` in any case. RFC 5321 §3.3 allows no space after the colon; many programs send one, and it is harmless.
fn keyword<'a>(argument: &'a str, word: &str) -> Option<&'a str> {
    let head = argument.get(..word.len())?;
    head.eq_ignore_ascii_case(word).then(|| argument[word.len()..].trim_start_matches([' ', '\t']))
}

fn alone(argument: &str, verb: &str, command: Command) -> Result<Command, CommandError> {
    if argument.is_empty() {
        Ok(command)
    } else {
        Err(CommandError::Argument(format!("{verb} takes no argument; send it alone")))
    }
}

fn missing(text: &str) -> CommandError {
    CommandError::Argument(text.to_owned())
}

fn parameter(error: ParamError) -> CommandError {
    match error {
        ParamError::Syntax(text) => CommandError::Argument(text),
        ParamError::Unknown(text) => CommandError::Parameter(text),
    }
}
