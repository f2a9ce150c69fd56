//! The dialogues of `tests/dialogues/*.txt`, each held three ways: turn by turn, in one piece, octet by octet.
//!
//! `== title` begins a dialogue; `C:` is a line of the client (CRLF is added), `C=` octets as they are, `S:` a line of the
//! server, `M:` content that must have been accepted, `E:` a line of the accepted envelope (its beginning), `X` the
//! connection is closed. `\r \n \0 \\ \xHH \*N{text}` are escapes, the last one repeats. `#` is a comment.

use std::path::Path;

use crate::driver::{Driver, run_cut, settings};

#[derive(Default)]
struct Dialogue {
    title: String,
    turns: Vec<Turn>,
    messages: Vec<String>,
    envelope: Vec<String>,
    closed: bool,
}

#[derive(Default)]
struct Turn {
    client: Vec<u8>,
    server: String,
}

#[test]
fn every_dialogue_goes_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for dialogue in parse(&std::fs::read_to_string(&path).unwrap()) {
            check(&name, &dialogue);
            count += 1;
        }
    }
    assert!(count >= 60, "only {count} dialogues were found");
}

fn check(file: &str, dialogue: &Dialogue) {
    let place = format!("{file}: {}", dialogue.title);
    let mut driver = Driver::new(settings());
    let mut seen = 0;
    for turn in &dialogue.turns {
        driver.feed(&turn.client);
        let got = &driver.outcome.replies[seen..];
        let said = String::from_utf8_lossy(&turn.client);
        assert_eq!(got, turn.server, "{place}\nafter {:?}", said.chars().take(200).collect::<String>());
        seen = driver.outcome.replies.len();
    }
    let expected: Vec<Vec<u8>> = dialogue.messages.iter().map(|text| unescape(text)).collect();
    assert_eq!(driver.outcome.messages, expected, "{place}");
    assert_eq!(driver.outcome.closed, dialogue.closed, "{place}: closed");
    if !dialogue.envelope.is_empty() {
        assert_eq!(driver.outcome.envelope.len(), dialogue.envelope.len(), "{place}: {:#?}", driver.outcome.envelope);
        for (got, expected) in driver.outcome.envelope.iter().zip(&dialogue.envelope) {
            assert!(got.starts_with(expected.as_str()), "{place}\n got {got}\n not {expected}");
        }
    }
    let whole: Vec<u8> = dialogue.turns.iter().flat_map(|turn| turn.client.clone()).collect();
    assert_eq!(run_cut(&whole, &[]), driver.outcome, "{place}: in one piece");
    if whole.len() < 20_000 {
        let each: Vec<usize> = (0..whole.len()).collect();
        assert_eq!(run_cut(&whole, &each), driver.outcome, "{place}: octet by octet");
    }
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
                turn.server.push_str(&format!("{}\r\n", String::from_utf8(unescape(rest)).unwrap()));
            }
            "M:" => dialogue.messages.push(rest.to_owned()),
            "E:" => dialogue.envelope.push(rest.to_owned()),
            "X" => dialogue.closed = true,
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
