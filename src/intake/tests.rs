//! Intake over real sockets, with the real store and documents in a folder of the test.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::forbidden::DoNotFax;
use crate::config::{FormatsConfig, RenderSandbox, RetryConfig, RetryRule, T38Config};
use crate::documents::DocumentsSettings;
use crate::domain::{BodyPlace, Cause, Paper, Quality, SystemClock, Timestamp};
use crate::mail::bounce::BounceKey;
use crate::mail::mime::{Attachment, Body, Mailbox};
use crate::senders::Senders;
use crate::senders::authenticity::Authenticator;
use crate::store::{FaxFilter, FaxSummary};
use crate::store::{SqlStore, SqliteSettings, testing};

const LIMIT: Duration = Duration::from_secs(20);

mod dialogues;
mod extensions;
mod listener;
mod secure;
mod services;
mod stranger;

/// A gateway on loopback.
struct Gateway {
    intake: Arc<Intake>,
    store: Arc<SqlStore>,
    address: SocketAddr,
    /// Where TLS comes first, when the settings say so.
    address_tls: Option<SocketAddr>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    folder: TempDir,
}

impl Gateway {
    async fn start() -> Self {
        Self::start_with(|_| {}, no_floor()).await
    }

    async fn start_with(change: impl FnOnce(&mut IntakeSettings), documents: DocumentsSettings) -> Self {
        Self::start_for(None, change, documents).await
    }

    /// With real files, a real store and everything that says who may submit.
    async fn start_guarded(
        accounts: Arc<dyn Accounts>,
        authenticator: Authenticator,
        change: impl FnOnce(&mut IntakeSettings),
    ) -> Self {
        let documents = no_floor();
        Self::start_with_all(Some(accounts), Some(Arc::new(authenticator)), change, documents).await
    }

    async fn start_for(
        accounts: Option<Arc<dyn Accounts>>,
        change: impl FnOnce(&mut IntakeSettings),
        documents: DocumentsSettings,
    ) -> Self {
        Self::start_with_all(accounts, None, change, documents).await
    }

    async fn start_with_all(
        accounts: Option<Arc<dyn Accounts>>,
        authenticator: Option<Arc<Authenticator>>,
        change: impl FnOnce(&mut IntakeSettings),
        documents: DocumentsSettings,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store =
            SqlStore::open_sqlite(folder.path().join("faxwell.db"), Arc::clone(&clock), SqliteSettings::default());
        let store = Arc::new(store.await.unwrap());
        let mut settings = settings(folder.path());
        change(&mut settings);
        let shared: Arc<dyn Store> = Arc::<SqlStore>::clone(&store);
        let documents = Documents::open(folder.path().join("documents"), Arc::clone(&shared), documents).unwrap();
        let refusal =
            |media: &str, _: &str, _: &[u8]| (media == "application/x-msdownload").then(|| "a program".to_owned());
        let readers = Readers { read_mail, refusal: Arc::new(refusal) };
        let tls = settings.smtp.tls.clone().map(|files| Arc::new(Tls::open(files).unwrap()));
        let mut intake =
            Intake::new(settings, shared, Arc::new(documents), clock, readers, returns(), Arc::new(Notify::new()))
                .unwrap();
        (intake.tls, intake.accounts, intake.authenticator) = (tls, accounts, authenticator);
        let intake = Arc::new(intake);
        let listeners = bind(&intake.settings.smtp).await.unwrap();
        let (address, address_tls) = (listeners[0].local_addr(), listeners.get(1).map(Entrance::local_addr));
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(Arc::clone(&intake), listeners, shutdown.clone()));
        Self { intake, store, address, address_tls, shutdown, task, folder }
    }

    async fn client(&self) -> Client {
        let mut client = Client::new(TcpStream::connect(self.address).await.unwrap());
        assert_eq!(client.reply().await, "220 fax.test ESMTP ready");
        client
    }

    async fn faxes(&self) -> Vec<FaxSummary> {
        self.store.faxes(&FaxFilter::default()).await.unwrap()
    }
}

/// Documents that take no notice of how full the disk of the test is.
fn no_floor() -> DocumentsSettings {
    DocumentsSettings { free_bytes_min: 0, ..DocumentsSettings::default() }
}

fn returns() -> ReturnPaths {
    ReturnPaths::new(BounceKey::new([7; 32]), "fax.test")
}

struct Client<S = TcpStream> {
    stream: S,
    unread: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn new(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    async fn write(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
    }

    /// The next reply, lines joined by ` | `.
    async fn reply(&mut self) -> String {
        tokio::time::timeout(LIMIT, self.read_reply()).await.expect("a reply in time").unwrap()
    }

    async fn read_reply(&mut self) -> io::Result<String> {
        let mut lines = Vec::new();
        loop {
            if let Some(end) = self.unread.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                let line = String::from_utf8_lossy(&line[..end]).into_owned();
                let last = line.as_bytes().get(3) != Some(&b'-');
                lines.push(line);
                if last {
                    return Ok(lines.join(" | "));
                }
                continue;
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).await? {
                0 => return Ok("closed".to_owned()),
                count => self.unread.extend_from_slice(&buffer[..count]),
            }
        }
    }

