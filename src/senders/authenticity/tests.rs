use super::testing::{NameServer, Signer};
use super::*;
use crate::config::senders::{SenderConfig, SendersConfig};
use crate::domain::{Clock as _, SystemClock};

const ALL: &[&str] = &["From", "To", "Cc", "Subject", "Date"];

struct Bench {
    names: NameServer,
    authenticator: Authenticator,
    signer: Signer,
    senders: Senders,
}

async fn bench(relay: &[&str]) -> Bench {
    let names = NameServer::start().await;
    let signer = Signer::publish("example.com", &names);
    let authenticator = Authenticator::new("fax.test", &[names.address]).unwrap();
    let sender = |text: &&str| {
        let relay = vec![text.parse().unwrap()];
        ((*text).to_owned(), SenderConfig { relay, ..SenderConfig::default() })
    };
    let senders = relay.iter().map(sender).collect();
    let senders = Senders::new(&SendersConfig { senders, ..SendersConfig::default() });
    Bench { names, authenticator, signer, senders }
}

impl Bench {
    async fn examine(&self, mail: &str, client: &str) -> Examined {
        let client = client.parse().unwrap();
        let origin = Origin { client, hello: "mx.example.com", reverse_path: Some("anna@example.com") };
        // The library judges ages by the machine's own clock.
        self.authenticator.examine(mail.as_bytes(), &origin, &self.senders, SystemClock.now()).await
    }

    #[track_caller]
    fn assert_refused(examined: &Examined, status: &str, words: &str) {
        let refused = examined.proved.as_ref().unwrap_err();
        assert_eq!(refused.status, status, "{refused} {:?}", examined.field);
        assert!(refused.text.contains(words), "{refused}");
    }
}

fn mail() -> String {
    "From: Anna <anna@example.com>\r\nTo: +41441234567@fax.test\r\nSubject: Offer\r\n\r\nHello\r\n".to_owned()
}

#[tokio::test]
async fn z1_a_signed_domain_with_dmarc_is_let_in_from_anywhere_and_the_signature_covers_the_recipients() {
    let bench = bench(&["dkim:example.com"]).await;
    let examined = bench.examine(&bench.signer.sign(&mail(), ALL), "203.0.113.7").await;
    let proved = examined.proved.unwrap();
    assert_eq!(proved.identity.name, "dkim:example.com");
    assert!(proved.signature.is_some() && proved.recipients_in_header);
    let field = examined.field.unwrap();
    for words in ["Authentication-Results: fax.test;", "dkim=pass", "spf=fail", "dmarc=pass"] {
        assert!(field.contains(words), "{words}: {field}");
    }
}

#[tokio::test]
async fn z1_the_same_mail_has_the_same_signature_and_another_one_another() {
    let bench = bench(&["dkim:example.com"]).await;
    let signed = bench.signer.sign(&mail(), ALL);
    let other = bench.signer.sign(&mail().replace("Hello", "Hallo"), ALL);
    let signature = async |mail: &str| bench.examine(mail, "203.0.113.7").await.proved.unwrap().signature;
    let replayed = format!("Received: from a.test by b.test; Sun, 22 Nov 2026 10:00:00 +0000\r\n{signed}");
    assert_eq!(signature(&signed).await, signature(&replayed).await);
    assert_ne!(signature(&signed).await, signature(&other).await);
}

#[tokio::test]
async fn z1_from_alone_never_authorises() {
    let bench = bench(&["dkim:example.com"]).await;
    Bench::assert_refused(&bench.examine(&mail(), "203.0.113.7").await, "5.7.20", "no DKIM signature");
    // From its own network, but SPF was not allowed to prove anything.
    Bench::assert_refused(&bench.examine(&mail(), "192.0.2.7").await, "5.7.20", "no DKIM signature");
    let changed = bench.signer.sign(&mail(), ALL).replace("Hello", "Hallo");
    Bench::assert_refused(&bench.examine(&changed, "203.0.113.7").await, "5.7.26", "no DKIM signature");
    let thief = Signer::publish("evil.test", &bench.names).sign(&mail(), ALL);
    Bench::assert_refused(&bench.examine(&thief, "203.0.113.7").await, "5.7.22", "is of example.com");
    let theirs = mail().replace("anna@example.com", "anna@evil.test");
    let theirs = Signer::publish("evil.test", &bench.names).sign(&theirs, ALL);
    Bench::assert_refused(&bench.examine(&theirs, "203.0.113.7").await, "5.7.1", "evil.test may not send");
}

