//! One notice, a store that remembers what is written, smart hosts that behave and misbehave, a Maildir.

use std::sync::Mutex;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::super::testing::*;
use super::*;
use crate::config::DeliveryTarget;
use crate::domain::{NoticeState, ReceivedFormat};
use crate::store::Ret;

/// How a smart host answers.
#[derive(Debug, Clone, Copy)]
enum Behaviour {
    Takes,
    Greets(&'static str),
    AnswersMail(&'static str),
    AnswersRcpt(&'static str),
    AnswersContent(&'static str),
    /// Takes the mail and is gone before it says so.
    DropsAfterDot,
    /// Says this to EHLO.
    Offers(&'static str),
    /// Refuses mails of more than so many octets.
    TakesUpTo(usize),
}

/// What a smart host saw.
#[derive(Debug, Default)]
struct Seen {
    connections: usize,
    commands: Vec<String>,
    mails: Vec<Vec<u8>>,
}

struct FakeHost {
    address: String,
    seen: Arc<Mutex<Seen>>,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl FakeHost {
    async fn new(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen, behaviour) = (Arc::new(Mutex::new(Seen::default())), Arc::new(Mutex::new(behaviour)));
        let host = Self { address, seen: seen.clone(), behaviour: behaviour.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.lock().unwrap().connections += 1;
                tokio::spawn(serve(stream, behaviour.clone(), seen.clone()));
            }
        });
        host
    }

    fn mails(&self) -> Vec<Vec<u8>> {
        self.seen.lock().unwrap().mails.clone()
    }
}

async fn serve(stream: TcpStream, behaviour: Arc<Mutex<Behaviour>>, seen: Arc<Mutex<Seen>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let now = || *behaviour.lock().unwrap();
    let greeting = if let Behaviour::Greets(reply) = now() { reply } else { "220 mx.test ESMTP" };
    stream.write_all(format!("{greeting}\r\n").as_bytes()).await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let command = std::mem::take(&mut line);
        seen.lock().unwrap().commands.push(command.trim_end().to_owned());
        let verb = command.get(..4).unwrap_or_default().to_ascii_uppercase();
        let reply = match (verb.as_str(), now()) {
            ("EHLO", Behaviour::Offers(reply)) => reply,
            ("EHLO", _) => "250-mx.test\r\n250 8BITMIME",
            ("MAIL", Behaviour::AnswersMail(reply)) | ("RCPT", Behaviour::AnswersRcpt(reply)) => reply,
            ("DATA", behaviour) => {
                stream.write_all(b"354 go on\r\n").await?;
                let mail = content(&mut stream).await?;
                let size = mail.len();
                match behaviour {
                    Behaviour::AnswersContent(reply) => reply,
                    Behaviour::TakesUpTo(max) if size > max => "552 5.3.4 message too big",
                    _ => {
                        seen.lock().unwrap().mails.push(mail);
                        if matches!(behaviour, Behaviour::DropsAfterDot) {
                            return Ok(());
                        }
                        "250 2.0.0 queued as 4711"
                    }
                }
            }
            ("QUIT", _) => "221 bye",
            _ => "250 ok",
        };
        stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
    Ok(())
}

async fn content(stream: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut mail = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await? == 0 || line == b".\r\n" {
            return Ok(mail);
        }
        mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}

struct Bench {
    store: Arc<Notices>,
    deliverer: Deliverer,
    owner: Owner,
}

impl Bench {
    fn new(work: NoticeWork, images: FakeImages, target: &DeliveryTarget) -> Self {
        let store = Arc::new(Notices::of(work));
        let transport = Transport::new(target, "gw1.fax.test").unwrap();
        let deliverer =
            Deliverer::new(store.clone(), Arc::new(images), composer(), transport, returned(), Leases::new());
        Self { store, deliverer, owner: Owner { node: "gw-a".into(), epoch: uuid::Uuid::from_u128(1) } }
    }

    fn with_hosts(work: NoticeWork, hosts: &[&FakeHost]) -> Self {
        let hosts = hosts.iter().map(|h| h.address.clone()).collect();
        Self::new(work, FakeImages::Present, &DeliveryTarget::Smarthosts(hosts))
    }

    async fn step(&self) -> Step {
        let step = self.deliverer.step(&self.owner);
        tokio::time::timeout(Duration::from_secs(20), step).await.expect("a step ends").unwrap()
    }

    /// Owed again, as when the node died before it wrote.
    fn forget(&self) {
        self.store.work.lock().unwrap().notice.state = NoticeState::Owed;
    }
}

fn message_id(mail: &[u8]) -> String {
    use mailparse::MailHeaderMap;
    mailparse::parse_mail(mail).unwrap().headers.get_first_value("Message-ID").unwrap()
}

#[tokio::test]
async fn a_smart_host_takes_the_report_with_a_null_reverse_path_and_one_recipient() {
    let host = FakeHost::new(Behaviour::Takes).await;
    let bench = Bench::with_hosts(sent(), &[&host]);
    assert_eq!(bench.step().await, Step::Sent);
    assert_eq!(bench.store.last(), Written::Sent(format!("{}: 250 2.0.0 queued as 4711", host.address)));
    let commands = host.seen.lock().unwrap().commands.clone();
    assert_eq!(commands[..4], ["EHLO gw1.fax.test", "MAIL FROM:<>", "RCPT TO:<jean@corp.test>", "DATA"]);
    let expected = composer()
        .compose(
            &sent(),
            &Material {
                pdf: Some(PDF.into()),
                thumbnail: Some(PNG.into()),
                original: Some(ORIGINAL.into()),
                ..Material::default()
            },
        )
        .unwrap();
    assert_eq!(host.mails(), [expected.mail.octets], "octet for octet what was composed");
    assert_eq!(bench.step().await, Step::Idle);
}

#[tokio::test]
async fn each_host_gets_the_form_of_the_mail_that_it_takes() {
    let returned = |reverse_path: &str| {
        let mut work = busy();
        record_mut(&mut work).message.ret = Some(Ret::Full);
        work.notice.recipient = Some(reverse_path.to_owned());
        work
    };
    for (to, offers, mail, eight_bit) in [
        ("jean@corp.test", "250-mx.test\r\n250 8BITMIME", "MAIL FROM:<> BODY=8BITMIME", true),
        ("jean@corp.test", "250 mx.test", "MAIL FROM:<>", false),
        ("jörg@corp.test", "250-mx.test\r\n250-8BITMIME\r\n250 SMTPUTF8", "MAIL FROM:<> SMTPUTF8 BODY=8BITMIME", true),
    ] {
        let host = FakeHost::new(Behaviour::Offers(offers)).await;
        let target = DeliveryTarget::Smarthosts(vec![host.address.clone()]);
        let bench = Bench::new(returned(to), FakeImages::EightBit, &target);
        assert_eq!(bench.step().await, Step::Sent, "{to} {offers}");
        assert_eq!(host.seen.lock().unwrap().commands[1..3], [mail.to_owned(), format!("RCPT TO:<{to}>")]);
        assert_eq!(!host.mails()[0].is_ascii(), eight_bit, "{to} {offers}");
    }
    // Nobody takes it now; another host may, later.
    let host = FakeHost::new(Behaviour::Takes).await;
    let bench = Bench::with_hosts(returned("jörg@corp.test"), &[&host]);
    assert_eq!(bench.step().await, Step::Again);
    assert!(matches!(bench.store.last(), Written::Again(_, why) if why.contains("SMTPUTF8")));
}

#[tokio::test]
async fn what_a_refusal_means_depends_on_where_it_comes() {
    use Behaviour::*;
    for (behaviour, step, says) in [
        (Greets("421 4.3.2 come back later"), Step::Again, "421"),
        (Greets("554 5.7.1 not you"), Step::Again, "554"),
        (AnswersMail("450 4.7.1 slow down"), Step::Again, "450"),
        (AnswersMail("530 5.7.0 login first"), Step::Again, "530"),
        (AnswersRcpt("450 4.2.0 greylisted"), Step::Again, "450 4.2.0 greylisted"),
        (AnswersRcpt("550 5.1.1 no such user"), Step::Dead, "550 5.1.1 no such user"),
        (AnswersRcpt("551 not here"), Step::Dead, "551"),
        (AnswersRcpt("554 5.1.1 no such user"), Step::Dead, "554"),
        (AnswersRcpt("554 5.7.1 relay access denied"), Step::Again, "554"),
        (AnswersRcpt("550 5.7.1 relaying denied"), Step::Again, "5.7.1"),
        (AnswersContent("451 4.3.0 disk full"), Step::Again, "451"),
        (AnswersContent("554 5.6.0 spam"), Step::Dead, "554"),
        (AnswersContent("552 5.2.3 too big for the mailbox"), Step::Dead, "552"),
    ] {
        let host = FakeHost::new(behaviour).await;
        let bench = Bench::with_hosts(busy(), &[&host]);
        assert_eq!(bench.step().await, step, "{behaviour:?}");
        let (Written::Again(_, why) | Written::Dead(why) | Written::Sent(why) | Written::Withdrawn(why)) =
            bench.store.last();
        assert!(why.contains(says), "{behaviour:?}: {why}");
    }
}

#[tokio::test]
async fn the_second_host_takes_over_when_the_first_is_down_or_unwilling() {
    use Behaviour::*;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let second = FakeHost::new(Takes).await;
    let hosts = DeliveryTarget::Smarthosts(vec![closed, second.address.clone()]);
    assert_eq!(Bench::new(sent(), FakeImages::Present, &hosts).step().await, Step::Sent);
    for behaviour in [Greets("421 no"), AnswersMail("451 no"), AnswersRcpt("451 no"), AnswersContent("451 no")] {
        let (first, second) = (FakeHost::new(behaviour).await, FakeHost::new(Takes).await);
        assert_eq!(Bench::with_hosts(sent(), &[&first, &second]).step().await, Step::Sent, "{behaviour:?}");
        assert_eq!((first.mails().len(), second.mails().len()), (0, 1), "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_connection_lost_after_the_dot_repeats_the_same_mail_later_and_asks_nobody_else() {
    let (first, second) = (FakeHost::new(Behaviour::DropsAfterDot).await, FakeHost::new(Behaviour::Takes).await);
    let bench = Bench::with_hosts(sent(), &[&first, &second]);
    assert_eq!(bench.step().await, Step::Again);
    assert_eq!(second.mails().len(), 0, "the first may have it");
    *first.behaviour.lock().unwrap() = Behaviour::Takes;
    assert_eq!(bench.step().await, Step::Sent);
    let mails = first.mails();
    assert_eq!(mails[0], mails[1]);
    assert_eq!(message_id(&mails[0]), "<F-TEST.final@fax.test>");
    assert_eq!(second.mails().len(), 0);
}

#[tokio::test]
async fn a_crash_before_the_record_repeats_the_same_mail_over_a_kept_connection() {
    let host = FakeHost::new(Behaviour::Takes).await;
    let bench = Bench::with_hosts(sent(), &[&host]);
    bench.step().await;
    bench.forget();
    assert_eq!(bench.step().await, Step::Sent);
    let mails = host.mails();
    assert_eq!((mails.len(), &mails[0]), (2, &mails[1]));
    assert_eq!(host.seen.lock().unwrap().connections, 1);
}

#[tokio::test]
async fn a_report_that_is_too_large_goes_out_without_its_pages() {
    let host = FakeHost::new(Behaviour::TakesUpTo(0)).await;
    let bench = Bench::with_hosts(busy(), &[&host]);
    let bare = Material { withheld: Some(Withheld::Size), original: Some(ORIGINAL.into()), ..Material::default() };
    let small = composer().compose(&busy(), &bare).unwrap().mail.octets;
    *host.behaviour.lock().unwrap() = Behaviour::TakesUpTo(small.len());
    assert_eq!(bench.step().await, Step::Sent);
    assert_eq!(host.mails(), [small]);
}

#[tokio::test]
async fn waits_grow_from_a_minute_to_an_hour_and_end_after_five_days() {
    let host = FakeHost::new(Behaviour::Greets("421 later")).await;
    let bench = Bench::with_hosts(busy(), &[&host]);
    let mut waits = Vec::new();
    let started = *bench.store.now.lock().unwrap();
    loop {
        match bench.step().await {
            Step::Again => {}
            Step::Dead => break,
            other => panic!("{other:?}"),
        }
        let Written::Again(at, _) = bench.store.last() else { panic!() };
        waits.push(at.since(*bench.store.now.lock().unwrap()).as_secs());
        *bench.store.now.lock().unwrap() = at;
        assert!(waits.len() < 300);
    }
    for (wait, minutes) in waits.iter().zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        assert!((54 * minutes..=66 * minutes).contains(wait), "{wait} s, about {minutes} min expected");
    }
    let days = bench.store.now.lock().unwrap().since(started).as_secs() / 3600;
    assert!((116..=120).contains(&days), "{days} h");
    assert!(matches!(bench.store.last(), Written::Dead(why) if why.contains("5 days") && why.contains("421")));
}

#[tokio::test]
async fn a_received_fax_leaves_with_a_return_address_that_names_it() {
    let host = FakeHost::new(Behaviour::Takes).await;
    let work = received(true, ReceivedFormat::Both);
    let bench = Bench::with_hosts(work.clone(), &[&host]);
    assert_eq!(bench.step().await, Step::Sent);
    let commands = host.seen.lock().unwrap().commands.clone();
    let from = commands[1].strip_prefix("MAIL FROM:<").unwrap().strip_suffix('>').unwrap();
    let now = *bench.store.now.lock().unwrap();
    assert_eq!(returned().0.read(from, now), Ok(Some(work.notice.id)), "{from}");
    assert_eq!(commands[2], "RCPT TO:<sales@corp.test>");
    bench.forget();
    assert_eq!(bench.step().await, Step::Sent);
    let mails = host.mails();
    assert_eq!((mails.len(), &mails[0]), (2, &mails[1]), "a repeat is the same mail");
}

#[tokio::test]
async fn a_received_fax_that_its_mailbox_refuses_goes_to_the_default_mailboxes() {
    for (behaviour, expected) in [
        (Behaviour::AnswersRcpt("550 5.1.1 no such user"), Step::Dead),
        (Behaviour::AnswersContent("554 5.6.0 spam"), Step::Dead),
        (Behaviour::AnswersRcpt("450 4.2.0 greylisted"), Step::Again),
        (Behaviour::AnswersMail("451 4.3.0 disk full"), Step::Again),
    ] {
        let host = FakeHost::new(behaviour).await;
        let bench = Bench::with_hosts(received(true, ReceivedFormat::Pdf), &[&host]);
        assert_eq!(bench.step().await, expected, "{behaviour:?}");
        let instead = bench.store.instead.lock().unwrap().clone();
        assert_eq!(instead == ["office@corp.test"], expected == Step::Dead, "{behaviour:?}");
    }
    // After five days of "later" as well; a report has no other mailbox.
    for (work, instead) in [(received(true, ReceivedFormat::Pdf), 1), (busy(), 0)] {
        let host = FakeHost::new(Behaviour::Greets("421 later")).await;
        let bench = Bench::with_hosts(work, &[&host]);
        assert_eq!(bench.step().await, Step::Again);
        *bench.store.now.lock().unwrap() = minutes(32 + 5 * 24 * 60);
        assert_eq!(bench.step().await, Step::Dead);
        assert_eq!(bench.store.instead.lock().unwrap().len(), instead);
    }
}

#[tokio::test]
async fn a_received_fax_never_leaves_short_of_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let target = DeliveryTarget::Maildir(folder.path().to_owned());
    let bench = Bench::new(received(true, ReceivedFormat::Pdf), FakeImages::Missing, &target);
    for _ in 0..TRIES_FOR_IMAGES + 2 {
        assert_eq!(bench.step().await, Step::Again);
        assert!(
            matches!(bench.store.last(), Written::Again(_, why) if why.contains("pages of R-") && why.contains("no such document"))
        );
    }
    assert!(!folder.path().join("new").exists());
    // One that carries no pages does not wait for them.
    let bench = Bench::new(received(true, ReceivedFormat::Text), FakeImages::Missing, &target);
    assert_eq!(bench.step().await, Step::Sent);
}

#[tokio::test]
async fn a_received_fax_is_one_file_of_a_maildir_with_its_return_address() {
    let folder = tempfile::tempdir().unwrap();
    let target = DeliveryTarget::Maildir(folder.path().to_owned());
    let bench = Bench::new(received(false, ReceivedFormat::Tiff), FakeImages::Present, &target);
    for _ in 0..2 {
        assert_eq!(bench.step().await, Step::Sent);
        let octets = std::fs::read(only_file(folder.path())).unwrap();
        let text = String::from_utf8_lossy(&octets);
        assert!(text.starts_with("Return-Path: <bounce+"), "{text}");
        assert!(text.contains("image/tiff") && !text.contains("application/pdf"), "{text}");
        bench.forget();
    }
}

#[tokio::test]
async fn nobody_is_told_that_a_fax_waits_when_it_has_ended() {
    let host = FakeHost::new(Behaviour::Takes).await;
    let mut ended = delayed();
    let fax = &mut record_mut(&mut ended).fax;
    (fax.state, fax.ended_at) = (crate::domain::FaxState::Sent, Some(minutes(17)));
    let bench = Bench::with_hosts(ended, &[&host]);
    assert_eq!(bench.step().await, Step::Withdrawn);
    assert!(matches!(bench.store.last(), Written::Withdrawn(why) if why.contains("it is sent")));
    assert_eq!(host.seen.lock().unwrap().connections, 0);
    let bench = Bench::with_hosts(delayed(), &[&host]);
    assert_eq!(bench.step().await, Step::Sent);
    assert_eq!(host.mails().len(), 1);
}

#[tokio::test]
async fn a_report_waits_for_its_pages_and_goes_out_without_them_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let target = DeliveryTarget::Maildir(folder.path().to_owned());
    let bench = Bench::new(busy(), FakeImages::Missing, &target);
    for _ in 0..TRIES_FOR_IMAGES {
        assert_eq!(bench.step().await, Step::Again);
    }
    assert_eq!(bench.step().await, Step::Sent);
    let mail = std::fs::read(only_file(folder.path())).unwrap();
    assert!(String::from_utf8_lossy(&mail).contains("could not be read"));
}

#[tokio::test]
async fn what_retention_has_removed_is_not_waited_for_and_the_mail_says_so() {
    for work in [busy(), received(true, ReceivedFormat::Both)] {
        let folder = tempfile::tempdir().unwrap();
        let target = DeliveryTarget::Maildir(folder.path().to_owned());
        let bench = Bench::new(work, FakeImages::Removed(minutes(45 * 24 * 60)), &target);
        assert_eq!(bench.step().await, Step::Sent, "at once");
        let mail = std::fs::read(only_file(folder.path())).unwrap();
        let mail = mailparse::parse_mail(&mail).unwrap();
        for media in ["text/plain", "text/html"] {
            let text = part(&mail, media).unwrap_or_else(|| panic!("the mail has no {media}"));
            assert!(text.contains("the pages were removed on 6 Jan 2027"), "{text}");
        }
        assert!(part(&mail, "application/pdf").is_none() && part(&mail, "image/tiff").is_none());
    }
}

/// The first part of this type as text.
fn part(mail: &mailparse::ParsedMail<'_>, media: &str) -> Option<String> {
    if mail.ctype.mimetype == media {
        return Some(mail.get_body().unwrap());
    }
    mail.subparts.iter().find_map(|inner| part(inner, media))
}

#[tokio::test]
async fn an_unusable_address_is_dead_at_once_and_shown() {
    let host = FakeHost::new(Behaviour::Takes).await;
    let mut work = busy();
    work.notice.recipient = Some("x@y>\r\nRCPT TO:<evil@x.test".into());
    let bench = Bench::with_hosts(work, &[&host]);
    assert_eq!(bench.step().await, Step::Dead);
    assert_eq!(host.seen.lock().unwrap().connections, 0);
}

fn only_file(maildir: &std::path::Path) -> std::path::PathBuf {
    let list = |folder: &str| std::fs::read_dir(maildir.join(folder)).unwrap().map(|e| e.unwrap().path());
    let mut all: Vec<_> = list("new").chain(list("cur")).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(list("tmp").count(), 0);
    all.remove(0)
}

#[tokio::test]
async fn a_maildir_holds_one_file_however_often_the_notice_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("mailbox");
    let bench = Bench::new(sent(), FakeImages::Present, &DeliveryTarget::Maildir(root.clone()));
    assert_eq!(bench.step().await, Step::Sent);
    let file = only_file(&root);
    let octets = std::fs::read(&file).unwrap();
    // A crash in the middle of a repeat leaves half a file in tmp/.
    std::fs::write(root.join("tmp").join(file.file_name().unwrap()), b"half").unwrap();
    bench.forget();
    assert_eq!(bench.step().await, Step::Sent);
    assert_eq!(std::fs::read(only_file(&root)).unwrap(), octets);
    // A reader has opened the mail meanwhile.
    let read = root.join("cur").join(format!("{}:2,S", file.file_name().unwrap().to_str().unwrap()));
    std::fs::rename(&file, &read).unwrap();
    bench.forget();
    assert_eq!(bench.step().await, Step::Sent);
    assert_eq!(only_file(&root), read);
}

#[tokio::test]
async fn a_maildir_that_cannot_be_written_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a-file");
    std::fs::write(&root, b"in the way").unwrap();
    let bench = Bench::new(sent(), FakeImages::Present, &DeliveryTarget::Maildir(root));
    assert_eq!(bench.step().await, Step::Again);
}

