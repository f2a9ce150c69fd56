//! The dialogues of `tests/dialogues/*.txt`, each held three ways: turn by turn, in one piece, octet by octet.
//!
//! `== title` begins a dialogue; `C:` is a line of the client (CRLF is added), `C=` octets as they are, `S:` a line of the
//! server (`@ehlo` is the whole reply to EHLO, `@ehlo-tls` that within TLS), `M:` content that must have been accepted, `E:` a line of the accepted envelope (its beginning), `W:` how a mail came, `X` the
//! connection is closed. `\r \n \0 \\ \xHH \*N{text}` are escapes, the last one repeats. `#` is a comment.
//! `! offer nothing` takes away what is not always offered; `! turn by turn` is for a client that must wait for a reply.

use std::path::Path;

use crate::driver::{Driver, plain_settings, run_cut_with, settings};

#[derive(Default)]
struct Dialogue {
    title: String,
    turns: Vec<Turn>,
    messages: Vec<String>,
    envelope: Vec<String>,
    protocols: Vec<String>,
    closed: bool,
    offer_nothing: bool,
    turn_by_turn: bool,
}

/// What the settings of the tests offer in the clear and within TLS.
const EHLO: &str = "250-gw.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-BINARYMIME\r\n250-CHUNKING\r\n\
                    250-SMTPUTF8\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250-STARTTLS\r\n250-LIMITS MAILMAX=3 RCPTMAX=3\r\n\
                    250-FUTURERELEASE 3600 2026-11-22T11:00:00Z\r\n250-DELIVERBY 60\r\n250-MT-PRIORITY\r\n\
                    250 XCLIENT NAME ADDR PORT PROTO HELO\r\n";
const AUTH: &str = "250-AUTH SCRAM-SHA-256 PLAIN LOGIN OAUTHBEARER XOAUTH2\r\n";

impl Dialogue {
    /// Whether it is about octets that come together with a command that nothing may follow.
    fn runs_together(&self) -> bool {
        self.title.contains("comes with STARTTLS")
    }
}

#[derive(Default)]
struct Turn {
    client: Vec<u8>,
    server: String,
}

#[test]
fn every_dialogue_goes_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let (mut count, mut problems) = (0, Vec::new());
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for dialogue in parse(&std::fs::read_to_string(&path).unwrap()) {
            count += 1;
            problems.extend(check(&dialogue).err().map(|problem| format!("{name}: {}\n{problem}", dialogue.title)));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    assert!(count >= 150, "only {count} dialogues were found");
}

fn check(dialogue: &Dialogue) -> Result<(), String> {
    let settings = if dialogue.offer_nothing { plain_settings() } else { settings() };
    let mut driver = Driver::new(settings.clone());
    let mut seen = 0;
    for turn in &dialogue.turns {
        driver.feed(&turn.client);
        let said: String = String::from_utf8_lossy(&turn.client).chars().take(200).collect();
        same(&driver.outcome.replies[seen..], &turn.server, &format!("after {said:?}"))?;
        seen = driver.outcome.replies.len();
    }
    let expected: Vec<Vec<u8>> = dialogue.messages.iter().map(|text| unescape(text)).collect();
    same(&driver.outcome.messages, &expected, "messages")?;
    same(&driver.outcome.closed, &dialogue.closed, "closed")?;
    if !dialogue.protocols.is_empty() {
        same(&driver.outcome.protocols.join(" "), &dialogue.protocols.join(" "), "protocols")?;
    }
    if !dialogue.envelope.is_empty() {
        same(&driver.outcome.envelope.len(), &dialogue.envelope.len(), "length of the envelope")?;
        for (got, expected) in driver.outcome.envelope.iter().zip(&dialogue.envelope) {
            same(&got.starts_with(expected.as_str()), &true, &format!("{got}\nbegins with {expected}"))?;
        }
    }
    let whole: Vec<u8> = dialogue.turns.iter().flat_map(|turn| turn.client.clone()).collect();
    if !dialogue.turn_by_turn {
        same(&run_cut_with(settings.clone(), &whole, &[]), &driver.outcome, "in one piece")?;
    }
    // A client that must wait for a reply can be cut anywhere but not run together.
    if whole.len() < 20_000 && !dialogue.runs_together() {
        let each: Vec<usize> = (0..whole.len()).collect();
        same(&run_cut_with(settings, &whole, &each), &driver.outcome, "octet by octet")?;
    }
    Ok(())
}

