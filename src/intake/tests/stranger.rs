//! What strangers try, in one table: each ends in a refusal with its slug, and nothing is stored.

use data_encoding::BASE64;
use tokio_rustls::client::TlsStream;

use super::secure::{certificates, connector, files, starttls};
use super::*;
use crate::config::SmtpTlsConfig;
use crate::config::forbidden::DoNotFax;
use crate::config::senders::{AccountConfig, SenderConfig, SendersConfig};
use crate::senders::authenticity::testing::{NameServer, Signer};
use crate::senders::token::testing::{Issuer, claims, rules};
use crate::senders::{Fetch, Logins, Policy};

const ALL: &[&str] = &["From", "To", "Cc", "Subject", "Date", "Message-ID"];
const MAIL: &str = "MAIL FROM:<anna@example.com>";

struct Keys(Vec<u8>);

#[async_trait::async_trait]
impl Fetch for Keys {
    async fn fetch(&self) -> Result<Vec<u8>, String> {
        Ok(self.0.clone())
    }
}

/// A gateway that lets in one network, one certificate, one account and one signed domain; and what an attacker has.
struct Guarded {
    gateway: Gateway,
    signer: Signer,
    thief: Signer,
    issuer: Issuer,
    certificates: TempDir,
    _names: NameServer,
    _logins: testing::TestStore,
}

/// Who is let in by network.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    Trusted,
    Unknown,
}

impl Guarded {
    async fn start(network: Network) -> Self {
        let (names, certificates, logins_store) = (NameServer::start().await, certificates(), testing::sqlite().await);
        let (signer, thief) = (Signer::publish("example.com", &names), Signer::publish("evil.test", &names));
        let issuer = Issuer::new();
        let policy = Policy { from: vec!["anna@example.com".into()], allow: vec!["+4144".into()], ..Policy::default() };
        let account = AccountConfig { password: Some("correct horse".into()), policy };
        let sender = |proof: &str| SenderConfig { relay: vec![proof.parse().unwrap()], ..SenderConfig::default() };
        let config = SendersConfig {
            accounts: [("anna@example.com".to_owned(), account)].into(),
            senders: [
                ("dkim:example.com".to_owned(), sender("dkim:example.com")),
                ("sender:erp".to_owned(), sender("cert:client.example.com")),
            ]
            .into(),
            oauth2: Some(rules()),
            ..SendersConfig::default()
        };
        let keys: Arc<dyn Fetch> = Arc::new(Keys(issuer.jwks().to_string().into_bytes()));
        let store: Arc<dyn Store> = Arc::<SqlStore>::clone(&logins_store.store);
        let logins = Logins::open(&config, Some(keys), store, Arc::new(SystemClock)).await.unwrap();
        let authenticator = Authenticator::new("fax.test", &[names.address]).unwrap();
        let (cert, key) = files(&certificates, "server");
        let client_ca = Some(certificates.path().join("authority.pem"));
        let change = |settings: &mut IntakeSettings| {
            if network == Network::Unknown {
                settings.smtp.relay = vec!["10.0.5.0/24".parse().unwrap()];
            }
            settings.smtp.tls = Some(SmtpTlsConfig { cert, key, client_ca });
            settings.senders = Senders::new(&config);
            settings.timeouts.tarpit = Duration::ZERO;
            settings.dial.allow = vec!["+41".into(), "+1".into()];
            settings.dial.do_not_fax = DoNotFax::open(["+41441110000".to_owned()], None).unwrap();
        };
        let gateway = Gateway::start_guarded(Arc::new(logins), authenticator, change).await;
        Self { gateway, signer, thief, issuer, certificates, _names: names, _logins: logins_store }
    }

    async fn secure(&self, certificate: Option<&str>) -> Client<TlsStream<TcpStream>> {
        starttls(&self.gateway, &connector(&self.certificates, certificate, &rustls::version::TLS13)).await
    }
}

