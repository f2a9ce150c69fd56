//! Connections: who gets a place, whom a balancer or proxy names, who is too slow, and how many may wait.

use super::extensions::begun;
use super::*;

#[tokio::test]
async fn s11_clients_that_drip_octets_are_closed_with_421() {
    let short = |s: &mut IntakeSettings| {
        let wait = Duration::from_millis(300);
        s.timeouts = Timeouts { command: wait, data: wait, message: wait * 2, ..Timeouts::default() };
    };
    let gateway = Gateway::start_with(short, DocumentsSettings::default()).await;
    // Octets of a command that never ends do not start the timer again.
    let mut client = gateway.client().await;
    let mut dripped = 0;
    let reply = loop {
        let _ = client.stream.write_all(b"N").await;
        dripped += 1;
        assert!(dripped < 1000, "it goes on for ever");
        match tokio::time::timeout(Duration::from_millis(20), client.read_reply()).await {
            Ok(reply) => break reply.unwrap(),
            Err(_) => continue,
        }
    };
    assert!(reply.starts_with("421 4.4.2"), "{reply}");
    // Neither does content that comes a line at a time.
    let mut client = gateway.client().await;
    client.say("HELO a").await;
    client.say("MAIL FROM:<a@b>").await;
    client.say("RCPT TO:<+99910200@fax.test>").await;
    client.say("DATA").await;
    let reply = loop {
        let _ = client.stream.write_all(b"line\r\n").await;
        match tokio::time::timeout(Duration::from_millis(20), client.read_reply()).await {
            Ok(reply) => break reply.unwrap(),
            Err(_) => continue,
        }
    };
    assert!(reply.starts_with("421 4.4.2"), "{reply}");
    assert!(gateway.faxes().await.is_empty());
}

#[tokio::test]
async fn s12_connections_beyond_the_limit_are_turned_away() {
    let gateway = Gateway::start_with(|s| s.smtp.max_connections = 2, DocumentsSettings::default()).await;
    let _first = gateway.client().await;
    let _second = gateway.client().await;
    let mut third = Client::new(TcpStream::connect(gateway.address).await.unwrap());
    assert!(third.reply().await.starts_with("421 4.3.2 fax.test has too many connections"));
}

#[tokio::test]
async fn s15_behind_a_balancer_the_clients_own_address_decides() {
    let behind = |settings: &mut IntakeSettings| {
        settings.smtp.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
        settings.smtp.relay = vec!["203.0.113.0/24".parse().unwrap()];
    };
    let documents = no_floor();
    let gateway = Gateway::start_with(behind, documents).await;
    for (client, expected) in [("203.0.113.7", "250 2.1.0"), ("198.51.100.7", "550 5.7.1")] {
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        let mut client = {
            let mut connected = Client { stream, unread: Vec::new() };
            connected.write(format!("PROXY TCP4 {client} 10.0.0.10 40000 25\r\n").as_bytes()).await;
            connected
        };
        assert_eq!(client.reply().await, "220 fax.test ESMTP ready");
        client.say("EHLO a").await;
        let reply = client.say("MAIL FROM:<a@b>").await;
        assert!(reply.starts_with(expected), "{reply}");
    }
}