    async fn say(&mut self, line: &str) -> String {
        self.write(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// A whole transaction; answers the last reply.
    async fn send(&mut self, to: &[&str], content: &str) -> String {
        self.say("EHLO client.test").await;
        assert!(self.say("MAIL FROM:<anna@example.com>").await.starts_with("250 2.1.0"));
        for to in to {
            let reply = self.say(&format!("RCPT TO:<{to}>")).await;
            assert!(reply.starts_with("250 2.1.5"), "{to}: {reply}");
        }
        assert!(self.say("DATA").await.starts_with("354"));
        self.write(content.as_bytes()).await;
        self.say("\r\n.").await
    }
}

fn settings(folder: &Path) -> IntakeSettings {
    let rule = RetryRule { times: 3, wait: Duration::from_secs(300) };
    let sandbox = SipConfig {
        server: "127.0.0.1".into(),
        bind: ([127, 0, 0, 1], 0).into(),
        accept_from: vec![],
        user: None,
        password: None,
        number: "+99900000".into(),
        channels: 1,
        calls_per_minute: None,
        t38: T38Config {
            remember: Duration::ZERO,
            enabled: true,
            ecm: true,
            max_rate_bps: 14_400,
            version: 0,
            fallback_g711: true,
            reinvite_after: None,
        },
        sandbox: true,
        pace: foip::call::Pace::RealTime,
        ring_timeout: Duration::from_secs(60),
    };
    IntakeSettings {
        address: AddressRules { domain: "fax.test".into(), country: Some("CH".into()) },
        reports: NotifyOn::default(),
        instead: Instead { mailboxes: vec!["office@example.com".into()], domain: "fax.test".into() },
        min_copies: 0,
        smtp: SmtpConfig {
            listen: vec![([127, 0, 0, 1], 0).into()],
            relay: vec!["127.0.0.0/8".parse().unwrap()],
            listen_tls: Vec::new(),
            tls: None,
            relay_certificates: Vec::new(),
            xclient_from: Vec::new(),
            proxy_protocol_from: Vec::new(),
            senders: Vec::new(),
            max_size_bytes: 1_000_000,
            max_recipients: 100,
            max_connections: 20,
            max_connections_per_client: 20,
            max_mails_per_minute: None,
        },
        senders: Senders::default(),
        dial: DialConfig {
            country: Some("CH".into()),
            allow: vec!["+41".into()],
            deny: vec!["+41900".into()],
            premium: false,
            do_not_fax: DoNotFax::default(),
            calls_per_minute: None,
            retry: RetryConfig { busy: rule, no_answer: rule, other: rule, give_up: Duration::from_secs(86_400) },
            routes: BTreeMap::new(),
        },
        sip: [("sandbox".to_owned(), sandbox)].into(),
        render: RenderConfig {
            paper: Paper::A4,
            quality: Quality::Fine,
            cover: Some("plain".into()),
            covers: None,
            sandbox: RenderSandbox::Required,
            body: BodyPlace::Cover,
            max_pages: 100,
            timeout: Duration::from_secs(60),
            memory_bytes: 1 << 30,
            workers: 1,
            formats: FormatsConfig::default(),
        },
        covers: vec!["plain".into()],
        spool: folder.join("spool"),
        timeouts: Timeouts::default(),
    }
}

/// A small reader: intake is tested here, not MIME.
fn read_mail(raw: &[u8]) -> Result<Mail, MimeError> {
    use mailparse::MailHeaderMap as _;
    let refuse = |cause, detail: &str| MimeError { cause, detail: detail.to_owned() };
    if raw.windows(10).filter(|w| w.eq_ignore_ascii_case(b"multipart/")).count() > 50 {
        return Err(refuse(Cause::DocumentUnsupported, "the mail is nested more than 50 deep; send its parts flat"));
    }
    assert!(!raw.windows(5).any(|w| w == b"PANIC"), "a reader that fails");
    let parsed = mailparse::parse_mail(raw).map_err(|_| refuse(Cause::DocumentDamaged, "the mail cannot be read"))?;
    let field = |name: &str| parsed.headers.get_first_value(name);
    let mut mail = Mail {
        subject: field("Subject").unwrap_or_default(),
        automatic: field("Auto-Submitted").is_some(),
        machine: field("Auto-Submitted").map(|value| match value.as_str() {
            "auto-replied" => crate::mail::mime::Machine::Answer,
            _ => crate::mail::mime::Machine::Program,
        }),
        importance: field("Importance").map_or(0, |value| if value == "high" { 1 } else { -1 }),
        sent_offset_s: field("Date").and(Some(3600)),
        message_id: field("Message-ID").map(|id| id.trim_matches(['<', '>']).to_owned()),
        received_count: parsed.headers.get_all_values("Received").len(),
        ..Mail::default()
    };
    for header in parsed.headers.iter().filter(|h| h.get_key().to_ascii_lowercase().starts_with("x-fax-")) {
        mail.fax_fields.push((header.get_key().to_ascii_lowercase(), header.get_value()));
    }
    let from = field("From").and_then(|from| mailparse::addrparse(&from).ok()?.extract_single_info());
    mail.from = from.map(|from| Mailbox { name: from.display_name, address: from.addr });
    if let Some(list) = field("To").and_then(|to| mailparse::addrparse(&to).ok()) {
        for single in list.iter() {
            if let mailparse::MailAddr::Single(single) = single {
                mail.to.push(Mailbox { name: single.display_name.clone(), address: single.addr.clone() });
            }
        }
    }
    for part in parsed.parts().filter(|part| part.subparts.is_empty()) {
        let disposition = part.get_content_disposition();
        match disposition.params.get("filename") {
            Some(name) => mail.attachments.push(Attachment {
                name: name.clone(),
                media: part.ctype.mimetype.clone(),
                charset: None,
                bytes: part.get_body_raw().unwrap_or_default(),
            }),
            None => mail.body = Some(Body::Plain(part.get_body().unwrap_or_default())),
        }
    }
    Ok(mail)
}

fn mail(id: &str, fields: &str, text: &str) -> String {
    let id = if id.is_empty() { String::new() } else { format!("Message-ID: <{id}@client.test>\r\n") };
    format!("From: anna@example.com\r\n{id}{fields}\r\n{text}\r\n")
}

fn with_file(id: &str, name: &str, media: &str) -> String {
    let fields = "Content-Type: multipart/mixed; boundary=b\r\n";
    let file = format!("Content-Type: {media}\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\r\nbytes");
    mail(id, fields, &format!("--b\r\n\r\ntext\r\n--b\r\n{file}\r\n--b--"))
}

#[tokio::test]
async fn an_accepted_mail_is_stored_with_all_that_was_said() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client().await;
    client.say("EHLO client.test").await;
    client.say("MAIL FROM:<anna@example.com> RET=HDRS ENVID=QQ1 SIZE=500").await;
    let first = "RCPT TO:<FAX=+41441234567/T33S=12@fax.test> NOTIFY=FAILURE ORCPT=rfc822;x@y";
    assert_eq!(client.say(first).await, "250 2.1.5 fax to +41441234567");
    assert_eq!(client.say("RCPT TO:<0441234568@fax.test>").await, "250 2.1.5 fax to +41441234568");
    client.say("DATA").await;
    let fields =
        "Subject: Offer [fax: superfine, priority high]\r\nTo: \"Bea Muster, Acme AG\" <+41441234568@fax.test>\r\n";
    client.write(mail("m1", fields, "Hello\r\n..dots").as_bytes()).await;
    let reply = client.say(".").await;
    assert!(reply.starts_with("250 2.0.0 accepted as M-") && reply.ends_with(": 2 faxes, 0 attachments"), "{reply}");

    let mut faxes = gateway.faxes().await;
    faxes.sort_by(|a, b| a.fax.number.cmp(&b.fax.number));
    let (one, two) = (&faxes[0].fax, &faxes[1].fax);
    assert_eq!((one.recipient.as_str(), one.subaddress.as_deref()), ("FAX=+41441234567/T33S=12@fax.test", Some("12")));
    assert_eq!(one.original_recipient.as_deref(), Some("rfc822;x@y"));
    assert!(!one.notify.success && one.notify.failure && two.notify.success);
    assert_eq!((one.to_name.as_deref(), one.to_company.as_deref()), (None, None), "no other recipient's name");
    assert_eq!((two.to_name.as_deref(), two.to_company.as_deref()), (Some("Bea Muster"), Some("Acme AG")));
    assert_eq!(one.priority, 2);
    let message = gateway.store.message(one.message).await.unwrap();
    assert_eq!((message.subject.as_str(), message.options.quality), ("Offer", Quality::Superfine));
    assert_eq!((message.envid.as_deref(), message.header_message_id.as_deref()), (Some("QQ1"), Some("m1@client.test")));
    assert_eq!(message.client, "127.0.0.1 (client.test)");
    let raw = String::from_utf8(gateway.intake.documents.get(&message.raw).await.unwrap()).unwrap();
    assert!(raw.starts_with("Received: from client.test ([127.0.0.1])\r\n\tby fax.test with ESMTP id M-"), "{raw}");
    assert!(raw.ends_with("\r\n\r\nHello\r\n.dots\r\n"), "{raw}");
}

#[tokio::test]
async fn one_fax_is_told_by_its_own_id_and_attachments_are_counted() {
    let gateway = Gateway::start().await;
    let reply =
        gateway.client().await.send(&["+99910200@fax.test"], &with_file("a", "offer.pdf", "application/pdf")).await;
    assert!(reply.starts_with("250 2.0.0 accepted as F-") && reply.ends_with(": 1 fax, 1 attachment"), "{reply}");
    let id = gateway.faxes().await[0].fax.id.short().to_string();
    assert!(reply.contains(&id));
}

#[tokio::test]
async fn a28_three_spellings_of_one_number_are_one_fax_and_two_names_are_two() {
    let gateway = Gateway::start().await;
    let to =
        ["+41441234567@fax.test", "0441234567@fax.test", "FAX=+41-44-1234567@fax.test", "bea/+41441234567@fax.test"];
    let reply = gateway.client().await.send(&to, &mail("s", "", "x")).await;
    assert!(reply.contains(": 2 faxes, "), "{reply}");
    let recipients: Vec<String> = gateway.faxes().await.into_iter().map(|f| f.fax.recipient).collect();
    assert!(recipients.contains(&to[0].to_owned()) && recipients.contains(&to[3].to_owned()), "{recipients:?}");
}

#[tokio::test]
async fn s3_a_mail_that_comes_again_is_answered_with_the_first_id() {
    let gateway = Gateway::start().await;
    let first = gateway.client().await.send(&["+99910200@fax.test"], &mail("again", "", "x")).await;
    let id = first.split([' ', ':']).find(|word| word.starts_with("F-")).unwrap().to_owned();
    let second = gateway.client().await.send(&["+99910200@fax.test"], &mail("again", "", "x")).await;
    assert!(second.starts_with("250 2.0.0 accepted before") && second.ends_with("(duplicate-submission)"), "{second}");
    assert!(second.contains(&id), "{second} names {id}");
    // Another text, another recipient, or no Message-ID: another mail.
    for (to, content) in [
        ("+99910200@fax.test", mail("again", "", "y")),
        ("+99910486@fax.test", mail("again", "", "x")),
        ("+99910200@fax.test", mail("", "", "x")),
        ("+99910200@fax.test", mail("", "", "x")),
    ] {
        let reply = gateway.client().await.send(&[to], &content).await;
        assert!(reply.contains("1 fax"), "{reply}");
    }
    let key = "X-Fax-Idempotency-Key: k\r\n";
    gateway.client().await.send(&["+99910200@fax.test"], &mail("k1", key, "x")).await;
    let reply = gateway.client().await.send(&["+99910200@fax.test"], &mail("k2", key, "other")).await;
    assert!(reply.contains("(duplicate-submission)"), "{reply}");
    assert_eq!(gateway.faxes().await.len(), 6);
}

#[tokio::test]
async fn only_listed_networks_and_senders_may_submit() {
    let documents = DocumentsSettings::default();
    let nobody = Gateway::start_with(|s| s.smtp.relay = vec!["10.0.0.0/8".parse().unwrap()], documents).await;
    let mut client = nobody.client().await;
    client.say("EHLO a").await;
    let reply = client.say("MAIL FROM:<anna@example.com>").await;
    assert!(reply.starts_with("550 5.7.1 127.0.0.1 may not") && reply.ends_with("(sender-not-allowed)"), "{reply}");
    assert!(client.say("RCPT TO:<+99910200@fax.test>").await.starts_with("503 5.5.1"));

    let documents = DocumentsSettings::default();
    let some = Gateway::start_with(|s| s.smtp.senders = vec!["*@example.com".into()], documents).await;
    let mut client = some.client().await;
    client.say("EHLO a").await;
    assert!(client.say("MAIL FROM:<eve@elsewhere.test>").await.contains("(sender-not-allowed)"));
    // A null sender may bring a mail of ours back, and nothing else.
    assert!(client.say("MAIL FROM:<>").await.starts_with("250"));
    assert!(client.say("RCPT TO:<+41441234567@fax.test>").await.contains("(sender-not-allowed)"));
    client.say("RSET").await;
    assert!(client.say("MAIL FROM:<anna@example.com>").await.starts_with("250"));
}

#[tokio::test]
async fn recipients_that_cannot_be_dialled_are_refused_with_cause_and_fix() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client().await;
    client.say("EHLO client.test").await;
    client.say("MAIL FROM:<anna@example.com>").await;
    let product = "550 5.1.3 \"+41 44 12\" is too short for a Swiss fax number; use the full number, as in +41441234567@fax.test (number-invalid)";
    assert_eq!(client.say("RCPT TO:<\"+41 44 12\"@fax.test>").await, product);
    for (to, start, slug) in [
        ("+41 44 12@fax.test", "501 5.1.3", "protocol-error"),
        ("anna@fax.test", "550 5.1.3", "number-invalid"),
        ("FAX=9+12145551212@fax.test", "501 5.1.3", "number-invalid"),
        ("+99910200@other.test", "550 5.7.1", "relay-denied"),
        ("+493012345678@fax.test", "550 5.7.1", "number-not-allowed"),
        ("+41900123456@fax.test", "550 5.7.1", "number-not-allowed"),
        ("112@fax.test", "550 5.7.1", "number-not-allowed"),
        ("IMCEAFAX-+ZZ@fax.test", "501 5.1.3", "number-invalid"),
        ("postmaster@fax.test", "550 5.1.1", "number-invalid"),
    ] {
        let reply = client.say(&format!("RCPT TO:<{to}>")).await;
        assert!(reply.starts_with(start) && reply.ends_with(&format!("({slug})")), "{to}: {reply}");
    }
    assert!(client.say("DATA").await.starts_with("554 5.5.1"));
}

