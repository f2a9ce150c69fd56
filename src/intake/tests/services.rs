//! What a mail asks of the gateway itself, and directives that say what is sent, when and whether.

use super::*;
use crate::domain::{FaxState, NoticeKind};
use crate::mail::order_address::Verb;
use crate::store::{About, Owner};

/// A mail from Anna with this subject, to which a date and an attachment belong.
fn letter(id: &str, subject: &str, fields: &str) -> String {
    format!(
        "From: Anna <anna@example.com>\r\nSubject: {subject}\r\nMessage-ID: <{id}@client.test>\r\n{fields}\
         Date: Sun, 22 Nov 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nHello\r\n--b\r\nContent-Type: image/png; name=image001.png\r\n\
         Content-Disposition: attachment; filename=image001.png\r\n\r\nx\r\n--b\r\nContent-Type: application/pdf\r\n\
         Content-Disposition: attachment; filename=\"Offer 4711.pdf\"\r\n\r\nx\r\n--b--\r\n"
    )
}

/// The notices that are owed, as delivery gets them.
async fn owed(gateway: &Gateway) -> Vec<(NoticeKind, String, About)> {
    let owner = Owner { node: "gw".into(), epoch: uuid::Uuid::now_v7() };
    let work = gateway.store.claim_notices(&owner, 10, Duration::from_secs(60)).await.unwrap();
    work.into_iter().map(|work| (work.notice.kind, work.notice.recipient.unwrap_or_default(), work.about)).collect()
}

#[tokio::test]
async fn help_is_answered_once_with_the_instructions_and_dials_nothing() {
    let gateway = Gateway::start().await;
    let reply = gateway.client().await.send(&["Help@fax.test"], &letter("h1", "what now?", "")).await;
    assert!(reply.starts_with("250 2.0.0 accepted as M-") && reply.ends_with("help is mailed to you"), "{reply}");
    let again = gateway.client().await.send(&["help@fax.test"], &letter("h1", "what now?", "")).await;
    assert!(again.starts_with("250 2.0.0 accepted"), "{again}");
    assert!(gateway.faxes().await.is_empty());
    let owed = owed(&gateway).await;
    let [(NoticeKind::Help, to, About::Message(message))] = owed.as_slice() else { panic!("{owed:?}") };
    assert_eq!((to.as_str(), message.header_message_id.as_deref()), ("anna@example.com", Some("h1@client.test")));
}

