//! A name server on loopback with a zone of its own, and a signer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use data_encoding::BASE64;
use mail_auth::arc::ArcSealer;
use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::DkimSigner;
use mail_auth::{AuthenticatedMessage, AuthenticationResults, MessageAuthenticator};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// What a sealer signs.
const SEALED: &[&str] = &["From", "To", "Cc", "Subject", "Date"];

/// Texts by name, and what is not answered at all: what a server is told to fail at.
#[derive(Default)]
pub(crate) struct Zone {
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) failing: Vec<String>,
}

/// Answers TXT questions from its zone; what it does not have does not exist.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    pub(crate) zone: Arc<Mutex<Zone>>,
    task: JoinHandle<()>,
}

impl NameServer {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone::default()));
        let held = Arc::clone(&zone);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (size, from) = socket.recv_from(&mut buffer).await.unwrap();
                let answer = answer(&buffer[..size], &held.lock().unwrap());
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        Self { address, zone, task }
    }

    pub(crate) fn text(&self, name: &str, text: &str) {
        self.zone.lock().unwrap().texts.insert(name.to_owned(), text.to_owned());
    }

    pub(crate) fn fail(&self, name: &str) {
        self.zone.lock().unwrap().failing.push(name.to_owned());
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// RFC 1035 §4: the question comes back with its answer.
fn answer(question: &[u8], zone: &Zone) -> Vec<u8> {
    let (mut at, mut labels) = (12, Vec::new());
    while question[at] != 0 {
        let length = usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..=at + length]).to_ascii_lowercase());
        at += length + 1;
    }
    let end = at + 5;
    let is_text = question[at + 1..at + 3] == [0, 16];
    let name = labels.join(".");
    let text = zone.texts.get(&name).filter(|_| is_text);
    let code: u8 = if zone.failing.contains(&name) {
        2
    } else if zone.texts.contains_key(&name) {
        0
    } else {
        3
    };
    let mut out = question[..2].to_vec();
    out.extend([0x85, 0x80 | code, 0, 1, 0, u8::from(text.is_some() && code == 0), 0, 0, 0, 0]);
    out.extend(&question[12..end]);
    if let Some(text) = text.filter(|_| code == 0) {
        let strings: Vec<u8> = text
            .as_bytes()
            .chunks(200)
            .flat_map(|chunk| [&[u8::try_from(chunk.len()).unwrap()], chunk].concat())
            .collect();
        out.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60]);
        out.extend(u16::try_from(strings.len()).unwrap().to_be_bytes());
        out.extend(strings);
    }
    out
}

/// A domain that signs its mail.
pub(crate) struct Signer {
    domain: String,
    key: Vec<u8>,
}

impl Signer {
    /// Publishes its key, its SPF and its DMARC record.
    pub(crate) fn publish(domain: &str, names: &NameServer) -> Self {
        let key = Ed25519Key::generate_pkcs8().unwrap();
        let public = Ed25519Key::from_pkcs8_der(&key).unwrap().public_key();
        names.text(&format!("s1._domainkey.{domain}"), &format!("v=DKIM1; k=ed25519; p={}", BASE64.encode(&public)));
        names.text(&format!("_dmarc.{domain}"), "v=DMARC1; p=reject");
        names.text(domain, "v=spf1 ip4:192.0.2.0/24 -all");
        Self { domain: domain.to_owned(), key }
    }

    /// The mail with a signature over these fields.
    pub(crate) fn sign(&self, mail: &str, fields: &[&str]) -> String {
        self.sign_with(mail, fields, false)
    }

    /// The mail with a signature over a part of its body only.
    pub(crate) fn sign_part(&self, mail: &str, fields: &[&str]) -> String {
        self.sign_with(mail, fields, true)
    }

    /// The mail in an ARC set of ours: what we say of it, and a seal over the sets that it has.
    pub(crate) async fn seal(&self, resolver: &MessageAuthenticator, mail: &str, results: &str) -> String {
        let key = Ed25519Key::from_pkcs8_der(&self.key).unwrap();
        let sealer = ArcSealer::from_key(key).domain(&self.domain).selector("s1").headers(SEALED.iter().copied());
        let message = AuthenticatedMessage::parse(mail.as_bytes()).unwrap();
        let before = resolver.verify_arc(&message).await;
        // The library writes what follows the name as it is.
        let results = AuthenticationResults::new(results);
        let set = sealer.seal(&message, &results, &before).unwrap();
        format!("{}{mail}", set.to_header())
    }

    fn sign_with(&self, mail: &str, fields: &[&str], part: bool) -> String {
        let key = Ed25519Key::from_pkcs8_der(&self.key).unwrap();
        let signer = DkimSigner::from_key(key).domain(&self.domain).selector("s1").headers(fields.iter().copied());
        let signature = signer.body_length(part).sign(mail.as_bytes()).unwrap();
        format!("{}{mail}", signature.to_header())
    }
}
