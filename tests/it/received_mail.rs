//! The mail of a received fax, seen from the smart host: what is in it, who gets it in the end, and that nobody gets it twice.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use fax_image::Bitmap;
use foip::far_end::raster_sha256;
use serde_json::Value;

use crate::answering::{DID, Receiving, sent, sha256, told};
use crate::harness::{Report, Smtp, faxwell, read_content, wait_for};

/// A mail that a smart host took.
#[derive(Clone)]
struct Taken {
    from: String,
    to: String,
    raw: Vec<u8>,
}

impl Taken {
    fn report(&self) -> Report {
        Report { raw: self.raw.clone() }
    }
}

/// A smart host that keeps what it takes, with its envelope, and does not know one of the mailboxes.
pub(crate) struct Keeping {
    pub(crate) address: SocketAddr,
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl Keeping {
    pub(crate) fn start(unknown: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let keeping = Self { address: listener.local_addr().unwrap(), taken: Arc::default() };
        let taken = Arc::clone(&keeping.taken);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = Arc::clone(&taken);
                // A broken connection is the client's matter.
                thread::spawn(move || drop(dialogue(&stream, unknown, &taken)));
            }
        });
        keeping
    }

    /// Whom the mails went to, in order.
    pub(crate) fn recipients(&self) -> Vec<String> {
        self.taken.lock().unwrap().iter().map(|mail| mail.to.clone()).collect()
    }

    fn mail_to(&self, mailbox: &str) -> Taken {
        let find = || self.taken.lock().unwrap().iter().find(|mail| mail.to == mailbox).cloned();
        wait_for(&format!("a mail to {mailbox}"), find)
    }
}

fn dialogue(stream: &TcpStream, unknown: &str, taken: &Mutex<Vec<Taken>>) -> std::io::Result<()> {
    let (mut out, mut lines) = (stream.try_clone()?, BufReader::new(stream.try_clone()?));
    let (mut from, mut to) = (String::new(), String::new());
    out.write_all(b"220 smart.test ESMTP\r\n")?;
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        let word = line.split([' ', ':']).next().unwrap_or_default().trim().to_uppercase();
        let path = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let reply = match word.as_str() {
            "EHLO" => "250-smart.test\r\n250 8BITMIME",
            "MAIL" => {
                from = path;
                "250 2.1.0 ok"
            }
            "RCPT" if path == unknown => "550 5.1.1 no such mailbox here",
            "RCPT" => {
                to = path;
                "250 2.1.5 ok"
            }
            "RSET" | "NOOP" => "250 2.0.0 ok",
            "DATA" => {
                out.write_all(b"354 go on\r\n")?;
                let raw = read_content(&mut lines)?;
                taken.lock().unwrap().push(Taken { from: from.clone(), to: to.clone(), raw });
                "250 2.0.0 taken"
            }
            "QUIT" => return out.write_all(b"221 2.0.0 bye\r\n"),
            _ => "500 5.5.1 what?",
        };
        out.write_all(format!("{reply}\r\n").as_bytes())?;
        line.clear();
    }
    Ok(())
}

/// What a tool prints about a file.
fn run(tool: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(tool).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{tool} cannot be started ({error}); fix: make prepare"));
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && complained.is_empty(), "{tool}: {complained}");
    said.into_owned()
}

/// SHA-256 of the pages of a PDF, read by a program of somebody else.
fn pages_of_pdf(pdf: &[u8], folder: &Path) -> Vec<String> {
    std::fs::write(folder.join("mail.pdf"), pdf).unwrap();
    let list = run("pdfimages", &["-list", "mail.pdf"], folder);
    let images: Vec<&str> = list.lines().skip(2).collect();
    assert!(images.iter().all(|line| line.contains(" ccitt ")), "every page is a strip as it came: {list}");
    run("pdfimages", &["mail.pdf", "page"], folder);
    let page = |number: usize| {
        let octets = std::fs::read(folder.join(format!("page-{number:03}.pbm"))).unwrap();
        raster_sha256(&picture(&octets))
    };
    (0..images.len()).map(page).collect()
}

/// A raw PBM picture: 1 is black, rows of whole octets.
fn picture(octets: &[u8]) -> Bitmap {
    let mut parts = octets.splitn(3, |&octet| octet == b'\n');
    assert_eq!(parts.next(), Some(&b"P4"[..]));
    let size = String::from_utf8(parts.next().unwrap().to_vec()).unwrap();
    let (width, height) = size.split_once(' ').unwrap();
    let (width, height): (u32, u32) = (width.parse().unwrap(), height.parse().unwrap());
    Bitmap::from_packed(width, height, width.div_ceil(8) as usize, parts.next().unwrap()).unwrap()
}