#[tokio::test]
async fn a_preview_is_asked_for_in_three_ways_and_dials_nothing() {
    let gateway = Gateway::start().await;
    for (to, subject, fields) in [
        ("preview@fax.test", "Offer [fax: to +41 44 123 45 67]", ""),
        ("anna.meier/+41441234567@preview.fax.test", "Offer", ""),
        ("+41441234567@fax.test", "Offer [fax: preview]", ""),
    ] {
        let reply = gateway.client().await.send(&[to], &letter(to, subject, fields)).await;
        assert!(reply.ends_with("a preview is mailed to you, nothing is dialled"), "{to}: {reply}");
        let owed = owed(&gateway).await;
        let [(NoticeKind::Preview, _, About::Message(message))] = owed.as_slice() else { panic!("{owed:?}") };
        let of = message.options.preview_for.as_deref().unwrap();
        assert!(of.ends_with("+41441234567@fax.test"), "{of}");
        assert_eq!(message.subject, "Offer");
    }
    assert!(gateway.faxes().await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_previewed_is_refused_with_the_fix() {
    let gateway = Gateway::start().await;
    for (to, subject, words) in [
        ("preview@fax.test", "Offer", "say for whom"),
        ("preview@fax.test", "Offer [fax: to +1 900 555 1212]", "+19005551212"),
        ("preview@fax.test", "Offer [fax: to anna]", "[fax: to \"anna\"]"),
        ("+41441234567@fax.test", "Offer [fax: to +41441234568]", "is for mails to preview@"),
    ] {
        let reply = gateway.client().await.send(&[to], &letter(subject, subject, "")).await;
        assert!(reply.starts_with("55") && reply.contains(words), "{subject}: {reply}");
    }
    let automatic = letter("auto", "x", "Auto-Submitted: auto-replied\r\n");
    let reply = gateway.client().await.send(&["help@fax.test"], &automatic).await;
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    let mut client = gateway.client().await;
    client.say("EHLO client.test").await;
    client.say("MAIL FROM:<>").await;
    for to in ["help@fax.test", "preview@fax.test", "+41441234567@preview.fax.test"] {
        let reply = client.say(&format!("RCPT TO:<{to}>")).await;
        assert!(reply.starts_with("550 5.7.1") && reply.contains("cannot be answered"), "{reply}");
    }
    client.say("RSET").await;
    client.say("MAIL FROM:<anna@example.com>").await;
    let reply = client.say("RCPT TO:<+19005551212@preview.fax.test>").await;
    assert!(reply.starts_with("550 5.7.1"), "the same rules as for a fax: {reply}");
    assert!(client.say("RCPT TO:<help@fax.test>").await.starts_with("250"));
    for second in ["help@fax.test", "preview@fax.test", "+41441234567@fax.test"] {
        let reply = client.say(&format!("RCPT TO:<{second}>")).await;
        assert!(reply.starts_with("452 4.5.3"), "{second}: {reply}");
    }
    client.say("RSET").await;
    client.say("MAIL FROM:<anna@example.com>").await;
    client.say("RCPT TO:<+41441234567@fax.test>").await;
    assert!(client.say("RCPT TO:<help@fax.test>").await.starts_with("452 4.5.3"));
    assert!(gateway.faxes().await.is_empty() && owed(&gateway).await.is_empty());
}

#[tokio::test]
async fn z1_strangers_get_no_answers_by_us() {
    let deny = |settings: &mut IntakeSettings| settings.smtp.relay.clear();
    let gateway = Gateway::start_with(deny, DocumentsSettings::default()).await;
    let mut client = gateway.client().await;
    client.say("EHLO client.test").await;
    assert!(client.say("MAIL FROM:<victim@example.com>").await.starts_with("550 5.7.1"));
}

#[tokio::test]
async fn directives_say_what_is_sent_when_and_whether() {
    let gateway = Gateway::start().await;
    let subject = "Offer [fax: only \"offer*.pdf\", hold, at 2099-01-01T00:00Z]";
    let reply = gateway.client().await.send(&["0441234567@fax.test"], &letter("d1", subject, "")).await;
    assert!(reply.contains("30 days"), "{reply}");
    let ahead = (SystemClock.now().to_jiff() + jiff::SignedDuration::from_hours(48)).to_string();
    let fields = format!("X-Fax-At: {ahead}\r\n");
    let mail = letter("d2", "Offer [fax: only \"offer*.pdf\", hold]", &fields);
    let reply = gateway.client().await.send(&["0441234567@fax.test"], &mail).await;
    assert!(reply.starts_with("250 2.0.0 accepted as F-"), "{reply}");
    let fax = &gateway.faxes().await[0].fax;
    assert_eq!(fax.state, FaxState::Held);
    // Given up a day after the first call that is allowed.
    let wait = fax.give_up_at.since(SystemClock.now()).as_secs();
    assert!((71 * 3600..=72 * 3600).contains(&wait), "{wait} s");
    let message = gateway.store.message(fax.message).await.unwrap();
    assert_eq!(message.options.only.as_deref(), Some("offer*.pdf"));
    gateway.store.release(fax.id, "root").await.unwrap();
    assert_eq!(gateway.faxes().await[0].fax.state, FaxState::Accepted);
    let mail = letter("d3", "Offer [fax: only invoice.pdf]", "");
    let reply = gateway.client().await.send(&["0441234567@fax.test"], &mail).await;
    assert!(reply.starts_with("554 5.6.0") && reply.contains("it has \"image001.png\", \"Offer 4711.pdf\""), "{reply}");
}

#[tokio::test]
async fn s17_nobody_is_called_for_what_a_machine_has_sent_unless_its_table_says_so() {
    let mail = |value: &str| letter(value, "x", &format!("Auto-Submitted: {value}\r\n"));
    let gateway = Gateway::start().await;
    for value in ["auto-replied", "auto-generated"] {
        let reply = gateway.client().await.send(&["0441234567@fax.test"], &mail(value)).await;
        assert!(reply.starts_with("550 5.7.1") && reply.ends_with("(automatic-mail)"), "{reply}");
    }
    let mut client = gateway.client().await;
    client.say("EHLO client.test").await;
    client.say("MAIL FROM:<>").await;
    let reply = client.say("RCPT TO:<0441234567@fax.test>").await;
    assert!(reply.starts_with("550 5.7.1") && reply.ends_with("(automatic-mail)"), "{reply}");
    assert!(gateway.faxes().await.is_empty());

    let table = |settings: &mut IntakeSettings| {
        let policy = crate::senders::Policy { automatic: true, ..Default::default() };
        let relay = vec!["127.0.0.0/8".parse().unwrap()];
        let sender = crate::config::senders::SenderConfig { relay, policy };
        let senders = [("sender:monitor".to_owned(), sender)].into();
        settings.senders = Senders::new(&crate::config::senders::SendersConfig { senders, ..Default::default() });
    };
    let gateway = Gateway::start_with(table, DocumentsSettings { free_bytes_min: 0, ..Default::default() }).await;
    let reply = gateway.client().await.send(&["0441234567@fax.test"], &mail("auto-generated")).await;
    assert!(reply.starts_with("250"), "{reply}");
    let reply = gateway.client().await.send(&["0441234567@fax.test"], &mail("auto-replied")).await;
    assert!(reply.starts_with("550 5.7.1"), "an answer is never faxed: {reply}");
    let mut client = gateway.client().await;
    client.say("EHLO client.test").await;
    client.say("MAIL FROM:<>").await;
    assert!(client.say("RCPT TO:<0441234567@fax.test>").await.starts_with("250"));
}

#[tokio::test]
async fn x8_importance_is_the_priority_where_nothing_says_more() {
    let gateway = Gateway::start().await;
    for (id, subject, expected) in [("i1", "x", 2), ("i2", "x [fax: priority low]", 8)] {
        let reply =
            gateway.client().await.send(&["0441234567@fax.test"], &letter(id, subject, "Importance: high\r\n")).await;
        assert!(reply.starts_with("250"), "{reply}");
        let newest = &gateway.faxes().await[0].fax;
        assert_eq!(newest.priority, expected, "{subject}");
    }
}

#[tokio::test]
async fn an_order_by_mail_is_its_senders_and_is_carried_out_before_its_250() {
    let gateway = Gateway::start().await;
    gateway.client().await.send(&["0441234567@fax.test"], &letter("o1", "Offer", "")).await;
    let fax = gateway.faxes().await[0].fax.clone();
    let (now, short) = (SystemClock.now(), fax.id.short());
    let address = |verb| returns().orders().address(verb, &short, now).unwrap().as_str().to_owned();
    let cancel = address(Verb::Cancel);
    let empty =
        |id: &str, fields: &str| format!("From: anna@example.com\r\nMessage-ID: <{id}@client.test>\r\n{fields}\r\n");

    let mut forged = gateway.client().await;
    forged.say("EHLO client.test").await;
    forged.say("MAIL FROM:<anna@example.com>").await;
    for bad in [cancel.replace("cancel", "retry"), format!("cancel+{short}.0000{}@fax.test", "0".repeat(16))] {
        let reply = forged.say(&format!("RCPT TO:<{bad}>")).await;
        assert!(reply.starts_with("550 5.1.1") && reply.contains("was not made here"), "{reply}");
    }
    let old = returns().orders().address(Verb::Cancel, &short, Timestamp(now.0 - 8 * 86_400_000)).unwrap();
    let reply = forged.say(&format!("RCPT TO:<{}>", old.as_str())).await;
    assert!(reply.contains("has expired"), "{reply}");
    forged.say("RSET").await;
    forged.say("MAIL FROM:<ben@example.com>").await;
    assert!(forged.say(&format!("RCPT TO:<{cancel}>")).await.starts_with("250"));
    forged.say("DATA").await;
    let reply = forged.say(&format!("{}.", empty("o2", ""))).await;
    assert!(reply.starts_with("550 5.7.1") && reply.contains("somebody else"), "{reply}");
    let automatic = empty("o3", "Auto-Submitted: auto-replied\r\n");
    let reply = gateway.client().await.send(&[&cancel], &automatic).await;
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    assert_eq!(gateway.faxes().await[0].fax.state, FaxState::Accepted, "nothing was done so far");

    let reply = gateway.client().await.send(&[&cancel], &empty("o4", "")).await;
    assert!(reply.starts_with("250 2.0.0") && reply.contains("is cancelled"), "{reply}");
    assert_eq!(gateway.faxes().await[0].fax.state, FaxState::Cancelled);
    let reply = gateway.client().await.send(&[&cancel], &empty("o4", "")).await;
    assert!(reply.starts_with("250 2.0.0") && reply.contains("before"), "{reply}");

    let retry = address(Verb::Retry);
    let reply = gateway.client().await.send(&[&retry], &empty("o5", "")).await;
    assert!(reply.starts_with("250 2.0.0") && reply.contains("is sent once more as F-"), "{reply}");
    let again = gateway.client().await.send(&[&retry], &empty("o5", "")).await;
    assert!(again.starts_with("250 2.0.0") && again.contains("was sent once more before"), "{again}");
    assert_eq!(gateway.faxes().await.len(), 2, "a second copy of the order is not a second fax");
}
