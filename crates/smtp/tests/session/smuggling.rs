//! No sequence of octets makes two messages out of one (standards: RFC 5321 §2.3.8 and §4.1.1.4).
//!
//! The sequences are the union of what the public scanners send. Each stands in the content in front of a smuggled
//! transaction and is tried pipelined in one piece and cut at every octet.

use crate::driver::{Outcome, run, run_cut};

/// Each looks like an end of content to some server.
const FALSE_ENDS: &[&[u8]] = &[
    b"\n.\n",
    b"\r.\r",
    b"\r.\n",
    b"\n.\r",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\n\n.\r\n",
    b"\r\n.\n\r",
    b"\r\n.\r\0\n",
    b"\n.\n\r\n",
    b"\r\n .\r\n",
    b"\r\n. \r\n",
    b"\x85.\x85",
    b"\r\n..\r\n",
];

const BEFORE: &[u8] = b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<+1@gw>\r\nDATA\r\nSubject: one\r\n\r\nfirst";
const SMUGGLED: &[u8] = b"MAIL FROM:<a@b>\r\nRCPT TO:<+2@gw>\r\nDATA\r\nSubject: two\r\n\r\nsmuggled\r\n.\r\n";
const AFTER: &[u8] = b"NOOP\r\n";

fn octets(sequence: &[u8]) -> Vec<u8> {
    [BEFORE, sequence, SMUGGLED, AFTER].concat()
}

fn check(sequence: &[u8], outcome: &Outcome) {
    let name = sequence.escape_ascii();
    assert_eq!(outcome.envelope.len(), 2, "{name}: a second transaction began: {outcome:#?}");
    assert!(outcome.messages.len() <= 1, "{name}: two messages");
    let last: Vec<&str> = outcome.replies.trim_end().rsplit("\r\n").take(2).collect();
    assert!(last[0].starts_with("250 2.0.0 here"), "{name}: out of step: {}", outcome.replies);
    match outcome.messages.first() {
        // Sequences without forbidden octets are part of the one message.
        Some(message) => assert!(message.windows(8).any(|w| w == b"smuggled"), "{name}"),
        None => assert!(last[1].starts_with("554 5.6.0 the mail has "), "{name}: {}", last[1]),
    }
}

#[test]
fn no_false_end_lets_a_second_message_in() {
    for sequence in FALSE_ENDS {
        check(sequence, &run(&octets(sequence)));
    }
}

#[test]
fn no_false_end_does_when_it_is_cut_anywhere() {
    for sequence in FALSE_ENDS {
        let octets = octets(sequence);
        let whole = run(&octets);
        for cut in 0..octets.len() {
            assert_eq!(run_cut(&octets, &[cut]), whole, "{} cut at {cut}", sequence.escape_ascii());
        }
        let each: Vec<usize> = (0..octets.len()).collect();
        assert_eq!(run_cut(&octets, &each), whole, "{}", sequence.escape_ascii());
    }
}

#[test]
fn every_sequence_with_a_bare_cr_or_lf_or_nul_is_refused() {
    for sequence in FALSE_ENDS {
        let without_line_ends = sequence.escape_ascii().to_string().replace("\\r\\n", "");
        let forbidden = ["\\r", "\\n", "\\x00"].iter().any(|octet| without_line_ends.contains(octet));
        let outcome = run(&octets(sequence));
        assert_eq!(outcome.messages.is_empty(), forbidden, "{}", sequence.escape_ascii());
    }
}

#[test]
fn what_is_pipelined_after_the_real_end_is_a_transaction_of_its_own_with_all_its_checks() {
    let outcome = run(&octets(b"\r\n.\r\n"));
    assert_eq!(outcome.messages.len(), 2);
    let refused = b"MAIL FROM:<evil@b>\r\nRCPT TO:<+2@gw>\r\nDATA\r\n";
    let outcome = run(&[BEFORE, b"\r\n.\r\n", refused].concat());
    assert_eq!(outcome.messages.len(), 1);
    assert!(outcome.replies.contains("550 5.7.1") && outcome.replies.ends_with("(protocol-error)\r\n"));
}