#[tokio::test]
async fn mails_that_cannot_become_a_fax_are_refused_after_their_content_and_leave_nothing() {
    let gateway = Gateway::start().await;
    let mut deep = String::from("From: a@b\r\n");
    for level in 0..1000 {
        deep.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"));
    }
    let many = "Received: from a by b; Sun, 22 Nov 2026 10:00:00 +0000\r\n".repeat(100);
    for (content, expected) in [
        (
            with_file("x", "setup.exe", "application/x-msdownload"),
            "554 5.6.1 attachment \"setup.exe\" cannot be turned into fax pages: a program",
        ),
        (mail("e", "Subject: nothing\r\n", "  \r\n"), "554 5.6.0 the mail has neither text nor an attachment"),
        (
            mail("d", "Subject: [fax: body drop]\r\n", "x"),
            "554 5.6.0 the mail has no attachment and its text is to be dropped",
        ),
        (
            mail("u", "Subject: x [fax: suprefine]\r\n", "x"),
            "554 5.6.0 \"suprefine\" is not a fax directive; did you mean superfine? Use standard",
        ),
        (mail("h", "X-Fax-At: 18:00\r\n", "x"), "554 5.6.0 the mail has no Date with a zone"),
        (mail("h", "X-Fax-Colour: red\r\n", "x"), "554 5.6.0 \"x-fax-colour: red\" is not a field"),
        (mail("l", &many, "x"), "554 5.4.6 the mail came through"),
        (mail("p", "", "PANIC"), "554 5.6.5 the mail cannot be read"),
        (mail("n", "", "a\nb"), "554 5.6.0 the mail has a bare LF"),
        (deep, "554 5.6.1 the mail is nested"),
    ] {
        let reply = gateway.client().await.send(&["+99910200@fax.test"], &content).await;
        assert!(reply.starts_with(expected), "{expected}: {reply}");
    }
    assert!(gateway.faxes().await.is_empty());
    let reply = gateway.client().await.send(&["+99910200@fax.test"], &mail("g", "", "good")).await;
    assert!(reply.starts_with("250"), "still works: {reply}");
}

