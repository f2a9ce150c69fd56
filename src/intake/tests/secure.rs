//! TLS and logins over real sockets, with certificates of their own for each test.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::Command;

use async_trait::async_trait;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use smtp::{Credentials, Mechanism, Verifier};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::config::SmtpTlsConfig;
use crate::intake::accounts::{Identity, LoginError};
use crate::senders::Policy;

/// A folder of certificates, as `tools/make-certificates` makes them.
pub(super) fn certificates() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/make-certificates");
    let made = Command::new(tool).arg(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder
}

pub(super) fn files(folder: &TempDir, name: &str) -> (PathBuf, PathBuf) {
    (folder.path().join(format!("{name}.pem")), folder.path().join(format!("{name}.key.pem")))
}

async fn gateway(
    folder: &TempDir,
    accounts: Option<Arc<dyn Accounts>>,
    change: impl FnOnce(&mut IntakeSettings),
) -> Gateway {
    let (cert, key) = files(folder, "server");
    let client_ca = Some(folder.path().join("authority.pem"));
    let change = |settings: &mut IntakeSettings| {
        settings.smtp.tls = Some(SmtpTlsConfig { cert, key, client_ca });
        settings.smtp.listen_tls = vec![([127, 0, 0, 1], 0).into()];
        settings.timeouts.tarpit = Duration::ZERO;
        change(settings);
    };
    Gateway::start_for(accounts, change, no_floor()).await
}

/// A client of this version of TLS, with one of the certificates or none.
pub(super) fn connector(
    folder: &TempDir,
    certificate: Option<&str>,
    version: &'static rustls::SupportedProtocolVersion,
) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.path().join("authority.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let config = match certificate {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let (cert, key) = files(folder, name);
            let (cert, key) =
                (CertificateDer::from_pem_file(cert).unwrap(), PrivateKeyDer::from_pem_file(key).unwrap());
            builder.with_client_auth_cert(vec![cert], key).unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

async fn within_tls(connector: &TlsConnector, stream: TcpStream) -> Client<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    Client::new(connector.connect(name, stream).await.unwrap())
}

/// STARTTLS, then EHLO.
pub(super) async fn starttls(gateway: &Gateway, connector: &TlsConnector) -> Client<TlsStream<TcpStream>> {
    let mut client = gateway.client().await;
    assert!(client.say("EHLO client.test").await.contains("250-STARTTLS"));
    assert_eq!(client.say("STARTTLS").await, "220 2.0.0 ready for TLS");
    assert!(client.unread.is_empty());
    let mut client = within_tls(connector, client.stream).await;
    assert!(!client.say("EHLO client.test").await.contains("STARTTLS"), "T1: not offered within TLS");
    client
}

async fn trace(gateway: &Gateway) -> String {
    let message = gateway.store.message(gateway.faxes().await[0].fax.message).await.unwrap();
    let raw = String::from_utf8(gateway.intake.documents.get(&message.raw).await.unwrap()).unwrap();
    raw.split("\r\n").nth(1).unwrap().trim().to_owned()
}

#[tokio::test]
async fn t1_a_mail_comes_after_starttls_and_its_trace_says_so() {
    let folder = certificates();
    let gateway = gateway(&folder, None, |_| {}).await;
    let mut client = starttls(&gateway, &connector(&folder, None, &rustls::version::TLS13)).await;
    let reply = client.send(&["0441234567@fax.test"], &mail("tls", "", "text")).await;
    assert!(reply.starts_with("250 2.0.0 accepted"), "{reply}");
    let trace = trace(&gateway).await;
    assert!(trace.starts_with("by fax.test with ESMTPS (TLS1.3 TLS13_"), "S16: {trace}");
}

