//! Smart hosts in order over SMTP: one recipient a transaction, opportunistic STARTTLS.
//!
//! The steps of the transaction are taken one by one, because what a refusal means depends on where it comes: a host
//! that is down or does not take our mail makes the next host try; a recipient that does not exist is final; a
//! connection that breaks after the mail has left stays with that host and is repeated later, since it may have the
//! mail (RFC 1047). Idle connections are kept for the next mail. RFC 5321, RFC 3207.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter, ServerInfo};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::{Outgoing, SendError};
use crate::mail::build::{Encoded, MailAddress};
use crate::mail::mime::clean;

/// RFC 5321 §4.5.3.2 allows five minutes for a greeting; a host that takes longer than this is as good as down while
/// another one stands by.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// RFC 5321 §4.5.3.2.6: ten minutes for the reply to the final dot, or there will be duplicates.
const CONTENT_TIMEOUT: Duration = Duration::from_secs(600);
/// Connections kept for each host.
const IDLE_MAX: usize = 2;
/// Kept this long; hosts drop idle clients after five minutes (RFC 5321 §4.5.3.2.7).
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);
/// Of a reply this much is recorded.
const REPLY_CHARS_MAX: usize = 300;

/// The smart hosts of the configuration.
#[derive(Debug)]
pub struct Smarthosts {
    hosts: Vec<Host>,
    hello: ClientId,
}

/// `host[:port]` with its idle connections.
struct Host {
    name: String,
    port: u16,
    tls: TlsParameters,
    idle: Mutex<VecDeque<(Instant, AsyncSmtpConnection)>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

/// What one host's answer means.
enum Turn {
    /// Not this host, not now.
    Next(String),
    /// No other host is asked.
    Stop(SendError),
}

impl Smarthosts {
    /// Hosts as in `mx1.example.com:587`, port 25 by default.
    ///
    /// # Errors
    /// [`SendError::Refused`] for text that is no host, and when TLS cannot be set up.
    pub fn new(hosts: &[String], hello: &str) -> Result<Self, SendError> {
        let hosts = hosts.iter().map(|h| Host::new(h)).collect::<Result<Vec<_>, _>>()?;
        if hosts.is_empty() {
            return Err(SendError::Refused("no smart host; fix: set delivery.smarthost".to_owned()));
        }
        Ok(Self { hosts, hello: ClientId::Domain(clean(hello)) })
    }

    /// Gives the mail to the first host that takes it.
    pub(super) async fn send(&self, mail: &Outgoing<'_>) -> Result<String, SendError> {
        let mut refusals = Vec::new();
        for host in &self.hosts {
            match self.offer(host, mail).await {
                Ok(reply) => return Ok(format!("{host}: {reply}")),
                Err(Turn::Stop(error)) => return Err(error),
                Err(Turn::Next(why)) => refusals.push(format!("{host}: {why}")),
            }
        }
        Err(SendError::Again(refusals.join("; ")))
    }

    async fn offer(&self, host: &Host, mail: &Outgoing<'_>) -> Result<String, Turn> {
        let mut connection = host.connection(&self.hello).await.map_err(Turn::Next)?;
        let taken = transaction(&mut connection, host, mail).await;
        if taken.is_ok() {
            host.keep(connection).await;
        } else {
            // Says QUIT when the connection still stands; there is nothing to wait for.
            let _ = timeout(Duration::from_secs(2), connection.abort()).await;
        }
        taken
    }
}

impl Host {
    fn new(text: &str) -> Result<Self, SendError> {
        let wrong = |why: String| {
            SendError::Refused(format!("smart host \"{}\": {why}; fix: write host or host:port", clean(text)))
        };
        let (name, port) = match text.rsplit_once(':') {
            // An IPv6 address without port.
            Some(_) if text.ends_with(']') => (text, 25),
            Some((name, port)) => (name, port.parse().map_err(|_| wrong(format!("\"{}\" is no port", clean(port))))?),
            None => (text, 25),
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':');
        if bare.is_empty() || !bare.bytes().all(allowed) {
            return Err(wrong("not a host name".to_owned()));
        }
        let tls = TlsParameters::builder(bare.clone())
            // RFC 7435: the host may have any certificate, as between mail servers. Encryption that anybody could
            // strip by hiding STARTTLS gains nothing from refusing self-signed ones, and would lose the mail.
            .dangerous_accept_invalid_certs(true)
            .dangerous_accept_invalid_hostnames(true)
            .build()
            .map_err(|e| wrong(e.to_string()))?;
        Ok(Self { name: bare, port, tls, idle: Mutex::new(VecDeque::new()) })
    }

    /// An idle connection that still answers, or a new one.
    async fn connection(&self, hello: &ClientId) -> Result<AsyncSmtpConnection, String> {
        loop {
            let Some((since, mut kept)) = self.idle.lock().await.pop_back() else { break };
            let fresh = since.elapsed() < IDLE_TIME_MAX;
            if fresh && timeout(Duration::from_secs(5), kept.test_connected()).await == Ok(true) {
                return Ok(kept);
            }
        }
        timeout(CONNECT_TIMEOUT, self.connect(hello)).await.map_err(|_| "no answer in time".to_owned())?
    }

    async fn connect(&self, hello: &ClientId) -> Result<AsyncSmtpConnection, String> {
        let address = (self.name.as_str(), self.port);
        let connect = AsyncSmtpConnection::connect_tokio1(address, Some(CONNECT_TIMEOUT), hello, None, None);
        let mut connection = connect.await.map_err(|e| shown(&e))?;
        if connection.can_starttls() {
            connection.starttls(self.tls.clone(), hello).await.map_err(|e| shown(&e))?;
        }
        Ok(connection)
    }

