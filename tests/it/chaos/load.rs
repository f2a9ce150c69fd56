//! A mail client as mail servers are: it tries again, with the same Message-ID, until it has a clear answer, and writes
//! down what it was told before it does anything else.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::ledger::{Ledger, Sent, SentOutcome, now_ms};
use super::pages::{self, Form};
use crate::harness::{mail, wait_for};

/// Longer than a gateway that waits for its store holds a reply back.
const REPLY_TIMEOUT: Duration = Duration::from_secs(40);

/// A mail to be faxed.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) token: String,
    pub(crate) number: String,
    pub(crate) pages: u32,
    pub(crate) form: Form,
}

impl Order {
    fn mail(&self) -> (String, Vec<u8>) {
        let to = format!("{}@fax.local", self.number);
        let (name, media, octets) = pages::attachment(self.form, &self.token, self.pages);
        let raw = match self.form {
            Form::Body => mail(&self.token, &to, &String::from_utf8(octets).unwrap(), &[]),
            _ => mail(&self.token, &to, "", &[(&name, media, &octets)]),
        };
        (to, raw)
    }
}

/// Hands the mail in until the answer is 250 or 5xx, or `until` has come. Answers whether it was accepted.
pub(crate) fn hand_in(server: SocketAddr, order: &Order, ledger: &Ledger, until: Instant) -> bool {
    let (to, raw) = order.mail();
    loop {
        let begun = Instant::now();
        let (outcome, reply) = one_try(server, &to, &raw);
        let sent = Sent {
            at_ms: now_ms(),
            token: order.token.clone(),
            number: order.number.clone(),
            pages: order.pages,
            outcome,
            fax: reply.split([' ', ':', ',']).find(|word| word.starts_with("F-")).map(str::to_owned),
            reply: reply.trim().to_owned(),
            took_ms: begun.elapsed().as_millis().try_into().unwrap(),
        };
        ledger.write(&sent);
        let over = outcome == SentOutcome::Accepted || (outcome == SentOutcome::Refused && reply.starts_with('5'));
        if over || Instant::now() >= until {
            return outcome == SentOutcome::Accepted;
        }
        let again = Instant::now() + Duration::from_millis(500);
        wait_for("the next try", || (Instant::now() >= again).then_some(()));
    }
}

fn one_try(server: SocketAddr, to: &str, raw: &[u8]) -> (SentOutcome, String) {
    let mut connection = match Connection::open(server) {
        Ok(connection) => connection,
        Err(error) => return (SentOutcome::NotSent, error.to_string()),
    };
    match connection.envelope(to) {
        Ok(None) => {}
        Ok(Some(refusal)) => return (SentOutcome::Refused, refusal),
        Err(error) => return (SentOutcome::NotSent, error.to_string()),
    }
    // From the dot on a broken connection says nothing about what became of the mail.
    match connection.content(raw) {
        Ok(reply) if reply.starts_with("250") => (SentOutcome::Accepted, reply),
        Ok(reply) => (SentOutcome::Refused, reply),
        Err(error) => (SentOutcome::Unknown, error.to_string()),
    }
}

struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn open(server: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Up to 354. A refusal is answered as such.
    fn envelope(&mut self, to: &str) -> std::io::Result<Option<String>> {
        let greeting = self.reply()?;
        if !greeting.starts_with("220") {
            return Ok(Some(greeting));
        }
        let commands =
            ["EHLO client.test", "MAIL FROM:<anna@example.com>", &format!("RCPT TO:<{to}>"), "DATA"].map(str::to_owned);
        for command in commands {
            self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
            let reply = self.reply()?;
            if !reply.starts_with(['2', '3']) {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    fn content(&mut self, raw: &[u8]) -> std::io::Result<String> {
        let mut stuffed = Vec::with_capacity(raw.len() + 64);
        for line in raw.split_inclusive(|octet| *octet == b'\n') {
            if line.first() == Some(&b'.') {
                stuffed.push(b'.');
            }
            stuffed.extend_from_slice(line);
        }
        stuffed.extend_from_slice(b".\r\n");
        self.stream.get_mut().write_all(&stuffed)?;
        let reply = self.reply()?;
        let _ = self.stream.get_mut().write_all(b"QUIT\r\n");
        Ok(reply)
    }

    /// One reply, all its lines.
    fn reply(&mut self) -> std::io::Result<String> {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let last = line.as_bytes().get(3) == Some(&b' ');
            all.push_str(&line);
            if last {
                return Ok(all);
            }
        }
    }
}