#[tokio::test]
async fn t2_a_mail_comes_where_tls_is_first_with_its_older_version_too() {
    let folder = certificates();
    let gateway = gateway(&folder, None, |_| {}).await;
    let stream = TcpStream::connect(gateway.address_tls.unwrap()).await.unwrap();
    let mut client = within_tls(&connector(&folder, None, &rustls::version::TLS12), stream).await;
    assert_eq!(client.reply().await, "220 fax.test ESMTP ready");
    // Larger than one record of TLS and than one read.
    let text = "a line of text\r\n".repeat(10_000);
    let reply = client.send(&["0441234567@fax.test"], &mail("tls12", "", &text)).await;
    assert!(reply.starts_with("250 2.0.0 accepted"), "{reply}");
    let trace = trace(&gateway).await;
    assert!(trace.starts_with("by fax.test with ESMTPS (TLS1.2 TLS_ECDHE_"), "S16: {trace}");
}

#[tokio::test]
async fn t1_what_comes_with_starttls_ends_the_session() {
    let folder = certificates();
    let gateway = gateway(&folder, None, |_| {}).await;
    let mut client = gateway.client().await;
    client.say("EHLO client.test").await;
    let reply = client.say("STARTTLS\r\nRSET\r\nMAIL FROM:<anna@example.com>").await;
    assert!(reply.starts_with("554 5.5.1 octets follow STARTTLS in the clear"), "{reply}");
    assert_eq!(client.reply().await, "closed");
}

#[tokio::test]
async fn t1_a_handshake_that_is_none_ends_the_connection() {
    let folder = certificates();
    let gateway = gateway(&folder, None, |_| {}).await;
    let mut client = gateway.client().await;
    client.say("STARTTLS").await;
    client.write(b"EHLO client.test\r\n").await;
    // Perhaps an alert comes before the end; never a reply.
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(LIMIT, client.stream.read_to_end(&mut rest)).await.expect("an end in time");
    assert!(!rest.starts_with(b"2") && !rest.starts_with(b"5"), "{rest:?}");
}

#[tokio::test]
async fn t4_a_client_certificate_opens_the_door_or_is_refused_with_words() {
    let folder = certificates();
    let only = |settings: &mut IntakeSettings| {
        settings.smtp.relay = Vec::new();
        settings.smtp.relay_certificates = vec!["client.example.com".into()];
    };
    let gateway = gateway(&folder, None, only).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (certificate, expected) in [
            (Some("client"), "250 2.1.0 sender accepted"),
            (Some("other"), "550 5.7.1 the client certificate of other.example.com may not send faxes here"),
            (Some("foreign"), "550 5.7.1 the client certificate is not accepted: "),
            (None, "550 5.7.1 127.0.0.1 may not send faxes here"),
        ] {
            let mut client = starttls(&gateway, &connector(&folder, certificate, version)).await;
            let reply = client.say("MAIL FROM:<anna@example.com>").await;
            assert!(reply.starts_with(expected), "{certificate:?}: {reply}");
        }
    }
}

#[tokio::test]
async fn t4_a_certificate_that_is_over_is_refused_with_words() {
    let folder = certificates();
    let files = SmtpTlsConfig {
        cert: files(&folder, "server").0,
        key: files(&folder, "server").1,
        client_ca: Some(folder.path().join("authority.pem")),
    };
    let tls = Tls::open(files).unwrap();
    let tomorrow = SystemClock.now().plus(Duration::from_secs(86_400));
    for (certificate, good) in [("client", true), ("over", false)] {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let connector = connector(&folder, Some(certificate), &rustls::version::TLS13);
        let name = ServerName::try_from("localhost").unwrap();
        let (server, _client) = tokio::join!(tls.acceptor().accept(near), connector.connect(name, far));
        let presented = tls.identify(server.unwrap().get_ref().1, tomorrow);
        match presented {
            tls::Presented::Good(found) => assert!(good && found.names == ["client.example.com"], "{found:?}"),
            tls::Presented::Bad(why) => assert!(!good && why.to_lowercase().contains("expired"), "{why}"),
            tls::Presented::Nothing => panic!("{certificate}: nothing was shown"),
        }
    }
}

