//! What a mail may say besides its addresses, from the socket to the store.

use super::*;

/// Up to its recipient.
pub(super) async fn begun(gateway: &Gateway, mail: &str) -> Client {
    let mut client = gateway.client().await;
    client.say("EHLO client.test").await;
    assert_eq!(client.say(mail).await, "250 2.1.0 sender accepted");
    assert_eq!(client.say("RCPT TO:<0441234567@fax.test>").await, "250 2.1.5 fax to +41441234567");
    client
}

async fn raw(gateway: &Gateway) -> Vec<u8> {
    let message = gateway.store.message(gateway.faxes().await[0].fax.message).await.unwrap();
    let raw = gateway.intake.documents.get(&message.raw).await.unwrap();
    // Behind our own trace field of three lines.
    let mut ends = raw.windows(2).enumerate().filter(|(_, pair)| pair == b"\r\n").map(|(at, _)| at + 2);
    let end = ends.nth(2).unwrap();
    raw[end..].to_vec()
}

#[tokio::test]
async fn s6_a_mail_in_chunks_is_the_same_mail() {
    let gateway = Gateway::start().await;
    let mut client = begun(&gateway, "MAIL FROM:<anna@example.com>").await;
    let content = mail("bdat", "Subject: chunks\r\n", "one\r\n.\r\ntwo");
    let (first, second) = content.split_at(content.len() / 2);
    assert!(
        client
            .say(&format!("BDAT {}\r\n{first}BDAT {} LAST\r\n{second}NOOP", first.len(), second.len()))
            .await
            .starts_with("250 2.0.0 ")
    );
    let reply = client.reply().await;
    assert!(reply.starts_with("250 2.0.0 accepted as F-"), "{reply}");
    assert_eq!(client.reply().await, "250 2.0.0 here");
    assert_eq!(raw(&gateway).await, content.as_bytes());
}

#[tokio::test]
async fn s6_a_bare_lf_in_chunks_of_text_becomes_a_line_end() {
    let gateway = Gateway::start().await;
    let mut client = begun(&gateway, "MAIL FROM:<anna@example.com> BODY=8BITMIME").await;
    let content = mail("lf", "", "one\r\ntwo");
    let bare = content.replace("\r\n", "\n");
    let reply = client.say(&format!("BDAT {} LAST\r\n{bare}NOOP", bare.len())).await;
    assert!(reply.starts_with("250 2.0.0 accepted as F-"), "{reply}");
    assert_eq!(raw(&gateway).await, content.as_bytes());
}

#[tokio::test]
async fn s8_binary_octets_reach_the_documents_as_they_came() {
    let gateway = Gateway::start().await;
    let mut client = begun(&gateway, "MAIL FROM:<anna@example.com> BODY=BINARYMIME").await;
    let head = "From: anna@example.com\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
                Content-Type: image/tiff\r\nContent-Transfer-Encoding: binary\r\n\
                Content-Disposition: attachment; filename=\"a.tif\"\r\n\r\n";
    let binary: Vec<u8> = (0..=255).chain([b'\r', b'\r', b'\n', 0]).collect();
    let content = [head.as_bytes(), &binary, b"\r\n--b--\r\n"].concat();
    client.write(format!("BDAT {} LAST\r\n", content.len()).as_bytes()).await;
    client.write(&content).await;
    let reply = client.reply().await;
    assert!(reply.starts_with("250 2.0.0 accepted as F-") && reply.ends_with("1 attachment"), "{reply}");
    assert_eq!(raw(&gateway).await, content);
}

#[tokio::test]
async fn a_mail_says_until_when_and_how_urgently() {
    let gateway = Gateway::start().await;
    let before = SystemClock.now();
    let mut client = begun(&gateway, "MAIL FROM:<anna@example.com> HOLDFOR=3600 BY=7200;R MT-PRIORITY=4").await;
    client.say("DATA").await;
    client.write(mail("when", "", "text").as_bytes()).await;
    let reply = client.say(".").await;
    assert!(reply.starts_with("250 2.0.0 accepted as F-"), "{reply}");
    let fax = &gateway.faxes().await[0].fax;
    let after = SystemClock.now();
    // Held for an hour and given up an hour after that: two hours after it came, as BY says.
    let two_hours = Duration::from_secs(7200);
    let expected = before.plus(two_hours)..=after.plus(two_hours);
    assert!(expected.contains(&fax.give_up_at), "{} not in {expected:?}", fax.give_up_at);
    assert_eq!(fax.priority, 2);
}

#[tokio::test]
async fn a_mail_that_is_held_is_not_called_before_its_time() {
    let gateway = Gateway::start().await;
    let before = SystemClock.now();
    let mut client = begun(&gateway, "MAIL FROM:<anna@example.com> HOLDFOR=3600").await;
    client.say("DATA").await;
    client.write(mail("held", "", "text").as_bytes()).await;
    client.say(".").await;
    // Given up a day after the first call that is allowed, which is an hour after it came.
    let whole = Duration::from_secs(86_400 + 3600);
    let fax = &gateway.faxes().await[0].fax;
    let expected = before.plus(whole)..=SystemClock.now().plus(whole);
    assert!(expected.contains(&fax.give_up_at), "{} not in {expected:?}", fax.give_up_at);
}

#[tokio::test]
async fn a_directive_is_more_precise_than_a_parameter() {
    let gateway = Gateway::start().await;
    let mut client = begun(&gateway, "MAIL FROM:<anna@example.com> MT-PRIORITY=-4").await;
    client.say("DATA").await;
    client.write(mail("prio", "Subject: x [fax: priority high]\r\n", "text").as_bytes()).await;
    client.say(".").await;
    assert_eq!(gateway.faxes().await[0].fax.priority, 2);
}

#[tokio::test]
async fn a_hold_that_outlasts_its_deadline_is_refused() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client().await;
    client.say("EHLO client.test").await;
    let reply = client.say("MAIL FROM:<anna@example.com> HOLDFOR=3600 BY=600;R").await;
    assert!(reply.starts_with("501 5.5.4 the mail is held for longer than BY allows"), "{reply}");
    let reply = client.say("MAIL FROM:<anna@example.com> HOLDFOR=99999999").await;
    assert!(reply.starts_with("501 5.5.4 the mail is to be held too long"), "{reply}");
}
