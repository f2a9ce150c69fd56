//! What a mail may say besides its addresses, from the socket to the store.

use super::*;

async fn begun(gateway: &Gateway, mail: &str) -> Client {
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

#[tokio::test]
async fn p2_behind_a_proxy_the_address_it_names_decides() {
    let change = |settings: &mut IntakeSettings| {
        settings.smtp.xclient_from = vec!["127.0.0.0/8".parse().unwrap()];
        settings.smtp.relay = vec!["192.0.2.7/32".parse().unwrap()];
    };
    let gateway =
        Gateway::start_with(change, DocumentsSettings { free_bytes_min: 0, ..DocumentsSettings::default() }).await;
    let mut client = gateway.client().await;
    assert!(client.say("EHLO proxy.test").await.contains("XCLIENT NAME ADDR PORT PROTO HELO"));
    let reply = client.say("MAIL FROM:<anna@example.com>").await;
    assert!(reply.starts_with("550 5.7.1 127.0.0.1 may not send"), "{reply}");
    assert_eq!(client.say("XCLIENT ADDR=192.0.2.7 PORT=4711 NAME=[UNAVAILABLE]").await, "220 fax.test ESMTP ready");
    let reply = client.send(&["0441234567@fax.test"], &mail("x", "", "text")).await;
    assert!(reply.starts_with("250 2.0.0 accepted"), "{reply}");
    let message = gateway.store.message(gateway.faxes().await[0].fax.message).await.unwrap();
    assert_eq!(message.client, "192.0.2.7 (client.test)");
    let mut stranger = gateway.client().await;
    stranger.say("XCLIENT ADDR=IPV6:2001:db8::1").await;
    stranger.say("EHLO client.test").await;
    assert!(stranger.say("MAIL FROM:<anna@example.com>").await.starts_with("550 5.7.1 2001:db8::1 may not send"));
}

#[tokio::test]
async fn s12_a_client_that_begins_too_many_mails_is_told_to_wait() {
    let change = |settings: &mut IntakeSettings| settings.smtp.max_mails_per_minute = Some(2);
    let gateway = Gateway::start_with(change, DocumentsSettings::default()).await;
    let mut client = gateway.client().await;
    client.say("EHLO client.test").await;
    for _ in 0..2 {
        assert!(client.say("MAIL FROM:<anna@example.com>").await.starts_with("250"));
        client.say("RSET").await;
    }
    let reply = client.say("MAIL FROM:<anna@example.com>").await;
    assert!(reply.starts_with("450 4.7.1") && reply.ends_with("(sender-limit)"), "{reply}");
}

#[tokio::test]
async fn s12_one_client_cannot_take_all_connections() {
    let change = |settings: &mut IntakeSettings| settings.smtp.max_connections_per_client = 2;
    let gateway =
        Gateway::start_with(change, DocumentsSettings { free_bytes_min: 0, ..DocumentsSettings::default() }).await;
    let (mut first, _second) = (gateway.client().await, gateway.client().await);
    let mut third = Client::new(TcpStream::connect(gateway.address).await.unwrap());
    assert!(third.reply().await.starts_with("421 4.7.0 fax.test has too many connections from your address"));
    assert_eq!(third.reply().await, "closed");
    first.say("QUIT").await;
    assert_eq!(first.reply().await, "closed");
    // The place is free when the server has seen the end; how soon is its own affair.
    tokio::time::timeout(LIMIT, async {
        loop {
            let mut again = Client::new(TcpStream::connect(gateway.address).await.unwrap());
            if again.reply().await.starts_with("220") {
                break;
            }
        }
    })
    .await
    .expect("a place becomes free");
}

#[tokio::test]
async fn s11_content_that_comes_octet_by_octet_is_closed_with_421() {
    let change = |settings: &mut IntakeSettings| {
        settings.timeouts.data = Duration::from_millis(300);
        settings.timeouts.content_bytes_per_s = 1_000_000;
    };
    let gateway =
        Gateway::start_with(change, DocumentsSettings { free_bytes_min: 0, ..DocumentsSettings::default() }).await;
    for begin in ["DATA", "BDAT 1000 LAST"] {
        let mut client = begun(&gateway, "MAIL FROM:<anna@example.com>").await;
        client.write(format!("{begin}\r\n").as_bytes()).await;
        if begin == "DATA" {
            client.reply().await;
        }
        let Client { stream, unread } = client;
        let (read, mut write) = stream.into_split();
        let dripping = tokio::spawn(async move {
            // Each octet comes well before the time for a block is over.
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            while write.write_all(b"x").await.is_ok() {
                tick.tick().await;
            }
        });
        let mut client = Client { stream: tokio::io::join(read, tokio::io::sink()), unread };
        let reply = client.reply().await;
        assert!(reply.starts_with("421 4.4.2 timed out waiting for the content"), "{begin}: {reply}");
        dripping.abort();
    }
}

/// Of this process, in octets.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

#[tokio::test]
async fn s11_thousands_of_idle_clients_cost_little_and_keep_nobody_out() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    // Both ends of each are here; the rest is for the other tests of this process.
    let count = usize::try_from(limit.maximum.unwrap_or(20_000).min(20_000) / 4).unwrap();
    let change = |settings: &mut IntakeSettings| {
        settings.smtp.max_connections = 10_000;
        settings.smtp.max_connections_per_client = 10_000;
    };
    let gateway =
        Gateway::start_with(change, DocumentsSettings { free_bytes_min: 0, ..DocumentsSettings::default() }).await;
    let before = resident();
    let mut idle = Vec::with_capacity(count);
    for _ in 0..count {
        idle.push(gateway.client().await);
        let client = idle.last_mut().unwrap();
        client.say("EHLO client.test").await;
    }
    let each = (resident() - before) / count as u64;
    println!("{count} idle connections, {each} octets each for both ends");
    let reply = gateway.client().await.send(&["0441234567@fax.test"], &mail("idle", "", "text")).await;
    assert!(reply.starts_with("250 2.0.0 accepted"), "{reply}");
    // Far above what is measured, far below one buffer for content each.
    assert!(each < 28 * 1024, "{each} octets for each of {count}");
}
