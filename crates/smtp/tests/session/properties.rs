//! What holds for every input.

use crate::driver::{run, run_cut};
use proptest::prelude::*;

/// Pieces of dialogues, right and wrong, so that random sequences get far.
const PIECES: &[&[u8]] = &[
    b"EHLO a\r\n",
    b"HELO a\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"MAIL FROM:<> RET=HDRS ENVID=x\r\n",
    b"RCPT TO:<+1@gw>\r\n",
    b"RCPT TO:<bad@gw> NOTIFY=NEVER\r\n",
    b"DATA\r\n",
    b"\r\n.\r\n",
    b".\r\n",
    b"..\r\n",
    b"Subject: x\r\n\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"QUIT\r\n",
    b"VRFY x\r\n",
    b"XYZZY\r\n",
    b"\r",
    b"\n",
    b"\0",
    b"\r\n",
    b"MAIL FROM:<\"a\\\">\"@b> SIZE=2000\r\n",
    b"\xff\xc3\r\n",
    b"MAIL FROM:<\xc3\xbc@b> SMTPUTF8\r\n",
    b"REFUSE",
    b"AUTH PLAIN\r\n",
    b"BDAT 3 LAST\r\nabc",
    b"BDAT 6\r\nQUIT\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 900\r\n",
    b"BDAT x\r\n",
    b"MAIL FROM:<a@b> BODY=BINARYMIME\r\n",
    b"XCLIENT ADDR=192.0.2.1\r\n",
    b"XCLIENT HELO=x\r\n",
];

fn dialogue() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => proptest::sample::select(PIECES).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| {
        let start: &[u8] = b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<+1@gw>\r\n";
        [start, &pieces.concat()].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_gives_the_same_outcome(octets in dialogue(), cuts in proptest::collection::vec(any::<usize>(), 0..30)) {
        prop_assert_eq!(run_cut(&octets, &cuts), run(&octets));
    }

    #[test]
    fn garbage_never_panics_and_every_reply_is_well_formed(octets in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let outcome = run(&octets);
        for line in outcome.replies.split_terminator("\r\n") {
            prop_assert!(line.len() <= 510);
            prop_assert!(line.bytes().take(3).all(|b| b.is_ascii_digit()));
            prop_assert!(matches!(line.as_bytes()[3], b' ' | b'-'));
            prop_assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b)));
        }
        prop_assert!(outcome.messages.is_empty());
    }

    #[test]
    fn content_comes_out_as_it_went_in(lines in proptest::collection::vec("[ -~\u{e4}\u{20ac}.]{0,30}", 0..20)) {
        let content: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        prop_assume!(content.len() <= 1000 && !content.contains("REFUSE") && !content.contains("LATER"));
        let stuffed: String = lines.iter().map(|line| if line.starts_with('.') { format!(".{line}\r\n") } else { format!("{line}\r\n") }).collect();
        let octets = format!("EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<+1@gw>\r\nDATA\r\n{stuffed}.\r\n");
        let outcome = run(octets.as_bytes());
        prop_assert_eq!(&outcome.messages, &[content.into_bytes()]);
    }
}