    async fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().await;
        if idle.len() >= IDLE_MAX {
            idle.pop_front();
        }
        idle.push_back((Instant::now(), connection));
    }
}

/// MAIL, RCPT, DATA, the mail.
async fn transaction(connection: &mut AsyncSmtpConnection, host: &Host, mail: &Outgoing<'_>) -> Result<String, Turn> {
    // `MailAddress` has checked what could end the command early.
    let address = |address: &MailAddress| Address::new_dangerous(address.local(), address.domain());
    let (from, to) = (mail.reverse_path.map(address), address(mail.to));
    let (octets, parameters) = fitting(connection.server_info(), mail)?;
    // RFC 5321 §4.5.5: reports go out with a null reverse-path, so that they cannot loop.
    command(connection, Mail::new(from, parameters)).await.map_err(|e| Turn::Next(e.text))?;
    command(connection, Rcpt::new(to, Vec::new())).await.map_err(refused_recipient)?;
    command(connection, Data).await.map_err(|e| Turn::Next(e.text))?;
    // The client appends CRLF.CRLF itself.
    let octets = octets.strip_suffix(b"\r\n").unwrap_or(octets);
    match timeout(CONTENT_TIMEOUT, connection.message(octets)).await {
        Ok(Ok(response)) => {
            let text = response.message().collect::<Vec<_>>().join(" ");
            Ok(format!("{} {}", response.code(), clean(&text).chars().take(REPLY_CHARS_MAX).collect::<String>()))
        }
        Ok(Err(error)) => Err(refused_content(Refusal::of(&error), host)),
        Err(_) => Err(refused_content(Refusal { code: None, text: "no reply to the mail in time".to_owned() }, host)),
    }
}

/// The form of the mail that this host takes, and what is said of it with MAIL.
fn fitting<'m>(host: &ServerInfo, mail: &Outgoing<'m>) -> Result<(&'m [u8], Vec<MailParameter>), Turn> {
    let Encoded { octets, seven_bit } = mail.mail;
    if !mail.to.as_str().is_ascii() {
        // RFC 6531 §3.1: it takes 8BITMIME too then.
        if !host.supports_feature(Extension::SmtpUtfEight) {
            return Err(Turn::Next("it does not take internationalised addresses (SMTPUTF8)".to_owned()));
        }
        return Ok((octets, vec![MailParameter::SmtpUtfEight, MailParameter::Body(MailBodyParameter::EightBitMime)]));
    }
    match seven_bit {
        None => Ok((octets, Vec::new())),
        Some(_) if host.supports_feature(Extension::EightBitMime) => {
            Ok((octets, vec![MailParameter::Body(MailBodyParameter::EightBitMime)]))
        }
        Some(seven_bit) => Ok((seven_bit, Vec::new())),
    }
}

async fn command(connection: &mut AsyncSmtpConnection, command: impl fmt::Display) -> Result<(), Refusal> {
    match timeout(COMMAND_TIMEOUT, connection.command(command)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Refusal::of(&error)),
        Err(_) => Err(Refusal { code: None, text: "no reply in time".to_owned() }),
    }
}

/// A reply that is no, or no reply at all.
struct Refusal {
    /// As in 550; none when the connection broke.
    code: Option<u16>,
    text: String,
}

impl Refusal {
    fn of(error: &SmtpError) -> Self {
        Self { code: error.status().map(u16::from), text: shown(error) }
    }

    /// Whether the enhanced status begins so, as in ` 5.1.`.
    fn has_status(&self, begin: &str) -> bool {
        self.text.contains(&format!(" {begin}"))
    }
}

fn refused_recipient(refusal: Refusal) -> Turn {
    match refusal.code {
        // Something between us and this host, not the recipient: login, encryption, relaying. Another host may do.
        Some(530..=538 | 554) if !refusal.has_status("5.1.") && !refusal.has_status("5.2.") => Turn::Next(refusal.text),
        Some(500..=599) if refusal.has_status("5.7.") => Turn::Next(refusal.text),
        // RFC 5321 §3.3: the recipient is not deliverable.
        Some(550..=559) => Turn::Stop(SendError::Refused(refusal.text)),
        _ => Turn::Next(refusal.text),
    }
}

fn refused_content(refusal: Refusal, host: &Host) -> Turn {
    let text = format!("{host}: {}", refusal.text);
    match refusal.code {
        // RFC 3463 §3.4 X.3.4, §3.3 X.2.3: too big for the system, for the mailbox.
        Some(500..=599) if refusal.has_status("5.3.4") || refusal.has_status("5.2.3") => {
            Turn::Stop(SendError::TooLarge(text))
        }
        Some(523 | 552) => Turn::Stop(SendError::TooLarge(text)),
        Some(500..=599) => Turn::Stop(SendError::Refused(text)),
        // It said that it has not taken the mail.
        Some(_) => Turn::Next(refusal.text),
        // The mail left and no reply came: this host may have it, so no other one gets it now.
        None => Turn::Stop(SendError::Again(text)),
    }
}

/// An error on one line. Permanent and transient refusals read as `550 5.1.1 no such user`.
fn shown(error: &SmtpError) -> String {
    let detail = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let text = match error.status() {
        Some(code) => format!("{code} {detail}"),
        None => error.to_string(),
    };
    clean(&text).chars().take(REPLY_CHARS_MAX).collect()
}