#[test]
fn hosts_are_read_as_host_and_port() {
    for good in ["mx1.example.com", "mx1.example.com:587", "127.0.0.1:25", "[::1]:25", "[::1]", "localhost"] {
        assert!(Transport::new(&DeliveryTarget::Smarthosts(vec![good.into()]), "x").is_ok(), "{good}");
    }
    for bad in ["", ":25", "host:port", "host:99999", "ho st", "host\r\n", "host/x"] {
        assert!(Transport::new(&DeliveryTarget::Smarthosts(vec![bad.into()]), "x").is_err(), "{bad:?}");
    }
    assert!(Transport::new(&DeliveryTarget::Smarthosts(vec![]), "x").is_err());
}

/// Over the real store: a fax that cannot be rendered, and one that is busy, are told once each.
#[tokio::test]
async fn every_final_fax_of_the_store_is_told_once() {
    use crate::domain::{Cause, Outcome};
    use crate::store::{AttemptEnd, AttemptFact, Next, Transport as Carried, testing};

    let bench = testing::sqlite().await;
    let (store, owner) = (bench.store.clone(), testing::owner("gw-a"));
    store.submit(testing::message(&["+41441234567", "+41441234568"])).await.unwrap();
    let render = store.claim_render(&owner, LEASE).await.unwrap().unwrap();
    for (fax, token) in &render.faxes {
        store.rendered(fax.id, *token, testing::pages(1)).await.unwrap();
    }
    for (number, call) in store.claim_calls(&owner, 2, LEASE).await.unwrap().into_iter().enumerate() {
        let attempt = testing::attempt(1);
        store.begin_attempt(call.fax.id, call.token, attempt.clone()).await.unwrap();
        let (end, next) = if number == 0 {
            store.record_fact(attempt.id, AttemptFact::Answered).await.unwrap();
            store.record_fact(attempt.id, AttemptFact::PageStarted { page: 1 }).await.unwrap();
            store.page_confirmed(attempt.id, testing::confirmed(1)).await.unwrap();
            let end = AttemptEnd { transport: Some(Carried::T38), ..AttemptEnd::default() };
            (end, testing::end(Outcome::Sent))
        } else {
            (testing::busy(), testing::end(Outcome::Failed))
        };
        store.end_attempt(attempt.id, call.token, end, Next::Final(next)).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let transport = Transport::new(&DeliveryTarget::Maildir(folder.path().to_owned()), "gw1.fax.test").unwrap();
    let deliverer =
        Deliverer::new(store.clone(), Arc::new(FakeImages::Present), composer(), transport, returned(), Leases::new());
    let mut worker = Deliveries { deliverer: Arc::new(deliverer), owner };
    for expected in [Progress::Worked, Progress::Worked, Progress::Idle] {
        assert_eq!(worker.step().await.unwrap(), expected);
    }
    let mails: Vec<_> = std::fs::read_dir(folder.path().join("new")).unwrap().map(|e| e.unwrap().path()).collect();
    let mut subjects: Vec<String> =
        mails.iter().map(|m| crate::mail::mime::read(&std::fs::read(m).unwrap()).unwrap().subject).collect();
    subjects.sort();
    let busy = Cause::Busy.entry().title;
    let [sent, failed] = &subjects[..] else { panic!("{subjects:?}") };
    assert!(sent.starts_with("✔ Fax sent to +41 44 123 45 6") && sent.ends_with("(1 page): Offer 4711"), "{sent}");
    assert!(failed.starts_with("✖ Fax NOT sent to +41 44 123 45 6") && failed.ends_with(busy), "{failed}");
}