#[tokio::test]
async fn z1_several_authors_are_nobody() {
    let bench = bench(&["dkim:example.com"]).await;
    let twice = format!("From: boss@example.com\r\n{}", bench.signer.sign(&mail(), ALL));
    Bench::assert_refused(&bench.examine(&twice, "203.0.113.7").await, "5.7.1", "several authors");
    let two = mail().replace("Anna <anna@example.com>", "anna@example.com, ben@example.com");
    let two = bench.signer.sign(&two, ALL);
    Bench::assert_refused(&bench.examine(&two, "203.0.113.7").await, "5.7.1", "several authors");
    let none = bench.signer.sign(&mail().replace("From:", "Sender:"), &["To", "Subject"]);
    Bench::assert_refused(&bench.examine(&none, "203.0.113.7").await, "5.7.1", "no From");
}

#[tokio::test]
async fn z2_a_signature_that_leaves_subject_recipients_or_body_open_is_not_accepted() {
    let bench = bench(&["dkim:example.com"]).await;
    let no_subject = bench.signer.sign(&mail(), &["From", "To", "Cc"]);
    Bench::assert_refused(&bench.examine(&no_subject, "203.0.113.7").await, "5.7.21", "does not cover subject");
    let second_subject = format!("Subject: [fax: superfine]\r\n{}", bench.signer.sign(&mail(), ALL));
    Bench::assert_refused(&bench.examine(&second_subject, "203.0.113.7").await, "5.7.21", "does not cover subject");
    let added = format!("Cc: +41441234568@fax.test\r\n{}", bench.signer.sign(&mail(), &["From", "To", "Subject"]));
    Bench::assert_refused(&bench.examine(&added, "203.0.113.7").await, "5.7.21", "does not cover To and Cc");
    let part = bench.signer.sign_part(&mail(), ALL);
    assert!(part.contains("l="), "{part}");
    Bench::assert_refused(&bench.examine(&part, "203.0.113.7").await, "5.7.20", "no DKIM signature");
    // As Exchange Online signs: without To. From its own servers alone, which SPF says.
    let open = bench.signer.sign(&mail(), &["From", "Subject"]);
    Bench::assert_refused(&bench.examine(&open, "203.0.113.7").await, "5.7.21", "SPF");
    let proved = bench.examine(&open, "192.0.2.7").await.proved.unwrap();
    assert!(proved.signature.is_some() && !proved.recipients_in_header);
}

#[tokio::test]
async fn z1_spf_lets_in_where_it_is_asked_for_and_aligned() {
    let bench = bench(&["spf:example.com"]).await;
    let examined = bench.examine(&mail(), "192.0.2.7").await;
    let proved = examined.proved.unwrap();
    assert_eq!((proved.identity.name.as_str(), proved.signature), ("spf:example.com", None));
    Bench::assert_refused(&bench.examine(&mail(), "203.0.113.7").await, "5.7.23", "SPF");
    let forged = mail().replace("anna@example.com", "boss@example.org");
    Bench::assert_refused(&bench.examine(&forged, "192.0.2.7").await, "5.7.1", "example.org may not send");
}

#[tokio::test]
async fn z3_without_a_dmarc_record_a_signature_proves_nothing() {
    let bench = bench(&["dkim:example.com"]).await;
    bench.names.zone.lock().unwrap().texts.remove("_dmarc.example.com");
    let signed = bench.signer.sign(&mail(), ALL);
    Bench::assert_refused(&bench.examine(&signed, "203.0.113.7").await, "5.7.22", "DMARC");
}

#[tokio::test]
async fn z2_a_name_server_that_fails_is_told_to_come_again() {
    let bench = bench(&["dkim:example.com"]).await;
    bench.names.fail("s1._domainkey.example.com");
    let refused = bench.examine(&bench.signer.sign(&mail(), ALL), "203.0.113.7").await.proved.unwrap_err();
    assert_eq!((refused.code, refused.status), (451, "4.4.3"));
}