fn same<T: std::fmt::Debug + PartialEq + ?Sized>(got: &T, expected: &T, what: &str) -> Result<(), String> {
    if got == expected { Ok(()) } else { Err(format!("{what}\n got {got:?}\n not {expected:?}")) }
}

fn parse(text: &str) -> Vec<Dialogue> {
    let mut dialogues: Vec<Dialogue> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        if let Some(title) = line.strip_prefix("== ") {
            dialogues.push(Dialogue { title: title.to_owned(), ..Dialogue::default() });
            continue;
        }
        let dialogue = dialogues.last_mut().unwrap_or_else(|| panic!("line {number}: no dialogue yet"));
        let (mark, rest) = (line.get(..2).unwrap_or(line), line.get(2..).unwrap_or_default());
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match mark {
            "C:" => say(dialogue, &[&unescape(rest)[..], b"\r\n"].concat()),
            "C=" => say(dialogue, &unescape(rest)),
            "S:" => {
                let turn = dialogue.turns.last_mut().unwrap_or_else(|| panic!("line {number}: nobody spoke"));
                match rest {
                    "@ehlo" => turn.server.push_str(EHLO),
                    "@ehlo-tls" => turn.server.push_str(&EHLO.replace("250-STARTTLS\r\n", AUTH)),
                    _ => turn.server.push_str(&format!("{}\r\n", String::from_utf8(unescape(rest)).unwrap())),
                }
            }
            "M:" => dialogue.messages.push(rest.to_owned()),
            "E:" => dialogue.envelope.push(rest.to_owned()),
            "W:" => dialogue.protocols.push(rest.to_owned()),
            "X" => dialogue.closed = true,
            "! " if rest == "offer nothing" => dialogue.offer_nothing = true,
            "! " if rest == "turn by turn" => dialogue.turn_by_turn = true,
            other => panic!("line {number}: {other:?}"),
        }
    }
    // Every dialogue begins with the greeting; no file repeats it.
    for dialogue in &mut dialogues {
        dialogue.turns.first_mut().expect("a dialogue has a turn").server.insert_str(0, "220 gw.test ESMTP ready\r\n");
    }
    dialogues
}

/// Client lines that follow one another without a reply between them are one pipelined turn.
fn say(dialogue: &mut Dialogue, octets: &[u8]) {
    match dialogue.turns.last_mut() {
        Some(turn) if turn.server.is_empty() => turn.client.extend_from_slice(octets),
        _ => dialogue.turns.push(Turn { client: octets.to_vec(), server: String::new() }),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        octets.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let (octet, used) = match escape.as_bytes().first() {
            Some(b'r') => (b'\r', 1),
            Some(b'n') => (b'\n', 1),
            Some(b'0') => (0, 1),
            Some(b'\\') => (b'\\', 1),
            Some(b'x') => (u8::from_str_radix(&escape[1..3], 16).unwrap(), 3),
            Some(b'*') => {
                let (count, tail) = escape[1..].split_once('{').unwrap();
                let (body, tail) = tail.split_once('}').unwrap();
                octets.extend(unescape(body).repeat(count.parse().unwrap()));
                rest = tail;
                continue;
            }
            other => panic!("unknown escape {other:?}"),
        };
        octets.push(octet);
        rest = &escape[used..];
    }
    octets.extend_from_slice(rest.as_bytes());
    octets
}