/// A delivery status as hosts write them.
fn returned(to: &str, mailbox: &str) -> Vec<u8> {
    format!(
        "From: Mail Delivery System <mailer-daemon@smart.test>\r\nTo: <{to}>\r\nSubject: Undelivered mail\r\n\
         Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nThe mailbox is gone.\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; smart.test\r\n\r\n\
         Final-Recipient: rfc822; {mailbox}\r\nAction: failed\r\nStatus: 5.1.1\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 no such mailbox any more\r\n\r\n--b--\r\n"
    )
    .into_bytes()
}

/// `inbound show`, when the fax is there.
fn shown(gateway: &Receiving, condition: impl Fn(&Value) -> bool) -> Value {
    wait_for("the fax to be so", || Some(gateway.received()).filter(|fax| condition(fax)))
}

fn notice<'f>(fax: &'f Value, mailbox: &str) -> &'f Value {
    let notices = fax["notices"].as_array().unwrap();
    notices
        .iter()
        .find(|notice| notice["recipient"] == mailbox)
        .unwrap_or_else(|| panic!("nothing to {mailbox}: {fax}"))
}

#[test]
fn the_mail_holds_the_pages_as_the_far_end_sent_them_in_both_forms() {
    let host = Keeping::start("");
    let gateway = Receiving::delivering("max", 4, host.address);
    let route = ["inbound", "route", "set", "both", "--did", DID, "--priority", "1", "--to", "lab@example.com"];
    gateway.command(&[&route[..], &["--format", "both"]].concat());
    assert_eq!(told(gateway.call("both", 3, "max", &[]))["outcome"], "sent");
    let mail = host.mail_to("lab@example.com");
    let (report, folder) = (mail.report(), tempfile::tempdir().unwrap());

    let pdf = report.part("application/pdf").expect("the mail has a PDF");
    assert_eq!(pages_of_pdf(&pdf, folder.path()), sent("both", 3));
    let tiff = report.part("image/tiff").expect("the mail has a TIFF");
    assert_eq!(sha256(&tiff), sent("both", 3));

    // RFC 3949 §3: MH, the least significant bit first, 1728 pixels a line.
    std::fs::write(folder.path().join("mail.tif"), &tiff).unwrap();
    let facts = run("tiffinfo", &["mail.tif"], folder.path());
    for fact in ["Compression Scheme: CCITT Group 3", "FillOrder: lsb-to-msb", "Image Width: 1728"] {
        assert_eq!(facts.matches(fact).count(), 3, "{fact}: {facts}");
    }
    let received = shown(&gateway, |fax| fax["fax"]["state"] == "delivered");
    assert_eq!(report.header("X-Fax-Id"), received["fax"]["short"]);
    assert_eq!(host.recipients(), ["lab@example.com"]);
}

#[test]
fn a_mail_that_comes_back_goes_to_the_default_mailbox_once() {
    let host = Keeping::start("");
    let gateway = Receiving::delivering("max", 4, host.address);
    assert_eq!(told(gateway.call("back", 2, "max", &[]))["outcome"], "sent");
    let mail = host.mail_to("sales@example.com");
    shown(&gateway, |fax| fax["fax"]["state"] == "delivered");
    assert!(mail.from.starts_with("bounce+") && mail.from.ends_with("@fax.local"), "{}", mail.from);

    // What hosts say of a mail comes from anywhere, and more than once when a reply gets lost.
    for _ in 0..2 {
        let reply = Smtp::connect(gateway.smtp()).send("", &[&mail.from], &returned(&mail.from, "sales@example.com"));
        assert!(reply.starts_with("250"), "{reply}");
    }
    let instead = host.mail_to("office@example.com").report();
    let pages = pages_of_pdf(&instead.part("application/pdf").unwrap(), tempfile::tempdir().unwrap().path());
    assert_eq!(pages, sent("back", 2));
    let fax = shown(&gateway, |fax| fax["fax"]["state"] == "delivered");
    let bounced = notice(&fax, "sales@example.com");
    assert_eq!(bounced["state"], "bounced", "{fax}");
    assert!(bounced["detail"].as_str().unwrap().contains("no such mailbox any more"), "{bounced}");
    assert_eq!(notice(&fax, "office@example.com")["state"], "sent", "{fax}");
    assert_eq!(host.recipients(), ["sales@example.com", "office@example.com"]);

    let short = fax["fax"]["short"].as_str().unwrap();
    let output = faxwell().args(["inbound", "show", short, "--data"]).arg(gateway.path("data")).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("to sales@example.com: bounced"), "{printed}");
    let status = gateway.command(&["status"]).remove(0);
    assert_eq!(status["notices"]["bounced"], 1, "{status}");
}