#[tokio::test]
async fn s5_a_mail_over_the_limit_is_refused_and_the_connection_goes_on() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client().await;
    let reply = client.send(&["+99910200@fax.test"], &mail("big", "", &"x".repeat(1_000_001))).await;
    assert!(reply.starts_with("552 5.3.4") && reply.ends_with("(too-large)"), "{reply}");
    let reply = client.send(&["+99910200@fax.test"], &mail("ok", "", &"y\r\n".repeat(300_000))).await;
    assert!(reply.starts_with("250"), "a mail larger than memory's share is spooled: {reply}");
}

#[tokio::test]
async fn a29_ten_thousand_recipients_get_what_the_limit_allows() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client().await;
    client.say("EHLO a").await;
    client.say("MAIL FROM:<anna@example.com>").await;
    let mut accepted = 0;
    for block in 0..100 {
        let lines: String = (0..100).map(|n| format!("RCPT TO:<+9995{block:03}{n:03}@fax.test>\r\n")).collect();
        client.write(lines.as_bytes()).await;
        for _ in 0..100 {
            let reply = client.reply().await;
            accepted += usize::from(reply.starts_with("250"));
            assert!(reply.starts_with("250") || reply.starts_with("452 4.5.3"), "{reply}");
        }
    }
    assert_eq!(accepted, 100);
    client.say("DATA").await;
    client.write(mail("many", "", "x").as_bytes()).await;
    assert!(client.say(".").await.contains(": 100 faxes, "), "the first hundred are served");
}