#[tokio::test]
async fn t5_a_renewed_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let folder = certificates();
    let gateway = gateway(&folder, None, |_| {}).await;
    let connector = connector(&folder, None, &rustls::version::TLS13);
    let mut old = starttls(&gateway, &connector).await;
    let shown = |client: &Client<TlsStream<TcpStream>>| {
        client.stream.get_ref().1.peer_certificates().unwrap()[0].as_ref().to_vec()
    };
    let renewed = CertificateDer::from_pem_file(files(&folder, "renewed").0).unwrap();
    assert_ne!(shown(&old), renewed.as_ref());
    let tls = gateway.intake.tls.clone().unwrap();
    assert!(!tls.reload().unwrap(), "nothing has changed");
    // The renewal is half done: certificate and key do not fit.
    std::fs::copy(files(&folder, "renewed").0, files(&folder, "server").0).unwrap();
    assert!(tls.reload().is_err());
    assert_ne!(shown(&starttls(&gateway, &connector).await), renewed.as_ref());
    std::fs::copy(files(&folder, "renewed").1, files(&folder, "server").1).unwrap();
    assert!(tls.reload().unwrap());
    assert_eq!(shown(&starttls(&gateway, &connector).await), renewed.as_ref());
    assert_eq!(old.say("NOOP").await, "250 2.0.0 here", "who was connected stays so");
}

/// One account; `down` finds them away.
struct One;

#[async_trait]
impl Accounts for One {
    fn mechanisms(&self) -> Vec<Mechanism> {
        Mechanism::ALL.to_vec()
    }

    async fn check(&self, credentials: &Credentials, _client: IpAddr) -> Result<Identity, LoginError> {
        let right = match credentials {
            Credentials::Password { user, .. } if user == "down" => {
                return Err(LoginError::Away("the store is away".into()));
            }
            Credentials::Password { user, password, .. } => user == "copier" && password.reveal() == "secret",
            Credentials::Proved { user, .. } => user == "copier",
            Credentials::Token { token, .. } => token.reveal() == "good",
            Credentials::Disproved { .. } => false,
        };
        let identity = Identity {
            name: "copier".into(),
            policy: Policy { from: vec!["copier@example.com".into()], ..Policy::default() },
        };
        if right { Ok(identity) } else { Err(LoginError::Wrong) }
    }

    async fn verifier(&self, _user: &str, _client: IpAddr) -> Result<Verifier, LoginError> {
        let iterations = NonZeroU32::new(4096).expect("it is not zero");
        Ok(Verifier::derive("secret", &[1; 16], iterations, "a-nonce-of-the-test"))
    }
}

fn plain(user: &str, password: &str) -> String {
    format!("AUTH PLAIN {}", data_encoding::BASE64.encode(format!("\0{user}\0{password}").as_bytes()))
}

#[tokio::test]
async fn t2_a_login_opens_the_door_for_the_addresses_of_its_account() {
    let folder = certificates();
    let gateway = gateway(&folder, Some(Arc::new(One)), |settings| settings.smtp.relay = Vec::new()).await;
    let connector = connector(&folder, None, &rustls::version::TLS13);
    let mut clear = gateway.client().await;
    assert!(!clear.say("EHLO client.test").await.contains("AUTH"), "T2: never offered without TLS");
    assert!(clear.say(&plain("copier", "secret")).await.starts_with("538 5.7.11"));

    let mut client = starttls(&gateway, &connector).await;
    let reply = client.say("MAIL FROM:<copier@example.com>").await;
    assert!(reply.starts_with("530 5.7.0 127.0.0.1 may not send faxes here without a login"), "{reply}");
    assert!(reply.ends_with("(login-required)"), "{reply}");
    assert_eq!(client.say(&plain("copier", "secret")).await, "235 2.7.0 logged in");
    let reply = client.say("MAIL FROM:<ceo@example.com>").await;
    assert!(reply.starts_with("553 5.7.1 \"ceo@example.com\" may not be used by this account"), "S18: {reply}");
    client.say("EHLO client.test").await;
    client.say("MAIL FROM:<copier@example.com>").await;
    client.say("RCPT TO:<0441234567@fax.test>").await;
    client.say("DATA").await;
    client.write(mail("login", "", "text").replace("anna@", "copier@").as_bytes()).await;
    assert!(client.say(".").await.starts_with("250 2.0.0 accepted"));
    assert!(trace(&gateway).await.starts_with("by fax.test with ESMTPSA (TLS1.3 "));
}