#[test]
fn a_received_fax_is_delivered_again_as_the_same_mail_shown_as_a_pdf_and_kept() {
    let host = Keeping::start("");
    let gateway = Receiving::delivering("max", 4, host.address);
    assert_eq!(told(gateway.call("again", 3, "max", &[]))["outcome"], "sent");
    let first = host.mail_to("sales@example.com");
    let fax = shown(&gateway, |fax| fax["fax"]["state"] == "delivered");
    let short = fax["fax"]["short"].as_str().unwrap();

    let ordered = gateway.command(&["fax", "redeliver", short, "--to", "sales@example.com"]).remove(0);
    assert_eq!((&ordered["id"], &ordered["mails"]), (&short.into(), &1.into()), "{ordered}");
    wait_for("the mail again", || (host.recipients().len() == 2).then_some(()));
    let second = host.taken.lock().unwrap()[1].clone();
    assert!(second.to == first.to && second.raw == first.raw, "the same mail, octet by octet");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fax.pdf");
    let written = gateway.command(&["inbound", "pages", short, "-o", file.to_str().unwrap()]).remove(0);
    let pdf = std::fs::read(&file).unwrap();
    assert_eq!(written["size_bytes"], pdf.len(), "{written}");
    assert!(pdf == first.report().part("application/pdf").unwrap(), "as its mail has it");
    gateway.command(&["inbound", "pages", short, "--page", "2", "-o", file.to_str().unwrap()]);
    assert_eq!(pages_of_pdf(&std::fs::read(&file).unwrap(), folder.path()), sent("again", 3)[1..2]);

    for (off, held) in [(&[][..], true), (&["--off"][..], false)] {
        gateway.command(&[&["fax", "keep", short], off].concat());
        assert_eq!(gateway.received()["fax"]["legal_hold"], held);
    }
    let verdict = gateway.command(&["db", "verify", "--deep"]).remove(0);
    assert_eq!((&verdict["found"], verdict["documents"].as_u64() >= Some(3)), (&0.into(), true), "{verdict}");
}

#[test]
fn a_mail_that_left_before_a_backup_can_come_back_after_its_restore() {
    let host = Keeping::start("");
    let mut gateway = Receiving::delivering("max", 4, host.address);
    assert_eq!(told(gateway.call("restored", 1, "max", &[]))["outcome"], "sent");
    let mail = host.mail_to("sales@example.com");
    shown(&gateway, |fax| fax["fax"]["state"] == "delivered");
    let backup = gateway.path("backup");
    gateway.command(&["backup", backup.to_str().unwrap()]);
    gateway.kill_gateway();
    std::fs::rename(gateway.path("data"), gateway.path("lost")).unwrap();
    gateway.command(&["restore", backup.to_str().unwrap()]);
    gateway.start_gateway();
    let reply = Smtp::connect(gateway.smtp()).send("", &[&mail.from], &returned(&mail.from, "sales@example.com"));
    assert!(reply.starts_with("250"), "{reply}");
    host.mail_to("office@example.com");
    // A copy of the store that is damaged is told of, and nothing is restored from it.
    let copy = std::fs::read_dir(&backup).unwrap().flatten().map(|entry| entry.path());
    let copy = copy.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "db")).unwrap();
    std::fs::write(copy, [7; 32]).unwrap();
    let elsewhere = gateway.path("elsewhere");
    let output = faxwell().arg("restore").arg(&backup).arg("--data").arg(&elsewhere).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not have the hash"), "{output:?}");
    assert!(!elsewhere.exists());
}

#[test]
fn a_return_address_that_the_gateway_did_not_make_is_refused() {
    let host = Keeping::start("");
    let gateway = Receiving::delivering("max", 4, host.address);
    assert_eq!(told(gateway.call("forged", 1, "max", &[]))["outcome"], "sent");
    let real = host.mail_to("sales@example.com").from;
    let (local, domain) = real.split_once('@').unwrap();
    let last = if local.ends_with('0') { "1" } else { "0" };
    let forged = format!("{}{last}@{domain}", &local[..local.len() - 1]);
    let mut smtp = Smtp::connect(gateway.smtp());
    smtp.say("EHLO client.test");
    smtp.say("MAIL FROM:<>");
    let reply = smtp.say(&format!("RCPT TO:<{forged}>"));
    assert!(reply.starts_with("550 5.1.1"), "{reply}");
    assert_eq!(host.recipients(), ["sales@example.com"]);
}

#[test]
fn a_fax_whose_mailbox_is_refused_goes_to_the_default_mailbox() {
    let host = Keeping::start("sales@example.com");
    let gateway = Receiving::delivering("max", 4, host.address);
    assert_eq!(told(gateway.call("refused", 2, "max", &[]))["outcome"], "sent");
    host.mail_to("office@example.com");
    let fax = shown(&gateway, |fax| fax["fax"]["state"] == "delivered");
    let refused = notice(&fax, "sales@example.com");
    assert_eq!(refused["state"], "dead", "{fax}");
    assert!(refused["detail"].as_str().unwrap().contains("no such mailbox here"), "{refused}");
    assert_eq!(host.recipients(), ["office@example.com"]);
}