/// `550 5.7.1 … (number-not-allowed)`
#[track_caller]
fn assert_refused(what: &str, reply: &str, expected: &str) {
    let (status, slug) = expected.rsplit_once(' ').unwrap();
    assert!(reply.starts_with(&format!("{status} ")), "{what}: {reply}");
    assert!(reply.ends_with(&format!("({slug})")), "{what}: {reply}");
}

/// Says everything; the last reply counts. What ends in a full stop is content.
async fn last<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>, lines: &[&str]) -> String {
    let mut reply = String::new();
    for line in lines {
        reply = client.say(line).await;
    }
    reply
}

fn letter(from: &str, to: &str) -> String {
    format!(
        "From: {from}\r\nTo: {to}\r\nSubject: Offer\r\nMessage-ID: <{}@example.com>\r\n\r\nHello\r\n",
        uuid::Uuid::now_v7()
    )
}

#[tokio::test]
async fn n1_f17_tricks_with_addresses_and_numbers_are_refused_even_from_a_trusted_network() {
    let guarded = Guarded::start(Network::Trusted).await;
    let mut client = guarded.gateway.client().await;
    client.say("EHLO client.test").await;
    let mut wrong = Vec::new();
    for (recipient, expected) in [
        // Open relay forms (RFC 2505 §2).
        ("+41441234567@other.test", "550 5.7.1 relay-denied"),
        ("@fax.test:+41441234567@other.test", "550 5.7.1 relay-denied"),
        ("+41441234567@[127.0.0.1]", "550 5.7.1 relay-denied"),
        ("+41441234567%other.test@fax.test", "550 5.1.3 number-invalid"),
        ("other.test!+41441234567@fax.test", "501 5.1.3 number-invalid"),
        ("\"+41441234567@other.test\"@fax.test", "550 5.1.3 number-invalid"),
        // Premium rates, in every spelling.
        ("+19005551212@fax.test", "550 5.7.1 number-not-allowed"),
        ("\"+1 900 555 1212\"@fax.test", "550 5.7.1 number-not-allowed"),
        ("0019005551212@fax.test", "550 5.7.1 number-not-allowed"),
        ("FAX=+1-900-555-1212/T33S=1@fax.test", "550 5.7.1 number-not-allowed"),
        ("IMCEAFAX-+2B1+20900+205551212@fax.test", "550 5.7.1 number-not-allowed"),
        ("+41901123456@fax.test", "550 5.7.1 number-not-allowed"),
        ("0901123456@fax.test", "550 5.7.1 number-not-allowed"),
        ("+979123456789@fax.test", "550 5.7.1 number-not-allowed"),
        ("+881612345678@fax.test", "550 5.7.1 number-not-allowed"),
        // Countries that nobody allowed.
        ("00442079460123@fax.test", "550 5.7.1 number-not-allowed"),
        ("+442079460123@fax.test", "550 5.7.1 number-not-allowed"),
        // Emergency services.
        ("112@fax.test", "550 5.7.1 number-not-allowed"),
        ("117@fax.test", "550 5.7.1 number-not-allowed"),
        ("1-1-7@fax.test", "550 5.7.1 number-not-allowed"),
        ("+19115551212@fax.test", "550 5.7.1 number-not-allowed"),
        ("+41117000000@fax.test", "550 5.7.1 number-not-allowed"),
        ("+41117@fax.test", "550 5.1.3 number-invalid"),
        ("FAX=+41441234567/POSTD=112@fax.test", "550 5.7.1 number-not-allowed"),
        ("FAX=+41441234567/POSTD=9p112@fax.test", "550 5.7.1 number-not-allowed"),
        ("FAX=+41441234567/POSTD=0w1p17@fax.test", "550 5.7.1 number-not-allowed"),
        ("\"+41441234567,,112\"@fax.test", "550 5.1.3 number-invalid"),
        ("\"+41441234567;ext=112\"@fax.test", "550 5.1.3 number-invalid"),
        ("9p112@fax.test", "550 5.7.1 number-not-allowed"),
        // Who asked not to be faxed.
        ("+41441110000@fax.test", "550 5.7.1 number-not-allowed"),
        ("0441110000@fax.test", "550 5.7.1 number-not-allowed"),
        // Digits of other scripts; full-width ones are the same digits.
        ("\u{ff0b}\u{ff11}\u{ff19}\u{ff10}\u{ff10}5551212@fax.test", "550 5.7.1 number-not-allowed"),
        ("+\u{664}\u{661}441234567@fax.test", "553 5.6.7 number-invalid"),
    ] {
        client.say("RSET").await;
        let mail = if recipient.is_ascii() { MAIL.to_owned() } else { format!("{MAIL} SMTPUTF8") };
        let reply = last(&mut client, &[&mail, &format!("RCPT TO:<{recipient}>")]).await;
        let (status, slug) = expected.rsplit_once(' ').unwrap();
        if !reply.starts_with(&format!("{status} ")) || !reply.ends_with(&format!("({slug})")) {
            wrong.push(format!("{recipient}: {reply}, and not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(guarded.gateway.faxes().await, []);
}

#[tokio::test]
async fn t2_t3_wrong_passwords_and_tokens_that_are_stolen_expired_or_forged_let_nobody_in() {
    let guarded = Guarded::start(Network::Unknown).await;
    let now = SystemClock.now();
    let token =
        |user: &str, token: &str| BASE64.encode(format!("user={user}\x01auth=Bearer {token}\x01\x01").as_bytes());
    let expired = {
        let mut expired = claims(now);
        expired["exp"] = (now.0 / 1000 - 3600).into();
        guarded.issuer.token("ES256", "ec", &expired)
    };
    let mut of_somebody = claims(now);
    of_somebody["preferred_username"] = "ben@example.com".into();
    let forged = Issuer::new().token("ES256", "ec", &claims(now));
    for (what, response) in [
        ("a token of somebody else", token("anna@example.com", &guarded.issuer.token("ES256", "ec", &of_somebody))),
        ("a token without an account", token("ben@example.com", &guarded.issuer.token("ES256", "ec", &of_somebody))),
        ("an expired token", token("anna@example.com", &expired)),
        ("a token of another issuer's key", token("anna@example.com", &forged)),
        ("a token without a signature", token("anna@example.com", &guarded.issuer.token("none", "ec", &claims(now)))),
        ("an HMAC with the public key", token("anna@example.com", &guarded.issuer.token("HS256", "ec", &claims(now)))),
    ] {
        let mut client = guarded.secure(None).await;
        let reply = client.say(&format!("AUTH XOAUTH2 {response}")).await;
        assert!(reply.starts_with("334 "), "{what}: {reply}");
        assert_refused(what, &client.say("AQ==").await, "535 5.7.8 login-required");
        // Nobody is in: not even the address that the token was for.
        assert!(!client.say("MAIL FROM:<anna@example.org>").await.is_empty());
    }
    for (what, text) in [
        ("a wrong password", "\0anna@example.com\0correct horsf"),
        ("a name that does not exist", "\0nobody\0correct horse"),
        ("somebody for somebody else", "root\0anna@example.com\0correct horse"),
    ] {
        let mut client = guarded.secure(None).await;
        let reply = client.say(&format!("AUTH PLAIN {}", BASE64.encode(text.as_bytes()))).await;
        assert_refused(what, &reply, "535 5.7.8 login-required");
    }
    let mut client = guarded.secure(None).await;
    let good = token("anna@example.com", &guarded.issuer.token("ES256", "ec", &claims(now)));
    assert!(client.say(&format!("AUTH XOAUTH2 {good}")).await.starts_with("235 "), "the right one lets in");
}

#[tokio::test]
async fn t4_z1_whoever_forges_an_address_or_a_certificate_is_refused() {
    let guarded = Guarded::start(Network::Unknown).await;
    // A certificate of another authority, and one that nobody names.
    for certificate in ["foreign", "other"] {
        let reply = guarded.secure(Some(certificate)).await.say(MAIL).await;
        assert_refused(certificate, &reply, "550 5.7.1 sender-not-allowed");
    }
    // An account that writes as somebody else, or faxes what is not for it.
    let mut anna = guarded.secure(None).await;
    let login = format!("AUTH PLAIN {}", BASE64.encode(b"\0anna@example.com\0correct horse"));
    assert!(anna.say(&login).await.starts_with("235 "));
    assert_refused("reverse-path", &anna.say("MAIL FROM:<boss@example.com>").await, "553 5.7.1 sender-not-allowed");
    let reply = last(&mut anna, &[MAIL, "RCPT TO:<+41311234567@fax.test>"]).await;
    assert_refused("a number that is not for it", &reply, "550 5.7.1 number-not-allowed");
    let forged = letter("boss@example.com", "+41441234567@fax.test");
    let reply = last(&mut anna, &["RCPT TO:<+41441234567@fax.test>", "DATA", &format!("{forged}.")]).await;
    assert_refused("From", &reply, "550 5.7.1 sender-not-allowed");
    assert_eq!(guarded.gateway.faxes().await, []);
    let honest = letter("anna@example.com", "+41441234567@fax.test");
    let reply = last(&mut anna, &[MAIL, "RCPT TO:<+41441234567@fax.test>", "DATA", &format!("{honest}.")]).await;
    assert!(reply.starts_with("250 2.0.0 accepted"), "{reply}");
}

#[tokio::test]
async fn z1_z2_a_mail_that_does_not_prove_whose_it_is_or_was_faxed_before_is_refused() {
    let guarded = Guarded::start(Network::Unknown).await;
    let mut client = guarded.gateway.client().await;
    client.say("EHLO client.test").await;
    let ours = letter("anna@example.com", "+41441234567@fax.test");
    let signed = guarded.signer.sign(&ours, ALL);
    let twice = format!("From: boss@example.com\r\n{signed}");
    let changed = signed.replace("Hello", "Transfer 1,000,000");
    let by_thief = guarded.thief.sign(&ours, ALL);
    let claimed = format!("Authentication-Results: fax.test; dkim=pass; dmarc=pass header.from=example.com\r\n{ours}");
    for (what, to, mail, expected) in [
        ("From alone", "+41441234567", &ours, "550 5.7.20 mail-not-authentic"),
        ("results that claim to be ours", "+41441234567", &claimed, "550 5.7.20 mail-not-authentic"),
        ("a changed mail", "+41441234567", &changed, "550 5.7.26 mail-not-authentic"),
        ("another domain's signature", "+41441234567", &by_thief, "550 5.7.22 mail-not-authentic"),
        ("two From fields", "+41441234567", &twice, "550 5.7.1 mail-not-authentic"),
        ("a signed mail for another number", "+41449999999", &signed, "550 5.7.7 mail-replayed"),
    ] {
        let rcpt = format!("RCPT TO:<{to}@fax.test>");
        let reply = last(&mut client, &["RSET", MAIL, &rcpt, "DATA", &format!("{mail}.")]).await;
        assert_refused(what, &reply, expected);
    }
    assert_eq!(guarded.gateway.faxes().await, []);
    let rcpt = "RCPT TO:<+41441234567@fax.test>";
    let reply = last(&mut client, &[MAIL, rcpt, "DATA", &format!("{signed}.")]).await;
    assert!(reply.starts_with("250 2.0.0 accepted as"), "{reply}");
    // Sent again because the answer got lost: the first one. With another envelope: a replay.
    let reply = last(&mut client, &[MAIL, rcpt, "DATA", &format!("{signed}.")]).await;
    assert!(reply.contains("duplicate of"), "{reply}");
    let reply = last(&mut client, &["MAIL FROM:<x@evil.test>", rcpt, "DATA", &format!("{signed}.")]).await;
    assert_refused("the same signature again", &reply, "550 5.7.7 mail-replayed");
    assert_eq!(guarded.gateway.faxes().await.len(), 1);
}