#[tokio::test]
async fn t2_a_login_that_fails_says_the_same_whatever_was_wrong() {
    let folder = certificates();
    let gateway = gateway(&folder, Some(Arc::new(One)), |settings| settings.smtp.relay = Vec::new()).await;
    let connector = connector(&folder, None, &rustls::version::TLS13);
    let mut client = starttls(&gateway, &connector).await;
    let wrong = client.say(&plain("copier", "guess")).await;
    assert!(wrong.starts_with("535 5.7.8 the login failed"), "{wrong}");
    assert_eq!(client.say(&plain("nobody", "guess")).await, wrong);
    let away = client.say(&plain("down", "x")).await;
    assert!(away.starts_with("454 4.7.0 ") && away.ends_with("(store-unavailable)"), "{away}");
    assert_eq!(client.say(&plain("copier", "guess")).await, wrong);
    assert!(client.reply().await.starts_with("421 4.7.0 too many failed logins"));
    assert_eq!(gateway.intake.refusals()[&("login", "final")], 3);
}

#[tokio::test]
async fn s12_who_logs_in_stands_in_no_strangers_way() {
    let folder = certificates();
    let gateway = gateway(&folder, Some(Arc::new(One)), |settings| {
        settings.smtp.relay = Vec::new();
        settings.smtp.max_connections = 4;
    })
    .await;
    let connector = connector(&folder, None, &rustls::version::TLS13);
    let mut known = starttls(&gateway, &connector).await;
    let turned_away = async || Client::new(TcpStream::connect(gateway.address).await.unwrap()).reply().await;
    assert!(turned_away().await.starts_with("421 4.3.2"), "strangers have one place of four");
    assert!(known.say(&plain("copier", "secret")).await.starts_with("235"));
    let _stranger = gateway.client().await;
    assert!(turned_away().await.starts_with("421 4.3.2"));
    assert!(known.say("MAIL FROM:<copier@example.com>").await.starts_with("250"));
}

#[tokio::test]
async fn p3_a_login_is_the_proxys_and_not_the_clients_that_it_names() {
    let folder = certificates();
    let gateway = gateway(&folder, Some(Arc::new(One)), |settings| {
        settings.smtp.relay = Vec::new();
        settings.smtp.xclient_from = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let mut proxy = starttls(&gateway, &connector(&folder, None, &rustls::version::TLS13)).await;
    assert!(proxy.say(&plain("copier", "secret")).await.starts_with("235"));
    assert!(proxy.say("XCLIENT ADDR=192.0.2.7").await.starts_with("220"));
    proxy.say("EHLO client.test").await;
    let reply = proxy.say("MAIL FROM:<copier@example.com>").await;
    assert!(reply.starts_with("530 5.7.0 192.0.2.7 "), "{reply}");
    assert!(proxy.say(&plain("copier", "secret")).await.starts_with("235"), "the client logs in itself");
}

#[tokio::test]
async fn t5_a_renewal_is_noticed_while_mails_come() {
    let folder = certificates();
    let gateway = gateway(&folder, None, |s| s.timeouts.certificate = Duration::from_millis(50)).await;
    let connector = connector(&folder, None, &rustls::version::TLS13);
    let renewed = CertificateDer::from_pem_file(files(&folder, "renewed").0).unwrap();
    let (new, old) = (files(&folder, "renewed"), files(&folder, "server"));
    std::fs::copy(new.0, old.0).unwrap();
    std::fs::copy(new.1, old.1).unwrap();
    let noticed = async {
        for count in 0_u32.. {
            let mut client = starttls(&gateway, &connector).await;
            let shown = client.stream.get_ref().1.peer_certificates().unwrap()[0].as_ref() == renewed.as_ref();
            client.say("MAIL FROM:<anna@example.com>").await;
            client.say("RCPT TO:<0441234567@fax.test>").await;
            client.say("DATA").await;
            client.write(mail(&format!("renew-{count}"), "", "text").as_bytes()).await;
            assert!(client.say(".").await.starts_with("250 2.0.0 accepted"));
            if shown {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, noticed).await.expect("the new certificate is shown");
}