#[test]
fn commands_with_bare_line_ends_are_not_carried_out() {
    for line in [
        "MAIL FROM:<a@b>\n",
        "MAIL FROM:<a@b>\r",
        "NOOP\nMAIL FROM:<a@b>",
        "NOOP\rMAIL FROM:<a@b>",
        "NOOP\n\rMAIL FROM:<a@b>",
    ] {
        let outcome = run(format!("EHLO a\r\n{line}\r\nNOOP\r\n").as_bytes());
        assert!(outcome.envelope.is_empty(), "{line:?}: {outcome:#?}");
        assert!(outcome.replies.contains("500 5.5.2 a bare "), "{line:?}");
    }
}

#[test]
fn s6_no_sequence_within_a_chunk_ends_it() {
    for sequence in FALSE_ENDS {
        let content = [b"Subject: one\r\n\r\nfirst", *sequence, SMUGGLED].concat();
        for body in ["", " BODY=BINARYMIME"] {
            let head = format!("EHLO a\r\nMAIL FROM:<a@b>{body}\r\nRCPT TO:<+1@gw>\r\nBDAT {} LAST\r\n", content.len());
            let octets = [head.as_bytes(), &content, AFTER].concat();
            let whole = run(&octets);
            let name = format!("{}{body}", sequence.escape_ascii());
            assert_eq!(whole.envelope.len(), 2, "{name}: a second transaction began: {whole:#?}");
            assert!(whole.replies.ends_with("250 2.0.0 here\r\n"), "{name}: out of step: {}", whole.replies);
            if !body.is_empty() {
                assert_eq!(whole.messages, std::slice::from_ref(&content), "{name}");
            }
            for cut in 0..octets.len() {
                assert_eq!(run_cut(&octets, &[cut]), whole, "{name} cut at {cut}");
            }
        }
    }
}

#[test]
fn s6_what_follows_a_refused_chunk_is_never_a_command() {
    for before in [
        "",
        "MAIL FROM:<a@b>\r\n",
        "MAIL FROM:<a@b>\r\nRCPT TO:<bad@gw>\r\n",
        "MAIL FROM:<nodata@b>\r\nRCPT TO:<+1@gw>\r\n",
    ] {
        let head = format!("EHLO a\r\n{before}BDAT {} LAST\r\n", SMUGGLED.len());
        let octets = [head.as_bytes(), SMUGGLED, AFTER].concat();
        let whole = run(&octets);
        assert!(whole.messages.is_empty() && whole.replies.ends_with("250 2.0.0 here\r\n"), "{before}: {whole:#?}");
        for cut in 0..octets.len() {
            assert_eq!(run_cut(&octets, &[cut]), whole, "{before} cut at {cut}");
        }
    }
}

#[test]
fn t1_nothing_that_came_in_the_clear_is_carried_out_within_tls() {
    let injected = b"RSET\r\nMAIL FROM:<a@b>\r\n";
    let octets = [b"EHLO a\r\nSTARTTLS\r\n", &injected[..]].concat();
    // With even one octet of it in the same segment the session is over.
    for end in octets.len() - injected.len() + 1..=octets.len() {
        let outcome = run(&octets[..end]);
        assert!(outcome.closed && outcome.envelope.is_empty(), "{end}: {outcome:#?}");
        assert!(
            outcome
                .replies
                .ends_with("554 5.5.1 octets follow STARTTLS in the clear; wait for its reply (protocol-error)\r\n")
        );
    }
    // A line that is not whole yet is not finished by octets from within TLS.
    let outcome = run_cut(b"EHLO a\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\nNOOP\r\n", &["EHLO a\r\nSTARTTLS\r\n".len()]);
    assert!(outcome.envelope.is_empty() && outcome.replies.contains("503 5.5.1 MAIL before EHLO"), "{outcome:#?}");
}
