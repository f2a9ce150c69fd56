//! Any octets are a session that ends in well-formed replies, and the same one however they are cut.
//!
//! The first two octets say how the stream is cut; the driver is that of the session's tests.
#![no_main]

#[path = "../../crates/smtp/tests/session/driver.rs"]
#[allow(dead_code)]
mod driver;

use driver::{Driver, settings};
use smtp::{SessionSettings, Starttls};

/// Without STARTTLS: what comes with it in one piece is refused, and what comes after it is not, which is right.
fn in_the_clear() -> SessionSettings {
    let mut settings = settings();
    settings.offers.starttls = Starttls::Absent;
    settings
}

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let Some(([cut, step], stream)) = octets.split_first_chunk::<2>() else { return };
    let mut whole = Driver::new(in_the_clear());
    whole.feed(stream);
    let mut pieces = Driver::new(in_the_clear());
    let (head, tail) = stream.split_at((usize::from(*cut)).min(stream.len()));
    pieces.feed(head);
    for piece in tail.chunks(usize::from(*step).max(1)) {
        pieces.feed(piece);
    }
    assert_eq!(whole.outcome, pieces.outcome, "the same stream in pieces is another session");
    assert!(whole.outcome.replies.is_empty() || whole.outcome.replies.ends_with("\r\n"));
    for line in whole.outcome.replies.split_terminator("\r\n") {
        let digits = line.len() >= 4 && line.bytes().take(3).all(|b| b.is_ascii_digit());
        assert!(digits && matches!(line.as_bytes()[3], b' ' | b'-'), "{line:?}");
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
    }
    // S6, §3.4: nothing but `.` on a line of its own, or a last chunk, ends a message.
    let ends = stream.windows(5).filter(|w| *w == b"\r\n.\r\n").count() + usize::from(stream.starts_with(b".\r\n"));
    let upper = stream.to_ascii_uppercase();
    let empty = upper.windows(9).filter(|w| *w == b"DATA\r\n.\r\n").count();
    let chunks = upper.windows(4).filter(|w| *w == b"LAST").count();
    assert!(whole.outcome.messages.len() <= ends + empty + chunks, "a message that nothing has ended");
});
