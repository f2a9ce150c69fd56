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
    let arc_sealers = vec!["sealer.test".to_owned()];
    let senders = Senders::new(&SendersConfig { senders, arc_sealers, ..SendersConfig::default() });
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

/// A mail of a list: changed on its way, so that its author's signature no longer holds.
fn forwarded(bench: &Bench) -> String {
    bench.signer.sign(&mail(), ALL).replace("Subject: Offer", "Subject: [list] Offer")
}

const SAID: &str = "mx.sealer.test; dkim=pass header.d=example.com; dmarc=pass header.from=example.com";

#[tokio::test]
async fn z3_what_a_trusted_sealer_saw_lets_a_forwarded_mail_in() {
    let bench = bench(&["dkim:example.com"]).await;
    let sealer = Signer::publish("sealer.test", &bench.names);
    Bench::assert_refused(&bench.examine(&forwarded(&bench), "203.0.113.7").await, "5.7.26", "no DKIM signature");
    let sealed = sealer.seal(&bench.authenticator.resolver, &forwarded(&bench), SAID).await;
    let examined = bench.examine(&sealed, "203.0.113.7").await;
    let field = examined.field.unwrap();
    let proved = examined.proved.unwrap_or_else(|why| panic!("{why} {field}"));
    assert_eq!(proved.identity.name, "dkim:example.com");
    assert!(proved.signature.is_some() && proved.recipients_in_header, "one fax a number, as with DKIM");
    assert!(field.contains("arc=pass"), "{field}");
    // Two forwarders: the newest is believed, and it has checked those before.
    let first = Signer::publish("other.test", &bench.names);
    let once = first.seal(&bench.authenticator.resolver, &forwarded(&bench), "mx.other.test; dmarc=fail").await;
    let twice = sealer.seal(&bench.authenticator.resolver, &once, SAID).await;
    bench.examine(&twice, "203.0.113.7").await.proved.unwrap();
}

#[tokio::test]
async fn z3_other_sealers_other_words_and_changed_mails_let_nobody_in() {
    let bench = bench(&["dkim:example.com"]).await;
    let sealer = Signer::publish("sealer.test", &bench.names);
    let stranger = Signer::publish("stranger.test", &bench.names);
    let resolver = &bench.authenticator.resolver;
    let refused = async |mail: &str| {
        Bench::assert_refused(&bench.examine(mail, "203.0.113.7").await, "5.7.26", "no DKIM signature");
    };
    let sealed = sealer.seal(resolver, &forwarded(&bench), SAID).await;
    refused(&stranger.seal(resolver, &forwarded(&bench), SAID).await).await;
    refused(&stranger.seal(resolver, &sealed, SAID).await).await;
    refused(&sealed.replace("Hello", "Hallo")).await;
    refused(&sealed.replace("[list] Offer", "[fax: superfine]")).await;
    refused(&sealed.replace("dkim=pass", "dkim=none")).await;
    for said in [
        "mx.sealer.test; dmarc=fail header.from=example.com",
        "mx.sealer.test; dmarc=pass header.from=evil.test",
        "mx.sealer.test; spf=pass smtp.mailfrom=\"x; dmarc=pass header.from=example.com\"@evil.test",
    ] {
        refused(&sealer.seal(resolver, &forwarded(&bench), said).await).await;
    }
    // Subject and recipients must be what the sealer has signed.
    refused(&format!("Cc: +41441234568@fax.test\r\n{sealed}")).await;
}

#[tokio::test]
async fn z2_a_name_server_that_fails_is_told_to_come_again() {
    let bench = bench(&["dkim:example.com"]).await;
    bench.names.fail("s1._domainkey.example.com");
    let refused = bench.examine(&bench.signer.sign(&mail(), ALL), "203.0.113.7").await.proved.unwrap_err();
    assert_eq!((refused.code, refused.status), (451, "4.4.3"));
}
