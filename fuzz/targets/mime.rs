//! Any octets are a mail or a refusal; what a part holds is found again, whatever stands around it.
//!
//! The module is compiled here as it stands: the gateway's crate as a whole is too heavy for this.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../src/domain/mod.rs"]
mod domain;
#[path = "../../src/mail/mime/mod.rs"]
mod mime;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let read = mime::read(octets);
    if let Ok(mail) = &read {
        let held: usize = mail.attachments.iter().map(|a| a.bytes.len()).chain(mail.inline.iter().map(|i| i.bytes.len())).sum();
        // Containers unpack to eight times the mail and 4 MiB at most; texts become three octets for one.
        assert!(held <= octets.len().saturating_mul(11) + (4 << 20), "{held} octets of {}", octets.len());
        assert!(mail.attachments.iter().all(|a| !a.name.is_empty() && !a.name.contains(['\r', '\n', '\0'])));
        assert!(!mail.subject.contains(['\r', '\n', '\0']));
    } else if let Err(error) = &read {
        assert!(!error.detail.is_empty() && !error.detail.contains(['\r', '\n']), "{error}");
    }
    // The same octets as a part of a mail that is sound: neither they nor the part behind them may be lost.
    let encoded = data_encoding::BASE64.encode(octets);
    let outer = format!(
        "Content-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\nContent-Type: application/pdf; name=a.pdf\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{encoded}\r\n--outer\r\nContent-Type: image/png; name=b.png\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{encoded}\r\n--outer--\r\n"
    );
    let mail = mime::read(outer.as_bytes()).expect("a sound mail is read");
    assert!(mail.attachments.len() == 2 && mail.attachments.iter().all(|a| a.bytes == octets), "an attachment is lost");
});