#[tokio::test]
async fn s4_a_whole_dialogue_in_one_segment_is_answered_in_order() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client().await;
    let transaction = |n| {
        let content = mail(&format!("p{n}"), "", "x");
        format!("MAIL FROM:<a@b>\r\nRCPT TO:<+99910200@fax.test>\r\nRCPT TO:<bad@fax.test>\r\nDATA\r\n{content}.\r\n")
    };
    client.write(format!("HELO a\r\n{}{}QUIT\r\n", transaction(1), transaction(2)).as_bytes()).await;
    let mut codes = Vec::new();
    for _ in 0..12 {
        codes.push(client.reply().await[..3].to_owned());
    }
    assert_eq!(codes, ["250", "250", "250", "550", "354", "250", "250", "250", "550", "354", "250", "221"]);
    assert_eq!(client.reply().await, "closed");
}

#[tokio::test]
async fn s14_without_store_or_documents_nothing_is_accepted() {
    let full = DocumentsSettings { free_bytes_min: u64::MAX / 2, ..DocumentsSettings::default() };
    let gateway = Gateway::start_with(|_| {}, full).await;
    let content = mail("f", "", &"long text\r\n".repeat(3000));
    let reply = gateway.client().await.send(&["+99910200@fax.test"], &content).await;
    assert!(reply.starts_with("452 4.3.1") && reply.ends_with("(store-unavailable)"), "{reply}");
    assert!(gateway.faxes().await.is_empty());

    let gateway = Gateway::start().await;
    let mut late = gateway.client().await;
    late.say("EHLO a").await;
    late.say("MAIL FROM:<a@b>").await;
    late.say("RCPT TO:<+99910200@fax.test>").await;
    gateway.store.close().await;
    late.say("DATA").await;
    late.write(mail("c", "", "short").as_bytes()).await;
    let reply = late.say(".").await;
    assert!(reply.starts_with("451 4.3.0") && reply.ends_with("(store-unavailable)"), "{reply}");
    let mut client = gateway.client().await;
    client.say("EHLO a").await;
    let reply = client.say("MAIL FROM:<a@b>").await;
    assert!(reply.starts_with("451 4.3.0"), "before the content comes: {reply}");
}