#[tokio::test]
async fn p2_behind_a_proxy_the_address_it_names_decides() {
    let change = |settings: &mut IntakeSettings| {
        settings.smtp.xclient_from = vec!["127.0.0.0/8".parse().unwrap()];
        settings.smtp.relay = vec!["192.0.2.7/32".parse().unwrap()];
    };
    let gateway = Gateway::start_with(change, no_floor()).await;
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
    let gateway = Gateway::start_with(change, no_floor()).await;
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
    let gateway = Gateway::start_with(change, no_floor()).await;
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
    let gateway = Gateway::start_with(change, no_floor()).await;
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

#[tokio::test]
async fn p3_a_proxy_behind_a_balancer_names_the_client_and_what_was_known_of_it_is_forgotten() {
    let change = |settings: &mut IntakeSettings| {
        settings.smtp.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
        settings.smtp.xclient_from = vec!["203.0.113.7/32".parse().unwrap()];
        settings.smtp.relay = vec!["192.0.2.0/24".parse().unwrap(), "203.0.113.0/24".parse().unwrap()];
        settings.smtp.max_connections_per_client = 1;
    };
    let gateway = Gateway::start_with(change, no_floor()).await;
    let behind = async |address: &str| {
        let mut client = Client::new(TcpStream::connect(gateway.address).await.unwrap());
        client.write(format!("PROXY TCP4 {address} 10.0.0.10 40000 25\r\n").as_bytes()).await;
        assert_eq!(client.reply().await, "220 fax.test ESMTP ready");
        client
    };
    // Whom the balancer names, but is no proxy, names nobody.
    let mut relay = behind("203.0.113.8").await;
    assert!(!relay.say("EHLO a").await.contains("XCLIENT"));
    assert!(relay.say("XCLIENT ADDR=192.0.2.7").await.starts_with("550 5.7.1"));
    // The proxy that it names does, in more connections than one client may have.
    let (mut proxy, mut other) = (behind("203.0.113.7").await, behind("203.0.113.7").await);
    assert!(proxy.say("EHLO a").await.contains("XCLIENT"));
    assert!(proxy.say("MAIL FROM:<a@b>").await.starts_with("250"));
    proxy.say("RSET").await;
    assert!(proxy.say("XCLIENT ADDR=198.51.100.7").await.starts_with("220"));
    assert!(proxy.say("MAIL FROM:<a@b>").await.starts_with("503"), "as if it had just connected");
    proxy.say("EHLO a").await;
    assert!(proxy.say("MAIL FROM:<a@b>").await.starts_with("550 5.7.1 198.51.100.7 may not send"));
    assert!(proxy.say("XCLIENT ADDR=192.0.2.7").await.starts_with("550 5.7.1"), "once is enough");
    // Each client is counted where it is named.
    other.say("EHLO a").await;
    let reply = other.say("XCLIENT ADDR=198.51.100.7").await;
    assert!(reply.starts_with("421 4.7.0 fax.test has too many connections from your address"), "{reply}");
    assert_eq!(other.reply().await, "closed");
}

#[tokio::test]
async fn s11_after_some_errors_each_reply_is_waited_for() {
    let change = |settings: &mut IntakeSettings| settings.timeouts.tarpit = Duration::from_secs(3600);
    let gateway = Gateway::start_with(change, no_floor()).await;
    let mut client = gateway.client().await;
    for _ in 0..5 {
        assert!(client.say("GUESS").await.starts_with("500"));
    }
    client.write(b"GUESS\r\n").await;
    let waited = tokio::time::timeout(Duration::from_millis(300), client.read_reply()).await;
    assert!(waited.is_err(), "{waited:?}");
    assert!(gateway.client().await.say("NOOP").await.starts_with("250"), "others do not wait");
}

#[tokio::test]
async fn s11_hundreds_of_slow_clients_keep_nobody_out_and_are_closed_with_421() {
    const SLOW: usize = 200;
    let change = |settings: &mut IntakeSettings| {
        settings.smtp.max_connections = SLOW + 10;
        settings.smtp.max_connections_per_client = SLOW + 10;
        settings.timeouts.command = Duration::from_secs(8);
        settings.timeouts.data = Duration::from_secs(8);
        settings.timeouts.content_bytes_per_s = 1_000_000;
    };
    let gateway = Gateway::start_with(change, no_floor()).await;
    let mut slow = Vec::with_capacity(SLOW);
    for index in 0..SLOW {
        // A third each: in a command, after DATA, in a chunk.
        let client = match index % 3 {
            0 => gateway.client().await,
            kind => {
                let mut client = begun(&gateway, "MAIL FROM:<anna@example.com>").await;
                if kind == 1 {
                    client.say("DATA").await;
                } else {
                    client.write(b"BDAT 1000 LAST\r\n").await;
                }
                client
            }
        };
        let Client { stream, unread } = client;
        let (read, mut write) = stream.into_split();
        let dripping = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(250));
            while write.write_all(b"x").await.is_ok() {
                tick.tick().await;
            }
        });
        slow.push((Client { stream: tokio::io::join(read, tokio::io::sink()), unread }, dripping));
    }
    let reply = gateway.client().await.send(&["0441234567@fax.test"], &mail("among", "", "text")).await;
    assert!(reply.starts_with("250 2.0.0 accepted"), "{reply}");
    for (client, dripping) in &mut slow {
        let reply = client.reply().await;
        assert!(reply.starts_with("421 4.4.2 "), "{reply}");
        dripping.abort();
    }
    assert_eq!(gateway.faxes().await.len(), 1);
}