#[tokio::test]
async fn s13_a_draining_node_ends_the_mail_under_way_and_begins_no_other() {
    let gateway = Gateway::start().await;
    let mut idle = gateway.client().await;
    let mut busy = gateway.client().await;
    busy.say("HELO a").await;
    busy.say("MAIL FROM:<a@b>").await;
    busy.say("RCPT TO:<+99910200@fax.test>").await;
    gateway.shutdown.cancel();
    assert!(idle.reply().await.starts_with("421 4.3.2"));
    assert_eq!(idle.reply().await, "closed");
    assert!(busy.say("DATA").await.starts_with("354"));
    busy.write(mail("drain", "", "x").as_bytes()).await;
    assert!(busy.say(".").await.starts_with("250 2.0.0 accepted as F-"));
    assert!(busy.reply().await.starts_with("421 4.3.2"));
    tokio::time::timeout(LIMIT, gateway.task).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn more_mails_that_end_at_once_than_there_are_places_all_get_their_answer() {
    let documents = no_floor();
    let clients = FINISHING_MAX * 5 / 2;
    let gateway = Gateway::start_with(
        |s| {
            s.smtp.max_connections = clients;
            s.smtp.max_connections_per_client = clients;
        },
        documents,
    )
    .await;
    let mut ready = Vec::new();
    for index in 0..clients {
        let mut client = gateway.client().await;
        client.say("EHLO client.test").await;
        client.say("MAIL FROM:<anna@example.com>").await;
        client.say("RCPT TO:<+41441234567@fax.test>").await;
        assert!(client.say("DATA").await.starts_with("354"));
        client.write(mail(&format!("mail-{index}"), "", "text").as_bytes()).await;
        ready.push(client);
    }
    for client in &mut ready {
        client.write(b"\r\n.\r\n").await;
    }
    for client in &mut ready {
        let reply = client.reply().await;
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
    }
}

#[tokio::test]
async fn commands_submit_by_the_same_rules() {
    let gateway = Gateway::start().await;
    let handed = |to: &str, name: &str, media: &str| {
        Handed {
        from: Some("anna@example.com".into()),
        recipients: vec![to.to_owned()],
        mail: format!(
            "From: anna@example.com\r\nSubject: Offer [fax: fine]\r\nX-Fax-Ref: 4711\r\nMIME-Version: 1.0\r\n\
             Content-Type: {media}; name=\"{name}\"\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\r\nx\r\n"
        )
        .into_bytes(),
        idempotency_key: None,
    }
    };
    let pdf = |to: &str| handed(to, "offer.pdf", "application/pdf");
    let accepted = submit_mail(&gateway.intake, "faxwell send", pdf("044 123 45 67")).await.unwrap();
    assert!(accepted.text().ends_with(": 1 fax, 1 attachment"), "{}", accepted.text());
    let message = gateway.store.message(accepted.message).await.unwrap();
    assert_eq!((message.subject.as_str(), message.options.reference.as_deref()), ("Offer", Some("4711")));
    for (handed, cause) in [
        (pdf("+41 44 12"), Cause::NumberInvalid),
        (pdf("+4930123456"), Cause::NumberNotAllowed),
        (handed("+99910200", "a.exe", "application/x-msdownload"), Cause::DocumentUnsupported),
        (Handed { idempotency_key: Some("a\r\nBcc: b".into()), ..pdf("+99910200") }, Cause::DirectiveUnknown),
        (Handed { recipients: Vec::new(), ..pdf("") }, Cause::TooManyRecipients),
        (Handed { mail: vec![b'x'; 2_000_000], ..pdf("+99910200") }, Cause::TooLarge),
    ] {
        assert_eq!(submit_mail(&gateway.intake, "t", handed).await.unwrap_err().cause, cause);
    }
}

#[test]
fn four_of_the_largest_mails_take_every_place_and_small_ones_take_one_each() {
    const MAX: u64 = 50_000_000;
    for (size_bytes, places) in [(0, 1), (2048, 1), (MAX / 32, 1), (MAX / 32 + 1, 2), (MAX / 2, 16), (MAX, 32)] {
        assert_eq!(places_for(size_bytes, MAX), places, "{size_bytes}");
    }
    assert_eq!((places_for(MAX * 9, MAX), places_for(1, 0)), (32, 32));
    assert_eq!(FINISHING_MAX as u64, LARGEST_AT_ONCE * u64::from(places_for(MAX, MAX)));
}

/// The subjects of everything that is stored.
async fn stored(gateway: &Gateway) -> Vec<String> {
    let mut subjects: Vec<String> = gateway.faxes().await.into_iter().map(|fax| fax.subject).collect();
    subjects.sort();
    subjects
}

#[tokio::test]
async fn mails_that_the_store_has_lost_are_stored_again_exactly_once_under_their_ids() {
    let gateway = Gateway::start().await;
    let (database, copy) = (gateway.folder.path().join("faxwell.db"), gateway.folder.path().join("copy"));
    let send = async |id: &str, size: usize| {
        let content = format!("Subject: {id}\r\n{}", mail(id, "", &"long text\r\n".repeat(size)));
        gateway.client().await.send(&["+99910200@fax.test"], &content).await
    };
    send("before", 1).await;
    testing::take_copy(&database, &copy).await;
    // The second is too large for the row: it lies in the documents.
    for (id, size) in [("small", 1), ("large", 4000)] {
        assert!(send(id, size).await.starts_with("250"));
    }
    let before = stored(&gateway).await;
    let mut ids: Vec<_> = gateway.faxes().await.into_iter().map(|fax| fax.fax.id).collect();
    ids.sort();
    testing::take_back_in_time(&database, &copy).await;
    assert_eq!(stored(&gateway).await.len(), 1, "the store has forgotten what it had confirmed");
    // One of them comes again before anybody has noticed.
    let reply = send("small", 1).await;
    assert!(reply.contains("accepted as"), "{reply}");

    assert_eq!(ring::restore(&gateway.intake, Instant::now()).await.unwrap(), 2);
    assert_eq!(stored(&gateway).await, before);
    assert_eq!(ring::restore(&gateway.intake, Instant::now()).await.unwrap(), 0);
    let again: Vec<_> = gateway.faxes().await.into_iter().map(|fax| fax.fax.id).collect();
    assert_eq!(again.iter().filter(|id| ids.contains(id)).count(), 2, "before and large have their ids");
    let large = gateway.faxes().await.into_iter().find(|fax| fax.subject == "large").unwrap().fax.message;
    let raw = gateway.store.message(large).await.unwrap().raw;
    assert!(gateway.intake.documents.get(&raw).await.unwrap().len() > 40_000);
}

#[tokio::test]
async fn a_store_that_was_away_is_asked_as_soon_as_it_takes_a_mail_again() {
    let gateway = Gateway::start().await;
    let (database, copy) = (gateway.folder.path().join("faxwell.db"), gateway.folder.path().join("copy"));
    testing::take_copy(&database, &copy).await;
    tokio::spawn(watch(Arc::clone(&gateway.intake), fastrand::Rng::with_seed(7), gateway.shutdown.clone()));
    let to = ["+99910200@fax.test"];
    gateway.client().await.send(&to, &mail("lost", "", "x")).await;
    gateway.intake.ring.store_away();
    testing::take_back_in_time(&database, &copy).await;
    gateway.client().await.send(&to, &mail("next", "", "x")).await;
    let both = async { while gateway.faxes().await.len() < 2 {} };
    tokio::time::timeout(LIMIT, both).await.expect("the lost mail is there again before half a minute is over");
}

#[tokio::test]
async fn a_lost_mail_whose_bytes_are_gone_too_is_stored_again_so_that_its_sender_is_told() {
    let gateway = Gateway::start().await;
    let (database, copy) = (gateway.folder.path().join("faxwell.db"), gateway.folder.path().join("copy"));
    testing::take_copy(&database, &copy).await;
    let content = mail("large", "", &"long text\r\n".repeat(4000));
    gateway.client().await.send(&["+99910200@fax.test"], &content).await;
    testing::take_back_in_time(&database, &copy).await;
    std::fs::remove_dir_all(gateway.folder.path().join("documents/sha256")).unwrap();
    assert_eq!(ring::restore(&gateway.intake, Instant::now()).await.unwrap(), 1);
    assert_eq!(gateway.faxes().await.len(), 1);
}

#[tokio::test]
async fn a_client_whose_reply_got_lost_sends_again_and_is_told_the_first_id() {
    let gateway = Gateway::start().await;
    let (to, content) = ("+99910200@fax.test", mail("cut", "", "x"));
    // RFC 1047: the connection breaks between the final dot and the 250.
    let mut client = gateway.client().await;
    for line in ["EHLO client.test", "MAIL FROM:<anna@example.com>", &format!("RCPT TO:<{to}>"), "DATA"] {
        client.say(line).await;
    }
    client.write(format!("{content}\r\n.\r\n").as_bytes()).await;
    drop(client);
    let stored = async { while gateway.faxes().await.is_empty() {} };
    tokio::time::timeout(LIMIT, stored).await.expect("a mail whose content is complete is accepted, whoever listens");
    let first = gateway.faxes().await[0].fax.id.short();
    let reply = gateway.client().await.send(&[to], &content).await;
    assert!(reply.contains(first.as_str()) && reply.ends_with("(duplicate-submission)"), "{reply} names {first}");
    assert_eq!(gateway.faxes().await.len(), 1);

    // A day later the same mail is a new one.
    let now = gateway.store.now().await.unwrap();
    assert_eq!(gateway.store.forget_idem_keys(now.plus(LIMIT), 100).await.unwrap(), 1);
    let reply = gateway.client().await.send(&[to], &content).await;
    assert!(reply.contains(": 1 fax"), "{reply}");
    assert_eq!(gateway.faxes().await.len(), 2);
}

/// A received fax whose mail to `sales@example.com` was taken; answers with its notice.
async fn delivered(gateway: &Gateway) -> (crate::domain::ReceivedFaxId, crate::domain::NoticeId) {
    use crate::domain::{ReceivedFaxId, ReceivedFormat};
    use crate::store::{NewNotice, NewReceived, ReceivedEnd, ReceivedPage, testing};
    let (store, owner, lease) = (&gateway.store, testing::owner("gw-a"), Duration::from_secs(60));
    let fax = NewReceived {
        id: ReceivedFaxId::new(),
        call_no: 1,
        line: "trunk1".into(),
        called_number: "+41440000001".into(),
        calling_number: None,
        remote_id: None,
        subaddress: None,
        transport: None,
    };
    let document = testing::document(b"page 1");
    let page = ReceivedPage {
        page: 1,
        document,
        width_px: 1728,
        height_px: 2292,
        rate_bps: 14_400,
        ecm: true,
        damaged_lines: 0,
    };
    let token = store.begin_received(&owner, fax.clone(), page, lease).await.unwrap();
    let notice = NewNotice::received(fax.id, "sales@example.com", ReceivedFormat::Pdf, "fax.test");
    let end = ReceivedEnd { complete: true, cause: None, detail: None, route: None, notices: vec![notice.clone()] };
    store.end_received(fax.id, token, end).await.unwrap();
    let work = store.claim_notices(&owner, 1, lease).await.unwrap().remove(0);
    store.notice_sent(notice.id, work.token, "mx1: 250 ok").await.unwrap();
    (fax.id, notice.id)
}

fn delivery_report(action: &str) -> String {
    format!(
        "Subject: Delivery report\r\nContent-Type: multipart/report; boundary=B\r\n\r\n--B\r\n\
         Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.test\r\n\r\n\
         Final-Recipient: rfc822; sales@example.com\r\nAction: {action}\r\nStatus: 5.1.1\r\n\
         Diagnostic-Code: smtp; 550 no such user\r\n\r\n--B--"
    )
}

#[tokio::test]
async fn a_mail_that_comes_back_from_anywhere_goes_to_the_default_mailboxes_and_is_no_fax() {
    use crate::domain::NoticeState;
    // Nobody may submit: what comes back needs no permission but its address.
    let nobody = |settings: &mut IntakeSettings| settings.smtp.relay.clear();
    let gateway = Gateway::start_with(nobody, no_floor()).await;
    let (fax, notice) = delivered(&gateway).await;
    let address = returns().address(notice, SystemClock.now()).unwrap();
    let mut client = gateway.client().await;
    client.say("EHLO mx.test").await;
    for (action, states) in [
        ("delayed", vec![NoticeState::Sent]),
        ("failed", vec![NoticeState::Bounced, NoticeState::Owed]),
        ("failed", vec![NoticeState::Bounced, NoticeState::Owed]),
    ] {
        assert!(client.say("MAIL FROM:<>").await.starts_with("250"));
        assert!(client.say(&format!("RCPT TO:<{}>", address.as_str())).await.starts_with("250 2.1.5"));
        assert!(client.say("DATA").await.starts_with("354"));
        client.write(delivery_report(action).as_bytes()).await;
        let reply = client.say("\r\n.").await;
        assert!(reply.starts_with("250 2.0.0 noted"), "{reply}");
        let mut found: Vec<_> = gateway.store.received(fax).await.unwrap().notices;
        found.sort_by_key(|notice| notice.state == NoticeState::Owed);
        assert_eq!(found.iter().map(|notice| notice.state).collect::<Vec<_>>(), states, "{action}");
        if let Some(owed) = found.get(1) {
            assert_eq!(owed.recipient.as_deref(), Some("office@example.com"));
            assert_eq!(found[0].detail.as_deref(), Some("5.1.1 smtp; 550 no such user"));
        }
    }
    assert!(gateway.faxes().await.is_empty(), "it never becomes a fax");
}

#[tokio::test]
async fn a_return_address_takes_nothing_else_and_opens_no_way_in() {
    let gateway = Gateway::start().await;
    let (_, notice) = delivered(&gateway).await;
    let now = SystemClock.now();
    let address = returns().address(notice, now).unwrap().as_str().to_owned();
    let old = returns().address(notice, Timestamp(now.0 - 15 * 86_400_000)).unwrap().as_str().to_owned();
    let forged = ReturnPaths::new(BounceKey::new([8; 32]), "fax.test").address(notice, now).unwrap();
    let mut client = gateway.client().await;
    client.say("EHLO mx.test").await;
    let fax = "+41441234567@fax.test";
    for (from, to, last) in [
        ("anna@example.com", vec![address.as_str()], "550 5.7.1"),
        ("", vec![old.as_str()], "550 5.1.1"),
        ("", vec![forged.as_str()], "550 5.1.1"),
        ("", vec!["bounce+x@fax.test"], "550 5.1.1"),
        ("", vec![address.as_str(), fax], "452 4.5.3"),
        ("", vec![fax], "550 5.7.1"),
        ("", vec![address.as_str(), address.as_str()], "250 2.1.5"),
    ] {
        client.say("RSET").await;
        assert!(client.say(&format!("MAIL FROM:<{from}>")).await.starts_with("250"));
        let mut reply = String::new();
        for to in &to {
            reply = client.say(&format!("RCPT TO:<{to}>")).await;
        }
        assert!(reply.starts_with(last), "{from} {to:?}: {reply}");
    }
    let nobody = |settings: &mut IntakeSettings| settings.smtp.relay.clear();
    let closed = Gateway::start_with(nobody, no_floor()).await;
    let mut client = closed.client().await;
    client.say("EHLO mx.test").await;
    assert!(client.say("MAIL FROM:<anna@example.com>").await.starts_with("550 5.7.1"), "a stranger");
    assert!(client.say("MAIL FROM:<>").await.starts_with("250"));
    let reply = client.say(&format!("RCPT TO:<{fax}>")).await;
    assert!(reply.starts_with("550 5.7.1") && reply.contains("smtp.relay"), "{reply}");
    assert!(client.say("DATA").await.starts_with('5'), "no recipient, no mail");
}

#[tokio::test]
async fn s14_nothing_is_accepted_while_fewer_servers_would_have_it_than_are_asked_for() {
    // One file cannot say that anybody else has it.
    let documents = no_floor();
    let gateway = Gateway::start_with(|settings| settings.min_copies = 1, documents).await;
    let mut client = gateway.client().await;
    client.say("EHLO a").await;
    let reply = client.say("MAIL FROM:<a@b>").await;
    assert!(reply.starts_with("451 4.3.0") && reply.ends_with("(store-unavailable)"), "{reply}");
}
